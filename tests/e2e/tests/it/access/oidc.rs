//! Logins at a real OpenID Connect provider.

use anyhow::{Context, Result};
use bowline_e2e::access::{Gateway, Provider, Site};
use bowline_e2e::machine::Machine;
use bowline_e2e::person::{Page, Person};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{any_token, people, reached};

const ID: &str = "bowline gateway";
const SECRET: &str = "a secret: 100% of/this+test";

/// A provider, a gateway whose people log in there, and the gateway's host.
struct Place {
    _site: Site,
    gateway: Gateway,
    provider: Provider,
    host: String,
}

impl Place {
    /// `registered` is the secret that the provider knows, if any; the gateway's is always the same.
    async fn start(registered: Option<(&str, &str)>, sent: Option<&str>) -> Result<Self> {
        let site = Site::new(None).await?;
        site.application("app", "127.0.0.1", &[any_token(), people()], json!({}))
            .await?;
        let mut client = json!({"client_id": ID});
        if let Some((secret, method)) = registered {
            client["client_secret"] = json!(secret);
            client["method"] = json!(method);
        }
        let provider = Provider::start(client).await?;
        let flags = ["--oidc-issuer", provider.program.url(), "--oidc-client-id", ID];
        let secret: Vec<_> = sent
            .map(|secret| ("BOWLINE_ACCESS_OIDC_CLIENT_SECRET", secret))
            .into_iter()
            .collect();
        let gateway = site.gateway_with(&flags, &secret).await?.named_as_team().await?;
        let back = format!("{}/cdn-cgi/access/callback", gateway.team);
        provider.sends_back_to(&back).await?;
        Ok(Self {
            _site: site,
            host: gateway.authority(),
            gateway,
            provider,
        })
    }

    /// Opens a protected page and logs in at the provider, as far as it lets.
    async fn log_in(&self, person: &mut Person, login: &str) -> Result<Page> {
        let page = person
            .open(&format!("{}private?x=1", self.gateway.program.url()))
            .await?;
        self.sign_in(person, page, login).await
    }

    /// Fills in the provider's pages.
    async fn sign_in(&self, person: &mut Person, page: Page, login: &str) -> Result<Page> {
        let at_provider = page.url.as_str().starts_with(self.provider.program.url());
        assert!(at_provider, "{}: {}", page.url, page.text);
        let consent = person
            .submit(
                &page,
                &[("prompt", "login"), ("login", login), ("password", "any")],
            )
            .await?;
        person.submit(&consent, &[("prompt", "consent")]).await
    }
}

#[tokio::test]
async fn let_in_whom_the_policies_admit() -> Result<()> {
    for (registered, sent) in [
        (Some((SECRET, "client_secret_basic")), Some(SECRET)),
        (None, None),
    ] {
        let place = Place::start(registered, sent).await?;
        let mut ada = Person::default();
        let page = place.log_in(&mut ada, "ada@example.com").await?;
        assert_eq!(page.status, StatusCode::OK, "{}", page.text);
        assert!(page.url.as_str().ends_with("/private?x=1"), "{}", page.url);
        let mirrored: Value = serde_json::from_str(&page.text)?;
        assert_eq!(
            reached(&mirrored, "cf-access-authenticated-user-email"),
            Some("ada@example.com")
        );
        let session = ada
            .cookie("127.0.0.1", "CF_Authorization")
            .context("no session")?
            .to_owned();
        let identity = place
            .gateway
            .request(Method::GET, &place.host, "/cdn-cgi/access/get-identity")
            .header("cookie", format!("CF_Authorization={session}"))
            .send()
            .await?;
        let identity: Value = serde_json::from_slice(&identity.body)?;
        assert_eq!(
            (&identity["email"], &identity["idp"]["type"]),
            (&json!("ada@example.com"), &json!("oidc"))
        );

        // Nobody else gets in: not by policy, not unverified, not without an address.
        for (login, status) in [
            ("eve@elsewhere.example", StatusCode::FORBIDDEN),
            ("unverified@example.com", StatusCode::FORBIDDEN),
            ("nobody@example.com", StatusCode::FORBIDDEN),
        ] {
            let mut person = Person::default();
            let page = place.log_in(&mut person, login).await?;
            assert_eq!(page.status, status, "{login}: {}", page.text);
            assert!(
                person.cookie("127.0.0.1", "CF_Authorization").is_none(),
                "{login}"
            );
        }
        let log = place.gateway.program.stderr.text();
        for secret in [SECRET, session.as_str()] {
            assert!(!log.contains(secret), "a secret is in the log");
        }
    }
    Ok(())
}

