//! miniflare, from its own options.

use anyhow::Result;
use bowline_e2e::peers::Miniflare;

use super::Stage;

async fn recipe(version: Miniflare, file: &str) -> Result<()> {
    let stage = Stage::new().await?;
    let kitchen = stage.kitchen(version).await?;
    stage
        .serves(&kitchen, version == Miniflare::V5, &["node", file])
        .await
}

#[tokio::test]
async fn four() -> Result<()> {
    recipe(Miniflare::V4, "miniflare-4.mjs").await
}

#[tokio::test]
async fn five() -> Result<()> {
    recipe(Miniflare::V5, "miniflare-5.mjs").await
}

#[tokio::test]
async fn five_by_its_own_schema() -> Result<()> {
    recipe(Miniflare::V5, "miniflare-5-schema.mjs").await
}

#[tokio::test]
async fn five_by_the_options_wrangler_makes() -> Result<()> {
    recipe(Miniflare::V5, "worker-options.mjs").await
}
