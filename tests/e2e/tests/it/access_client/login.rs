//! `bowline access login` from its URL to the tokens, with a person at the gateway's login for development.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use bowline_e2e::access::{Gateway, Site, text};
use bowline_e2e::client::Outgoing;
use bowline_e2e::machine::{END, Machine};
use bowline_e2e::person::Person;
use bowline_e2e::program;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{HOST, post, start, trust};

const EMAIL: &str = "ada@example.com";

/// A machine whose user trusts the gateway.
async fn with_machine() -> Result<(Site, Gateway, Value, Machine)> {
    let (site, gateway, application) = start().await?;
    let machine = Machine::new()?;
    trust(&machine, &gateway)?;
    Ok((site, gateway, application, machine))
}

fn url(gateway: &Gateway) -> &str {
    gateway.program.url()
}

/// Tokens carry whole seconds, so one of the second of a revocation is revoked as well: waits for that second's end.
async fn next_second() {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let rest = Duration::from_secs(since.as_secs() + 1).saturating_sub(since);
    tokio::time::sleep(rest).await;
}

/// What nobody can guess of the tokens that are stored.
fn signatures(machine: &Machine) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for name in machine.token_files()? {
        let token = std::fs::read_to_string(machine.tokens().join(name))?;
        found.extend(token.rsplit('.').next().map(str::to_owned));
    }
    Ok(found)
}

