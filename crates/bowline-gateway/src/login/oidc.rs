//! A login at an identity provider, by OpenID Connect: authorization code, PKCE, and an ID token whose address counts.
//!
//! Sources: OpenID Connect Core 1.0 §3.1 and Discovery 1.0 §4; RFC 6749 §4.1, RFC 7636. Why no library does it:
//! docs/adr/0006.
//!
//! Nothing is kept between the redirect and the way back. What the redirect was about is in `state`, signed by us; the
//! nonce and PKCE's verifier follow from the `CF_Session` cookie that it set, whose hash is in `state` as well. So any
//! gateway of several may answer the way back, and a `state` is worth nothing in another browser.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use bowline_access::{UnixSeconds, hex};
use bowline_access_store::{Snapshot, random};
use bowline_binding::{Body, empty, full};
use bowline_secret::Secret;
use bowline_upstream::{Http, HttpError, Waits};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;
use url::Url;

use super::page::{over, to};
use super::{Wanted, cookies, hash};
use crate::challenge::percent_encode;
use crate::gateway::Inner;
use crate::{respond, whole};

/// How long a person may take at the provider, in seconds.
const AWAY: i64 = 900;
/// Clocks may differ by this much, in seconds.
const LEEWAY: i64 = 60;
/// What the provider says about itself is asked for again after this, and its keys on a new key at most this often.
const FRESH: i64 = 3600;
const KEYS: i64 = 60;
/// Answers of a provider are small.
const LARGEST: usize = 256 * 1024;
/// A person's address is shorter.
const LONGEST_EMAIL: usize = 254;
/// The cookie between the redirect and the way back, on the team domain.
const SESSION: &str = "CF_Session";
/// What may sign an ID token. Nothing with a shared secret.
const SIGNATURES: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// An identity provider, and what we are to it.
#[derive(Debug, Clone)]
pub struct OidcSettings {
    /// Its issuer: an https URL, or http on this machine.
    pub issuer: String,
    /// Our client id there.
    pub client_id: String,
    /// Our secret there; a client without one is a public client.
    pub client_secret: Option<Secret>,
    /// Certificate authorities to trust besides the system's, as PEM files.
    pub authorities: Vec<PathBuf>,
}

/// A login by OpenID Connect cannot be set up, or did not come about. No text holds a code, a token or a secret.
#[derive(Debug, thiserror::Error)]
pub enum OidcError {
    /// A URL is not one that secrets may go to.
    #[error("`{0}` is not an https URL (or http on this machine) of an identity provider")]
    Url(String),
    /// The provider cannot be asked.
    #[error("ask the identity provider")]
    Http(#[from] HttpError),
    /// The person did not log in, or was not let in.
    #[error("the identity provider did not let the person in: {0}")]
    Refused(String),
    /// The provider refused us, or its answer makes no sense.
    #[error("the identity provider answered {what} with {answer}")]
    Answer {
        /// What was asked.
        what: &'static str,
        /// Its status, error code, or what is wrong.
        answer: String,
    },
    /// The ID token is not one for this login.
    #[error("the identity provider's ID token cannot be used: {0}")]
    IdToken(String),
    /// Who logged in has no address that counts.
    #[error("the identity provider names no e-mail address of the person, or one that it has not verified")]
    NoEmail,
}

/// Logins by OpenID Connect.
#[derive(Debug)]
pub struct OidcLogin {
    settings: OidcSettings,
    http: Http,
    /// What is known of the provider, and since when. Held while it is asked, so that it is asked once.
    provider: Mutex<Option<(Provider, UnixSeconds)>>,
}

/// What a provider says about itself, and its keys.
#[derive(Debug, Clone)]
struct Provider {
    metadata: Metadata,
    keys: JwkSet,
}

#[derive(Debug, Clone, Deserialize)]
struct Metadata {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    userinfo_endpoint: Option<String>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Tokens {
    id_token: String,
    access_token: Option<String>,
}

/// The claims of an ID token, or of the userinfo endpoint, about who it is.
#[derive(Debug, Deserialize)]
struct Person {
    sub: String,
    email: Option<String>,
    email_verified: Option<Value>,
}

impl OidcLogin {
    /// Logins at a provider. Asks it nothing yet.
    pub fn new(settings: OidcSettings) -> Result<Self, OidcError> {
        secret_url(&settings.issuer)?;
        let waits = Waits {
            first_byte: Duration::from_secs(10),
            idle: Duration::from_secs(10),
            ..Waits::default()
        };
        Ok(Self {
            http: Http::new(settings.authorities.clone(), waits),
            settings,
            provider: Mutex::default(),
        })
    }

