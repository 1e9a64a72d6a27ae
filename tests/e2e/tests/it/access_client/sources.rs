//! Every place where credentials are found, each proven by getting in with them.

use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result};
use bowline_e2e::access::{Gateway, text};
use bowline_e2e::machine::{Checked, Machine};
use serde_json::json;

use super::{HOST, start};

const ID: &str = "CLOUDFLARE_ACCESS_CLIENT_ID";
const SECRET: &str = "CLOUDFLARE_ACCESS_CLIENT_SECRET";

/// Checks that a machine gets in, and by what.
async fn admitted(machine: &Machine, gateway: &Gateway, by: &[&str]) -> Result<Checked> {
    let checked = machine.check(gateway.program.url()).await?;
    let case = format!("{by:?}: {:#}", checked.document);
    assert_eq!(checked.document["verdict"], "admitted", "{case}");
    assert_eq!(checked.code, 0, "{case}");
    let origins = &checked.document["credentials"]["origins"];
    assert_eq!(origins.as_array().map(Vec::len), Some(by.len()), "{case}");
    for (at, origin) in by.iter().enumerate() {
        assert!(
            origins[at].as_str().is_some_and(|found| found.contains(origin)),
            "{case}"
        );
    }
    // The same is what the proxy sends.
    let proxy = machine.connect(gateway.program.url()).await?;
    let (status, said) = super::post(&proxy, "{}").await?;
    assert_eq!(status, 200, "{case}: {said}");
    Ok(checked)
}

#[tokio::test]
async fn of_credentials() -> Result<()> {
    let (site, gateway, application) = start().await?;
    let token = site.token("machine").await?;
    let (id, secret) = (
        token.id.clone().context("an id")?,
        token.secret.clone().context("a secret")?,
    );
    let host = gateway.authority();

    let machine = Machine::with(&token)?;
    admitted(
        &machine,
        &gateway,
        &["CLOUDFLARE_ACCESS_CLIENT_ID in the environment", SECRET],
    )
    .await?;

    // A project's files, and one half here and one there. White space around a value is none of it.
    let machine = Machine::new()?;
    std::fs::write(
        machine.project().join(".env"),
        format!("# comment\nexport {ID}=\"{id}\"\n{SECRET}='  {secret} '\n"),
    )?;
    admitted(&machine, &gateway, &[".env", ".env"]).await?;
    let mut machine = Machine::new()?;
    std::fs::write(
        machine.project().join(".dev.vars"),
        format!("{SECRET}={secret}\n"),
    )?;
    machine.set(ID, &id);
    admitted(&machine, &gateway, &["environment", ".dev.vars"]).await?;

    // Settings for the host come before the environment's.
    let mut machine = Machine::new()?;
    machine.set(ID, "wrong.access");
    machine.set(SECRET, "wrong");
    machine.set("STAGING", &secret);
    machine.settings(&host, json!({"client_id": id, "client_secret": secret}))?;
    admitted(&machine, &gateway, &["access.jsonc"]).await?;
    machine.settings(&host, json!({"client_id": id, "client_secret_env": "STAGING"}))?;
    admitted(
        &machine,
        &gateway,
        &["access.jsonc", "STAGING in the environment"],
    )
    .await?;
    machine.settings(
        "elsewhere.example",
        json!({"client_id": "x", "client_secret": "y"}),
    )?;
    let of_project = json!({"access": {"hosts": {&host: {"client_id": id, "client_secret_env": "STAGING"}}}});
    std::fs::write(machine.project().join("bowline.jsonc"), of_project.to_string())?;
    admitted(&machine, &gateway, &["bowline.jsonc", "STAGING"]).await?;

    // A token of wrangler's own, for the host it signs in at and for no other.
    let session = gateway.assertion(gateway.get(HOST, "/", &token)).await?;
    let mut machine = Machine::new()?;
    machine.set("WRANGLER_CF_AUTHORIZATION_TOKEN", &session);
    let checked = machine.check(gateway.program.url()).await?;
    assert_eq!(
        checked.document["verdict"], "credentials_needed",
        "{:#}",
        checked.document
    );
    machine.set("WRANGLER_AUTH_DOMAIN", &host);
    let checked = admitted(&machine, &gateway, &["WRANGLER_CF_AUTHORIZATION_TOKEN"]).await?;
    assert!(!checked.written.contains(&session));

    // A login that cloudflared has stored.
    let machine = Machine::new()?;
    std::fs::create_dir(machine.tokens())?;
    let file = machine
        .tokens()
        .join(format!("{HOST}-{}-token", text(&application, "aud")));
    std::fs::write(&file, &session)?;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600))?;
    let checked = admitted(&machine, &gateway, &["-token"]).await?;
    assert!(!checked.written.contains(&session));
    Ok(())
}

#[tokio::test]
async fn half_a_pair_is_told_and_a_loose_file_is_refused() -> Result<()> {
    let (site, gateway, _) = start().await?;
    let token = site.token("machine").await?;
    let mut machine = Machine::new()?;
    machine.set(SECRET, token.secret.as_deref().unwrap_or_default());
    let checked = machine.check(gateway.program.url()).await?;
    assert_eq!(
        checked.document["verdict"], "credentials_needed",
        "{:#}",
        checked.document
    );
    assert_eq!(checked.document["credentials"]["missing"], ID);
    assert!(
        checked.document["warnings"][0]
            .as_str()
            .is_some_and(|told| told.contains(ID))
    );

    let machine = Machine::new()?;
    machine.settings(
        &gateway.authority(),
        json!({"client_id": "a", "client_secret": "b"}),
    )?;
    let file = machine.project().join("../.config/bowline/access.jsonc");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644))?;
    let command = machine.command(&["access", "check", gateway.program.url()])?;
    let output = bowline_e2e::program::run(command, bowline_e2e::machine::END).await?;
    assert_eq!(output.status.code(), Some(4));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("chmod 600"), "{said}");
    Ok(())
}

#[tokio::test]
async fn one_header_where_the_application_asks_for_it() -> Result<()> {
    let (site, gateway, application) = start().await?;
    let token = site.token("machine").await?;
    let members = json!({"read_service_tokens_from_header": "Authorization"}).to_string();
    site.access(&["app", "set", text(&application, "id"), &members])
        .await?;
    let machine = Machine::new()?;
    machine.settings(
        &gateway.authority(),
        json!({"client_id": token.id, "client_secret": token.secret, "header": "Authorization"}),
    )?;
    admitted(&machine, &gateway, &["access.jsonc"]).await?;
    Ok(())
}
