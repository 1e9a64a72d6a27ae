//! Application tokens: what the origin gets, who verifies it, and who gets in with it.

use anyhow::Result;
use bowline_e2e::access::{self, Gateway, Site, text, with};
use bowline_e2e::client::Outgoing;
use bowline_e2e::project::Credentials;
use http::header::SET_COOKIE;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{any_token, people, reached};

/// The application token that the origin gets for a service token.
pub(crate) async fn assertion(gateway: &Gateway, host: &str, token: &Credentials) -> Result<String> {
    let answer = gateway.get(host, "/", token).send().await?;
    let mirrored: Value = serde_json::from_slice(&answer.body)?;
    Ok(reached(&mirrored, "cf-access-jwt-assertion")
        .unwrap_or_default()
        .to_owned())
}

async fn verify(gateway: &Gateway, application: &Value, token: &str) -> Result<Value> {
    let input = json!({"team": gateway.team, "aud": application["aud"], "token": token});
    access::node("verify.mjs", input).await
}

/// What go-oidc says of it.
async fn verify_by_go(gateway: &Gateway, application: &Value, token: &str) -> Result<Value> {
    access::go(&json!({"team": gateway.team, "aud": application["aud"], "token": token})).await
}

#[tokio::test]
async fn are_verified_by_jose_go_oidc_and_the_pages_plugin() -> Result<()> {
    let site = Site::new(None).await?;
    let machine = site.token("machine").await?;
    let application = site
        .application(
            "app",
            "app.example.com",
            &[any_token()],
            json!({"session_duration": "1h"}),
        )
        .await?;
    let other = site
        .application("other", "other.example.com", &[any_token()], json!({}))
        .await?;
    let gateway = site.gateway().await?;
    let token = assertion(&gateway, "app.example.com", &machine).await?;

    let verified = verify(&gateway, &application, &token).await?;
    let payload = &verified["jose"]["payload"];
    assert_eq!(payload["type"], "app", "{verified}");
    assert_eq!(payload["aud"], application["aud"]);
    assert_eq!(payload["common_name"], machine.id.as_deref().unwrap_or_default());
    assert_eq!(payload["sub"], "");
    assert_eq!(
        payload["exp"]
            .as_i64()
            .zip(payload["iat"].as_i64())
            .map(|(exp, iat)| exp - iat),
        Some(3600)
    );
    for absent in ["nbf", "email", "identity_nonce"] {
        assert!(payload[absent].is_null(), "{absent}");
    }
    assert_eq!(verified["jose"]["header"]["alg"], "RS256");
    assert_eq!(text(&verified["jose"]["header"], "kid").len(), 64);

    assert_eq!(verified["plugin"]["status"], 200, "{verified}");
    let by_go = verify_by_go(&gateway, &application, &token).await?;
    assert_eq!(by_go["payload"], verified["jose"]["payload"], "{by_go}");

    // The documentation shows `aud` as a list, measured tokens had a text. It is a setting.
    gateway
        .ok(
            Method::PUT,
            "organizations",
            json!({"service_token_audience": "list"}),
        )
        .await?;
    gateway
        .ok(
            Method::POST,
            &format!("apps/{}/revoke_tokens", text(&application, "id")),
            Value::Null,
        )
        .await?;
    // Tokens carry whole seconds, so one of the second of a revocation is revoked as well.
    let listed = loop {
        let listed = assertion(&gateway, "app.example.com", &machine).await?;
        if listed != token && !listed.is_empty() {
            break listed;
        }
    };
    let verified = verify(&gateway, &application, &listed).await?;
    assert_eq!(
        verified["jose"]["payload"]["aud"],
        json!([application["aud"]]),
        "{verified}"
    );
    assert_eq!(verified["plugin"]["status"], 200, "{verified}");
    assert_eq!(
        verified["plugin"]["payload"]["common_name"],
        payload["common_name"]
    );
    let by_go = verify_by_go(&gateway, &application, &listed).await?;
    assert_eq!(by_go["payload"], verified["jose"]["payload"], "{by_go}");

    // Each part of a verification counts.
    let verified = verify(&gateway, &other, &listed).await?;
    assert_eq!(verified["jose"]["error"], "ERR_JWT_CLAIM_VALIDATION_FAILED");
    assert_eq!(verified["plugin"]["status"], 302);
    let by_go = verify_by_go(&gateway, &other, &listed).await?;
    assert!(text(&by_go, "error").contains("expected audience"), "{by_go}");
    let tampered = tamper(&listed);
    let verified = verify(&gateway, &application, &tampered).await?;
    assert_eq!(verified["jose"]["error"], "ERR_JWS_SIGNATURE_VERIFICATION_FAILED");
    assert_eq!(verified["plugin"]["status"], 302);
    // It reads the claims first: they are whole, and signed as others.
    let swapped = listed.rsplit_once('.').zip(token.rsplit_once('.'));
    let swapped = swapped.map(|((claims, _), (_, signature))| format!("{claims}.{signature}"));
    let by_go = verify_by_go(&gateway, &application, &swapped.unwrap_or_default()).await?;
    assert!(
        text(&by_go, "error").contains("failed to verify signature"),
        "{by_go}"
    );

    // After a rotation tokens of both keys verify, by `kid`; after two, those of the first do not.
    gateway.ok(Method::POST, "keys/rotate", Value::Null).await?;
    let rotated = assertion(&gateway, "app.example.com", &machine).await?;
    assert_ne!(kid(&rotated), kid(&listed));
    for token in [&listed, &rotated] {
        let verified = verify(&gateway, &application, token).await?;
        assert!(verified["jose"]["error"].is_null(), "{verified}");
        assert_eq!(verified["plugin"]["status"], 200, "{verified}");
    }
    gateway.ok(Method::POST, "keys/rotate", Value::Null).await?;
    let verified = verify(&gateway, &application, &listed).await?;
    assert_eq!(verified["jose"]["error"], "ERR_JWKS_NO_MATCHING_KEY");
    Ok(())
}

