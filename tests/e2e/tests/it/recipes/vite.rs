//! The Vite plugin, by its hook for configurations.

use anyhow::Result;
use bowline_e2e::peers::Miniflare;

use super::Stage;

#[tokio::test]
async fn dev() -> Result<()> {
    let stage = Stage::new().await?;
    let kitchen = stage.kitchen(Miniflare::V5).await?;
    let command = ["npx", "vite", "--host", "127.0.0.1", "--port", "0"];
    // Its miniflare does not carry the codes of errors.
    stage.serves(&kitchen, false, &command).await
}
