//! Fetches from the Worker of a service binding, and calls one of its methods.
//!
//! `cargo run -p bowline-client --example service -- URL BINDING [METHOD [JSON]…]`; a service token is taken from
//! `CLOUDFLARE_ACCESS_CLIENT_ID` and `CLOUDFLARE_ACCESS_CLIENT_SECRET`.
#![expect(clippy::print_stdout, reason = "an example is a program")]

use bowline_client::{capnweb, collect, empty};
use http::Request;
use serde_json::Value;

#[path = "shared/connect.rs"]
mod connect;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let (client, binding) = connect::from_command_line()?;
    let service = client.service(binding);

    let request = Request::get("https://service.example/hello").body(empty())?;
    let answer = service.fetch(request).await?;
    let status = answer.status();
    let body = collect(answer.into_body(), 1 << 20).await?;
    println!("{status}: {}", String::from_utf8_lossy(&body));

    let mut words = std::env::args().skip(3);
    if let Some(method) = words.next() {
        let mut args = Vec::new();
        for word in words {
            args.push(capnweb::to_value(&serde_json::from_str::<Value>(&word)?)?);
        }
        // The name is not known when this is compiled, so the call goes through the untyped stub.
        let rpc = service.rpc().await?;
        let result = rpc.result("a method", rpc.stub().call(&method, args)).await?;
        println!("{method}: {}", capnweb::from_value::<Value>(result)?);
    }
    Ok(())
}
