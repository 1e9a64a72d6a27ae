//! Applications: what is protected, by which policies, and how refusals and sessions look.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use serde_json::Value;

use crate::policy::session;
use crate::shape::{flag, list, member, object, required, text, texts};
use crate::{Action, Destination, Policy, ShapeError};

/// Sessions last this long unless something says otherwise (documented default).
const SESSION: Duration = Duration::from_secs(24 * 3600);

/// `SameSite` of the session cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSite {
    /// Sent everywhere; the default.
    None,
    /// Not sent by other sites' subrequests.
    Lax,
    /// Not sent by other sites at all.
    Strict,
}

impl SameSite {
    /// The attribute's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Lax => "Lax",
            Self::Strict => "Strict",
        }
    }
}

/// The shape of the session cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CookieShape {
    /// Hidden from scripts. The documentation names two defaults; Bowline takes the safer one.
    pub http_only: bool,
    /// `SameSite`.
    pub same_site: SameSite,
    /// Whether the cookie is bound to the application's path instead of `/`.
    pub path: bool,
}

/// How the gate answers preflights for the origin.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cors {
    /// Any origin.
    pub allow_all_origins: bool,
    /// Any method.
    pub allow_all_methods: bool,
    /// Any header.
    pub allow_all_headers: bool,
    /// Cookies may come along.
    pub allow_credentials: bool,
    /// Origins by name.
    pub allowed_origins: Vec<String>,
    /// Methods by name.
    pub allowed_methods: Vec<String>,
    /// Headers by name.
    pub allowed_headers: Vec<String>,
    /// Seconds a browser may remember the answer.
    pub max_age: Option<u64>,
}

/// An application as evaluation needs it. Members of the API that nothing here judges stay with the stored object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    /// Record id, a UUID. The API shows it as `id` and `uid`.
    pub id: String,
    /// Audience tag, 64 hex digits.
    pub aud: Arc<str>,
    /// The operator's name for it.
    pub name: String,
    /// Where it stands.
    pub destinations: Vec<Destination>,
    /// In listed order.
    pub policies: Vec<Arc<Policy>>,
    /// How long sessions last where no policy says so.
    pub session_duration: Duration,
    /// 401 instead of 403 for a request that a Service Auth policy blocks.
    pub service_auth_401_redirect: bool,
    /// One header that carries a service token as JSON.
    pub service_token_header: Option<HeaderName>,
    /// Preflights go to the origin unauthenticated.
    pub options_preflight_bypass: bool,
    /// The gate answers preflights itself.
    pub cors: Option<Cors>,
    /// The session cookie.
    pub cookie: CookieShape,
    /// A program's login is not asked about once its person is logged in.
    pub skip_interstitial: bool,
}

impl Application {
    /// Reads an object of the API. Policies are attached by whoever knows them.
    pub fn parse(id: &str, aud: &str, value: &Value) -> Result<Self, ShapeError> {
        let members = object(value)?;
        let kind = text(members, "type")?.unwrap_or("self_hosted");
        if kind != "self_hosted" {
            return Err(ShapeError::new(
                "/type",
                format!("`{kind}` applications are not supported; only self_hosted ones are"),
            ));
        }
        let destinations = destinations(value)?;
        let name = text(members, "name")?
            .filter(|name| !name.trim().is_empty())
            .or_else(|| destinations.first().map(Destination::as_str))
            .unwrap_or_default()
            .to_owned();
        let service_token_header = text(members, "read_service_tokens_from_header")?
            .filter(|name| !name.is_empty())
            .map(|name| {
                HeaderName::try_from(name).map_err(|_| {
                    ShapeError::new(
                        "/read_service_tokens_from_header",
                        format!("`{name}` is no header name"),
                    )
                })
            })
            .transpose()?;
        let same_site = match text(members, "same_site_cookie_attribute")? {
            None | Some("" | "none") => SameSite::None,
            Some("lax") => SameSite::Lax,
            Some("strict") => SameSite::Strict,
            Some(other) => {
                return Err(ShapeError::new(
                    "/same_site_cookie_attribute",
                    format!("`{other}` is none of none, lax, strict"),
                ));
            }
        };
        let http_only = member(members, "http_only_cookie_attribute").is_none()
            || flag(members, "http_only_cookie_attribute")?;
        let application = Self {
            id: id.to_owned(),
            aud: aud.into(),
            name,
            destinations,
            policies: Vec::new(),
            session_duration: session(members)?.unwrap_or(SESSION),
            service_auth_401_redirect: flag(members, "service_auth_401_redirect")?,
            service_token_header,
            options_preflight_bypass: flag(members, "options_preflight_bypass")?,
            cors: member(members, "cors_headers").map(cors).transpose()?,
            cookie: CookieShape {
                http_only,
                same_site,
                path: flag(members, "path_cookie_attribute")?,
            },
            skip_interstitial: flag(members, "skip_interstitial")?,
        };
        if application.options_preflight_bypass && application.cors.is_some() {
            return Err(ShapeError::new(
                "/options_preflight_bypass",
                "cannot be combined with cors_headers",
            ));
        }
        Ok(application)
    }

