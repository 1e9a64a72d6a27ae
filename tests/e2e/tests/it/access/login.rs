//! The login for development: the chain of redirects as a browser walks it, and what cannot be walked.

use anyhow::{Context, Result};
use bowline_e2e::access::{Gateway, Site};
use bowline_e2e::client::{Answer, Outgoing};
use http::header::{LOCATION, SET_COOKIE};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{any_token, logged, people, reached};

/// The host of an application that is the gateway's own address, so that every URL of the chain can be followed.
async fn start() -> Result<(Site, Gateway, String)> {
    let site = Site::new(None).await?;
    site.application("app", "127.0.0.1", &[any_token(), people()], json!({}))
        .await?;
    let gateway = site.gateway().await?;
    let host = gateway.authority();
    Ok((site, gateway, host))
}

fn location(answer: &Answer) -> Result<String> {
    let location = answer.headers.get(LOCATION).context("no location")?;
    Ok(location.to_str()?.to_owned())
}

/// The `name=value` of a cookie that an answer sets.
fn cookie(answer: &Answer, name: &str) -> Option<String> {
    let mut set = answer
        .headers
        .get_all(SET_COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let found = set.find(|value| value.starts_with(&format!("{name}=")))?;
    found.split(';').next().map(str::to_owned)
}

async fn post(url: &str, form: &str) -> Result<Answer> {
    Outgoing::new(Method::POST, url)
        .header("content-type", "application/x-www-form-urlencoded")
        .header("content-length", form.len().to_string())
        .body(form.to_owned())
        .send()
        .await
}

/// Walks up to the hand-over. The URL of the hand-over, and the cookie that goes with it.
async fn log_in(gateway: &Gateway, host: &str, email: &str) -> Result<(String, String)> {
    let refused = gateway.request(Method::GET, host, "/private?x=1").send().await?;
    assert_eq!(refused.status, StatusCode::FOUND);
    let (login, app_session) = (
        location(&refused)?,
        cookie(&refused, "CF_AppSession").context("no cookie")?,
    );
    let page = Outgoing::new(Method::GET, &login).send().await?;
    assert!(
        page.text()
            .contains("<title>Sign in \u{30fb} Cloudflare Access</title>"),
        "{}",
        page.text()
    );
    assert!(page.text().contains("For development only"));
    let page = post(&login, &format!("email={}", email.replace('@', "%40"))).await?;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text());
    let (_, rest) = page
        .text()
        .split_once("name=\"id\" type=\"hidden\" value=\"")
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .context("no id")?;
    let id = rest.split('"').next().unwrap_or_default().to_owned();
    let wrong = post(&login, &format!("id={id}&code=nonsense")).await?;
    assert_eq!(wrong.status, StatusCode::FORBIDDEN);
    let code = gateway.shown_code(email).context("the operator saw no code")?;
    let right = post(&login, &format!("id={id}&code={code}")).await?;
    assert_eq!(right.status, StatusCode::SEE_OTHER, "{}", right.text());
    let again = post(&login, &format!("id={id}&code={code}")).await?;
    assert_eq!(again.status, StatusCode::FORBIDDEN, "a code is good once");
    Ok((location(&right)?, app_session))
}

