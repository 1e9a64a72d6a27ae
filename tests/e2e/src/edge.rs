//! A stand-in for what Access has on the outside: the edge in front of an application, the team's host where people sign
//! in, and the service that hands logins over. It answers as the reference tabulates and keeps every request it got.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};
use bytes::Bytes;
use crypto_box::aead::Aead;
use crypto_box::{PublicKey, SalsaBox, SecretKey};
use http::header::{
    CONNECTION, COOKIE, LOCATION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SET_COOKIE, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// The application's audience tag.
pub const AUDIENCE: &str = "c0ffeec0ffeec0ffeec0ffeec0ffeec0ffeec0ffeec0ffeec0ffeec0ffeec0ff";
/// The one service token that is known.
pub const CLIENT_ID: &str = "0123456789abcdef0123456789abcdef.access";
/// Its secret.
pub const CLIENT_SECRET: &str = "cfast_s3cretS3cretS3cretS3cretS3cretS3cretS3cret01234567";
/// A poll of the transfer service is held this long.
const HOLD: Duration = Duration::from_millis(300);

/// What stands in front of the origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nothing.
    Open,
    /// Service Auth policies only: 403.
    ServiceAuthOnly,
    /// An allow policy too: 302 to the login.
    Login,
    /// Strict service token authentication: 401 for a token that is not known.
    Strict,
    /// Strict, and no policy admits the token.
    StrictNotAuthorised,
    /// Requests pass with a token, upgrades never.
    WorkerDestination,
    /// A bot challenge.
    Firewall,
    /// The tunnel behind the edge is down.
    TunnelDown,
}