    /// Sends a person to the provider.
    pub(super) async fn begin(
        &self,
        gateway: &Inner,
        snapshot: &Snapshot,
        wanted: &Wanted,
    ) -> Response<Body> {
        let now = (gateway.options.clock)();
        if !gateway.may_sign(now) {
            return over(
                StatusCode::TOO_MANY_REQUESTS,
                "Too many people are logging in. Try again in a moment.",
            );
        }
        let location = match self.provider(now, FRESH).await {
            Ok(provider) => self.location(gateway, snapshot, wanted, &provider.metadata, now),
            Err(error) => return failed(&error),
        };
        let Some((location, cookie)) = location else {
            return respond::text(StatusCode::SERVICE_UNAVAILABLE, "the login cannot be started now");
        };
        let mut response = to(StatusCode::FOUND, &location);
        response.headers_mut().append(SET_COOKIE, cookie);
        response
    }

    /// The URL at the provider, and the cookie that the way back needs.
    fn location(
        &self,
        gateway: &Inner,
        snapshot: &Snapshot,
        wanted: &Wanted,
        metadata: &Metadata,
        now: UnixSeconds,
    ) -> Option<(String, HeaderValue)> {
        let session = hex(&random::<32>().ok()?);
        let state = json!({
            "type": "oidc-state", "aud": &*wanted.place.application.aud, "hostname": wanted.place.host,
            "redirect_url": wanted.back, "app_session_hash": wanted.app_session_hash, "session": hash(&session),
            "iat": now, "exp": now + AWAY,
        });
        let state = gateway.keys.sign(snapshot, &state).ok()?;
        let challenge = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(verifier(&session)));
        let mut location = Url::parse(&metadata.authorization_endpoint).ok()?;
        location
            .query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("redirect_uri", &redirect_uri(gateway, snapshot))
            .append_pair("scope", "openid email")
            .append_pair("state", &state)
            .append_pair("nonce", &nonce(&session))
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        let cookie = format!(
            "{SESSION}={session}; Max-Age={AWAY}; Path=/cdn-cgi/access/; Secure; HttpOnly; SameSite=Lax"
        );
        let mut cookie = HeaderValue::try_from(cookie).ok()?;
        cookie.set_sensitive(true);
        Some((location.into(), cookie))
    }

    /// The way back from the provider: finds out who it is, and hands over.
    pub(super) async fn callback(
        &self,
        gateway: &Inner,
        snapshot: &Snapshot,
        query: &str,
        headers: &HeaderMap,
    ) -> Response<Body> {
        let now = (gateway.options.clock)();
        let query: HashMap<String, String> = url::form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        let begun = query.get("state").and_then(|state| {
            let claims = gateway.keys.claims(snapshot, state, "oidc-state", now)?;
            let session = cookies(headers, SESSION)
                .take(4)
                .find(|session| claims["session"] == hash(session))?;
            Some((gateway.wanted_by(snapshot, &claims)?, session.to_owned()))
        });
        let Some((wanted, session)) = begun else {
            return over(
                StatusCode::BAD_REQUEST,
                "This login is over, or belongs to another browser. Open the protected page again.",
            );
        };
        let Some(code) = query.get("code") else {
            let said = query.get("error").map(String::as_str).unwrap_or_default();
            return failed(&OidcError::Refused(word(said)));
        };
        match self
            .who(code, &session, &redirect_uri(gateway, snapshot), now)
            .await
        {
            Ok(email) => gateway.hand_over(snapshot, &wanted, &email, now),
            Err(error) => failed(&error),
        }
    }

