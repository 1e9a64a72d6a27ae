//! Each kind of answer, on each flow, and what `bowline access check` says about it.

use anyhow::Result;
use bowline_e2e::access::{Gateway, Site};
use bowline_e2e::fault::{self, Reply};
use bowline_e2e::flow::{FLOWS, Flow, Outcome, Targets};
use bowline_e2e::machine::Machine;
use bowline_e2e::program::Program;
use bowline_e2e::project::{Access, Credentials, Project};
use bowline_e2e::upstream;
use http::Method;
use serde_json::json;

use super::{any_token, people};

/// What a client sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    /// A token that a policy names.
    Named,
    /// A token that none names.
    Other,
    /// A token with another's secret.
    Wrong,
    /// An id without a secret.
    Half,
    /// Nothing.
    Nothing,
}
use Sent::{Half, Named, Nothing, Other, Wrong};

/// A remote with every binding behind a gateway with one application for each path.
struct Place {
    gateway: Gateway,
    _behind: (Site, Project, Program),
    targets: Targets,
    named: Credentials,
    other: Credentials,
}

impl Place {
    async fn start() -> Result<Self> {
        let targets = Targets {
            tcp: upstream::tcp_echo().await?,
            http: upstream::http_echo().await?,
        };
        let project = Project::new(&[targets.tcp.to_string(), targets.http.to_string()])?;
        let remote = project.serve(Access::Off).await?;
        let site = Site::before(remote.url())?;
        let (named, other) = (site.token("named").await?, site.token("other").await?);
        let tokens = site.access(&["token", "list"]).await?;
        let id = tokens
            .as_array()
            .into_iter()
            .flatten()
            .find(|token| token["name"] == "named")
            .map(|token| token["id"].clone());
        let only = json!({"decision": "non_identity", "include": {"service_token": {"token_id": id}}});
        for (path, policies, members) in [
            ("machines", vec![only.clone()], json!({})),
            ("mixed", vec![only.clone(), people()], json!({})),
            (
                "unauthorized",
                vec![only],
                json!({"service_auth_401_redirect": true}),
            ),
            ("any", vec![any_token()], json!({})),
            (
                "open",
                vec![json!({"decision": "bypass", "include": {"everyone": {}}})],
                json!({}),
            ),
        ] {
            site.application(path, &format!("127.0.0.1/{path}"), &policies, members)
                .await?;
        }
        let gateway = site.gateway_with(&[], &[]).await?;
        Ok(Self {
            gateway,
            _behind: (site, project, remote),
            targets,
            named,
            other,
        })
    }

    fn credentials(&self, sent: Sent) -> Credentials {
        let id = self.named.id.clone();
        match sent {
            Named => self.named.clone(),
            Other => self.other.clone(),
            Wrong => Credentials {
                id,
                secret: self.other.secret.clone(),
            },
            Half => Credentials { id, secret: None },
            Nothing => Credentials::default(),
        }
    }

    /// What check and every flow make of one path with one kind of credentials.
    async fn judge(&self, path: &str, sent: Sent, verdict: &str, code: i32, says: &str) -> Result<()> {
        let url = format!("{}{path}/", self.gateway.program.url());
        let credentials = self.credentials(sent);
        let machine = Machine::with(&credentials)?;
        let checked = machine.check(&url).await?;
        let case = format!("{path} {sent:?}: {:#}", checked.document);
        assert_eq!(checked.document["verdict"], verdict, "{case}");
        assert_eq!(checked.code, code, "{case}");
        for text in ["reason", "next"] {
            assert!(
                checked.document[text]
                    .as_str()
                    .is_some_and(|text| text.len() > 10),
                "{case}"
            );
        }
        let secrets: Vec<_> = credentials.secret.iter().collect();
        assert!(
            secrets.iter().all(|secret| !checked.written.contains(*secret)),
            "{case}"
        );

        let mut proxy = machine.connect(&url).await?;
        for flow in FLOWS {
            let outcome = flow.call(proxy.url(), self.targets).await?;
            let case = format!("{path} {sent:?} {flow:?}: {outcome:?}");
            if code == 0 {
                assert_eq!(outcome, Outcome::Works, "{case}");
                continue;
            }
            let first = outcome.text().lines().next().unwrap_or_default();
            assert!(
                first.contains("bowline: Access refused binding") && first.contains(says),
                "{case}"
            );
            assert!(
                secrets.iter().all(|secret| !outcome.text().contains(*secret)),
                "{case}"
            );
        }
        assert!(proxy.terminate().await?.success());
        let told = proxy.stderr.text();
        let reports = told.matches("Access refused binding").count();
        assert_eq!(reports, usize::from(code != 0), "one report a run: {told}");
        assert!(secrets.iter().all(|secret| !told.contains(*secret)), "{told}");
        Ok(())
    }
}

