//! What each kind of application answers to each kind of request.

use anyhow::Result;
use bowline_e2e::access::{Gateway, Site, text, with};
use bowline_e2e::client::{Answer, Outgoing, Upgraded};
use bowline_e2e::project::Credentials;
use http::header::{LOCATION, SET_COOKIE, WWW_AUTHENTICATE};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{any_token, people, reached};

/// What a request sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sends {
    Nothing,
    WrongSecret,
    UnknownId,
    HalfPair,
    Twice,
    /// A good token that no policy names.
    Unnamed,
    /// A good token that a policy names.
    Named,
}

use Sends::{HalfPair, Named, Nothing, Twice, UnknownId, Unnamed, WrongSecret};

const ALL: [Sends; 7] = [Nothing, WrongSecret, UnknownId, HalfPair, Twice, Unnamed, Named];

struct Tokens {
    named: Credentials,
    unnamed: Credentials,
}

impl Tokens {
    fn send(&self, sends: Sends, request: Outgoing) -> Outgoing {
        let id = || self.named.id.clone();
        let wrong = |id: Option<String>| Credentials {
            id,
            secret: Some("cfast_wrong".into()),
        };
        match sends {
            Nothing => request,
            WrongSecret => with(request, &wrong(id())),
            UnknownId => with(
                request,
                &wrong(Some("0123456789abcdef0123456789abcdef.access".into())),
            ),
            HalfPair => with(
                request,
                &Credentials {
                    id: id(),
                    secret: None,
                },
            ),
            Twice => with(with(request, &self.named), &self.named),
            Unnamed => with(request, &self.unnamed),
            Named => with(request, &self.named),
        }
    }
}

/// A site with one application of each kind.
async fn site() -> Result<(Site, Gateway, Tokens)> {
    let site = Site::new(None).await?;
    let tokens = Tokens {
        named: site.token("named").await?,
        unnamed: site.token("unnamed").await?,
    };
    let named = site.access(&["token", "list"]).await?;
    let id = named
        .as_array()
        .into_iter()
        .flatten()
        .find(|token| token["name"] == "named")
        .map(|token| token["id"].clone());
    let named = json!({"decision": "non_identity", "include": {"service_token": {"token_id": id}}});
    let answer_401 = json!({"service_auth_401_redirect": true});
    for (name, policies, members) in [
        ("machines", vec![named.clone()], json!({})),
        ("mixed", vec![named.clone(), people()], json!({})),
        ("machines401", vec![named.clone()], answer_401.clone()),
        ("mixed401", vec![named, people()], answer_401),
    ] {
        site.application(name, &format!("{name}.example.com"), &policies, members)
            .await?;
    }
    let gateway = site.gateway().await?;
    Ok((site, gateway, tokens))
}

/// The expected statuses, by kind of application, in the order of [`ALL`].
async fn check(gateway: &Gateway, tokens: &Tokens, xhr: bool, expected: [(&str, [u16; 7]); 4]) -> Result<()> {
    for (kind, (name, statuses)) in (1..).zip(expected) {
        // So many failures from one address would be throttled.
        let from = std::net::Ipv4Addr::new(127, 1, u8::from(xhr), kind).into();
        let host = format!("{name}.example.com");
        for (sends, status) in ALL.into_iter().zip(statuses) {
            let plain = || {
                let request = gateway.request(Method::GET, &host, "/x?y=z").from(from);
                let request = tokens.send(sends, request);
                if xhr {
                    request.header("x-requested-with", "XMLHttpRequest")
                } else {
                    request
                }
            };
            let answer = plain().send().await?;
            assert_eq!(
                answer.status,
                status,
                "{name} {sends:?} xhr {xhr}: {}",
                answer.text()
            );
            // An upgrade is refused by the same answer.
            match plain().upgrade().await? {
                Upgraded::Socket(..) => assert_eq!(status, 200, "{name} {sends:?} upgraded"),
                Upgraded::Answer(answer) => assert_eq!(answer.status, status, "{name} {sends:?} upgrade"),
            }
            if status == 403 || status == 401 && !(xhr && name == "mixed") {
                refused(gateway, &host, &answer);
            }
        }
    }
    Ok(())
}

