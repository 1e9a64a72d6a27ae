//! Signing in: a browser does it, and the token comes back encrypted through a transfer service.
//!
//! Source: cloudflared 2026.8, `token/`: a key pair per attempt, `/cdn-cgi/access/cli` on the application's host, and
//! polling `/transfer/<public key>` until there is a NaCl box to open.

use std::time::Duration;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};
use bytes::Bytes;
use crypto_box::aead::Aead;
use crypto_box::{PublicKey, SalsaBox, SecretKey};
use http::{Request, StatusCode, Uri};
use http_body_util::Empty;
use rand::TryRng;
use serde::Deserialize;
use tokio::time::Instant;
use url::Url;

use crate::application::{DiscoveryError, base, discover};
use crate::exchange::{ExchangeError, exchange};
use crate::http_client::{Answer, HttpClient, HttpError};
use crate::lock::{Lock, with_suffix};
use crate::token_files::TokenFiles;
use crate::{Application, ApplicationToken, BoxFuture, Clock, Renew, RenewError};

/// Where Cloudflare hands logins over.
pub const TRANSFER: &str = "https://login.cloudflareaccess.org";
/// The same for FedRAMP.
pub const FEDRAMP_TRANSFER: &str = "https://login.fed.cloudflareaccess.org";
/// The transfer service holds a poll this long.
const POLL: Duration = Duration::from_secs(60);
/// It is asked no more often, should it answer at once.
const PAUSE: Duration = Duration::from_millis(500);
/// A person has this long to sign in.
const PATIENCE: Duration = Duration::from_secs(600);
/// A renewal waits for another process this long.
const RENEWAL_LOCK: Duration = Duration::from_secs(15);
/// Two tokens and a nonce, in base64.
const LARGEST_TRANSFER: usize = 128 * 1024;
const NONCE: usize = 24;