#[tokio::test]
async fn serves_the_proxy_until_it_is_over() -> Result<()> {
    let (_site, gateway, application, machine) = with_machine().await?;
    let aud = text(&application, "aud");
    let mut login = machine.login("--no-browser", url(&gateway))?;
    let cli = login.url().await?;
    Person::default().sign_in(&gateway, &cli, EMAIL).await?;
    let (document, mut written) = login.done().await?;
    assert_eq!(
        (&document["by"], &document["audience"]),
        (&json!("browser"), &json!(aud))
    );
    let (app, org) = (
        format!("{HOST}-{aud}-token"),
        format!("{}-org-token", gateway.authority()),
    );
    assert_eq!(machine.token_files()?, [app.clone(), org.clone()]);
    for name in [&app, &org] {
        let mode = std::fs::metadata(machine.tokens().join(name))?
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let mut secrets = signatures(&machine)?;
    assert_eq!(secrets.len(), 2);

    // The proxy finds it, and the origin is told who it is.
    let mut proxy = machine.connect(url(&gateway)).await?;
    let (status, said) = post(&proxy, "{}").await?;
    assert_eq!(status, 200, "{said}");
    let mirrored: Value = serde_json::from_str(&said)?;
    assert_eq!(
        mirrored["headers"]["cf-access-authenticated-user-email"],
        json!([EMAIL])
    );

    // The application's sessions are revoked: the team's buys a new one in mid-run, and a call with a short body does not
    // notice.
    let revoke = format!("apps/{}/revoke_tokens", text(&application, "id"));
    gateway.ok(Method::POST, &revoke, Value::Null).await?;
    next_second().await;
    let body = "y".repeat(64 * 1024);
    let (status, said) = post(&proxy, &body).await?;
    assert_eq!(status, 200, "{said}");
    assert!(
        serde_json::from_str::<Value>(&said)?["body"] == body,
        "the body came whole"
    );
    secrets.extend(signatures(&machine)?);

    // Nobody is asked while the stored one works, or the team's session does.
    assert_eq!(machine.login("", url(&gateway))?.done().await?.0["by"], "stored");
    std::fs::remove_file(machine.tokens().join(&app))?;
    let (document, said) = machine.login("", url(&gateway))?.done().await?;
    assert_eq!(document["by"], "exchange", "{said}");
    written.push_str(&said);
    secrets.extend(signatures(&machine)?);

    // The person logs out, everywhere: one report, with the next step.
    let token = std::fs::read_to_string(machine.tokens().join(&app))?;
    let logout = gateway
        .request(Method::GET, &gateway.authority(), "/cdn-cgi/access/logout")
        .header("cookie", format!("CF_Authorization={token}"));
    assert_eq!(logout.send().await?.status, StatusCode::OK);
    for _ in 0..3 {
        let (status, said) = post(&proxy, "{}").await?;
        assert_eq!(status, 401, "{said}");
        assert!(
            said.lines()
                .next()
                .is_some_and(|line| line.ends_with("the login is over.")),
            "{said}"
        );
        assert!(said.contains("bowline access login"), "{said}");
        written.push_str(&said);
    }
    assert!(proxy.terminate().await?.success());
    let told = proxy.stderr.text();
    assert_eq!(told.matches("the login is over.").count(), 1, "{told}");
    written.push_str(&told);
    written.push_str(&gateway.program.stderr.text());
    for secret in secrets {
        assert!(!written.contains(&secret), "a token was written somewhere");
    }
    Ok(())
}

#[tokio::test]
async fn can_be_interrupted_and_shared() -> Result<()> {
    let (_site, gateway, _, machine) = with_machine().await?;
    let mut first = machine.login("--no-browser", url(&gateway))?;
    let cli = first.url().await?;
    let files = machine.token_files()?;
    assert!(
        files.iter().any(|name| name.ends_with("-token.lock")),
        "{files:?}"
    );
    // A second process shows the same URL instead of asking for another login.
    let mut second = machine.login("--no-browser", url(&gateway))?;
    assert_eq!(second.url().await?, cli);
    assert_eq!(first.interrupt().await?, Some(4));
    // The second goes on by itself, with a key of its own.
    let own = second.url().await?;
    assert_ne!(own, cli);
    Person::default().sign_in(&gateway, &own, EMAIL).await?;
    assert_eq!(second.done().await?.0["by"], "browser");
    let files = machine.token_files()?;
    assert_eq!(files.len(), 2, "neither lock nor URL is left: {files:?}");
    Ok(())
}

#[tokio::test]
async fn never_where_nobody_is() -> Result<()> {
    let (_site, gateway, _, machine) = with_machine().await?;
    let output = program::run(machine.command(&["access", "login", url(&gateway)])?, END).await?;
    assert_eq!(output.status.code(), Some(4));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("nobody is there to sign in") && said.contains("CLOUDFLARE_ACCESS_CLIENT_ID"),
        "{said}"
    );
    // A terminal in CI is nobody either.
    let mut ci = Machine::new()?;
    ci.set("CI", "true");
    let why = ci
        .login("--no-browser", url(&gateway))?
        .line(|line| line.contains("nobody is there").then(|| line.to_owned()))
        .await?;
    assert!(why.contains("CI is set"), "{why}");
    assert!(!machine.tokens().exists() && !ci.tokens().exists());
    Ok(())
}

#[tokio::test]
async fn believes_no_host_that_vouches_for_itself() -> Result<()> {
    let (_site, gateway, _) = start().await?;
    let machine = Machine::new()?;
    let why = machine
        .login("--no-browser", url(&gateway))?
        .line(|line| line.contains("cannot be believed").then(|| line.to_owned()))
        .await?;
    assert!(why.contains("cloudflareaccess.com"), "{why}");
    assert!(!machine.tokens().exists());
    Ok(())
}

/// A program's public key in base64url, as it stands in the URL of its login.
fn public(cli: &str) -> Result<String> {
    let cli: url::Url = cli.parse()?;
    let token = cli.query_pairs().find(|(name, _)| name == "token");
    Ok(token.context("the URL has a key")?.1.into_owned())
}