    /// Whether it protects something on a host, which may have a port.
    pub fn stands_on(&self, host: &str) -> bool {
        self.destinations
            .iter()
            .any(|destination| destination.stands_on(host))
    }

    /// Whether a person could get in: a login makes sense.
    pub fn has_allow(&self) -> bool {
        self.policies.iter().any(|policy| policy.action == Action::Allow)
    }
}

/// `destinations` of type `public`, or the older `self_hosted_domains` and `domain`.
fn destinations(value: &Value) -> Result<Vec<Destination>, ShapeError> {
    let members = object(value)?;
    let mut found = Vec::new();
    for (index, entry) in list(members, "destinations")?.iter().enumerate() {
        let at = format!("/destinations/{index}");
        let entry = object(entry).map_err(|error| error.below(&at))?;
        match text(entry, "type")?.unwrap_or("public") {
            "public" => {
                let uri = required(entry, "uri").map_err(|error| error.below(&at))?;
                found.push(Destination::parse(uri).map_err(|error| error.below(&format!("{at}/uri")))?);
            }
            other => {
                return Err(ShapeError::new(
                    format!("{at}/type"),
                    format!("`{other}` destinations are not supported; only public ones are"),
                ));
            }
        }
    }
    if found.is_empty() {
        for (index, domain) in texts(members, "self_hosted_domains")?.iter().enumerate() {
            found.push(
                Destination::parse(domain)
                    .map_err(|error| error.below(&format!("/self_hosted_domains/{index}")))?,
            );
        }
    }
    if let Some(domain) = text(members, "domain")?.filter(|domain| !domain.is_empty()) {
        let domain = Destination::parse(domain).map_err(|error| error.below("/domain"))?;
        if !found.contains(&domain) {
            found.insert(0, domain);
        }
    }
    if found.is_empty() {
        return Err(ShapeError::new(
            "/domain",
            "is required (or destinations of type public)",
        ));
    }
    Ok(found)
}

fn cors(value: &Value) -> Result<Cors, ShapeError> {
    let at = |error: ShapeError| error.below("/cors_headers");
    let members = object(value).map_err(at)?;
    let max_age = match member(members, "max_age") {
        None => None,
        Some(value) => Some(
            value
                .as_f64()
                .filter(|age| (0.0..=86_400.0).contains(age))
                .ok_or_else(|| ShapeError::new("/cors_headers/max_age", "must be 0 to 86400 seconds"))?
                as u64,
        ),
    };
    let cors = Cors {
        allow_all_origins: flag(members, "allow_all_origins").map_err(at)?,
        allow_all_methods: flag(members, "allow_all_methods").map_err(at)?,
        allow_all_headers: flag(members, "allow_all_headers").map_err(at)?,
        allow_credentials: flag(members, "allow_credentials").map_err(at)?,
        allowed_origins: texts(members, "allowed_origins").map_err(at)?,
        allowed_methods: texts(members, "allowed_methods").map_err(at)?,
        allowed_headers: texts(members, "allowed_headers").map_err(at)?,
        max_age,
    };
    if cors.allow_credentials && (cors.allow_all_origins || cors.allowed_origins.iter().any(|o| o == "*")) {
        return Err(ShapeError::new(
            "/cors_headers/allow_credentials",
            "cannot be combined with any origin",
        ));
    }
    Ok(cors)
}
