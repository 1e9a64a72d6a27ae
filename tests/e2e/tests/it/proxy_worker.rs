//! The proxy Worker in real workerd, where it would be at Cloudflare: `bowline dev` runs it with bindings of its own, and
//! unmodified miniflare, or `bowline dev` once more, calls them through it.

use anyhow::{Context, Result};
use bowline_e2e::access::{Site, text};
use bowline_e2e::client::Outgoing;
use bowline_e2e::peers::{Driver, Miniflare};
use bowline_e2e::program::Program;
use bowline_e2e::project::{Credentials, Project};
use bowline_e2e::upstream;
use bowline_session::{AccessGate, RemoteBinding, Row, proxy_worker};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::access::any_token;
use crate::access::sessions::assertion;
use crate::{miniflare, service};

/// What the proxy Worker has: every binding of the test project that reaches it as more than a plain fetcher.
fn bindings() -> Result<Vec<RemoteBinding>> {
    [
        ("service", "SVC", json!({"service": "callee"})),
        ("service", "PLAIN", json!({"service": "plain"})),
        (
            "dispatch_namespace",
            "CUSTOMERS",
            json!({"namespace": "customers"}),
        ),
        ("send_email", "MAIL", json!({})),
        ("vpc_network", "VPC", json!({"network_id": "main"})),
    ]
    .into_iter()
    .map(|(type_name, name, entry)| {
        let row = Row::of(type_name).with_context(|| format!("no type {type_name}"))?;
        Ok(row.upload(name, &entry)?)
    })
    .collect()
}

/// Runs the proxy Worker with the bindings of the project.
async fn far_end(project: &Project, gate: Option<&AccessGate>) -> Result<Program> {
    let folder = project.folder();
    let file = folder.join("wrangler.jsonc");
    let mut wrangler: Value = serde_json::from_slice(&std::fs::read(file)?)?;
    let members = wrangler.as_object_mut().context("an object")?;
    members.insert("main".into(), "proxy/proxy-worker.mjs".into());
    members.retain(|key, _| {
        [
            "name",
            "main",
            "compatibility_date",
            "services",
            "dispatch_namespaces",
            "send_email",
            "vpc_networks",
        ]
        .contains(&key.as_str())
    });
    std::fs::write(folder.join("proxy.jsonc"), wrangler.to_string())?;
    std::fs::create_dir_all(folder.join("proxy"))?;
    std::fs::write(
        folder.join("proxy/proxy-worker.mjs"),
        proxy_worker::source(&bindings()?, gate),
    )?;
    let mut command = project.with_toolchain(&["dev", "proxy.jsonc", "--json", "--port", "0"])?;
    command.arg("--state").arg(project.state());
    Program::start(command).await
}

async fn every_call(version: Miniflare) -> Result<()> {
    let (tcp, http) = (upstream::tcp_echo().await?, upstream::http_echo().await?);
    let project = Project::new(&[tcp.to_string(), http.to_string()])?;
    let far = far_end(&project, None).await?;
    let proxy = project.connect(far.url(), &Credentials::default()).await?;
    let mut worker = Driver::start(version, proxy.url()).await?;
    let codes = version == Miniflare::V5;
    service::service(&mut worker, codes).await?;
    service::dispatch(&mut worker).await?;
    miniflare::send_email(&mut worker, codes, &project).await?;
    miniflare::network(&mut worker, &tcp.to_string(), &http.to_string()).await?;
    worker.stop().await
}

#[tokio::test]
async fn every_flow_of_four() -> Result<()> {
    every_call(Miniflare::V4).await
}

#[tokio::test]
async fn every_flow_of_five() -> Result<()> {
    every_call(Miniflare::V5).await
}

