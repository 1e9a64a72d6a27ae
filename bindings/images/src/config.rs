//! The binding's own configuration, and its limits.

use std::time::Duration;

use bowline_binding::ConfigError;
use serde_json::Value;

/// What one call may cost.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Config {
    pub(crate) limits: Limits,
}

/// Bounds, from Cloudflare's page of limits (2026) where it has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Bytes of one image given to the binding.
    pub(crate) image_bytes: u64,
    /// Bytes of one request, overlays and all.
    pub(crate) request_bytes: u64,
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
        // Accepted, they would seem to have an effect.
        for hosted in ["origin", "variants"] {
            if entry.get(hosted).is_some() {
                return Err(ConfigError::new(
                    hosted,
                    "is about hosted images, which are not served here; leave it out",
                ));
            }
        }
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
        Ok(Self { limits })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Config;

    #[test]
    fn faults_name_their_member() {
        let good = json!({"binding": "IMAGES", "max_pixels": 1000});
        let config = Config::parse(&good).unwrap();
        assert_eq!(config.limits.area, 1000);
        for (entry, field) in [
            (json!({"origin": "https://images.example.com"}), "origin"),
            (json!({"max_pixels": 0}), "max_pixels"),
            (json!({"max_pixels": 200_000_000}), "max_pixels"),
            (json!({"variants": {"thumb": {"width": 20}}}), "variants"),
        ] {
            let error = Config::parse(&entry).unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{field}`")), "{entry}: {error}");
        }
    }
}
