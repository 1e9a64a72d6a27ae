//! Writes three vectors into an index of three dimensions and looks for the closest ones.
//!
//! `cargo run -p bowline-client --example vectorize -- URL BINDING`; a service token is taken from
//! `CLOUDFLARE_ACCESS_CLIENT_ID` and `CLOUDFLARE_ACCESS_CLIENT_SECRET`.
#![expect(clippy::print_stdout, reason = "an example is a program")]

use anyhow::Context;
use bowline_client::vectorize::{QueryOptions, ReturnMetadata, Vector};
use serde_json::json;

#[path = "shared/connect.rs"]
mod connect;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let (client, binding) = connect::from_command_line()?;
    let index = client.vectorize(binding);

    let tagged = |id: &str, values: [f32; 3], genre: &str| Vector {
        metadata: json!({ "genre": genre }).as_object().cloned(),
        ..Vector::new(id, values)
    };
    let written = index
        .upsert(&[
            tagged("blue", [0.9, 0.1, 0.0], "jazz"),
            tagged("green", [0.1, 0.9, 0.1], "folk"),
            tagged("red", [0.8, 0.0, 0.3], "jazz"),
        ])
        .await?;
    // Changes are seen once they are processed.
    index.processed(&written).await?;

    let options = QueryOptions {
        top_k: Some(2),
        return_metadata: ReturnMetadata::All,
        ..QueryOptions::default()
    };
    for found in index.query(&[1.0, 0.0, 0.0], &options).await?.matches {
        let metadata = found.metadata.context("metadata was asked for")?;
        println!("{} {:.3} {}", found.id, found.score, metadata["genre"]);
    }
    println!("{} vectors", index.describe().await?.vector_count);
    index.delete_by_ids(&["blue", "green", "red"]).await?;
    Ok(())
}