fn kid(token: &str) -> &str {
    token.split('.').next().unwrap_or_default()
}

/// The token with one character of its claims changed.
fn tamper(token: &str) -> String {
    let at = token.find('.').unwrap_or_default() + 20;
    let changed = if &token[at..=at] == "A" { "B" } else { "A" };
    format!("{}{changed}{}", &token[..at], &token[at + 1..])
}

#[tokio::test]
async fn have_ended_when_they_have() -> Result<()> {
    let site = Site::new(None).await?;
    let machine = site.token("machine").await?;
    let application = site
        .application(
            "app",
            "app.example.com",
            &[any_token(), people()],
            json!({"session_duration": "1s"}),
        )
        .await?;
    let gateway = site.gateway().await?;
    let token = assertion(&gateway, "app.example.com", &machine).await?;
    let cookie = || {
        gateway
            .request(Method::GET, "app.example.com", "/")
            .header("cookie", format!("CF_Authorization={token}"))
    };
    // The gate refuses it once its second is over, and so does everybody else.
    let mut answer = cookie().send().await?;
    while answer.status == StatusCode::OK {
        answer = cookie().send().await?;
    }
    assert_eq!(answer.status, StatusCode::FOUND);
    let verified = verify(&gateway, &application, &token).await?;
    assert_eq!(verified["jose"]["error"], "ERR_JWT_EXPIRED", "{verified}");
    assert_eq!(verified["plugin"]["status"], 302, "{verified}");
    Ok(())
}

#[tokio::test]
async fn reach_the_origin_and_nothing_spoofed_does() -> Result<()> {
    let site = Site::new(None).await?;
    let machine = site.token("machine").await?;
    site.application("app", "app.example.com", &[any_token(), people()], json!({}))
        .await?;
    site.application(
        "open",
        "open.example.com",
        &[json!({"decision": "bypass", "include": {"everyone": {}}})],
        json!({}),
    )
    .await?;
    let gateway = site.gateway().await?;
    let spoofed = |request: Outgoing| {
        request
            .header("cf-access-jwt-assertion", "spoofed")
            .header("cf-access-authenticated-user-email", "boss@example.com")
            .header(
                "cookie",
                "own=1; CF_Authorization=spoofed; CF_AppSession=spoofed; CF_Binding=spoofed",
            )
            .header("cookie", "second=2")
            .header("authorization", "Bearer the-origins-own")
    };
    let answer = spoofed(gateway.get("app.example.com", "/a?b=c", &machine))
        .send()
        .await?;
    assert_eq!(answer.status, StatusCode::OK);
    let mirrored: Value = serde_json::from_slice(&answer.body)?;
    let token = reached(&mirrored, "cf-access-jwt-assertion")
        .unwrap_or_default()
        .to_owned();
    assert_eq!(token.split('.').count(), 3, "{mirrored}");
    let headers = &mirrored["headers"];
    assert_eq!(
        headers["cookie"],
        json!([format!("own=1; second=2; CF_Authorization={token}")])
    );
    assert_eq!(
        headers["cf-access-jwt-assertion"].as_array().map(Vec::len),
        Some(1)
    );
    for gone in [
        "cf-access-client-id",
        "cf-access-client-secret",
        "cf-access-authenticated-user-email",
    ] {
        assert!(headers[gone].is_null(), "{gone}: {mirrored}");
    }
    assert_eq!(
        reached(&mirrored, "authorization"),
        Some("Bearer the-origins-own")
    );
    assert_eq!(reached(&mirrored, "host"), Some("app.example.com"));
    assert_eq!(mirrored["target"], "/a?b=c");
    let cookie = answer.headers[SET_COOKIE].to_str()?;
    assert!(
        cookie.starts_with(&format!("CF_Authorization={token}; Expires=")),
        "{cookie}"
    );
    assert!(cookie.contains("; Path=/; Secure"), "{cookie}");

    // Bypass: nobody was asked, so nothing is told.
    let answer = spoofed(gateway.request(Method::GET, "open.example.com", "/"))
        .send()
        .await?;
    let mirrored: Value = serde_json::from_slice(&answer.body)?;
    assert!(
        mirrored["headers"]["cf-access-jwt-assertion"].is_null(),
        "{mirrored}"
    );
    assert_eq!(mirrored["headers"]["cookie"], json!(["own=1; second=2"]));
    assert!(answer.headers.get(SET_COOKIE).is_none());
    Ok(())
}

