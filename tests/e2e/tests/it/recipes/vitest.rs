//! Vitest's pool for Workers.

use anyhow::Result;
use bowline_e2e::peers::Miniflare;
use bowline_e2e::project::Credentials;

use super::{NONE, Stage, WRONG};

const TESTS: &str = include_str!("../../../recipes/calls.test.mjs");

#[tokio::test]
async fn run() -> Result<()> {
    let stage = Stage::new().await?;
    let kitchen = stage.kitchen(Miniflare::V5).await?;
    let run = ["npx", "vitest", "run"];
    let batch = stage.batch("calls.test.mjs", TESTS)?;
    let output = kitchen.run(&stage.right, &run).await?;
    batch.right(&output)?;
    for (credentials, reason) in [(&stage.wrong, WRONG), (&Credentials::default(), NONE)] {
        let output = kitchen.run(credentials, &run).await?;
        batch.refused(&output, reason)?;
    }
    Ok(())
}