fn refused(gateway: &Gateway, host: &str, answer: &Answer) {
    let header = |name: &str| {
        answer
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned()
    };
    assert!(!gateway.team.is_empty());
    if answer.text().contains("401 Unauthorized") {
        return;
    }
    assert_eq!(header("cf-access-domain"), host);
    assert_eq!(header("cf-access-aud").len(), 64);
    assert!(
        answer
            .text()
            .contains("<title>Error \u{30fb} Cloudflare Access</title>"),
        "{}",
        answer.text()
    );
    assert!(answer.headers.get(SET_COOKIE).is_none());
}

#[tokio::test]
async fn as_measured() -> Result<()> {
    let (_site, gateway, tokens) = site().await?;
    let table = [
        ("machines", [403, 403, 403, 403, 403, 403, 200]),
        ("mixed", [302, 302, 302, 302, 302, 302, 200]),
        ("machines401", [401, 401, 401, 401, 401, 401, 200]),
        ("mixed401", [302, 401, 401, 401, 401, 401, 200]),
    ];
    check(&gateway, &tokens, false, table).await?;
    let scripts = [
        ("machines", [403, 403, 403, 403, 403, 403, 200]),
        ("mixed", [401, 401, 401, 401, 401, 401, 200]),
        ("machines401", [401, 401, 401, 401, 401, 401, 200]),
        ("mixed401", [401, 401, 401, 401, 401, 401, 200]),
    ];
    check(&gateway, &tokens, true, scripts).await?;
    // `Sec-Fetch-Mode: cors` alone does not make a script.
    let request = gateway.request(Method::GET, "mixed.example.com", "/");
    assert_eq!(
        request.header("sec-fetch-mode", "cors").send().await?.status,
        StatusCode::FOUND
    );
    Ok(())
}