#[tokio::test]
async fn what_it_says_when_it_cannot() -> Result<()> {
    let project = Project::new(&["127.0.0.1:1".to_owned()])?;
    let far = far_end(&project, None).await?;
    let get = |headers: &[(&'static str, &str)]| {
        let mut request = Outgoing::new(Method::GET, far.url());
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        request.send()
    };
    for (headers, status, text) in [
        (&[][..], 400, "Binding not found"),
        (&[("mf-binding", "NONE")][..], 400, "Binding \"NONE\" not found"),
        // What every object has is no binding.
        (
            &[("mf-binding", "constructor")][..],
            400,
            "Binding \"constructor\" not found",
        ),
        (&[("mf-binding", "SVC")][..], 400, "MF-URL is missing"),
        (
            &[
                ("mf-binding", "CUSTOMERS"),
                ("mf-url", "https://a/"),
                ("mf-dispatch-namespace-options", "{"),
            ][..],
            400,
            "MF-Dispatch-Namespace-Options is not JSON",
        ),
    ] {
        let answer = get(headers).await?;
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (status, text));
        assert!(!answer.headers.contains_key("mf-forwarded-response"), "{text}");
    }
    let answer = get(&[
        ("mf-binding", "SVC"),
        ("mf-url", "https://callee.example/redirect"),
    ])
    .await?;
    assert_eq!(
        answer.status,
        StatusCode::FOUND,
        "redirects are the caller's to see"
    );
    assert_eq!(answer.headers["mf-forwarded-response"], "true");
    Ok(())
}

/// Deployed, it answers only what the gate of its own application has signed.
#[tokio::test]
async fn deployed_it_answers_nothing_without_a_token_of_its_application() -> Result<()> {
    let site = Site::new(None).await?;
    let machine = site.token("machine").await?;
    let (own, other) = ("app.example.com", "other.example.com");
    let application = site.application("app", own, &[any_token()], json!({})).await?;
    site.application("other", other, &[any_token()], json!({}))
        .await?;
    let gateway = site.gateway().await?;
    let (token, foreign) = (
        assertion(&gateway, own, &machine).await?,
        assertion(&gateway, other, &machine).await?,
    );

    let project = Project::new(&["127.0.0.1:1".to_owned()])?;
    let gate = AccessGate::new(&gateway.team, text(&application, "aud"));
    let far = far_end(&project, Some(&gate)).await?;
    let ask = async |name: &'static str, value: String| {
        Outgoing::new(Method::GET, far.url())
            .header("mf-binding", "SVC")
            .header("mf-url", "https://callee.example/")
            .header(name, value)
            .send()
            .await
    };
    const JWT: &str = "cf-access-jwt-assertion";
    for carried in [
        (JWT, token.clone()),
        ("cookie", format!("a=1; CF_Authorization={token}; b=2")),
    ] {
        let answer = ask(carried.0, carried.1).await?;
        assert_eq!(answer.status, 203, "{}: {}", carried.0, answer.text());
    }
    let (head, rest) = token.split_once('.').context("a JWT")?;
    let (payload, signature) = rest.split_once('.').context("a JWT")?;
    let (_, foreign_rest) = foreign.split_once('.').context("a JWT")?;
    let (foreign_payload, _) = foreign_rest.split_once('.').context("a JWT")?;
    // {"alg":"none"} with the same key id would be a token that anybody can make.
    let none = "eyJhbGciOiJub25lIiwia2lkIjoieCJ9";
    for (name, value, says) in [
        ("x-none", String::new(), "no application token"),
        (JWT, foreign.clone(), "for another application"),
        (
            JWT,
            format!("{head}.{foreign_payload}.{signature}"),
            "not signed by Access",
        ),
        (JWT, format!("{none}.{payload}."), "not signed by Access"),
        (JWT, format!("{head}.{payload}"), "malformed"),
        (JWT, "x.y.z".to_owned(), "malformed"),
    ] {
        let answer = ask(name, value).await?;
        assert_eq!(answer.status, 403, "{says}: {}", answer.text());
        assert!(answer.text().contains(says), "{says}: {}", answer.text());
        assert!(!answer.headers.contains_key("mf-forwarded-response"));
    }
    // A right token for the wrong team, whose keys are these all the same.
    let stranger = AccessGate {
        issuer: "https://team.example.com".into(),
        ..gate.clone()
    };
    drop(far);
    let far = far_end(&project, Some(&stranger)).await?;
    let answer = Outgoing::new(Method::GET, far.url())
        .header(JWT, token)
        .send()
        .await?;
    assert_eq!(answer.status, 403);
    assert!(answer.text().contains("of another team"), "{}", answer.text());
    Ok(())
}