/// Nobody is signed in now. What was stored before is untouched.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The application in front of the host could not be established.
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
    /// A token file or its lock cannot be used.
    #[error("use {}", .file.display())]
    File {
        /// The file.
        file: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The transfer service cannot be asked, or is in trouble.
    #[error("fetch the login from {transfer}")]
    Transfer {
        /// Its URL.
        transfer: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What was handed over is not what was asked for.
    #[error("what was handed over as the login cannot be used: {0}")]
    Unusable(&'static str),
    /// Time is up.
    #[error("nobody signed in within {} minutes", PATIENCE.as_secs() / 60)]
    NobodySignedIn,
    /// The operating system gave no random numbers.
    #[error("make a key pair")]
    NoRandomness(#[source] rand::rngs::SysError),
}

/// What a login needs to know.
#[derive(Clone)]
pub struct LoginOptions {
    /// Sends the requests.
    pub client: HttpClient,
    /// Where tokens are kept.
    pub files: TokenFiles,
    /// What one wants to get at.
    pub url: Uri,
    /// A host the user trusts to sign for it, besides Cloudflare's.
    pub team_domain: Option<String>,
    /// The transfer service, such as [`FEDRAMP_TRANSFER`]. By default [`TRANSFER`] where Cloudflare signs, and otherwise
    /// the signing host itself, below `/cdn-cgi/access`, as a Bowline gateway has it.
    pub transfer: Option<String>,
    /// The time.
    pub clock: Clock,
}

/// How a login came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// A stored token still works.
    Stored,
    /// An org token bought a new one.
    Exchange,
    /// Somebody signed in.
    Browser,
}

/// A login that works.
#[derive(Debug)]
pub struct LoggedIn {
    /// The token, stored already.
    pub token: ApplicationToken,
    /// What it is for.
    pub application: Application,
    /// How.
    pub by: By,
    /// Where it is stored.
    pub file: std::path::PathBuf,
}

impl LoginOptions {
    /// Makes sure that a working token is stored. `show` gets the URL at which a person signs in, if one has to.
    ///
    /// Dropping the future at any point ends the attempt and removes its lock; nothing half done is stored.
    pub async fn login(&self, show: &(dyn Fn(&str) + Send + Sync)) -> Result<LoggedIn, LoginError> {
        let application = self.application().await?;
        let file = self.files.application_path(&application);
        self.files.prepare().map_err(at(&file))?;
        let lock = match Lock::take(&file, Instant::now() + PAUSE).await {
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => {
                // Another process waits for the same login: whoever sits here can complete it.
                if let Ok(url) = std::fs::read_to_string(with_suffix(&file, ".url")) {
                    show(url.trim());
                }
                Lock::take(&file, Instant::now() + PATIENCE).await
            }
            taken => taken,
        };
        let _lock = lock.map_err(at(&file))?;
        let (by, token) = if let Some(stored) = self.stored(&application) {
            (By::Stored, stored)
        } else if let Some(token) = self.bought(&application).await {
            self.files.write(&file, &token).map_err(at(&file))?;
            (By::Exchange, token)
        } else {
            (By::Browser, self.browser(&application, show).await?)
        };
        Ok(LoggedIn {
            token,
            application,
            by,
            file,
        })
    }

    async fn application(&self) -> Result<Application, DiscoveryError> {
        let now = (self.clock)();
        discover(&self.client, &self.url, self.team_domain.as_deref(), now).await
    }

    /// The stored token, if it works for a while yet.
    fn stored(&self, application: &Application) -> Option<ApplicationToken> {
        self.files
            .read(&self.files.application_path(application))
            .filter(|token| token.is_for(&application.audience) && token.renew_from() > (self.clock)())
    }

    /// A token for the stored org token.
    async fn bought(&self, application: &Application) -> Option<ApplicationToken> {
        let now = (self.clock)();
        let org = self.files.read(&self.files.org_path(&application.auth_domain))?;
        if org.expires_at() <= now {
            return None;
        }
        match exchange(&self.client, &self.url, application, &org, now).await {
            Ok(token) => Some(token),
            Err(error) => {
                tracing::debug!(%error, "the org token bought nothing");
                None
            }
        }
    }

    async fn browser(
        &self,
        application: &Application,
        show: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<ApplicationToken, LoginError> {
        let file = self.files.application_path(application);
        let mut seed = [0; crypto_box::KEY_SIZE];
        rand::rngs::SysRng
            .try_fill_bytes(&mut seed)
            .map_err(LoginError::NoRandomness)?;
        let key = SecretKey::from_bytes(seed);
        let public = BASE64_URL_SAFE.encode(key.public_key().as_bytes());
        let url = login_url(&self.url, &public, &application.audience)?;
        let _url = self.files.write_url(&file, &url).map_err(at(&file))?;
        show(&url);
        let answer = poll(&self.client, &self.transfer(application), &public).await?;
        let (app_token, org_token) = open(&key, &answer)?;
        let token = ApplicationToken::parse(&app_token)
            .ok()
            .filter(|token| token.is_for(&application.audience) && token.expires_at() > (self.clock)())
            .ok_or(LoginError::Unusable(
                "the token is for another application, or has ended",
            ))?;
        if let Some(org) = org_token.and_then(|text| ApplicationToken::parse(&text).ok()) {
            let org_file = self.files.org_path(&application.auth_domain);
            self.files.write(&org_file, &org).map_err(at(&org_file))?;
        }
        self.files.write(&file, &token).map_err(at(&file))?;
        Ok(token)
    }

    fn transfer(&self, application: &Application) -> String {
        let signer = application.auth_domain.as_str();
        match &self.transfer {
            Some(transfer) => transfer.trim_end_matches('/').to_owned(),
            None if signer.ends_with(".cloudflareaccess.com") => TRANSFER.into(),
            None => format!("{}/cdn-cgi/access", base(signer)),
        }
    }
}

/// Waits for the box.
async fn poll(client: &HttpClient, transfer: &str, public: &str) -> Result<Answer, LoginError> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| LoginError::Transfer {
        transfer: transfer.to_owned(),
        source,
    };
    let uri: Uri = format!("{transfer}/transfer/{public}")
        .parse()
        .map_err(|error| failed(Box::new(error)))?;
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.uri_mut() = uri.clone();
        match client.send(request, LARGEST_TRANSFER, POLL).await {
            Ok(answer) if answer.status == StatusCode::OK => return Ok(answer),
            Ok(answer) if answer.status.is_server_error() => {
                return Err(failed(format!("it answered {}", answer.status.as_u16()).into()));
            }
            // Not there yet.
            Ok(_) | Err(HttpError::TimedOut { .. }) => tokio::time::sleep(PAUSE).await,
            Err(error) => return Err(failed(Box::new(error))),
        }
    }
    Err(LoginError::NobodySignedIn)
}

impl std::fmt::Debug for LoginOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LoginOptions({})", self.url)
    }
}

impl Renew for LoginOptions {
    /// Without a person: what another process has stored meanwhile, or an exchange of the org token.
    fn renew<'a>(&'a self, old: &'a ApplicationToken) -> BoxFuture<'a, Result<ApplicationToken, RenewError>> {
        Box::pin(async move {
            let boxed = |error: LoginError| RenewError(Box::new(error));
            let application = self
                .application()
                .await
                .map_err(|error| boxed(LoginError::Discovery(error)))?;
            let file = self.files.application_path(&application);
            let taken = Lock::take(&file, Instant::now() + RENEWAL_LOCK).await;
            let _lock = taken.map_err(|source| boxed(at(&file)(source)))?;
            if let Some(stored) = self.stored(&application).filter(|stored| !stored.is_same(old)) {
                return Ok(stored);
            }
            let now = (self.clock)();
            let org = self
                .files
                .read(&self.files.org_path(&application.auth_domain))
                .filter(|org| org.expires_at() > now)
                .ok_or_else(|| RenewError(ExchangeError::NoToken(application.auth_domain.clone()).into()))?;
            let token = exchange(&self.client, &self.url, &application, &org, now)
                .await
                .map_err(|error| RenewError(Box::new(error)))?;
            self.files
                .write(&file, &token)
                .map_err(|source| boxed(at(&file)(source)))?;
            Ok(token)
        })
    }
}