#[tokio::test]
async fn sign_a_program_in() -> Result<()> {
    let place = Place::start(Some((SECRET, "client_secret_basic")), Some(SECRET)).await?;
    let machine = Machine::new()?;
    machine.settings(&place.host, json!({"team_domain": place.host}))?;
    let mut login = machine.login("--no-browser", place.gateway.program.url())?;
    let mut ada = Person::default();
    let page = ada.open(&login.url().await?).await?;
    let asked = place.sign_in(&mut ada, page, "ada@example.com").await?;
    let agreement = asked.hidden("agreement")?.to_owned();
    let page = ada.submit(&asked, &[("agreement", &agreement)]).await?;
    assert!(page.text.contains("You are signed in"), "{}", page.text);
    let (document, _) = login.done().await?;
    assert_eq!(document["by"], "browser");
    let checked = machine.check(place.gateway.program.url()).await?;
    assert_eq!(checked.document["verdict"], "admitted", "{:#}", checked.document);
    Ok(())
}

#[tokio::test]
async fn end_where_something_is_wrong() -> Result<()> {
    // The provider knows another secret.
    let place = Place::start(Some(("another", "client_secret_basic")), Some(SECRET)).await?;
    let mut ada = Person::default();
    let page = place.log_in(&mut ada, "ada@example.com").await?;
    assert_eq!(page.status, StatusCode::BAD_GATEWAY, "{}", page.text);
    let log = place.gateway.program.stderr.text();
    assert!(log.contains("invalid_client") && !log.contains(SECRET), "{log}");

    // The way back belongs to the browser that left, and to one login.
    let place = Place::start(Some((SECRET, "client_secret_post")), Some(SECRET)).await?;
    let (mut ada, mut eve) = (Person::default(), Person::default());
    let left = ada.open(place.gateway.program.url()).await?;
    let consent = ada
        .submit(
            &left,
            &[
                ("prompt", "login"),
                ("login", "ada@example.com"),
                ("password", "any"),
            ],
        )
        .await?;
    let session = ada
        .cookie("127.0.0.1", "CF_Session")
        .context("no session")?
        .to_owned();
    let refused = |query: String| {
        place
            .gateway
            .request(
                Method::GET,
                &place.host,
                &format!("/cdn-cgi/access/callback?{query}"),
            )
            .header("cookie", format!("CF_Session={session}"))
            .send()
    };
    for query in ["", "code=x", "code=x&state=y", "error=access_denied"] {
        assert_eq!(
            refused(query.to_owned()).await?.status,
            StatusCode::BAD_REQUEST,
            "{query}"
        );
    }
    // She cancels.
    let page = ada.open(&format!("{}/abort", consent.url)).await?;
    assert_eq!(page.status, StatusCode::FORBIDDEN, "{}", page.text);
    assert!(page.text.contains("did not let you in"), "{}", page.text);
    let query = page.url.query().context("the way back has a query")?.to_owned();
    // Somebody else follows the same way back.
    let page = eve.open(page.url.as_str()).await?;
    assert_eq!(page.status, StatusCode::BAD_REQUEST, "{}", page.text);
    // A code that the provider does not know.
    let forged = query.replace("error=access_denied", "code=forged");
    let answer = refused(forged).await?;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{}", answer.text());

    // The provider goes away.
    let Place {
        gateway,
        mut provider,
        ..
    } = place;
    provider.program.kill().await?;
    let answer = refused_after(&gateway, &query, &session).await?;
    assert_eq!(answer, StatusCode::BAD_GATEWAY);
    Ok(())
}

/// The status of the way back with a code nobody can check.
async fn refused_after(gateway: &Gateway, query: &str, session: &str) -> Result<StatusCode> {
    let path = format!(
        "/cdn-cgi/access/callback?{}",
        query.replace("error=access_denied", "code=forged")
    );
    let answer = gateway
        .request(Method::GET, &gateway.authority(), &path)
        .header("cookie", format!("CF_Session={session}"))
        .send()
        .await?;
    Ok(answer.status)
}

#[tokio::test]
async fn go_to_no_provider_in_the_clear() -> Result<()> {
    let site = Site::new(None).await?;
    for (flags, says) in [
        (
            vec!["--oidc-issuer", "http://id.example", "--oidc-client-id", "x"],
            "https URL",
        ),
        (vec!["--oidc-issuer", "https://id.example"], "--oidc-client-id"),
        (
            vec![
                "--oidc-issuer",
                "https://id.example",
                "--oidc-client-id",
                "x",
                "--development-login",
            ],
            "cannot be used with",
        ),
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
        assert_eq!(output.status.code(), Some(2), "{flags:?}: {said}");
        assert!(said.contains(says), "{flags:?}: {said}");
    }
    Ok(())
}