    /// The address of the person that a code stands for.
    async fn who(
        &self,
        code: &str,
        session: &str,
        redirect_uri: &str,
        now: UnixSeconds,
    ) -> Result<String, OidcError> {
        let provider = self.provider(now, FRESH).await?;
        let exchange = self.exchange(&provider.metadata, code, session, redirect_uri)?;
        let tokens: Tokens = self.ask("the code", exchange).await?;
        let claims = match verify(&tokens.id_token, &provider.keys)? {
            Some(claims) => claims,
            // The provider may have a new key.
            None => {
                let provider = self.provider(now, KEYS).await?;
                let unknown = || OidcError::IdToken("its key is none of the provider's".into());
                verify(&tokens.id_token, &provider.keys)?.ok_or_else(unknown)?
            }
        };
        check(
            &claims,
            &self.settings.issuer,
            &self.settings.client_id,
            &nonce(session),
            now,
        )?;
        let mut person: Person =
            serde_json::from_value(claims).map_err(|error| OidcError::IdToken(error.to_string()))?;
        if person.email.is_none()
            && let Some(endpoint) = &provider.metadata.userinfo_endpoint
            && let Some(token) = &tokens.access_token
        {
            let more: Person = self.userinfo(endpoint, token).await?;
            // Core §5.3.2: an answer about somebody else is not to be used.
            if more.sub != person.sub {
                return Err(OidcError::IdToken(
                    "the userinfo endpoint tells of another person".into(),
                ));
            }
            person = more;
        }
        address(person).ok_or(OidcError::NoEmail)
    }

    /// The request that turns a code into tokens.
    fn exchange(
        &self,
        metadata: &Metadata,
        code: &str,
        session: &str,
        redirect_uri: &str,
    ) -> Result<Request<Body>, OidcError> {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "authorization_code")
            .append_pair("code", code)
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("code_verifier", &verifier(session));
        let id = &self.settings.client_id;
        let basic = metadata
            .token_endpoint_auth_methods_supported
            .as_ref()
            // Not told means this one (Discovery §3).
            .is_none_or(|methods| methods.iter().any(|method| method == "client_secret_basic"));
        let mut authorization = None;
        match &self.settings.client_secret {
            None => {
                form.append_pair("client_id", id);
            }
            Some(secret) if basic => {
                // RFC 6749 §2.3.1: each half is encoded first.
                let mut pair = String::new();
                percent_encode(id, &mut pair);
                pair.push(':');
                percent_encode(secret.expose(), &mut pair);
                authorization = Some(format!("Basic {}", BASE64_STANDARD.encode(pair)));
            }
            Some(secret) => {
                form.append_pair("client_id", id)
                    .append_pair("client_secret", secret.expose());
            }
        }
        let mut request = request(Method::POST, &metadata.token_endpoint, full(form.finish()))?;
        request.headers_mut().insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        authorize(&mut request, authorization);
        Ok(request)
    }

    async fn userinfo(&self, endpoint: &str, access_token: &str) -> Result<Person, OidcError> {
        let mut request = request(Method::GET, endpoint, empty())?;
        authorize(&mut request, Some(format!("Bearer {access_token}")));
        self.ask("the question who it is", request).await
    }

