//! Client certificates at the gateway's own listener, and policies that ask for them.

use anyhow::Result;
use bowline_e2e::access::{Gateway, Site};
use bowline_e2e::authority::Authority;
use bowline_e2e::client::{Outgoing, Upgraded};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::reached;

/// A gateway that speaks TLS, with an application for each rule.
async fn start(server: &Authority, clients: &Authority) -> Result<(Site, Gateway)> {
    let site = Site::new(None).await?;
    for (name, rule) in [
        ("any", json!({"certificate": {}})),
        ("ada", json!({"common_name": {"common_name": "ada's laptop"}})),
        ("token", json!({"any_valid_service_token": {}})),
    ] {
        let policy = json!({"decision": "non_identity", "include": rule});
        site.application(name, &format!("localhost/{name}"), &[policy], json!({}))
            .await?;
    }
    let files = server.server(&["localhost"])?;
    let paths =
        [files.certificate, files.key, clients.certificate()].map(|path| path.to_string_lossy().into_owned());
    let flags = [
        "--tls-certificate",
        &paths[0],
        "--tls-key",
        &paths[1],
        "--client-authorities",
        &paths[2],
    ];
    let gateway = site.gateway_with(&flags, &[]).await?;
    Ok((site, gateway))
}

fn get(gateway: &Gateway, path: &str) -> Outgoing {
    let authority = gateway.authority().replace("127.0.0.1", "localhost");
    Outgoing::new(Method::GET, &format!("https://{authority}/{path}"))
}

#[tokio::test]
async fn are_what_policies_ask_for() -> Result<()> {
    let (server, clients, strangers) = (Authority::new()?, Authority::new()?, Authority::new()?);
    let (_site, gateway) = start(&server, &clients).await?;
    let none = server.trusted(None)?;
    let ada = server.trusted(Some(clients.client("ada's laptop")?))?;
    let bob = server.trusted(Some(clients.client("bob's laptop")?))?;
    for (path, tls, status) in [
        ("any", &none, 403),
        ("any", &ada, 200),
        ("any", &bob, 200),
        ("ada", &none, 403),
        ("ada", &ada, 200),
        ("ada", &bob, 403),
        // A certificate is no service token.
        ("token", &ada, 403),
    ] {
        let answer = get(&gateway, path).over(tls.clone()).send().await?;
        assert_eq!(answer.status.as_u16(), status, "{path}: {}", answer.text());
        let upgraded = get(&gateway, path).over(tls.clone()).upgrade().await?;
        let passed = matches!(upgraded, Upgraded::Socket(..));
        assert_eq!(passed, status == 200, "{path}: {upgraded:?}");
    }
    // The origin is told who it is, as of any machine.
    let answer = get(&gateway, "ada").over(ada).send().await?;
    let mirrored: Value = serde_json::from_slice(&answer.body)?;
    let assertion = reached(&mirrored, "cf-access-jwt-assertion").unwrap_or_default();
    let claims = assertion.split('.').nth(1).unwrap_or_default();
    let claims: Value = serde_json::from_slice(&base64::Engine::decode(
        &base64::prelude::BASE64_URL_SAFE_NO_PAD,
        claims,
    )?)?;
    assert_eq!(claims["common_name"], "ada's laptop");
    assert_eq!(claims["sub"], "");

    // What an authority nobody named has signed ends the handshake; a header that claims a name is only a header.
    let stranger = server.trusted(Some(strangers.client("ada's laptop")?))?;
    assert!(get(&gateway, "any").over(stranger).send().await.is_err());
    let answer = get(&gateway, "ada")
        .over(none)
        .header("cf-client-cert-subject-dn", "CN=ada's laptop")
        .header("x-ssl-client-s-dn", "CN=ada's laptop")
        .send()
        .await?;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    // Plain HTTP is not spoken here.
    assert!(
        gateway
            .request(Method::GET, "localhost", "/any")
            .send()
            .await
            .is_err()
    );
    Ok(())
}

#[tokio::test]
async fn and_files_that_are_none_are_named() -> Result<()> {
    let authority = Authority::new()?;
    let files = authority.server(&["localhost"])?;
    let site = Site::new(None).await?;
    let (certificate, key) = (
        files.certificate.to_string_lossy().into_owned(),
        files.key.to_string_lossy().into_owned(),
    );
    for (flags, code, says) in [
        (
            vec!["--tls-certificate", "/missing.pem", "--tls-key", &key],
            2,
            "/missing.pem",
        ),
        (
            vec!["--tls-certificate", &key, "--tls-key", &key],
            2,
            "holds no certificate",
        ),
        (vec!["--tls-certificate", &certificate], 2, "--tls-key"),
        (vec!["--client-authorities", &certificate], 2, "--tls-certificate"),
    ] {
        let mut command = site.command(&[
            "gateway",
            "--listen",
            "127.0.0.1:0",
            "--origin",
            "http://127.0.0.1:9",
        ])?;
        command.args(&flags);
        let output = bowline_e2e::program::run(command, bowline_e2e::client::DEADLINE).await?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{flags:?}: {said}");
        assert!(said.contains(says), "{flags:?}: {said}");
    }
    Ok(())
}