#[tokio::test]
async fn hands_over_only_what_its_person_agreed_to() -> Result<()> {
    let (site, gateway, application, machine) = with_machine().await?;
    let mut login = machine.login("--no-browser", url(&gateway))?;
    let cli = login.url().await?;
    let (mut ada, mut eve) = (Person::default(), Person::default());
    // To open the URL is not to agree, and neither is anybody else's agreement, or one to another program.
    let asked = ada.log_in(&gateway, &cli, EMAIL).await?;
    assert_eq!(asked.status, StatusCode::OK);
    assert!(
        asked.text.contains(EMAIL) && asked.text.contains(&gateway.authority()),
        "{}",
        asked.text
    );
    let agreement = asked.hidden("agreement")?.to_owned();
    let of_eve = eve.log_in(&gateway, &cli, "eve@example.com").await?;
    let again = ada.open(&cli).await?;
    for (person, page, wrong) in [
        (&mut eve, &of_eve, agreement.as_str()),
        (&mut ada, &again, of_eve.hidden("agreement")?),
    ] {
        for wrong in [wrong, "nonsense", ""] {
            let page = person.submit(page, &[("agreement", wrong)]).await?;
            assert!(page.hidden("agreement").is_ok(), "asked again: {}", page.text);
        }
    }
    let mut elsewhere = cli.clone();
    let key = public(&cli)?;
    let other_key = format!("{}AAAA{}", &key[..4], &key[8..]);
    elsewhere = elsewhere.replacen(&key.replace('=', "%3D"), &other_key.replace('=', "%3D"), 1);
    assert_ne!(elsewhere, cli);
    let other = ada.open(&elsewhere).await?;
    let page = ada.submit(&other, &[("agreement", &agreement)]).await?;
    assert!(page.hidden("agreement").is_ok(), "{}", page.text);

    // A machine is no person, another host is not the application's, and nonsense is nothing.
    let token = site.token("machine").await?;
    let path = cli.trim_start_matches(url(&gateway).trim_end_matches('/'));
    let answer = gateway.get(&gateway.authority(), path, &token).send().await?;
    assert_eq!(answer.status, StatusCode::FOUND, "{}", answer.text());
    for (host, path) in [
        ("evil.example", path.to_owned()),
        (HOST, path.replacen(text(&application, "aud"), "0123", 1)),
        (HOST, path.replacen("token=", "token=x", 1)),
        (HOST, "/cdn-cgi/access/cli".to_owned()),
    ] {
        let answer = gateway.request(Method::GET, host, &path).send().await?;
        assert_eq!(
            answer.status,
            StatusCode::BAD_REQUEST,
            "{host}{path}: {}",
            answer.text()
        );
    }
    let poll = format!("{}/cdn-cgi/access/transfer/x", gateway.team);
    assert_eq!(
        Outgoing::new(Method::GET, &poll).send().await?.status,
        StatusCode::BAD_REQUEST
    );

    // Now she agrees, and whoever knew the key gets nothing they could open, once.
    let page = ada.submit(&asked, &[("agreement", &agreement)]).await?;
    assert!(page.text.contains("You are signed in"), "{}", page.text);
    assert_eq!(login.done().await?.0["by"], "browser");

    // Where the application says so, nobody is asked.
    let members = json!({"skip_interstitial": true}).to_string();
    site.access(&["app", "set", text(&application, "id"), &members])
        .await?;
    let machine = Machine::new()?;
    trust(&machine, &gateway)?;
    let mut login = machine.login("--no-browser", url(&gateway))?;
    let page = ada.open(&login.url().await?).await?;
    assert!(page.text.contains("You are signed in"), "{}", page.text);
    assert_eq!(login.done().await?.0["by"], "browser");
    Ok(())
}

#[tokio::test]
async fn is_refused_to_whom_no_policy_admits() -> Result<()> {
    let (_site, gateway, _, machine) = with_machine().await?;
    let mut login = machine.login("--no-browser", url(&gateway))?;
    let cli = login.url().await?;
    let page = Person::default()
        .log_in(&gateway, &cli, "eve@elsewhere.example")
        .await?;
    assert_eq!(page.status, StatusCode::FORBIDDEN, "{}", page.text);
    assert_eq!(login.interrupt().await?, Some(4));
    assert!(machine.token_files()?.is_empty());
    Ok(())
}
