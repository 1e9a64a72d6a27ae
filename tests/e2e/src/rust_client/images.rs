//! Images by the Rust client.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bowline_client::Error;
use bowline_client::images::hosted::{
    Details, DirectUploadOptions, Filter, ListOptions, SortOrder, Update, UploadOptions,
};
use bowline_client::images::{Draw, Input, Output, Transform};
use serde_json::{Value, json};

use super::RustClient;

impl RustClient {
    /// The outcome, with the prefix that JavaScript's client puts before an error.
    pub(super) async fn images(
        &self,
        call: &str,
        args: &Value,
    ) -> Result<Result<Value, (&'static str, Error)>> {
        let images = self.0.images("IMAGES");
        Ok(match call {
            "info" => images
                .info(picture(&args["image"])?)
                .await
                .map_err(|error| ("IMAGES_INFO", error))
                .map(|info| {
                    json!({
                        "format": info.format, "fileSize": info.file_size, "width": info.width, "height": info.height,
                    })
                }),
            "output" => {
                let mut input = Input::new(picture(&args["image"])?);
                for step in args["transforms"].as_array().into_iter().flatten() {
                    input = input.transform(transform(step));
                }
                for draw in args["draws"].as_array().into_iter().flatten() {
                    let overlay = Input::new(picture(&draw["image"])?).transform(transform(&draw["transform"]));
                    let others = draw["options"].as_object().cloned().unwrap_or_default();
                    let draw = Draw {
                        others,
                        ..Draw::default()
                    };
                    input = input.draw(overlay, draw);
                }
                let format = args["output"]["format"].as_str().context("a format")?;
                let mut output = Output::named(format);
                output.quality = args["output"]["quality"].as_u64().map(u8::try_from).transpose()?;
                images
                    .output(input, output)
                    .await
                    .map_err(|error| ("IMAGES_TRANSFORM", error))
                    .map(|made| json!({"contentType": made.content_type, "image": STANDARD.encode(made.bytes)}))
            }
            other => bail!("{other} is no call of Images"),
        })
    }

    /// The result of a call on hosted images; a call that failed is a [`bowline_client::Error`].
    pub(super) async fn hosted_images(&self, call: &str, args: &Value) -> Result<Value> {
        let hosted = self.0.images("IMAGES").hosted();
        let options = &args["options"];
        let text = |key: &str| options[key].as_str().map(str::to_owned);
        let metadata = options["metadata"].as_object().cloned();
        let signed = options["requireSignedURLs"].as_bool();
        let id = args["id"].as_str().unwrap_or_default();
        Ok(match call {
            "hosted.upload" => {
                let options = UploadOptions {
                    id: text("id"),
                    filename: text("filename"),
                    require_signed_urls: signed.unwrap_or(false),
                    metadata,
                    creator: text("creator"),
                };
                told(hosted.upload(picture(&args["image"])?, &options).await?)
            }
            "hosted.list" => {
                let filter = options["filter"]["metadata"].as_object().cloned();
                let options = ListOptions {
                    limit: options["limit"].as_u64().map(u32::try_from).transpose()?,
                    cursor: text("cursor"),
                    sort_order: text("sortOrder").map(|order| match order.as_str() {
                        "desc" => SortOrder::Desc,
                        _ => SortOrder::Asc,
                    }),
                    creator: text("creator"),
                    filter: filter.map(|metadata| Filter { metadata }),
                };
                let page = hosted.list(&options).await?;
                let images: Vec<Value> = page.images.into_iter().map(told).collect();
                json!({"images": images, "cursor": page.cursor, "listComplete": page.list_complete})
            }
            "hosted.createDirectUpload" => {
                let options = DirectUploadOptions {
                    id: text("id"),
                    require_signed_urls: signed.unwrap_or(false),
                    metadata,
                    creator: text("creator"),
                    expires_in: options["expiresIn"].as_u64().map(Duration::from_secs),
                };
                let made = hosted.create_direct_upload(&options).await?;
                json!({"id": made.id, "uploadURL": made.upload_url.expose()})
            }
            "hosted.details" => hosted.image(id).await?.details().await?.map_or(Value::Null, told),
            "hosted.bytes" => {
                let bytes = hosted.image(id).await?.bytes().await?;
                bytes.map_or(Value::Null, |bytes| STANDARD.encode(bytes).into())
            }
            "hosted.signedUrl" => {
                let seconds = options["expiresIn"].as_u64().map(u32::try_from).transpose()?;
                let variant = text("variant").unwrap_or_default();
                let url = hosted.image(id).await?.signed_url(&variant, seconds).await?;
                url.expose().into()
            }
            "hosted.update" => {
                let update = Update {
                    require_signed_urls: signed,
                    metadata,
                    creator: text("creator"),
                };
                told(hosted.image(id).await?.update(&update).await?)
            }
            "hosted.delete" => hosted.image(id).await?.delete().await?.into(),
            other => bail!("{other} is no call of Images"),
        })
    }
}

/// As a Worker has it: what is not there is left out.
fn told(details: Details) -> Value {
    let mut told = json!({
        "id": details.id, "requireSignedURLs": details.require_signed_urls, "meta": details.meta,
        "variants": details.variants, "draft": details.draft,
    });
    for (key, value) in [
        ("filename", details.filename),
        ("uploaded", details.uploaded),
        ("creator", details.creator),
    ] {
        if let Some(value) = value {
            told[key] = value.into();
        }
    }
    told
}

fn picture(base64: &Value) -> Result<Vec<u8>> {
    Ok(STANDARD.decode(base64.as_str().context("base64")?)?)
}

fn transform(options: &Value) -> Transform {
    Transform {
        others: options.as_object().cloned().unwrap_or_default(),
        ..Transform::default()
    }
}
