//! The binding's own configuration, and its limits.

use std::time::Duration;

use bowline_binding::ConfigError;
use serde_json::Value;

use crate::options::Transform;

/// The variant that is there always.
const PUBLIC: &str = "public";

/// How hosted images are served, and what one call may cost.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Config {
    /// Where browsers find this place, when that is not where it listens: scheme and authority.
    pub(crate) origin: Option<String>,
    /// Variants by name. `public` is there always, and serves what was uploaded unless it is configured.
    pub(crate) variants: Vec<(String, Option<Transform>)>,
    pub(crate) limits: Limits,
}

/// Bounds, from Cloudflare's page of limits (2026) where it has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Bytes of one image given to the binding.
    pub(crate) image_bytes: u64,
    /// Bytes of one request, overlays and all.
    pub(crate) request_bytes: u64,
    /// Bytes of one hosted image.
    pub(crate) hosted_bytes: usize,
    /// Hosted images, drafts among them.
    pub(crate) hosted_images: i64,
    /// Bytes of all hosted images.
    pub(crate) stored_bytes: i64,
    /// Pixels of all pictures of one request together, all frames of animations counted.
    pub(crate) area: u64,
    /// Pixels of an animation beyond which it passes through untouched.
    pub(crate) animation_area: u64,
    /// The longest side of a picture that is not WebP.
    pub(crate) side: u32,
    /// Time for a request to arrive.
    pub(crate) read: Duration,
    /// Time for the work, waiting for its turn included.
    pub(crate) work: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            image_bytes: 20_000_000,
            request_bytes: 64_000_000,
            hosted_bytes: 10_000_000,
            hosted_images: 100_000,
            stored_bytes: 10_000_000_000,
            area: 100_000_000,
            animation_area: 50_000_000,
            side: 12_000,
            read: Duration::from_secs(60),
            work: Duration::from_secs(30),
        }
    }
}

impl Config {
    pub(crate) fn parse(entry: &Value) -> Result<Self, ConfigError> {
        let mut limits = Limits::default();
        if let Some(pixels) = entry.get("max_pixels") {
            limits.area = pixels
                .as_u64()
                .filter(|pixels| (1..=limits.area).contains(pixels))
                .ok_or_else(|| {
                    ConfigError::new("max_pixels", "must be a number of pixels from 1 to 100000000")
                })?;
            limits.animation_area = limits.animation_area.min(limits.area);
        }
        if let Some(bytes) = entry.get("max_stored_bytes") {
            limits.stored_bytes = bytes
                .as_i64()
                .filter(|bytes| *bytes > 0)
                .ok_or_else(|| ConfigError::new("max_stored_bytes", "must be a number of bytes above 0"))?;
        }
        Ok(Self {
            origin: origin(entry)?,
            variants: variants(entry)?,
            limits,
        })
    }

    /// The transform of a variant, `None` inside where it is served as it was uploaded.
    pub(crate) fn variant(&self, name: &str) -> Option<&Option<Transform>> {
        let (_, transform) = self.variants.iter().find(|(known, _)| known == name)?;
        Some(transform)
    }
}

fn origin(entry: &Value) -> Result<Option<String>, ConfigError> {
    let problem = || {
        ConfigError::new(
            "origin",
            "must be a scheme and a host, such as https://images.example.com",
        )
    };
    let Some(origin) = entry.get("origin") else {
        return Ok(None);
    };
    let text = origin.as_str().ok_or_else(problem)?;
    let uri: http::Uri = text.parse().map_err(|_| problem())?;
    let bare = matches!(uri.scheme_str(), Some("http" | "https"))
        && uri
            .authority()
            .is_some_and(|authority| !authority.as_str().contains('@'))
        && uri.path() == "/"
        && uri.query().is_none();
    bare.then(|| Some(text.trim_end_matches('/').to_owned()))
        .ok_or_else(problem)
}

fn variants(entry: &Value) -> Result<Vec<(String, Option<Transform>)>, ConfigError> {
    let mut variants = vec![(PUBLIC.to_owned(), None)];
    let Some(given) = entry.get("variants") else {
        return Ok(variants);
    };
    let given = given
        .as_object()
        .ok_or_else(|| ConfigError::new("variants", "must be an object of transforms by name"))?;
    for (name, options) in given {
        let field = format!("variants.{name}");
        let well_named = (1..=99).contains(&name.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        if !well_named {
            return Err(ConfigError::new(
                field,
                "must be named with 1 to 99 letters, digits, `-` or `_`",
            ));
        }
        let options = options
            .as_object()
            .ok_or_else(|| ConfigError::new(&*field, "must be an object such as {\"width\": 200}"))?;
        let transform = Transform::parse(options).map_err(|problem| ConfigError::new(&*field, problem))?;
        match variants.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = Some(transform),
            None => variants.push((name.clone(), Some(transform))),
        }
    }
    Ok(variants)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Config;

    #[test]
    fn faults_name_their_member() {
        let good = json!({"binding": "IMAGES", "origin": "https://images.example.com/", "max_pixels": 1000,
            "max_stored_bytes": 5000, "variants": {"thumb": {"width": 20, "fit": "cover"}}});
        let config = Config::parse(&good).unwrap();
        assert_eq!(config.origin.as_deref(), Some("https://images.example.com"));
        let names: Vec<_> = config.variants.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["public", "thumb"]);
        assert_eq!((config.limits.area, config.limits.stored_bytes), (1000, 5000));
        for (entry, field) in [
            (json!({"origin": "images.example.com"}), "origin"),
            (json!({"origin": "https://u:p@h"}), "origin"),
            (json!({"origin": "https://h/path"}), "origin"),
            (json!({"origin": 1}), "origin"),
            (json!({"max_pixels": 0}), "max_pixels"),
            (json!({"max_pixels": 200_000_000}), "max_pixels"),
            (json!({"max_stored_bytes": 0}), "max_stored_bytes"),
            (json!({"variants": []}), "variants"),
            (json!({"variants": {"a/b": {}}}), "variants.a/b"),
            (json!({"variants": {"a": 1}}), "variants.a"),
            (json!({"variants": {"a": {"width": -1}}}), "variants.a"),
        ] {
            let error = Config::parse(&entry).unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{field}`")), "{entry}: {error}");
        }
    }
}