#[tokio::test]
async fn of_a_gateway_on_every_flow() -> Result<()> {
    let place = Place::start().await?;
    let (none, half, bad) = (
        "no service token was sent",
        "CLOUDFLARE_ACCESS_CLIENT_SECRET is not set",
        "the service token was sent and not accepted",
    );
    for (path, sent, verdict, code, says) in [
        ("machines", Named, "admitted", 0, ""),
        ("machines", Other, "token_not_authorised", 4, bad),
        ("machines", Wrong, "token_not_authorised", 4, bad),
        ("machines", Half, "credentials_needed", 4, half),
        ("machines", Nothing, "credentials_needed", 4, none),
        ("mixed", Named, "admitted", 0, ""),
        ("mixed", Wrong, "token_rejected", 4, bad),
        ("mixed", Nothing, "credentials_needed", 4, none),
        ("unauthorized", Other, "token_rejected", 4, bad),
        ("unauthorized", Nothing, "credentials_needed", 4, none),
        ("any", Other, "admitted", 0, ""),
        ("open", Nothing, "open", 0, ""),
        ("open", Named, "open", 0, ""),
    ] {
        place.judge(path, sent, verdict, code, says).await?;
    }
    let strict = json!({"strict_service_token_auth": true});
    place.gateway.ok(Method::PUT, "organizations", strict).await?;
    for (path, sent, verdict, code, says) in [
        ("machines", Named, "admitted", 0, ""),
        ("machines", Other, "token_not_authorised", 4, bad),
        ("machines", Wrong, "token_rejected", 4, bad),
        ("mixed", Other, "token_not_authorised", 4, bad),
        // What needs no credentials still refuses wrong ones there, and the proxy would send them.
        ("open", Wrong, "token_rejected", 4, bad),
    ] {
        place.judge(path, sent, verdict, code, says).await?;
    }
    Ok(())
}

const PAGE: &str = "<title>Error \u{30fb} Cloudflare Access</title>";

/// What one edge answers, and what is to be made of it.
struct Case {
    request: Reply,
    upgrade: Reply,
    verdict: &'static str,
    code: i32,
    /// What the first line of a refused fetch says, and that of a refused upgrade; `""` where it passes.
    fetch: &'static str,
    socket: &'static str,
}

