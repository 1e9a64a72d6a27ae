//! Pages of another origin than the remote's: they upload by a link, and show what is public.

use std::sync::Arc;

use anyhow::{Context, Result};
use bowline_client::Client;
use bowline_client::images::hosted::DirectUploadOptions;
use bowline_e2e::project::{Access, Project};
use bowline_e2e::upstream::{self, Answering};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use serde_json::json;

const PAGE: &str = "<!doctype html><meta charset=utf-8><title>Another origin</title>
<link rel=icon href=data:,><form><input type=file name=file></form>";

#[tokio::test]
async fn are_uploaded_from_another_origin() -> Result<()> {
    let project = Project::new(&[])?;
    let remote = project.serve(Access::On).await?;
    let token = project.new_token("images").await?;
    let proxy = project.connect(remote.url(), &token).await?;
    let client = Client::builder(proxy.url()).build()?;
    let hosted = client.images("IMAGES").hosted();
    let link = hosted
        .create_direct_upload(&DirectUploadOptions::default())
        .await?;
    let page: Answering = Arc::new(|asked| {
        let mut page = upstream::text(PAGE);
        page.headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
        Ok((asked.uri().path() == "/").then_some(page))
    });
    let page = format!("http://{}/", upstream::answering(page).await?);
    let told = super::run_with("images.mjs", &page, json!({"link": link.upload_url.expose()})).await?;
    assert_eq!(told["id"], link.id.as_str());

    let details = hosted
        .image(&link.id)
        .await?
        .details()
        .await?
        .context("an image")?;
    assert_eq!(details.filename.as_deref(), Some("drawn.png"));
    let variant = details.variants.first().context("a variant")?;
    super::run_with("images.mjs", &page, json!({"shown": variant})).await?;
    Ok(())
}