    /// What is known of the provider, asked for anew when it is older than `age` seconds.
    async fn provider(&self, now: UnixSeconds, age: i64) -> Result<Provider, OidcError> {
        let mut known = self.provider.lock().await;
        if let Some((provider, since)) = &*known
            && now.saturating_sub(*since) < age
        {
            return Ok(provider.clone());
        }
        let issuer = self.settings.issuer.trim_end_matches('/');
        let url = format!("{issuer}/.well-known/openid-configuration");
        let what = "the question what it is";
        let metadata: Metadata = self.ask(what, request(Method::GET, &url, empty())?).await?;
        if metadata.issuer != self.settings.issuer {
            let answer = format!("the issuer `{}`", word(&metadata.issuer));
            return Err(OidcError::Answer { what, answer });
        }
        let endpoints = [
            Some(&metadata.authorization_endpoint),
            Some(&metadata.token_endpoint),
            metadata.userinfo_endpoint.as_ref(),
        ];
        for endpoint in endpoints.into_iter().flatten() {
            secret_url(endpoint)?;
        }
        let keys = request(Method::GET, &metadata.jwks_uri, empty())?;
        let keys = self.ask("the question for its keys", keys).await?;
        let provider = Provider { metadata, keys };
        *known = Some((provider.clone(), now));
        Ok(provider)
    }

    /// Sends a request whose answer is JSON.
    async fn ask<T: DeserializeOwned>(
        &self,
        what: &'static str,
        request: Request<Body>,
    ) -> Result<T, OidcError> {
        let response = self.http.send(request, None).await?;
        let status = response.status();
        let wrong = |answer: String| OidcError::Answer { what, answer };
        let body = whole(response.into_body(), LARGEST)
            .await
            .map_err(|error| wrong(format!("a body that cannot be read: {error}")))?;
        if status != StatusCode::OK {
            let said: Value = serde_json::from_slice(&body).unwrap_or_default();
            let code = word(said["error"].as_str().unwrap_or_default());
            return Err(wrong(format!("{} {code}", status.as_u16())));
        }
        // Not the parser's own words: they may quote a token.
        serde_json::from_slice(&body)
            .map_err(|_| wrong("something that is not what the standard says".into()))
    }
}

/// The page for a login that did not come about; the log has the reason with its causes.
fn failed(error: &OidcError) -> Response<Body> {
    tracing::warn!(error.kind = "oidc", error = %respond::chain(error), "a login did not come about");
    let (status, why) = match error {
        OidcError::NoEmail => (
            StatusCode::FORBIDDEN,
            "Your identity provider names no verified e-mail address of yours.",
        ),
        OidcError::Refused(_) => (
            StatusCode::FORBIDDEN,
            "Your identity provider did not let you in.",
        ),
        _ => (
            StatusCode::BAD_GATEWAY,
            "Your identity provider cannot be used now; the gateway's log says why.",
        ),
    };
    over(status, &format!("{why} Open the protected page again."))
}

/// Where the provider sends people back to; it has to know this URL.
fn redirect_uri(gateway: &Inner, snapshot: &Snapshot) -> String {
    format!("{}/cdn-cgi/access/callback", gateway.issuer(snapshot))
}

/// The nonce of a session cookie.
fn nonce(session: &str) -> String {
    hash(&format!("nonce {session}"))
}

/// PKCE's verifier of a session cookie: 43 characters (RFC 7636 §4.1).
fn verifier(session: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(format!("verifier {session}")))
}

/// A URL that codes and secrets may go to.
fn secret_url(text: &str) -> Result<(), OidcError> {
    let bad = || OidcError::Url(word(text));
    let url = Url::parse(text).map_err(|_| bad())?;
    let here = match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => return Err(bad()),
    };
    let plain = url.username().is_empty() && url.password().is_none();
    let secure = url.scheme() == "https" || url.scheme() == "http" && here;
    (plain && secure).then_some(()).ok_or_else(bad)
}

fn request(method: Method, url: &str, body: Body) -> Result<Request<Body>, OidcError> {
    secret_url(url)?;
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = url.parse().map_err(|_| OidcError::Url(word(url)))?;
    request
        .headers_mut()
        .insert(ACCEPT, HeaderValue::from_static("application/json"));
    Ok(request)
}

