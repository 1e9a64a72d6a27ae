//! Fetches from one Worker of a dispatch namespace.
//!
//! `cargo run -p bowline-client --example dispatch -- URL BINDING NAME`; a service token is taken from
//! `CLOUDFLARE_ACCESS_CLIENT_ID` and `CLOUDFLARE_ACCESS_CLIENT_SECRET`.
#![expect(clippy::print_stdout, reason = "an example is a program")]

use anyhow::Context;
use bowline_client::dispatch::{GetOptions, Limits};
use bowline_client::{collect, empty};
use http::Request;

#[path = "shared/connect.rs"]
mod connect;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let (client, binding) = connect::from_command_line()?;
    let name = std::env::args()
        .nth(3)
        .context("say which Worker: URL BINDING NAME")?;
    let options = GetOptions {
        limits: Some(Limits {
            cpu_ms: Some(50),
            sub_requests: Some(5),
        }),
        ..GetOptions::default()
    };
    let worker = client.dispatch_namespace(binding).get_with(&name, &options)?;
    let request = Request::get("https://customer.example/hello").body(empty())?;
    let answer = worker.fetch(request).await?;
    let status = answer.status();
    let body = collect(answer.into_body(), 1 << 20).await?;
    println!("{status}: {}", String::from_utf8_lossy(&body));
    Ok(())
}
