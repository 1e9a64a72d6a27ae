//! Images by the Rust client.

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bowline_client::Error;
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