#[tokio::test]
async fn ends_with_a_session_at_the_page_that_was_asked_for() -> Result<()> {
    let (site, gateway, host) = start().await?;
    let (hand_over, app_session) = log_in(&gateway, &host, "ada@example.com").await?;
    // Without the browser's own cookie the URL is worth nothing.
    for stolen in [
        Outgoing::new(Method::GET, &hand_over),
        Outgoing::new(Method::GET, &hand_over).header("cookie", "CF_AppSession=0123"),
    ] {
        let answer = stolen.send().await?;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert!(cookie(&answer, "CF_Authorization").is_none());
    }
    let answer = Outgoing::new(Method::GET, &hand_over)
        .header("cookie", &app_session)
        .send()
        .await?;
    assert_eq!(answer.status, StatusCode::FOUND, "{}", answer.text());
    assert_eq!(location(&answer)?, format!("http://{host}/private?x=1"));
    let session = cookie(&answer, "CF_Authorization").context("no session")?;

    let get = |path: &str| {
        gateway
            .request(Method::GET, &host, path)
            .header("cookie", &session)
    };
    let answer = get("/private?x=1").send().await?;
    assert_eq!(answer.status, StatusCode::OK);
    let mirrored: Value = serde_json::from_slice(&answer.body)?;
    assert_eq!(
        reached(&mirrored, "cf-access-authenticated-user-email"),
        Some("ada@example.com")
    );
    // The session itself goes to the origin, so that nothing outlives it.
    let assertion = reached(&mirrored, "cf-access-jwt-assertion").context("no assertion")?;
    assert_eq!(format!("CF_Authorization={assertion}"), session);
    let identity: Value = serde_json::from_slice(&get("/cdn-cgi/access/get-identity").send().await?.body)?;
    assert_eq!(identity["email"], "ada@example.com");
    // A neighbour of the cookie's is not taken for it.
    let answer = gateway
        .request(Method::GET, &host, "/")
        .header("cookie", format!("x{session}"))
        .send()
        .await?;
    assert_eq!(answer.status, StatusCode::FOUND);
    assert_eq!(get("/cdn-cgi/access/logout").send().await?.status, StatusCode::OK);
    assert_eq!(get("/").send().await?.status, StatusCode::FOUND);
    logged(&site, 1, |entry| {
        entry["identity"] == "ada@example.com" && entry["request"] == "GET /cdn-cgi/access/authorized"
    })
    .await
}

#[tokio::test]
async fn ends_with_a_refusal_for_whom_no_policy_admits() -> Result<()> {
    let (_site, gateway, host) = start().await?;
    let (hand_over, app_session) = log_in(&gateway, &host, "eve@elsewhere.example").await?;
    let answer = Outgoing::new(Method::GET, &hand_over)
        .header("cookie", &app_session)
        .send()
        .await?;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(cookie(&answer, "CF_Authorization").is_none());
    // A login that did not begin with a redirect, or leads elsewhere than that said, is none.
    let refused = gateway.request(Method::GET, &host, "/x").send().await?;
    let login = location(&refused)?;
    for url in [
        format!("{}/cdn-cgi/access/login/{host}", gateway.team),
        format!("{login}x"),
        login.replace("&redirect_url=%2Fx", "&redirect_url=%2F%2Fevil.example"),
        login.replace("&meta=", "&meta=x"),
    ] {
        assert_eq!(
            Outgoing::new(Method::GET, &url).send().await?.status,
            StatusCode::BAD_REQUEST,
            "{url}"
        );
    }
    let answer = post(&login, "email=%1b%5b2J%40example.com").await?;
    assert_eq!(
        answer.status,
        StatusCode::BAD_REQUEST,
        "nothing that could move the operator's cursor"
    );
    Ok(())
}

/// cloudflared up to 2026.7 follows the redirects of a HEAD to the login page, and takes the tag from its URL and the
/// application's domain from its header.
#[tokio::test]
async fn tells_older_cloudflareds_which_application_it_is() -> Result<()> {
    let site = Site::new(None).await?;
    let application = site
        .application("app", "127.0.0.1", &[people()], json!({}))
        .await?;
    let gateway = site.gateway().await?;
    let refused = gateway
        .request(Method::HEAD, &gateway.authority(), "/private")
        .send()
        .await?;
    assert_eq!(refused.status, StatusCode::FOUND);
    let login = location(&refused)?;
    assert!(login.contains("/cdn-cgi/access/login"), "{login}");
    let kid = format!("kid={}", bowline_e2e::access::text(&application, "aud"));
    assert!(login.contains(&kid), "{login}");
    let page = Outgoing::new(Method::HEAD, &login).send().await?;
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!(page.headers["cf-access-domain"], "127.0.0.1");
    Ok(())
}

#[tokio::test]
async fn is_not_offered_to_others_or_unasked() -> Result<()> {
    let site = Site::new(None).await?;
    let command = site.command(&[
        "gateway",
        "--json",
        "--listen",
        "0.0.0.0:0",
        "--public",
        "--development-login",
        "--origin",
        "http://127.0.0.1:9",
    ])?;
    let output = bowline_e2e::program::run(command, bowline_e2e::client::DEADLINE).await?;
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("development login"));
    Ok(())
}
