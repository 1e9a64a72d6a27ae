//! `getPlatformProxy`: bindings in Node, with no Worker.

use anyhow::Result;
use bowline_e2e::peers::Miniflare;
use bowline_e2e::project::Credentials;

use super::{NONE, Stage, WRONG};

const CALLS: &str = include_str!("../../../recipes/platform-calls.mjs");

#[tokio::test]
async fn proxy() -> Result<()> {
    let stage = Stage::new().await?;
    let kitchen = stage.kitchen(Miniflare::V5).await?;
    let output = kitchen.run(&stage.right, &["node", "script.mjs"]).await?;
    assert!(output.status.success(), "{output:?}");
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("{ one: 1 }"),
        "{output:?}"
    );

    let batch = stage.batch("platform-calls.mjs", CALLS)?;
    let run = ["node", "platform-calls.mjs"];
    let output = kitchen.run(&stage.right, &run).await?;
    batch.right(&output)?;
    for (credentials, reason) in [(&stage.wrong, WRONG), (&Credentials::default(), NONE)] {
        let output = kitchen.run(credentials, &run).await?;
        batch.refused(&output, reason)?;
    }
    Ok(())
}
