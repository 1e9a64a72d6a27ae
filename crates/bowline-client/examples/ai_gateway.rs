//! Asks one of the remote's models through a gateway, and reads the log of it.
//!
//! `cargo run -p bowline-client --example ai_gateway -- URL BINDING GATEWAY MODEL`; a service token is taken from
//! `CLOUDFLARE_ACCESS_CLIENT_ID` and `CLOUDFLARE_ACCESS_CLIENT_SECRET`.
#![expect(clippy::print_stdout, reason = "an example is a program")]

use std::time::Duration;

use anyhow::Context;
use bowline_client::ai_gateway::{Backoff, GatewayOptions, Patch, Step};
use serde_json::json;

#[path = "shared/connect.rs"]
mod connect;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let (client, binding) = connect::from_command_line()?;
    let mut more = std::env::args().skip(3);
    let id = more.next().context("name a gateway")?;
    let model = more.next().context("name a model")?;
    let gateway = client.ai(binding).gateway(id);

    let options = GatewayOptions {
        max_attempts: Some(3),
        retry_delay: Some(Duration::from_millis(200)),
        backoff: Some(Backoff::Exponential),
        ..GatewayOptions::default()
    };
    let answer = gateway
        .run(
            &[Step::new("workers-ai", model, json!({"prompt": "Say hello."}))],
            &options,
        )
        .await?;
    println!("{}", answer.status());
    let log = answer
        .headers()
        .get("cf-aig-log-id")
        .and_then(|id| id.to_str().ok())
        .map(str::to_owned);
    let body = bowline_client::collect(answer.into_body(), 1 << 20).await?;
    println!("{}", String::from_utf8_lossy(&body));
    if let Some(log) = log {
        gateway
            .patch_log(
                &log,
                &Patch {
                    feedback: Some(1),
                    ..Patch::default()
                },
            )
            .await?;
        let log = gateway.log(&log).await?;
        println!(
            "{} ms, {} tokens out, feedback {}",
            log["duration"], log["tokens_out"], log["feedback"]
        );
    }
    Ok(())
}
