//! The proxy Worker in real workerd, where it would be at Cloudflare: `bowline dev` runs it with bindings of its own, and
//! unmodified miniflare, or `bowline dev` once more, calls them through it.

use anyhow::{Context, Result};
use bowline_e2e::client::Outgoing;
use bowline_e2e::peers::{Driver, Miniflare};
use bowline_e2e::program::Program;
use bowline_e2e::project::{Credentials, Project};
use bowline_e2e::upstream;
use bowline_e2e::worker::TestWorker;
use bowline_session::{AccessGate, RemoteBinding, Row, proxy_worker};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{miniflare, service};

/// What the proxy Worker has: every binding of the test project that reaches it as more than a plain fetcher.
fn bindings() -> Result<Vec<RemoteBinding>> {
    [
        ("service", "SVC", json!({"service": "callee"})),
        ("service", "PLAIN", json!({"service": "plain"})),
        ("dispatch_namespace", "CUSTOMERS", json!({"namespace": "customers"})),
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
        ["name", "main", "compatibility_date", "services", "dispatch_namespaces", "send_email", "vpc_networks"]
            .contains(&key.as_str())
    });
    std::fs::write(folder.join("proxy.jsonc"), wrangler.to_string())?;
    std::fs::create_dir_all(folder.join("proxy"))?;
    std::fs::write(folder.join("proxy/proxy-worker.mjs"), proxy_worker::source(&bindings()?, gate))?;
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
            request = request.header(*name, (*value).to_owned());
        }
        request.send()
    };
    for (headers, status, text) in [
        (&[][..], 400, "Binding not found"),
        (&[("mf-binding", "NONE")][..], 400, "Binding \"NONE\" not found"),
        // What every object has is no binding.
        (&[("mf-binding", "constructor")][..], 400, "Binding \"constructor\" not found"),
        (&[("mf-binding", "SVC")][..], 400, "MF-URL is missing"),
        (
            &[("mf-binding", "CUSTOMERS"), ("mf-url", "https://a/"), ("mf-dispatch-namespace-options", "{")][..],
            400,
            "MF-Dispatch-Namespace-Options is not JSON",
        ),
    ] {
        let answer = get(headers).await?;
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (status, text));
        assert!(!answer.headers.contains_key("mf-forwarded-response"), "{text}");
    }
    let answer = get(&[("mf-binding", "SVC"), ("mf-url", "https://callee.example/redirect")]).await?;
    assert_eq!(answer.status, StatusCode::FOUND, "redirects are the caller's to see");
    assert_eq!(answer.headers["mf-forwarded-response"], "true");
    Ok(())
}