fn authorize(request: &mut Request<Body>, value: Option<String>) {
    if let Some(mut value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
        value.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, value);
    }
}

/// A provider's word, fit for a log.
fn word(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(128).collect()
}

/// The claims of a token that one of `keys` signed; `None` when none of them has its id.
fn verify(token: &str, keys: &JwkSet) -> Result<Option<Value>, OidcError> {
    let bad = |error: jsonwebtoken::errors::Error| OidcError::IdToken(error.to_string());
    let header = jsonwebtoken::decode_header(token).map_err(bad)?;
    if !SIGNATURES.contains(&header.alg) {
        return Err(OidcError::IdToken("it is not signed with a key pair".into()));
    }
    let key = match &header.kid {
        Some(kid) => keys.find(kid),
        // Core §10.1: without an id there is one key.
        None => keys.keys.first().filter(|_| keys.keys.len() == 1),
    };
    let Some(key) = key else { return Ok(None) };
    let mut validation = Validation::new(header.alg);
    // All of them are checked by `check`, by our clock.
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    let key = DecodingKey::from_jwk(key).map_err(bad)?;
    let decoded = jsonwebtoken::decode::<Value>(token, &key, &validation).map_err(bad)?;
    Ok(Some(decoded.claims))
}

/// The checks of Core §3.1.3.7.
fn check(
    claims: &Value,
    issuer: &str,
    client_id: &str,
    nonce: &str,
    now: UnixSeconds,
) -> Result<(), OidcError> {
    let bad = |claim: &str| {
        Err(OidcError::IdToken(format!(
            "its `{claim}` is not that of this login"
        )))
    };
    if claims["iss"] != issuer {
        return bad("iss");
    }
    let others = match &claims["aud"] {
        Value::String(aud) if aud == client_id => false,
        Value::Array(list) if list.iter().any(|aud| aud == client_id) => list.len() > 1,
        _ => return bad("aud"),
    };
    let azp = &claims["azp"];
    if (others || !azp.is_null()) && azp != client_id {
        return bad("azp");
    }
    if claims["nonce"] != nonce {
        return bad("nonce");
    }
    if claims["exp"]
        .as_i64()
        .is_none_or(|end| now >= end.saturating_add(LEEWAY))
    {
        return bad("exp");
    }
    if claims["iat"]
        .as_i64()
        .is_none_or(|at| at > now.saturating_add(LEEWAY))
    {
        return bad("iat");
    }
    Ok(())
}

