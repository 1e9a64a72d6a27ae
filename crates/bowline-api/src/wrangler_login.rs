//! The login that `wrangler login` stored: read, renewed, and written back so that wrangler finds what is current.
//!
//! Source: wrangler 4.164. A TOML file `config/default.toml` in its folder, with `oauth_token`, `refresh_token`,
//! `expiration_time` and `scopes`; renewed with OAuth's `refresh_token` grant, which may also replace the refresh token.
//! There is no lock between programs: the file is read again before every renewal and after a refused one.

use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use bowline_secret::Secret;
use bowline_upstream::Http;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Method, Request};
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tokio::sync::Mutex;

use crate::body::read;
use crate::client::USER_AGENT_VALUE;
use crate::escape::escape;

/// Renewed this long before its end, so that no call is under way when it comes.
const AHEAD: i64 = 30;
/// The whole exchange with the token endpoint (wrangler's own limit).
const WITHIN: Duration = Duration::from_secs(10);
/// The largest answer of the token endpoint.
const LARGEST: usize = 64 * 1024;

/// Where logins are renewed.
#[derive(Debug, Clone)]
pub struct LoginEndpoint {
    /// OAuth's token URL.
    pub token_url: String,
    /// wrangler's client id.
    pub client_id: String,
}

impl Default for LoginEndpoint {
    /// Cloudflare's, for wrangler.
    fn default() -> Self {
        Self {
            token_url: "https://dash.cloudflare.com/oauth2/token".to_owned(),
            client_id: "54d11594-84e4-41aa-b438-e81b8fa78ee7".to_owned(),
        }
    }
}

/// A stored login that cannot be used. No text has a token in it.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The file cannot be read or written.
    #[error("{operation} wrangler's login in {}: {source}", .file.display())]
    File {
        /// `read` or `keep`.
        operation: &'static str,
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not what wrangler writes.
    #[error("wrangler's login in {} is not understood: {problem}", .file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The login has ended and there is nothing to renew it with.
    #[error("wrangler's login in {} has ended and cannot be renewed", .0.display())]
    NoRefreshToken(PathBuf),
    /// The login has ended and was not renewed.
    #[error("wrangler's login has ended and was not renewed: {0}", .error)]
    Refused {
        /// OAuth's word for it.
        error: String,
    },
    /// The token endpoint could not be reached.
    #[error("renew wrangler's login: {0}", .why)]
    Unreachable {
        /// Why.
        why: String,
    },
    /// A credential has characters that no header can carry.
    #[error("the credentials have characters that no header can carry")]
    Unsendable,
}

impl LoginError {
    pub(crate) fn advice(&self) -> &'static str {
        match self {
            Self::File { .. } | Self::Syntax { .. } | Self::NoRefreshToken(_) | Self::Refused { .. } => {
                "run `wrangler login` again, or set CLOUDFLARE_API_TOKEN"
            }
            Self::Unreachable { .. } => "check the network, or set CLOUDFLARE_API_TOKEN",
            Self::Unsendable => "set CLOUDFLARE_API_TOKEN to the token alone, without quotes or line breaks",
        }
    }
}

/// A login in a file. Clones share it.
#[derive(Clone)]
pub struct WranglerLogin(Arc<Inner>);

struct Inner {
    file: PathBuf,
    endpoint: LoginEndpoint,
    http: Arc<Http>,
    /// One renewal at a time.
    flight: Mutex<()>,
    last: StdMutex<Option<Secret>>,
}

struct Stored {
    members: toml::Table,
    token: Secret,
    refresh: Option<Secret>,
    /// Seconds since 1970; `None` counts as ended.
    ends: Option<i64>,
}

impl WranglerLogin {
    /// The login in `file`, which is read with every use.
    pub fn new(file: PathBuf, endpoint: LoginEndpoint, http: Arc<Http>) -> Self {
        Self(Arc::new(Inner {
            file,
            endpoint,
            http,
            flight: Mutex::new(()),
            last: StdMutex::new(None),
        }))
    }

    /// The file.
    pub fn file(&self) -> &Path {
        &self.0.file
    }

