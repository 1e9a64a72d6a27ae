//! Secrets are in no log, no answer, no file, no database.

use anyhow::Result;
use bowline_e2e::access::{Gateway, Site, credentials, text, with};
use bowline_e2e::postgres::Postgres;
use bowline_e2e::project::Credentials;
use http::Method;
use http::header::SET_COOKIE;
use serde_json::{Value, json};

use super::{any_token, people};
use crate::secrets::{contains, files};

const HOST: &str = "app.example.com";

/// Uses everything that has a secret, well and badly. The secrets, and what answers said.
async fn use_all(site: &Site, gateway: &Gateway) -> Result<(Vec<String>, Vec<(String, Vec<u8>)>)> {
    let mut said = Vec::new();
    let token = gateway
        .ok(Method::POST, "service_tokens", json!({"name": "machine"}))
        .await?;
    let path = format!("service_tokens/{}", text(&token, "id"));
    let until = json!({"previous_client_secret_expires_at": "2999-01-01T00:00:00Z"});
    let rotated = gateway.ok(Method::POST, &format!("{path}/rotate"), until).await?;
    let by_command = site.access(&["token", "create", "by-command"]).await?;
    let wrong = Credentials {
        secret: Some("cfast_wrongwrongwrongwrongwrongwrongwrongwrong12345678".into()),
        ..credentials(&token)
    };
    let single =
        json!({"cf-access-client-id": wrong.id, "cf-access-client-secret": wrong.secret}).to_string();
    let mut sessions = Vec::new();
    for (name, token) in [
        ("first", credentials(&token)),
        ("rotated", credentials(&rotated)),
        ("by command", credentials(&by_command)),
        ("wrong", wrong.clone()),
    ] {
        let answer = gateway.get(HOST, "/x?y=z", &token).send().await?;
        // A mirror tells an admitted client what it sent, so only refusals are of interest.
        if answer.status != 200 {
            said.push((format!("{name}: body"), answer.body.to_vec()));
            said.push((
                format!("{name}: headers"),
                format!("{:?}", answer.headers).into_bytes(),
            ));
        } else if let Some(cookie) = answer.headers.get(SET_COOKIE) {
            sessions.push(
                cookie
                    .to_str()?
                    .trim_start_matches("CF_Authorization=")
                    .split(';')
                    .next()
                    .unwrap_or_default()
                    .to_owned(),
            );
        }
        let twice = with(with(gateway.request(Method::GET, HOST, "/"), &token), &token)
            .send()
            .await?;
        said.push((format!("{name} twice"), twice.body.to_vec()));
    }
    let request = gateway
        .request(Method::GET, "single.example.com", "/")
        .header("authorization", &single);
    said.push(("single".into(), request.send().await?.body.to_vec()));
    for session in &sessions {
        for path in ["/", "/cdn-cgi/access/get-identity", "/cdn-cgi/access/logout"] {
            let request = gateway
                .request(Method::GET, HOST, path)
                .header("cookie", format!("CF_Authorization={session}"));
            request.send().await?;
        }
    }
    // Errors of the API do not quote what was sent to it.
    for (method, path, body) in [
        (
            Method::POST,
            "service_tokens",
            json!({"name": 5, "client_secret": wrong.secret}),
        ),
        (Method::PUT, path.as_str(), json!({"duration": wrong.secret})),
        (Method::GET, "service_tokens", Value::Null),
        (Method::GET, path.as_str(), Value::Null),
    ] {
        let answer = gateway.call(method, path, body.clone()).await?;
        // A duration that is none is quoted: it is no secret, whoever puts one there.
        if body["duration"].is_null() {
            said.push((format!("api {path}"), answer.body.to_vec()));
        }
    }
    let text_of = |credentials: &Credentials| credentials.secret.clone().unwrap_or_default();
    let mut secrets = vec![
        text_of(&credentials(&token)),
        text_of(&credentials(&rotated)),
        text_of(&credentials(&by_command)),
        text_of(&wrong),
        gateway.api_token().to_owned(),
    ];
    secrets.extend(sessions);
    assert!(secrets.iter().all(|secret| secret.len() > 20));
    Ok((secrets, said))
}

async fn search(database: Option<Postgres>) -> Result<()> {
    let site = Site::new(database.as_ref().map(Postgres::url)).await?;
    site.application("app", HOST, &[any_token(), people()], json!({}))
        .await?;
    let members = json!({"read_service_tokens_from_header": "Authorization"});
    site.application("single", "single.example.com", &[any_token()], members)
        .await?;
    let mut gateway = site.gateway().await?;
    let (mut secrets, mut written) = use_all(&site, &gateway).await?;
    written.push((
        "the audit log".into(),
        site.access(&["log"]).await?.to_string().into_bytes(),
    ));
    written.push((
        "the tokens".into(),
        site.access(&["token", "list"]).await?.to_string().into_bytes(),
    ));
    gateway.program.terminate().await?;
    let log = gateway.program.stderr.text();
    assert!(
        log.contains("wrong_secret"),
        "the log says enough for the search to mean something: {log}"
    );
    written.push(("the gateway's log".into(), log.into_bytes()));
    let Some(mut database) = database else {
        files(&site.state(), &mut written)?;
        return absent(&secrets, &written);
    };
    secrets.push(Postgres::PASSWORD.to_owned());
    database.stop().await?;
    let log = database.log.text();
    assert!(log.contains("service_token"), "{log}");
    written.push(("PostgreSQL's log".into(), log.into_bytes()));
    files(&database.data(), &mut written)?;
    absent(&secrets, &written)
}

fn absent(secrets: &[String], written: &[(String, Vec<u8>)]) -> Result<()> {
    for (place, bytes) in written {
        for (number, secret) in secrets.iter().enumerate() {
            assert!(!contains(bytes, secret), "secret {number} is in {place}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn nowhere_with_sqlite() -> Result<()> {
    search(None).await
}

#[tokio::test]
async fn nowhere_with_postgresql() -> Result<()> {
    search(Some(Postgres::start().await?)).await
}