#[tokio::test]
async fn as_documented_for_strict_organisations() -> Result<()> {
    let (_site, gateway, tokens) = site().await?;
    let session = gateway
        .get("mixed.example.com", "/", &tokens.named)
        .send()
        .await?;
    let cookie = session.headers[SET_COOKIE]
        .to_str()?
        .split(';')
        .next()
        .unwrap_or_default()
        .to_owned();
    gateway
        .ok(
            Method::PUT,
            "organizations",
            json!({"strict_service_token_auth": true}),
        )
        .await?;
    let strict = [401, 401, 401, 401, 403, 200];
    let with_nothing = |first: u16| {
        let mut row = [first; 7];
        row[1..].copy_from_slice(&strict);
        row
    };
    let table = [
        ("machines", with_nothing(403)),
        ("mixed", with_nothing(302)),
        ("machines401", with_nothing(401)),
        ("mixed401", with_nothing(302)),
    ];
    check(&gateway, &tokens, false, table).await?;
    // No cookie is set, and none is looked at beside a service token; alone it is a person's or a machine's session.
    let answer = gateway
        .get("mixed.example.com", "/", &tokens.named)
        .send()
        .await?;
    assert!(answer.headers.get(SET_COOKIE).is_none());
    for (sends, status) in [(WrongSecret, 401), (Unnamed, 403), (Nothing, 200)] {
        let request = gateway
            .request(Method::GET, "mixed.example.com", "/")
            .header("cookie", &cookie);
        assert_eq!(
            tokens.send(sends, request).send().await?.status,
            status,
            "{sends:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_redirect_leads_to_the_login_and_tells_where_from() -> Result<()> {
    let (_site, gateway, _) = site().await?;
    let answer = gateway
        .request(Method::GET, "mixed.example.com", "/x/y?z=1&w=%20")
        .send()
        .await?;
    let location = answer.headers[LOCATION].to_str()?;
    let aud = text(
        &gateway.ok(Method::GET, "apps?name=mixed", Value::Null).await?[0],
        "aud",
    )
    .to_owned();
    let start = format!(
        "{}/cdn-cgi/access/login/mixed.example.com?kid={aud}&meta=",
        gateway.team
    );
    assert!(location.starts_with(&start), "{location}");
    assert!(
        location.ends_with("&redirect_url=%2Fx%2Fy%3Fz%3D1%26w%3D%2520"),
        "{location}"
    );
    let challenge = answer.headers[WWW_AUTHENTICATE].to_str()?;
    let document = "/.well-known/cloudflare-access-protected-resource/x/y";
    assert_eq!(
        challenge,
        format!("Cloudflare-Access resource_metadata=\"http://mixed.example.com{document}\"")
    );
    assert!(answer.headers[SET_COOKIE].to_str()?.starts_with("CF_AppSession="));
    // The document is there for everybody.
    let answer = gateway
        .request(Method::GET, "mixed.example.com", document)
        .send()
        .await?;
    let document: Value = serde_json::from_slice(&answer.body)?;
    assert_eq!(document["protected"], true);
    assert_eq!(document["resource"], "http://mixed.example.com/x/y");
    assert_eq!(document["team_domain"], gateway.authority());
    Ok(())
}

#[tokio::test]
async fn json_for_those_who_ask_for_it() -> Result<()> {
    let (_site, gateway, _) = site().await?;
    let request = gateway.request(Method::GET, "machines.example.com", "/");
    let answer = request.header("accept", "application/json").send().await?;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    let document: Value = serde_json::from_slice(&answer.body)?;
    assert!(text(&document, "message").starts_with("Forbidden. You don't have permission to view this."));
    assert_eq!(document["status_code"], 403);
    assert_eq!(text(&document, "aud").len(), 64);
    Ok(())
}

#[tokio::test]
async fn the_single_header_in_lower_case_and_nothing_else() -> Result<()> {
    let site = Site::new(None).await?;
    let token = site.token("machine").await?;
    let members = json!({"read_service_tokens_from_header": "Authorization"});
    site.application("app", "app.example.com", &[any_token()], members)
        .await?;
    let gateway = site.gateway().await?;
    let (id, secret) = (
        token.id.clone().unwrap_or_default(),
        token.secret.clone().unwrap_or_default(),
    );
    let lower = json!({"cf-access-client-id": id, "cf-access-client-secret": secret}).to_string();
    let upper = json!({"CF-Access-Client-Id": id, "CF-Access-Client-Secret": secret}).to_string();
    let send = |value: String| {
        gateway
            .request(Method::GET, "app.example.com", "/")
            .header("authorization", value)
    };
    let answer = send(lower.clone()).send().await?;
    assert_eq!(answer.status, StatusCode::OK);
    let mirrored: Value = serde_json::from_slice(&answer.body)?;
    assert_eq!(reached(&mirrored, "authorization"), None, "it carried the secret");
    assert_eq!(send(upper).send().await?.status, StatusCode::FORBIDDEN);
    assert_eq!(
        send(format!("Bearer {lower}")).send().await?.status,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        with(send(lower.clone()), &token).send().await?.status,
        StatusCode::FORBIDDEN,
        "both forms"
    );
    // The pair works beside the origin's own use of the header.
    let answer = with(send("Bearer own".into()), &token).send().await?;
    assert_eq!(answer.status, StatusCode::OK);
    let mirrored: Value = serde_json::from_slice(&answer.body)?;
    assert_eq!(reached(&mirrored, "authorization"), Some("Bearer own"));
    // And elsewhere the header is nothing of ours.
    site.application("plain", "plain.example.com", &[any_token()], json!({}))
        .await?;
    let request = gateway
        .request(Method::GET, "plain.example.com", "/")
        .header("authorization", lower);
    assert_eq!(request.send().await?.status, StatusCode::FORBIDDEN);
    Ok(())
}

#[tokio::test]
async fn preflights() -> Result<()> {
    let site = Site::new(None).await?;
    let token = site.token("machine").await?;
    let cors = json!({"cors_headers": {
        "allowed_origins": ["https://site.example"], "allowed_methods": ["GET", "PUT"], "allow_all_headers": true,
        "allow_credentials": true, "max_age": 600,
    }});
    for (name, members) in [
        ("closed", json!({})),
        ("through", json!({"options_preflight_bypass": true})),
        ("cors", cors),
    ] {
        site.application(
            name,
            &format!("{name}.example.com"),
            &[any_token(), people()],
            members,
        )
        .await?;
    }
    let gateway = site.gateway().await?;
    let preflight = |name: &str, origin: &str| {
        gateway
            .request(Method::OPTIONS, &format!("{name}.example.com"), "/")
            .header("origin", origin)
            .header("access-control-request-method", "PUT")
            .header("access-control-request-headers", "x-a, x-b")
    };
    // Refused even with credentials, and never a login.
    assert_eq!(
        preflight("closed", "https://site.example").send().await?.status,
        StatusCode::FORBIDDEN
    );
    let request = with(preflight("closed", "https://site.example"), &token);
    assert_eq!(request.send().await?.status, StatusCode::FORBIDDEN);

    let answer = preflight("through", "https://site.example").send().await?;
    let mirrored: Value = serde_json::from_slice(&answer.body)?;
    assert_eq!(mirrored["method"], "OPTIONS");
    assert!(mirrored["headers"]["cf-access-jwt-assertion"].is_null());

    let answer = preflight("cors", "https://site.example").send().await?;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.body.is_empty(), "the origin is not asked");
    for (name, value) in [
        ("access-control-allow-origin", "https://site.example"),
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-methods", "GET, PUT"),
        ("access-control-allow-headers", "x-a, x-b"),
        ("access-control-max-age", "600"),
    ] {
        assert_eq!(
            answer.headers.get(name).and_then(|found| found.to_str().ok()),
            Some(value),
            "{name}"
        );
    }
    let answer = preflight("cors", "https://other.example").send().await?;
    assert!(answer.headers.get("access-control-allow-origin").is_none());
    // Both settings at once are refused, as documented.
    let both = json!({"options_preflight_bypass": true, "cors_headers": {"allow_all_origins": true}});
    let error = site
        .application("both", "both.example.com", &[], both)
        .await
        .unwrap_err();
    assert!(format!("{error:#}").contains("cors_headers"), "{error:#}");
    Ok(())
}

#[tokio::test]
async fn which_application_it_is_to_those_who_ask() -> Result<()> {
    let (_site, gateway, tokens) = site().await?;
    for sends in [Nothing, Named] {
        let request = gateway.request(Method::GET, "machines.example.com", "/");
        let request = tokens
            .send(sends, request)
            .header("cf-access-metadata-request", "true");
        let answer = request.send().await?;
        let token = answer.headers["cf-access-metadata"].to_str()?;
        let input = json!({"team": gateway.team, "aud": answer.headers.get("cf-access-aud").map(|aud| aud.to_str()).transpose()?, "token": token});
        let verified = bowline_e2e::access::node("verify.mjs", input).await?;
        // Neither issuer nor end are among its claims, so a verifier of sessions refuses it; its claims are read as they are.
        assert!(verified["jose"]["error"].is_string(), "{verified}");
        let claims = claims(token);
        assert_eq!(claims["type"], "match");
        assert_eq!(claims["hostname"], "machines.example.com");
        assert_eq!(claims["app_hostname"], "machines.example.com");
        assert_eq!(claims["auth_domain"], gateway.authority());
        assert_eq!(text(&claims, "aud").len(), 64);
    }
    Ok(())
}

fn claims(token: &str) -> Value {
    use base64::Engine;
    let claims = token.split('.').nth(1).unwrap_or_default();
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(claims)
        .unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

#[tokio::test]
async fn identities_and_logouts() -> Result<()> {
    let (_site, gateway, tokens) = site().await?;
    let answer = gateway
        .get("mixed.example.com", "/", &tokens.named)
        .send()
        .await?;
    let cookie = answer.headers[SET_COOKIE]
        .to_str()?
        .split(';')
        .next()
        .unwrap_or_default()
        .to_owned();
    let at = |path: &str| {
        gateway
            .request(Method::GET, "mixed.example.com", path)
            .header("cookie", &cookie)
    };
    assert_eq!(at("/").send().await?.status, StatusCode::OK);
    let identity = "/cdn-cgi/access/get-identity";
    assert_eq!(
        at(identity).send().await?.status,
        StatusCode::NOT_FOUND,
        "a machine has none"
    );
    let answer = gateway
        .request(Method::GET, "mixed.example.com", identity)
        .send()
        .await?;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    let answer = at("/cdn-cgi/access/logout").send().await?;
    assert_eq!(answer.status, StatusCode::OK);
    let cleared: Vec<_> = answer
        .headers
        .get_all(SET_COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    assert!(
        cleared
            .iter()
            .any(|cookie| cookie.starts_with("CF_Authorization=;")),
        "{cleared:?}"
    );
    assert_eq!(at("/").send().await?.status, StatusCode::FOUND, "revoked");
    let answer = gateway
        .request(Method::GET, "mixed.example.com", "/cdn-cgi/access/certs")
        .send()
        .await?;
    let keys: Value = serde_json::from_slice(&answer.body)?;
    assert_eq!(keys["keys"][0]["alg"], "RS256");
    assert_eq!(keys["keys"][0]["use"], "sig");
    assert_eq!(keys["public_certs"][0]["kid"], keys["keys"][0]["kid"]);
    assert!(text(&keys["public_cert"], "cert").starts_with("-----BEGIN CERTIFICATE-----"));
    assert_eq!(keys["keys"][0]["d"], Value::Null, "nothing private");
    Ok(())
}