#[tokio::test]
async fn of_what_only_looks_like_access() -> Result<()> {
    let challenge = Reply {
        status: 403,
        headers: &[("cf-mitigated", "challenge")],
        body: "Just a moment...",
    };
    let banned = Reply {
        status: 403,
        body: "error code: 1010",
        ..Reply::default()
    };
    let down = Reply {
        status: 530,
        body: "error code: 1033",
        ..Reply::default()
    };
    let page = Reply {
        status: 403,
        body: PAGE,
        ..Reply::default()
    };
    let marked = Reply {
        status: 403,
        headers: &[("cf-access-error", "1")],
        ..Reply::default()
    };
    let oauth = Reply {
        status: 401,
        headers: &[(
            "www-authenticate",
            "Bearer resource_metadata=\"https://a/.well-known/cloudflare-access-protected-resource/\"",
        )],
        ..Reply::default()
    };
    let login = Reply {
        status: 302,
        headers: &[(
            "location",
            "https://t.cloudflareaccess.com/cdn-cgi/access/login/h?kid=a&redirect_url=%2F",
        )],
        ..Reply::default()
    };
    let own = Reply {
        status: 403,
        body: "not yours",
        ..Reply::default()
    };
    let origin = Reply::default();
    let case = |request, upgrade, verdict, code, fetch, socket| Case {
        request,
        upgrade,
        verdict,
        code,
        fetch,
        socket,
    };
    let (fire, tunnel) = ("a firewall or bot check", "the tunnel behind it is down");
    let (refused, websocket) = (
        "the service token was sent and not accepted",
        "requests pass with the same credentials, WebSockets do not",
    );
    for Case {
        request,
        upgrade,
        verdict,
        code,
        fetch,
        socket,
    } in [
        case(challenge, challenge, "firewall", 5, fire, fire),
        case(banned, banned, "firewall", 5, fire, fire),
        case(down, down, "tunnel_down", 5, tunnel, tunnel),
        case(page, page, "token_not_authorised", 4, refused, refused),
        case(marked, marked, "token_not_authorised", 4, refused, refused),
        case(oauth, oauth, "token_rejected", 4, refused, refused),
        case(login, login, "token_rejected", 4, refused, refused),
        // An application that protects a Worker: requests pass, upgrades never.
        case(origin, page, "websocket_refused", 5, "", websocket),
        // The origin's own word is the origin's own.
        case(own, origin, "open", 0, "", ""),
    ] {
        let address = fault::edge(request, upgrade).await?;
        let mut machine = Machine::with(&Credentials {
            id: Some("0123.access".into()),
            secret: Some("the-secret-of-this-test".into()),
        })?;
        machine.set("BOWLINE_LOG", "warn");
        // Named by the user, or they would be withheld where nothing says that Access stands there.
        machine.settings(
            &address.to_string(),
            json!({"client_id": "0123.access", "client_secret": "the-secret-of-this-test"}),
        )?;
        let url = format!("http://{address}/");
        let checked = machine.check(&url).await?;
        let case = format!("{request:?} {upgrade:?}: {:#}", checked.document);
        assert_eq!(checked.document["verdict"], verdict, "{case}");
        assert_eq!(checked.code, code, "{case}");

        let mut proxy = machine.connect(&url).await?;
        let nowhere = Targets {
            tcp: address,
            http: address,
        };
        let said = super::post(&proxy, "{}").await?.1;
        assert!(said.contains(fetch), "{case}: {said}");
        assert_eq!(said.contains("bowline:"), !fetch.is_empty(), "{case}: {said}");
        if !socket.is_empty() {
            for flow in [Flow::Rpc, Flow::Connect, Flow::WebSocket] {
                let outcome = flow.call(proxy.url(), nowhere).await?;
                assert!(outcome.text().contains(socket), "{case}: {flow:?} {outcome:?}");
            }
        }
        assert!(proxy.terminate().await?.success());
        let told = proxy.stderr.text();
        assert!(!told.contains("the-secret-of-this-test"), "{told}");
        assert!(told.matches("bowline: ").count() <= 1, "one report a run: {told}");
    }
    Ok(())
}

#[tokio::test]
async fn of_nobody_there_and_of_credentials_that_stay_here() -> Result<()> {
    let credentials = Credentials {
        id: Some("0123.access".into()),
        secret: Some("the-secret-of-this-test".into()),
    };
    let machine = Machine::with(&credentials)?;
    let checked = machine.check("http://127.0.0.1:1/").await?;
    assert_eq!(
        (checked.document["verdict"].as_str(), checked.code),
        (Some("unreachable"), 5),
        "{:#}",
        checked.document
    );
    // Nothing says that Access stands there, so what is in the environment does not go there.
    let (address, recorded) = upstream::recorder().await?;
    let checked = machine.check(&format!("http://{address}/")).await?;
    assert_eq!(
        (checked.document["verdict"].as_str(), checked.code),
        (Some("open"), 0),
        "{:#}",
        checked.document
    );
    assert!(checked.document["credentials"]["withheld"].is_string());
    let seen = recorded.lock().expect("no holder panics").concat();
    assert!(!seen.is_empty() && !String::from_utf8_lossy(&seen).contains("the-secret-of-this-test"));
    Ok(())
}