fn at(file: &std::path::Path) -> impl Fn(std::io::Error) -> LoginError + use<> {
    let file = file.to_owned();
    move |source| LoginError::File {
        file: file.clone(),
        source,
    }
}

/// Where a person signs in. The key in it is public, and good for this attempt only.
fn login_url(url: &Uri, public: &str, audience: &str) -> Result<String, LoginError> {
    let mut back =
        Url::parse(&url.to_string()).map_err(|_| LoginError::Unusable("the URL cannot be parsed"))?;
    let mut cli = back.clone();
    back.query_pairs_mut()
        .append_pair("token", public)
        .append_pair("aud", audience);
    cli.set_path("/cdn-cgi/access/cli");
    cli.set_query(None);
    cli.query_pairs_mut()
        .append_pair("token", public)
        .append_pair("aud", audience)
        .append_pair("redirect_url", back.as_str())
        .append_pair("send_org_token", "true")
        .append_pair("edge_token_transfer", "true");
    Ok(cli.into())
}

/// What is in the box.
#[derive(Deserialize)]
struct Handed {
    app_token: String,
    org_token: Option<String>,
}

fn open(key: &SecretKey, answer: &Answer) -> Result<(String, Option<String>), LoginError> {
    let sender: [u8; crypto_box::KEY_SIZE] = answer
        .headers
        .get("service-public-key")
        .and_then(|value| BASE64_URL_SAFE.decode(value.as_bytes()).ok())
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(LoginError::Unusable("it has no public key of the sender"))?;
    let sealed = BASE64_STANDARD
        .decode(answer.body.trim_ascii())
        .map_err(|_| LoginError::Unusable("it is no base64"))?;
    let (nonce, sealed) = sealed
        .split_at_checked(NONCE)
        .ok_or(LoginError::Unusable("it is too short"))?;
    let nonce: [u8; NONCE] = nonce
        .try_into()
        .map_err(|_| LoginError::Unusable("it is too short"))?;
    let opened = SalsaBox::new(&PublicKey::from_bytes(sender), key)
        .decrypt(&nonce.into(), sealed)
        .map_err(|_| LoginError::Unusable("it was sealed for another key"))?;
    let handed: Handed = serde_json::from_slice(&opened)
        .map_err(|_| LoginError::Unusable("what is in it is not a pair of tokens"))?;
    Ok((handed.app_token, handed.org_token))
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use proptest::prelude::*;

    use super::*;

    fn answer(sender: &SecretKey, body: &str) -> Answer {
        let mut headers = HeaderMap::new();
        let public = BASE64_URL_SAFE.encode(sender.public_key().as_bytes());
        headers.insert("service-public-key", public.parse().unwrap());
        Answer {
            status: StatusCode::OK,
            headers,
            body: Bytes::copy_from_slice(body.as_bytes()),
        }
    }

    fn seal(sender: &SecretKey, to: &PublicKey, text: &str) -> String {
        let nonce = [9; NONCE];
        let sealed = SalsaBox::new(to, sender)
            .encrypt(&nonce.into(), text.as_bytes())
            .unwrap();
        BASE64_STANDARD.encode([&nonce[..], &sealed].concat())
    }

    #[test]
    fn boxes() {
        let (mine, sender) = (SecretKey::from_bytes([1; 32]), SecretKey::from_bytes([2; 32]));
        let sealed = seal(
            &sender,
            &mine.public_key(),
            r#"{"app_token":"a","org_token":"o"}"#,
        );
        let opened = open(&mine, &answer(&sender, &sealed)).unwrap();
        assert_eq!(opened, ("a".to_owned(), Some("o".to_owned())));
        let other = SecretKey::from_bytes([3; 32]);
        assert!(open(&other, &answer(&sender, &sealed)).is_err());
        let not_json = seal(&sender, &mine.public_key(), "s3cret");
        let error = open(&mine, &answer(&sender, &not_json)).unwrap_err();
        assert!(!error.to_string().contains("s3cret"));
        for body in ["", "!!", "AAAA"] {
            assert!(open(&mine, &answer(&sender, body)).is_err(), "{body}");
        }
    }

    proptest! {
        #[test]
        fn any_box(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let (mine, sender) = (SecretKey::from_bytes([1; 32]), SecretKey::from_bytes([2; 32]));
            let encoded = answer(&sender, &BASE64_STANDARD.encode(&body));
            prop_assert!(open(&mine, &encoded).is_err());
        }
    }

    #[test]
    fn the_url_carries_the_key_and_comes_back() {
        let url = login_url(&"https://a.example/p?q=1".parse().unwrap(), "k_-=", "aud1").unwrap();
        assert_eq!(
            url,
            "https://a.example/cdn-cgi/access/cli?token=k_-%3D&aud=aud1&redirect_url=https%3A%2F%2Fa.example%2Fp%3Fq%3D1%26token%3Dk_-%253D%26aud%3Daud1&send_org_token=true&edge_token_transfer=true"
        );
    }
}
