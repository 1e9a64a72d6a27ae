//! `wrangler dev`, through a configuration that the package writes.

use anyhow::Result;
use bowline_e2e::peers::Miniflare;

use super::Stage;

#[tokio::test]
async fn dev() -> Result<()> {
    let stage = Stage::new().await?;
    let kitchen = stage.kitchen(Miniflare::V5).await?;
    stage.serves(&kitchen, true, &["sh", "wrangler-dev.sh"]).await?;
    let left: Vec<_> = std::fs::read_dir(stage.project.folder())?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.contains("bowline-"))
        .collect();
    assert_eq!(left, Vec::<String>::new(), "written for a run, and left behind");
    Ok(())
}
