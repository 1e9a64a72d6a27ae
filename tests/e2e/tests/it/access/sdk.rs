//! Cloudflare's own SDKs, told another base URL.

use anyhow::Result;
use bowline_e2e::access::{self, Gateway, Site, credentials, text};
use bowline_e2e::project::Credentials;
use http::StatusCode;
use serde_json::{Value, json};

async fn status(gateway: &Gateway, host: &str, token: &Credentials) -> Result<StatusCode> {
    Ok(gateway.get(host, "/", token).send().await?.status)
}

fn input(gateway: &Gateway) -> Value {
    json!({"base": gateway.api(), "token": gateway.api_token()})
}

#[tokio::test]
async fn of_npm() -> Result<()> {
    let site = Site::new(None).await?;
    let gateway = site.gateway().await?;
    let done = access::node("sdk.mjs", input(&gateway)).await?;

    let created = &done["created"];
    assert_eq!(created["name"], "sdk-js");
    assert!(text(created, "client_id").ends_with(".access"));
    let secret = text(created, "client_secret");
    assert!(secret.starts_with("cfast_") && secret.len() == 54);
    assert_eq!(done["rotated"]["client_id"], created["client_id"]);
    assert_ne!(done["rotated"]["client_secret"], created["client_secret"]);
    assert_eq!(done["renamed"]["name"], "sdk-js-2");
    assert_eq!(done["got"]["duration"], "48h");
    assert!(done["got"]["client_secret"].is_null(), "shown once");
    assert_eq!(done["listed"], json!(["sdk-js-2"]));
    assert_eq!(done["disabled"]["result"]["enabled"], false);

    let app = &done["app"];
    assert_eq!(text(app, "aud").len(), 64);
    assert_eq!(app["policies"][0]["id"], done["policy"]["id"]);
    assert_eq!(done["appGot"]["session_duration"], "6h");
    assert_eq!(done["appUpdated"]["name"], "js app 2");
    assert_eq!(done["appUpdated"]["aud"], app["aud"], "stable");
    assert_eq!(done["own"]["decision"], "deny");
    assert_eq!(done["apps"], json!(["everything", "js app 2"]));
    assert_eq!(done["policyUpdated"]["name"], "js policy 2");
    assert!(
        done["keys"]["days_until_next_rotation"]
            .as_i64()
            .is_some_and(|days| days > 0)
    );
    assert!(done["keysRotated"]["last_key_rotation_at"].is_string());
    assert_eq!(done["organization"]["result"]["strict_service_token_auth"], true);
    assert_eq!(done["missing"]["status"], 404);
    assert_eq!(done["missing"]["errors"][0]["code"], 9404);
    assert_eq!(done["refused"], 403);

    // What the SDK set up is what the gate does: both secrets of the rotation work, the deleted token does not.
    let kept = credentials(&done["kept"]);
    let new = Credentials {
        secret: Some(text(&done["kept"], "new_client_secret").to_owned()),
        ..kept.clone()
    };
    for token in [&kept, &new] {
        assert_eq!(
            status(&gateway, "js-kept.example.com", token).await?,
            StatusCode::OK
        );
    }
    let deleted = credentials(&done["rotated"]);
    assert_eq!(
        status(&gateway, "js-kept.example.com", &deleted).await?,
        StatusCode::UNAUTHORIZED
    );
    Ok(())
}

#[tokio::test]
async fn of_pypi() -> Result<()> {
    let site = Site::new(None).await?;
    let gateway = site.gateway().await?;
    let done = access::python("sdk.py", &input(&gateway)).await?;
    assert_eq!(done["created"]["name"], "sdk-py");
    assert_ne!(done["rotated"]["client_secret"], done["created"]["client_secret"]);
    assert_eq!(done["listed"], json!(["sdk-py"]));
    assert_eq!(done["app"]["domain"], "py.example.com");
    assert_eq!(done["got"]["aud"], done["app"]["aud"]);
    assert_eq!(done["apps"], json!(["everything", "py app"]));
    assert_eq!(done["missing"], 404);
    let kept = credentials(&done["kept"]);
    assert_eq!(
        status(&gateway, "py-kept.example.com", &kept).await?,
        StatusCode::OK
    );
    let wrong = Credentials {
        secret: Some("cfast_wrong".into()),
        ..kept
    };
    assert_eq!(
        status(&gateway, "py-kept.example.com", &wrong).await?,
        StatusCode::FORBIDDEN
    );
    Ok(())
}