/// The person's address. One that the provider says it has not verified is anybody's; where it says nothing, it vouches
/// for what it says (as oauth2-proxy takes it).
fn address(person: Person) -> Option<String> {
    let unverified = match &person.email_verified {
        None => false,
        Some(Value::Bool(verified)) => !verified,
        // Some send it as a text.
        Some(Value::String(verified)) => verified != "true",
        Some(_) => true,
    };
    let email = person.email?.trim().to_owned();
    let plain = email.len() <= LONGEST_EMAIL
        && email.contains('@')
        && !email.chars().any(|c| c.is_control() || c.is_whitespace());
    (plain && !unverified).then_some(email)
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::jwk::Jwk;
    use jsonwebtoken::{EncodingKey, Header};

    use super::*;

    #[test]
    fn where_secrets_may_go() {
        for good in [
            "https://id.example",
            "https://id.example:8443/realm",
            "http://127.0.0.1:1",
            "http://localhost:1",
            "http://[::1]:1/x",
        ] {
            assert!(secret_url(good).is_ok(), "{good}");
        }
        for bad in [
            "http://id.example",
            "ftp://id.example",
            "id.example",
            "",
            "https://u:p@id.example",
        ] {
            assert!(secret_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_claims_of_this_login() {
        let good = json!({"iss": "https://id.example", "aud": "us", "nonce": "n", "iat": 1_000, "exp": 2_000, "sub": "p"});
        let judge = |change: Value, now: i64| {
            let mut claims = good.clone();
            for (name, value) in change.as_object().unwrap() {
                claims[name] = value.clone();
            }
            check(&claims, "https://id.example", "us", "n", now)
        };
        for (change, now) in [
            (json!({}), 1_000),
            (json!({"aud": ["us"]}), 1_000),
            (json!({"aud": ["us", "them"], "azp": "us"}), 1_000),
            (json!({}), 2_000 + LEEWAY - 1),
            (json!({}), 1_000 - LEEWAY),
        ] {
            assert!(judge(change.clone(), now).is_ok(), "{change} {now}");
        }
        for (change, now) in [
            (json!({"iss": "https://id.example/"}), 1_000),
            (json!({"aud": "them"}), 1_000),
            (json!({"aud": []}), 1_000),
            (json!({"aud": ["us", "them"]}), 1_000),
            (json!({"azp": "them"}), 1_000),
            (json!({"nonce": "m"}), 1_000),
            (json!({"nonce": null}), 1_000),
            (json!({"exp": null}), 1_000),
            (json!({"iat": null}), 1_000),
            (json!({}), 2_000 + LEEWAY),
            (json!({}), 1_000 - LEEWAY - 1),
        ] {
            assert!(judge(change.clone(), now).is_err(), "{change} {now}");
        }
    }

    #[test]
    fn only_signatures_of_the_providers_keys() {
        let key = |id: &str| {
            let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
            let key = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap();
            let mut jwk = Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap();
            jwk.common.key_id = Some(id.into());
            (key, jwk)
        };
        let token = |key: &EncodingKey, algorithm, kid: Option<&str>| {
            let mut header = Header::new(algorithm);
            header.kid = kid.map(str::to_owned);
            jsonwebtoken::encode(&header, &json!({"sub": "p"}), key).unwrap()
        };
        let ((one, jwk), (other, _)) = (key("a"), key("a"));
        let keys = JwkSet { keys: vec![jwk] };
        for kid in [Some("a"), None] {
            assert_eq!(
                verify(&token(&one, Algorithm::ES256, kid), &keys).unwrap(),
                Some(json!({"sub": "p"}))
            );
        }
        assert_eq!(
            verify(&token(&one, Algorithm::ES256, Some("b")), &keys).unwrap(),
            None
        );
        assert!(verify(&token(&other, Algorithm::ES256, Some("a")), &keys).is_err());
        // A shared secret is what anybody could take the public key for.
        let shared = EncodingKey::from_secret(b"a");
        assert!(verify(&token(&shared, Algorithm::HS256, Some("a")), &keys).is_err());
        assert!(verify("e30.e30.", &keys).is_err());
        let mut two = keys.clone();
        two.keys.push(keys.keys[0].clone());
        assert_eq!(verify(&token(&one, Algorithm::ES256, None), &two).unwrap(), None);
    }

    #[test]
    fn whose_address_counts() {
        let person = |email: Option<&str>, email_verified| Person {
            sub: "p".into(),
            email: email.map(str::to_owned),
            email_verified,
        };
        let verified = |value: Value| address(person(Some("ada@example.com"), Some(value)));
        assert!(address(person(Some("ada@example.com"), None)).is_some());
        assert!(verified(json!(true)).is_some() && verified(json!("true")).is_some());
        for not in [json!(false), json!("false"), json!(1), json!(null)] {
            assert_eq!(verified(not.clone()), None, "{not}");
        }
        for bad in ["", "ada", "a\n@example.com", "a b@example.com"] {
            assert_eq!(address(person(Some(bad), None)), None, "{bad}");
        }
        assert_eq!(address(person(None, Some(json!(true)))), None);
        assert!(verifier("x").len() == 43 && nonce("x") != verifier("x"));
    }
}