    pub(crate) fn last_bearer(&self) -> Option<Secret> {
        self.0.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A token that has not ended.
    pub(crate) async fn bearer(&self) -> Result<Secret, LoginError> {
        let _one = self.0.flight.lock().await;
        let stored = self.read()?;
        let token = if stored.is_current() {
            stored.token
        } else {
            self.renew(stored).await?
        };
        *self.0.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
        Ok(token)
    }

    async fn renew(&self, stored: Stored) -> Result<Secret, LoginError> {
        let Some(refresh) = stored.refresh.clone() else {
            return Err(LoginError::NoRefreshToken(self.0.file.clone()));
        };
        match self.ask(&refresh).await {
            Ok(answer) => self.keep(stored.members, &answer),
            Err(error @ LoginError::Refused { .. }) => {
                // A refresh token serves once: wrangler may have used it between our reading and our asking.
                let again = self.read()?;
                if again.is_current() {
                    Ok(again.token)
                } else {
                    Err(error)
                }
            }
            Err(error) => Err(error),
        }
    }

    async fn ask(&self, refresh: &Secret) -> Result<Value, LoginError> {
        let unreachable = |why: String| LoginError::Unreachable { why };
        let form: String = [
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh.expose()),
            ("client_id", &self.0.endpoint.client_id),
        ]
        .iter()
        .map(|(name, value)| format!("{name}={}", escape(value)))
        .collect::<Vec<_>>()
        .join("&");
        let request = Request::builder()
            .method(Method::POST)
            .uri(&self.0.endpoint.token_url)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(CONTENT_LENGTH, HeaderValue::from(form.len()))
            .header(USER_AGENT, USER_AGENT_VALUE)
            .body(
                Full::from(Bytes::from(form))
                    .map_err(|never| match never {})
                    .boxed_unsync(),
            )
            .map_err(|_| unreachable("the token URL is not one that can be asked".to_owned()))?;
        let exchange = async {
            let response = self
                .0
                .http
                .send(request, Some(WITHIN))
                .await
                .map_err(|error| unreachable(error.told()))?;
            let status = response.status();
            let body = read(response.into_body(), LARGEST).await.map_err(unreachable)?;
            Ok((status, body))
        };
        let (status, body) = tokio::time::timeout(WITHIN, exchange)
            .await
            .unwrap_or_else(|_| Err(unreachable(format!("no answer within {} s", WITHIN.as_secs()))))?;
        let answer: Value = serde_json::from_slice(&body)
            .map_err(|_| unreachable(format!("status {}, and the answer is no JSON", status.as_u16())))?;
        if status.is_server_error() {
            return Err(unreachable(format!("status {}", status.as_u16())));
        }
        if let Some(error) = answer.get("error") {
            // A word of the standard (RFC 6749, 5.2), or whatever this server puts there: shown only as far as it is a word.
            let word = error.as_str().unwrap_or("refused");
            let word = word
                .chars()
                .filter(|c| c.is_ascii_alphanumeric() || *c == '_')
                .take(64)
                .collect();
            return Err(LoginError::Refused { error: word });
        }
        if status.is_success() {
            Ok(answer)
        } else {
            Err(LoginError::Refused {
                error: format!("status {}", status.as_u16()),
            })
        }
    }

    /// Writes what is new beside the rest of the file, whole or not at all.
    fn keep(&self, mut members: toml::Table, answer: &Value) -> Result<Secret, LoginError> {
        let token = answer["access_token"]
            .as_str()
            .ok_or_else(|| LoginError::Refused {
                error: "the answer has no token".to_owned(),
            })?;
        let lives = answer["expires_in"]
            .as_i64()
            .unwrap_or(0)
            .clamp(0, 366 * 24 * 3600);
        let ends = jiff::Timestamp::now()
            .checked_add(jiff::Span::new().seconds(lives))
            .map_or_else(|_| String::new(), |at| at.to_string());
        members.insert("oauth_token".into(), token.into());
        members.insert("expiration_time".into(), ends.into());
        if let Some(refresh) = answer["refresh_token"].as_str() {
            members.insert("refresh_token".into(), refresh.into());
        }
        if let Some(scope) = answer["scope"].as_str() {
            let scopes: Vec<toml::Value> = scope.split_whitespace().map(Into::into).collect();
            members.insert("scopes".into(), scopes.into());
        }
        if let Err(error) = self.write(&members) {
            // The token works for this run all the same; the next one asks for a login, and says why now.
            tracing::warn!(error = %error, "wrangler's login was renewed and could not be kept");
        }
        Ok(Secret::new(token))
    }

    fn write(&self, members: &toml::Table) -> Result<(), LoginError> {
        let failed = |source| LoginError::File {
            operation: "keep",
            file: self.0.file.clone(),
            source,
        };
        let text =
            toml::to_string(members).map_err(|error| failed(std::io::Error::other(error.to_string())))?;
        let folder = self.0.file.parent().unwrap_or(Path::new("."));
        // A temporary file is the user's alone from the start.
        let mut whole = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
        whole.write_all(text.as_bytes()).map_err(failed)?;
        whole.persist(&self.0.file).map_err(|error| failed(error.error))?;
        Ok(())
    }

    fn read(&self) -> Result<Stored, LoginError> {
        let file = &self.0.file;
        let text = std::fs::read_to_string(file).map_err(|source| LoginError::File {
            operation: "read",
            file: file.clone(),
            source,
        })?;
        let syntax = |problem: &str| LoginError::Syntax {
            file: file.clone(),
            problem: problem.to_owned(),
        };
        // The parser's own message would show the line, which may hold a token.
        let members: toml::Table = toml::from_str(&text).map_err(|_| syntax("it is not TOML"))?;
        let text = |name: &str| {
            members
                .get(name)
                .and_then(toml::Value::as_str)
                .filter(|text| !text.is_empty())
        };
        let token = Secret::new(text("oauth_token").ok_or_else(|| syntax("it has no `oauth_token`"))?);
        let refresh = text("refresh_token").map(Secret::new);
        let ends = match members.get("expiration_time") {
            Some(toml::Value::String(at)) => at.parse::<jiff::Timestamp>().ok(),
            Some(toml::Value::Datetime(at)) => at.to_string().parse().ok(),
            _ => None,
        };
        let ends = ends.map(jiff::Timestamp::as_second);
        Ok(Stored {
            members,
            token,
            refresh,
            ends,
        })
    }
}

impl fmt::Debug for WranglerLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WranglerLogin({})", self.0.file.display())
    }
}

impl Stored {
    fn is_current(&self) -> bool {
        self.ends
            .is_some_and(|ends| jiff::Timestamp::now().as_second() + AHEAD < ends)
    }
}