/// One request as it came: which host, its line, its headers.
pub type Seen = (&'static str, String, HeaderMap);

/// The stand-in. It ends with the test's runtime.
#[derive(Clone)]
pub struct Edge(Arc<Inner>);

struct Inner {
    app: SocketAddr,
    team: SocketAddr,
    secure: bool,
    ca: tempfile::TempDir,
    key: EncodingKey,
    keys: JwkSet,
    state: Mutex<State>,
    handed: Notify,
}

struct State {
    mode: Mode,
    /// Where the login redirect leads, when not to the team's host here.
    login: Option<String>,
    /// Where the team's host sends a browser back to, when not to the application.
    back: Option<String>,
    issued: u32,
    live: Vec<String>,
    org: Option<String>,
    boxes: HashMap<String, (String, String)>,
    lifetime: i64,
    seen: Vec<Seen>,
}

impl Edge {
    /// A stand-in on free loopback ports; the application's host speaks TLS under a fresh authority if `secure`.
    pub async fn start(mode: Mode, secure: bool) -> Result<Self> {
        let (app, team) = (
            TcpListener::bind("127.0.0.1:0").await?,
            TcpListener::bind("127.0.0.1:0").await?,
        );
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256)?;
        let key = EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes())?;
        let mut jwk = Jwk::from_encoding_key(&key, Algorithm::RS256)?;
        jwk.common.key_id = Some("k1".into());
        let ca = tempfile::tempdir()?;
        let acceptor = secure.then(|| tls(ca.path())).transpose()?;
        let edge = Self(Arc::new(Inner {
            app: app.local_addr()?,
            team: team.local_addr()?,
            secure,
            ca,
            key,
            keys: JwkSet { keys: vec![jwk] },
            state: Mutex::new(State {
                mode,
                login: None,
                back: None,
                issued: 0,
                live: Vec::new(),
                org: None,
                boxes: HashMap::new(),
                lifetime: 3600,
                seen: Vec::new(),
            }),
            handed: Notify::new(),
        }));
        edge.clone().serve(app, "app", acceptor);
        edge.clone().serve(team, "team", None);
        Ok(edge)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("no holder panics")
    }

    /// `host:port` of the application; `localhost` where a certificate has to name it.
    pub fn domain(&self) -> String {
        let name = if self.0.secure { "localhost" } else { "127.0.0.1" };
        format!("{name}:{}", self.0.app.port())
    }

    /// The application's URL.
    pub fn url(&self) -> String {
        format!(
            "{}://{}/",
            if self.0.secure { "https" } else { "http" },
            self.domain()
        )
    }

    /// `host:port` where people sign in.
    pub fn team(&self) -> String {
        self.0.team.to_string()
    }

    /// The transfer service.
    pub fn transfer(&self) -> String {
        format!("http://{}", self.0.team)
    }

    /// The authority of the application's certificate.
    pub fn ca(&self) -> PathBuf {
        self.0.ca.path().join("ca.pem")
    }

    /// Changes what stands there.
    pub fn set_mode(&self, mode: Mode) {
        self.state().mode = mode;
    }

    /// How many seconds application tokens last from now on.
    pub fn set_lifetime(&self, seconds: i64) {
        self.state().lifetime = seconds;
    }

    /// Lets login redirects lead elsewhere: nobody follows the real one from here.
    pub fn set_login(&self, base: &str) {
        self.state().login = Some(base.to_owned());
    }

    /// Lets the way back from a login lead elsewhere.
    pub fn set_back(&self, base: Option<String>) {
        self.state().back = base;
    }

    /// Ends every application token.
    pub fn revoke(&self) {
        self.state().live.clear();
    }

    /// Takes what came so far.
    pub fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.state().seen)
    }

    /// Application tokens issued so far.
    pub fn issued(&self) -> u32 {
        self.state().issued
    }

    /// Does what a person does who opens the login URL and signs in.
    pub async fn sign_in(&self, url: &str) -> Result<()> {
        let answer = crate::client::Outgoing::new(http::Method::GET, url)
            .send()
            .await?;
        anyhow::ensure!(
            answer.status == StatusCode::OK,
            "{}: {}",
            answer.status,
            answer.text()
        );
        Ok(())
    }

    fn serve(self, listener: TcpListener, host: &'static str, tls: Option<TlsAcceptor>) {
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (edge, tls) = (self.clone(), tls.clone());
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let edge = edge.clone();
                        async move { edge.answer(host, request).await }
                    });
                    let http = hyper::server::conn::http1::Builder::new();
                    // A client that goes away is no matter here.
                    match tls {
                        None => {
                            let _ = http
                                .serve_connection(TokioIo::new(stream), service)
                                .with_upgrades()
                                .await;
                        }
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                let _ = http
                                    .serve_connection(TokioIo::new(stream), service)
                                    .with_upgrades()
                                    .await;
                            }
                        }
                    }
                });
            }
        });
    }

    async fn answer(self, host: &'static str, request: Request<Incoming>) -> Result<Response<Full<Bytes>>> {
        let (parts, _) = request.into_parts();
        let line = format!("{} {}", parts.method, parts.uri);
        self.state().seen.push((host, line, parts.headers.clone()));
        let query: HashMap<String, String> =
            url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes())
                .into_owned()
                .collect();
        match (host, parts.uri.path()) {
            ("team", "/cdn-cgi/access/certs") => text(200, &serde_json::to_string(&self.0.keys)?),
            ("team", path) if path.starts_with("/transfer/") => {
                self.transfer_box(&path["/transfer/".len()..]).await
            }
            ("team", path) if path.starts_with("/cdn-cgi/access/login") => self.login(&parts.headers),
            ("app", "/cdn-cgi/access/cli") => self.hand_over(&query),
            ("app", "/cdn-cgi/access/authorized") => self.authorized(&parts.headers),
            ("app", path) if path.starts_with("/.well-known/cloudflare-access-protected-resource") => {
                self.resource()
            }
            ("app", _) => self.application(&parts.headers, parts.uri.path()),
            _ => text(404, ""),
        }
    }

    fn application(&self, headers: &HeaderMap, path: &str) -> Result<Response<Full<Bytes>>> {
        let mode = self.state().mode;
        let get = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let pair = (get("cf-access-client-id"), get("cf-access-client-secret"));
        let (sent, known) = (
            pair.0.is_some() && pair.1.is_some(),
            pair == (Some(CLIENT_ID), Some(CLIENT_SECRET)),
        );
        let login = get("cf-access-token")
            .map(str::to_owned)
            .or_else(|| cookie(headers, "CF_Authorization"));
        let signed_in = login.is_some_and(|token| self.state().live.contains(&token));
        let upgrade = headers.contains_key(UPGRADE);
        let page = "<title>Error \u{30fb} Cloudflare Access</title>";
        let mut response = match mode {
            Mode::Open => self.origin(headers, path),
            Mode::Firewall => {
                let mut response = text(403, "Just a moment...")?;
                response
                    .headers_mut()
                    .insert("cf-mitigated", HeaderValue::from_static("challenge"));
                Ok(response)
            }
            Mode::TunnelDown => text(530, "error code: 1033"),
            Mode::WorkerDestination if upgrade => text(403, page),
            Mode::StrictNotAuthorised if known => text(403, page),
            Mode::Strict | Mode::StrictNotAuthorised if sent && !known => text(401, page),
            _ if known || signed_in => self.origin(headers, path),
            Mode::ServiceAuthOnly | Mode::Strict | Mode::StrictNotAuthorised | Mode::WorkerDestination => {
                let mut response = text(403, page)?;
                response
                    .headers_mut()
                    .insert("cf-access-aud", HeaderValue::from_static(AUDIENCE));
                Ok(response)
            }
            Mode::Login => self.redirect(path),
        }?;
        if headers.contains_key("cf-access-metadata-request") && mode != Mode::Open {
            let hostname = self.domain();
            let hostname = hostname.split(':').next().unwrap_or_default();
            let statement = self.sign(&json!({
                "type": "match", "hostname": hostname, "auth_domain": self.team(), "aud": AUDIENCE,
                "app_hostname": hostname, "iat": now(),
            }))?;
            response
                .headers_mut()
                .insert("cf-access-metadata", statement.parse()?);
        }
        Ok(response)
    }

    /// The origin: an upgrade is accepted, an OAuth token request is granted, all else is greeted.
    fn origin(&self, headers: &HeaderMap, path: &str) -> Result<Response<Full<Bytes>>> {
        if path == "/oauth2/token" {
            let token = json!({"access_token": "granted", "expires_in": 3600, "refresh_token": "next", "scope": "account:read", "token_type": "bearer"});
            return text(200, &token.to_string());
        }
        let Some(key) = headers.get(SEC_WEBSOCKET_KEY) else {
            return text(200, "origin");
        };
        let mut response = text(101, "")?;
        let accept = derive_accept_key(key.as_bytes());
        for (name, value) in [
            (CONNECTION, HeaderValue::from_static("Upgrade")),
            (UPGRADE, HeaderValue::from_static("websocket")),
            (SEC_WEBSOCKET_ACCEPT, accept.parse()?),
        ] {
            response.headers_mut().insert(name, value);
        }
        Ok(response)
    }

    fn redirect(&self, path: &str) -> Result<Response<Full<Bytes>>> {
        let meta = self.sign(&json!({
            "type": "meta", "aud": AUDIENCE, "hostname": "127.0.0.1", "redirect_url": path,
            "service_token_status": false, "iat": now(), "exp": now() + 300,
        }))?;
        let base = self
            .state()
            .login
            .clone()
            .unwrap_or_else(|| format!("http://{}", self.0.team));
        let location = format!(
            "{base}/cdn-cgi/access/login/{}?kid={AUDIENCE}&meta={meta}&redirect_url=%2F",
            self.domain()
        );
        let mut response = text(302, "302 Found")?;
        response.headers_mut().insert(LOCATION, location.parse()?);
        response.headers_mut().insert(
            SET_COOKIE,
            HeaderValue::from_static("CF_AppSession=session1; Secure; HttpOnly"),
        );
        Ok(response)
    }

    fn resource(&self) -> Result<Response<Full<Bytes>>> {
        if self.state().mode == Mode::Open {
            return text(404, "");
        }
        let document = json!({
            "resource": self.url(), "protected": true, "team_domain": self.team(),
            "authentication_methods": [{"name": "cloudflared"}],
        });
        text(200, &document.to_string())
    }

    /// The team's login page: an org token goes straight back to the application.
    fn login(&self, headers: &HeaderMap) -> Result<Response<Full<Bytes>>> {
        let sent = cookie(headers, "CF_Authorization");
        let state = self.state();
        if sent.is_none() || sent != state.org {
            return text(200, "<title>Sign in \u{30fb} Cloudflare Access</title>");
        }
        let base = state
            .back
            .clone()
            .unwrap_or_else(|| format!("http://{}", self.domain()));
        let mut response = text(302, "")?;
        response.headers_mut().insert(
            LOCATION,
            format!("{base}/cdn-cgi/access/authorized?nonce=1").parse()?,
        );
        Ok(response)
    }

    fn authorized(&self, headers: &HeaderMap) -> Result<Response<Full<Bytes>>> {
        if cookie(headers, "CF_AppSession").as_deref() != Some("session1") {
            return text(400, "no session");
        }
        let token = self.issue()?;
        let mut response = text(302, "")?;
        let value =
            format!("CF_Authorization={token}; Path=/; Secure; Expires=Thu, 31 Dec 2099 00:00:00 GMT");
        response.headers_mut().insert(SET_COOKIE, value.parse()?);
        Ok(response)
    }

    /// A person has signed in: the tokens wait in the box for the key in the URL.
    fn hand_over(&self, query: &HashMap<String, String>) -> Result<Response<Full<Bytes>>> {
        let public = query.get("token").context("the login URL has a key")?;
        anyhow::ensure!(
            query.get("aud").is_some_and(|aud| aud == AUDIENCE),
            "the login URL has the tag"
        );
        anyhow::ensure!(
            query
                .get("edge_token_transfer")
                .is_some_and(|value| value == "true"),
            "asks for the transfer"
        );
        let key: [u8; 32] = BASE64_URL_SAFE
            .decode(public)?
            .try_into()
            .ok()
            .context("a key has 32 bytes")?;
        let app_token = self.issue()?;
        let org_token = self.sign(
            &json!({"type": "org", "aud": ["org"], "iat": now(), "exp": now() + 86_400, "n": self.issued()}),
        )?;
        self.state().org = Some(org_token.clone());
        let (sender, nonce) = (SecretKey::from_bytes([7; 32]), [3; 24]);
        let plain = json!({"app_token": app_token, "org_token": org_token}).to_string();
        let sealed = SalsaBox::new(&PublicKey::from_bytes(key), &sender)
            .encrypt(&nonce.into(), plain.as_bytes())
            .ok()
            .context("seal")?;
        let sealed = BASE64_STANDARD.encode([&nonce[..], &sealed].concat());
        let sender = BASE64_URL_SAFE.encode(sender.public_key().as_bytes());
        self.state().boxes.insert(public.clone(), (sender, sealed));
        self.0.handed.notify_waiters();
        text(200, "you may close this page")
    }

    async fn transfer_box(&self, public: &str) -> Result<Response<Full<Bytes>>> {
        let handed = self.0.handed.notified();
        let mut found = self.state().boxes.remove(public);
        if found.is_none() {
            let _ = tokio::time::timeout(HOLD, handed).await;
            found = self.state().boxes.remove(public);
        }
        let Some((sender, sealed)) = found else {
            return text(404, "");
        };
        let mut response = text(200, &sealed)?;
        response
            .headers_mut()
            .insert("service-public-key", sender.parse()?);
        Ok(response)
    }

    fn issue(&self) -> Result<String> {
        let (serial, lifetime) = {
            let mut state = self.state();
            state.issued += 1;
            (state.issued, state.lifetime)
        };
        let token = self.sign(&json!({
            "type": "app", "aud": [AUDIENCE], "email": "person@example.com", "iat": now(), "exp": now() + lifetime, "n": serial,
        }))?;
        self.state().live.push(token.clone());
        Ok(token)
    }

    fn sign(&self, claims: &Value) -> Result<String> {
        let mut header = Header::new(Algorithm::RS256);
        header.kid = Some("k1".into());
        Ok(jsonwebtoken::encode(&header, claims, &self.0.key)?)
    }
}

fn tls(folder: &Path) -> Result<TlsAcceptor> {
    let mut authority = rcgen::CertificateParams::new(Vec::new())?;
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_key = rcgen::KeyPair::generate()?;
    let authority = rcgen::CertifiedIssuer::self_signed(authority, authority_key)?;
    let leaf_key = rcgen::KeyPair::generate()?;
    let leaf = rcgen::CertificateParams::new(vec!["localhost".into()])?.signed_by(&leaf_key, &authority)?;
    std::fs::write(folder.join("ca.pem"), authority.pem())?;
    let key = PrivateKeyDer::try_from(leaf_key.serialize_der()).map_err(anyhow::Error::msg)?;
    let provider = tokio_rustls::rustls::crypto::aws_lc_rs::default_provider();
    let config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let cookies = headers.get(COOKIE)?.to_str().ok()?;
    cookies.split(';').find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        (key == name).then(|| value.to_owned())
    })
}

fn text(status: u16, body: &str) -> Result<Response<Full<Bytes>>> {
    let mut response = Response::new(Full::from(body.to_owned()));
    *response.status_mut() = StatusCode::from_u16(status)?;
    Ok(response)
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
