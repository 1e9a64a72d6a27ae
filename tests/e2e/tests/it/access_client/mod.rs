//! The client of Access, through the program itself, against a freshly started gateway: what it finds, what it sends, what
//! it makes of each answer, and how a login comes about.

mod login;
mod rotation;
mod sources;
mod verdicts;

use anyhow::Result;
use bowline_e2e::access::{Gateway, Site};
use bowline_e2e::flow;
use bowline_e2e::machine::Machine;
use bowline_e2e::program::Program;
use http::Method;
use serde_json::{Value, json};

/// Where the gateway's application stands: its own address, so that every URL can be followed.
const HOST: &str = "127.0.0.1";

/// A Service Auth policy for every token.
fn any_token() -> Value {
    json!({"decision": "non_identity", "include": {"any_valid_service_token": {}}})
}

/// A policy for people.
fn people() -> Value {
    json!({"decision": "allow", "include": {"email_domain": {"domain": "example.com"}}})
}

/// A gateway whose application takes machines and people, and the application.
async fn start() -> Result<(Site, Gateway, Value)> {
    let site = Site::new(None).await?;
    let application = site
        .application("app", HOST, &[any_token(), people()], json!({}))
        .await?;
    let gateway = site.gateway().await?;
    Ok((site, gateway, application))
}

/// Lets a machine's user trust a gateway to sign for its own host.
fn trust(machine: &Machine, gateway: &Gateway) -> Result<()> {
    let host = gateway.authority();
    machine.settings(&host, json!({"team_domain": host}))
}

/// One POST by the fetch flow of a proxy: its status and text.
async fn post(proxy: &Program, body: &str) -> Result<(u16, String)> {
    let answer = flow::fetch(Method::POST, proxy.url(), "DB", "http://d1/query")
        .header("content-length", body.len().to_string())
        .body(body.to_owned())
        .send()
        .await?;
    Ok((answer.status.as_u16(), answer.text()))
}