#[tokio::test]
async fn count_as_credentials_where_people_may_log_in_and_only_there() -> Result<()> {
    let site = Site::new(None).await?;
    let machine = site.token("machine").await?;
    for (name, policies) in [
        ("mixed", vec![any_token(), people()]),
        ("machines", vec![any_token()]),
    ] {
        site.application(name, &format!("{name}.example.com"), &policies, json!({}))
            .await?;
    }
    let gateway = site.gateway().await?;
    for (name, admitted, refused) in [
        ("mixed", StatusCode::OK, StatusCode::FOUND),
        ("machines", StatusCode::FORBIDDEN, StatusCode::FORBIDDEN),
    ] {
        let host = format!("{name}.example.com");
        let token = assertion(&gateway, &host, &machine).await?;
        let foreign = assertion(
            &gateway,
            if name == "mixed" {
                "machines.example.com"
            } else {
                "mixed.example.com"
            },
            &machine,
        )
        .await?;
        let places = [
            ("cookie", "CF_Authorization=", admitted),
            ("cf-access-token", "", admitted),
            ("cf-access-jwt-assertion", "", admitted),
            ("authorization", "Bearer ", refused),
        ];
        for (header, before, expected) in places {
            let send = |token: &str| {
                let request = gateway.request(Method::GET, &host, "/");
                request.header(header, format!("{before}{token}")).send()
            };
            assert_eq!(send(&token).await?.status, expected, "{name} {header}");
            assert_eq!(
                send(&tamper(&token)).await?.status,
                refused,
                "{name} {header} tampered"
            );
            assert_eq!(
                send(&foreign).await?.status,
                refused,
                "{name} {header} of another application"
            );
            assert_eq!(send("bogus").await?.status, refused, "{name} {header} bogus");
        }
    }
    // A session of a token that is disabled ends with it.
    let token = assertion(&gateway, "mixed.example.com", &machine).await?;
    let replay = || {
        gateway
            .request(Method::GET, "mixed.example.com", "/")
            .header("cookie", format!("CF_Authorization={token}"))
            .send()
    };
    assert_eq!(replay().await?.status, StatusCode::OK);
    site.access(&["token", "disable", "machine"]).await?;
    assert_eq!(replay().await?.status, StatusCode::FOUND);
    Ok(())
}

#[tokio::test]
async fn of_one_application_open_another_that_is_linked() -> Result<()> {
    let site = Site::new(None).await?;
    let machine = site.token("machine").await?;
    let front = site
        .application("front", "front.example.com", &[any_token()], json!({}))
        .await?;
    let linked =
        json!({"decision": "non_identity", "include": {"linked_app_token": {"app_uid": front["id"]}}});
    site.application("back", "back.example.com", &[linked], json!({}))
        .await?;
    site.application("third", "third.example.com", &[any_token()], json!({}))
        .await?;
    let gateway = site.gateway().await?;
    let call = |token: String, header: &'static str| {
        gateway
            .request(Method::GET, "back.example.com", "/")
            .header(header, token)
            .send()
    };
    let token = assertion(&gateway, "front.example.com", &machine).await?;
    assert_eq!(
        call(token.clone(), "cf-access-token").await?.status,
        StatusCode::OK
    );
    assert_eq!(
        call(token, "cf-access-jwt-assertion").await?.status,
        StatusCode::FORBIDDEN
    );
    let third = assertion(&gateway, "third.example.com", &machine).await?;
    assert_eq!(
        call(third, "cf-access-token").await?.status,
        StatusCode::FORBIDDEN
    );
    let direct = with(gateway.request(Method::GET, "back.example.com", "/"), &machine);
    assert_eq!(direct.send().await?.status, StatusCode::FORBIDDEN);
    Ok(())
}
