//! miniflare, from its own options.

use anyhow::{Context, Result};
use bowline_e2e::peers::Miniflare;

use super::Stage;

async fn recipe(version: Miniflare, node: &str, file: &str) -> Result<()> {
    let stage = Stage::new().await?;
    let kitchen = stage.kitchen(version).await?;
    stage
        .serves(&kitchen, version == Miniflare::V5, &[node, file])
        .await
}

#[tokio::test]
async fn four() -> Result<()> {
    recipe(Miniflare::V4, "node", "miniflare-4.mjs").await
}

/// On the system's own Node, which may be as old as our package allows: 20. miniflare 5 refuses one below 22.
#[tokio::test]
async fn four_on_the_systems_node() -> Result<()> {
    let path = std::env::var_os("PATH").context("a PATH")?;
    let mut nodes = std::env::split_paths(&path).map(|folder| folder.join("node"));
    let node = nodes.find(|node| node.is_file()).context("Node in PATH")?;
    let node = node.to_str().context("a path that is text")?;
    recipe(Miniflare::V4, node, "miniflare-4.mjs").await
}

#[tokio::test]
async fn five() -> Result<()> {
    recipe(Miniflare::V5, "node", "miniflare-5.mjs").await
}

#[tokio::test]
async fn five_by_its_own_schema() -> Result<()> {
    recipe(Miniflare::V5, "node", "miniflare-5-schema.mjs").await
}

#[tokio::test]
async fn five_by_the_options_wrangler_makes() -> Result<()> {
    recipe(Miniflare::V5, "node", "worker-options.mjs").await
}
