//! What unmodified wrangler makes of a gateway in each mode: its probe takes a 302 to Access for Access and a 403 for
//! nothing, and its headers get it in.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bowline_e2e::access::{Gateway, Site};
use bowline_e2e::authority::Authority;
use bowline_e2e::client::{DEADLINE, Outgoing};
use bowline_e2e::upstream::{self, Answering};
use bowline_e2e::wrangler_access;
use http::{HeaderValue, Method, StatusCode};
use serde_json::{Value, json};

/// Who wrangler signs in with, behind a gateway that speaks TLS as wrangler wants it.
struct Provider {
    site: Site,
    gateway: Gateway,
    authority: Authority,
    domain: String,
    pair: [(&'static str, String); 2],
}

impl Provider {
    /// `people` may log in as well.
    async fn start(people: bool) -> Result<Self> {
        let answers: Answering = Arc::new(|asked| {
            if asked.uri().path() != "/oauth2/token" {
                let mut response = upstream::text("there is nothing here");
                if asked.uri().path() == "/" && !asked.headers().contains_key("cf-access-jwt-assertion") {
                    *response.status_mut() = StatusCode::NOT_FOUND;
                    return Ok(Some(response));
                }
                return Ok(None);
            }
            let token = json!({
                "access_token": "granted", "expires_in": 3600, "refresh_token": "next", "scope": "account:read",
                "token_type": "bearer",
            });
            let mut response = upstream::text(&token.to_string());
            let json = HeaderValue::from_static("application/json");
            response.headers_mut().insert("content-type", json);
            Ok(Some(response))
        });
        let site = Site::before(&format!("http://{}", upstream::answering(answers).await?))?;
        let token = site.token("wrangler").await?;
        let mut policies =
            vec![json!({"decision": "non_identity", "include": {"any_valid_service_token": {}}})];
        if people {
            policies
                .push(json!({"decision": "allow", "include": {"email_domain": {"domain": "example.com"}}}));
        }
        site.application("provider", "localhost", &policies, json!({}))
            .await?;
        let authority = Authority::new()?;
        let files = authority.server(&["localhost"])?;
        let (certificate, key) = (
            files.certificate.to_string_lossy().into_owned(),
            files.key.to_string_lossy().into_owned(),
        );
        let gateway = site
            .gateway_with(&["--tls-certificate", &certificate, "--tls-key", &key], &[])
            .await?;
        let domain = gateway.authority().replace("127.0.0.1", "localhost");
        Ok(Self {
            pair: [
                ("CLOUDFLARE_ACCESS_CLIENT_ID", token.id.unwrap_or_default()),
                (
                    "CLOUDFLARE_ACCESS_CLIENT_SECRET",
                    token.secret.unwrap_or_default(),
                ),
            ],
            site,
            gateway,
            authority,
            domain,
        })
    }

    /// Lets wrangler renew its token; what it said, and what the gateway decided about the renewal: who, and why not.
    async fn renew(&self, variables: &[(&str, &str)]) -> Result<(String, Vec<(Value, Value)>)> {
        let before = self.decisions().await?.len();
        let said = wrangler_access::renew(&self.domain, &self.authority.certificate(), variables).await?;
        let mut decisions = self.decisions().await?;
        decisions.truncate(decisions.len() - before);
        Ok((said, decisions))
    }

    /// The audit log about renewals, newest first.
    async fn decisions(&self) -> Result<Vec<(Value, Value)>> {
        static MARKS: AtomicUsize = AtomicUsize::new(0);
        // The log is written in the order of requests, a moment after them: whatever came before this one is there once
        // this one is.
        let mark = format!("/oauth2/{}", MARKS.fetch_add(1, Ordering::Relaxed));
        Outgoing::new(Method::GET, &format!("https://{}{mark}", self.domain))
            .over(self.authority.trusted(None)?)
            .send()
            .await?;
        let mark = format!("GET {mark}");
        let start = Instant::now();
        loop {
            let log = self.site.access(&["log", "--limit", "1000"]).await?;
            let entries: Vec<_> = log.as_array().into_iter().flatten().collect();
            if entries.iter().any(|entry| entry["request"] == *mark) {
                return Ok(entries
                    .into_iter()
                    .filter(|entry| entry["request"] == "POST /oauth2/token")
                    .map(|entry| (entry["identity"].clone(), entry["reason"].clone()))
                    .collect());
            }
            ensure!(start.elapsed() < DEADLINE, "{mark} is not in {log}");
        }
    }

    fn pair(&self) -> Vec<(&str, &str)> {
        self.pair
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect()
    }
}

#[tokio::test]
async fn sends_its_headers_where_its_probe_sees_access() -> Result<()> {
    let provider = Provider::start(true).await?;
    let pair = provider.pair();
    let (said, decisions) = provider.renew(&pair).await?;
    assert_eq!(
        decisions,
        [(json!(pair[0].1), Value::Null)],
        "admitted as the token: {said}"
    );
    assert!(!said.contains(pair[1].1), "{said}");

    // Half a pair is told by name, and without a terminal the domain and both variables are.
    let (said, decisions) = provider.renew(&pair[..1]).await?;
    assert!(
        said.contains("Only CLOUDFLARE_ACCESS_CLIENT_ID was found"),
        "{said}"
    );
    assert!(decisions.iter().all(|(_, reason)| !reason.is_null()), "{said}");
    let (said, _) = provider.renew(&[]).await?;
    assert!(
        said.contains(&format!(
            "The domain \"{}\" is behind Cloudflare Access",
            provider.domain
        )),
        "{said}"
    );
    assert!(said.contains("CLOUDFLARE_ACCESS_CLIENT_SECRET"), "{said}");

    // Its own variable becomes a cookie, and the gateway takes that for the session it is.
    let request = Outgoing::new(Method::GET, &format!("https://{}/", provider.domain))
        .over(provider.authority.trusted(None)?)
        .header("cf-access-client-id", pair[0].1)
        .header("cf-access-client-secret", pair[1].1);
    let session = provider.gateway.assertion(request).await?;
    let (said, decisions) = provider
        .renew(&[("WRANGLER_CF_AUTHORIZATION_TOKEN", &session)])
        .await?;
    assert!(
        decisions.iter().all(|(_, reason)| reason.is_null()),
        "{decisions:?} {said}"
    );
    Ok(())
}

#[tokio::test]
async fn is_blind_to_an_answer_that_comes_late() -> Result<()> {
    let provider = Provider::start(true).await?;
    // It waits a second, on a path without Access before the answer.
    let late = upstream::late(provider.gateway.authority().parse()?, Duration::from_millis(1500)).await?;
    let domain = format!("localhost:{}", late.port());
    let said = wrangler_access::renew(&domain, &provider.authority.certificate(), &[]).await?;
    assert!(!said.contains("is behind Cloudflare Access"), "{said}");
    let decisions = provider.decisions().await?;
    assert!(
        !decisions.is_empty() && decisions.iter().all(|(_, reason)| reason == "no_credentials"),
        "{decisions:?} {said}"
    );
    Ok(())
}

#[tokio::test]
async fn is_blind_to_an_application_of_a_path() -> Result<()> {
    let provider = Provider::start(true).await?;
    let id = provider.site.access(&["app", "list"]).await?;
    let id = id
        .as_array()
        .into_iter()
        .flatten()
        .find(|app| app["name"] == "provider");
    let id = id.and_then(|app| app["id"].as_str()).unwrap_or_default();
    // The root, which it asks about, answers for itself.
    let members = json!({"domain": "localhost/oauth2", "destinations": []}).to_string();
    provider.site.access(&["app", "set", id, &members]).await?;
    let change = json!({"deny_unmatched_requests": false});
    provider.gateway.ok(Method::PUT, "organizations", change).await?;
    let (said, decisions) = provider.renew(&[]).await?;
    assert!(!said.contains("is behind Cloudflare Access"), "{said}");
    assert!(
        !decisions.is_empty() && decisions.iter().all(|(_, reason)| reason == "no_credentials"),
        "{decisions:?} {said}"
    );
    Ok(())
}

#[tokio::test]
async fn is_blind_to_a_403() -> Result<()> {
    let provider = Provider::start(false).await?;
    for strict in [false, true] {
        let change = json!({"strict_service_token_auth": strict});
        provider.gateway.ok(Method::PUT, "organizations", change).await?;
        let (said, decisions) = provider.renew(&[]).await?;
        assert!(!said.contains("is behind Cloudflare Access"), "{said}");
        assert!(
            !decisions.is_empty() && decisions.iter().all(|(_, reason)| reason == "no_credentials"),
            "it asked without credentials and was refused: {decisions:?} {said}"
        );
    }
    Ok(())
}
