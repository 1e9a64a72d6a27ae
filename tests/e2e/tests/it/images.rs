//! Images from unmodified Workers: one contract, under each miniflare and under `bowline dev`.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bowline_client::Client;
use bowline_client::images::{Draw, Fit, Format, Gravity, Input, Output, Transform};
use bowline_e2e::peers::{self, Driver, Miniflare};
use bowline_e2e::program;
use bowline_e2e::project::{Access, Project};
use bowline_e2e::rust_client::RustClient;
use bowline_e2e::worker::TestWorker;
use serde_json::{Value, json};

/// A PNG of one pixel, as in the captures.
const PIXEL: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==";

/// Cases of the comparison with sharp.
const CASES: usize = 54;

/// What `info()` says of a picture that `output()` gave.
async fn info(worker: &mut impl TestWorker, output: &Value) -> Result<Value> {
    worker.ok("images.info", json!({"image": output["image"]})).await
}

async fn contract(worker: &mut impl TestWorker) -> Result<()> {
    let told = worker.ok("images.info", json!({"image": PIXEL})).await?;
    assert_eq!(
        told,
        json!({"format": "image/png", "fileSize": 70, "width": 1, "height": 1})
    );

    for (format, start) in [
        ("image/png", &b"\x89PNG"[..]),
        ("image/jpeg", b"\xff\xd8\xff"),
        ("image/webp", b"RIFF"),
        ("image/gif", b"GIF8"),
    ] {
        let asked = json!({
            "image": PIXEL, "output": {"format": format, "quality": 90},
            "transforms": [{"width": 32, "height": 16, "fit": "squeeze", "rotate": 90}, {"blur": 20}],
        });
        let made = worker.ok("images.output", asked).await?;
        assert_eq!(made["contentType"], format);
        let bytes = STANDARD.decode(made["image"].as_str().context("base64")?)?;
        assert!(bytes.starts_with(start), "{format}");
        let told = info(worker, &made).await?;
        assert_eq!(
            (&told["width"], &told["height"]),
            (&json!(32), &json!(16)),
            "{format}: {told}"
        );
    }

    // The samples tell where the overlay went: all of a canvas of one red pixel, then its right half only.
    let canvas = json!({"border": {"color": "#f00", "left": 1}});
    let overlay =
        json!({"width": 1, "border": {"color": "#00f", "width": 0}, "brightness": 0, "saturation": 0});
    let asked = json!({
        "image": PIXEL, "transforms": [canvas], "output": {"format": "rgba"},
        "draws": [{"image": PIXEL, "transform": overlay, "options": {"left": 0, "opacity": 0}}],
    });
    let made = worker.ok("images.output", asked).await?;
    let samples = STANDARD.decode(made["image"].as_str().context("base64")?)?;
    assert_eq!(samples.len(), 8);
    assert_eq!(samples[..4], [255, 0, 0, 255]);

    let garbage = json!({"image": STANDARD.encode("no picture"), "output": {"format": "image/png"}});
    for (call, args, prefix, code) in [
        (
            "images.output",
            garbage.clone(),
            "IMAGES_TRANSFORM_ERROR 9412: ",
            9412,
        ),
        ("images.info", garbage, "IMAGES_INFO_ERROR 9412: ", 9412),
        (
            "images.output",
            json!({"image": PIXEL, "output": {"format": "errfmt"}}),
            "IMAGES_TRANSFORM_ERROR 9401: ",
            9401,
        ),
        (
            "images.output",
            json!({"image": PIXEL, "transforms": [{"segment": "foreground"}], "output": {"format": "image/png"}}),
            "IMAGES_TRANSFORM_ERROR 9401: ",
            9401,
        ),
    ] {
        let error = worker.error(call, args.clone()).await?;
        assert_eq!(error["code"], code, "{args}: {error}");
        let message = error["message"].as_str().unwrap_or_default();
        assert!(message.starts_with(prefix), "{args}: {message}");
    }
    Ok(())
}

async fn under(version: Miniflare) -> Result<()> {
    let project = Project::new(&[])?;
    let remote = project.serve(Access::On).await?;
    let token = project.new_token("images").await?;
    let proxy = project.connect(remote.url(), &token).await?;
    let mut worker = Driver::start(version, proxy.url()).await?;
    contract(&mut worker).await?;
    worker.stop().await
}

#[tokio::test]
async fn images_under_miniflare_four() -> Result<()> {
    under(Miniflare::V4).await
}

#[tokio::test]
async fn images_under_miniflare_five() -> Result<()> {
    under(Miniflare::V5).await
}

#[tokio::test]
async fn images_under_dev() -> Result<()> {
    let project = Project::new(&[])?;
    let remote = project.serve(Access::On).await?;
    let token = project.new_token("images").await?;
    let mut worker = project.dev(remote.url(), &token).await?;
    contract(&mut worker).await?;
    assert!(worker.terminate().await?.success());
    Ok(())
}

#[tokio::test]
async fn images_from_rust() -> Result<()> {
    let project = Project::new(&[])?;
    let remote = project.serve(Access::On).await?;
    let token = project.new_token("images").await?;
    let proxy = project.connect(remote.url(), &token).await?;
    let client = Client::builder(proxy.url()).build()?;
    contract(&mut RustClient(client.clone())).await?;

    // By its own names for things.
    let half = Transform {
        width: Some(16),
        height: Some(8),
        fit: Some(Fit::Squeeze),
        gravity: Some(Gravity::Point(0.5, 1.0)),
        ..Transform::default()
    };
    let pixel = STANDARD.decode(PIXEL)?;
    let corner = Draw {
        top: Some(0),
        left: Some(0),
        opacity: Some(0.5),
        ..Draw::default()
    };
    let input = Input::new(pixel.clone())
        .transform(half)
        .draw(Input::new(pixel), corner);
    let made = client
        .images("IMAGES")
        .output(input, Output::new(Format::Png))
        .await?;
    let told = client.images("IMAGES").info(made.bytes).await?;
    assert_eq!((told.width, told.height), (Some(16), Some(8)));
    Ok(())
}

/// What sharp makes of the same pictures (`driver/sharp.mjs` has the cases, and why some are less alike).
#[tokio::test]
async fn images_look_as_those_of_sharp() -> Result<()> {
    let project = Project::new(&[])?;
    let remote = project.serve(Access::Off).await?;
    let peers = peers::installed().await?;
    let mut node = program::cleared(&peers.join("node_modules/node/bin/node"));
    node.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("driver/sharp.mjs"))
        .arg(&peers)
        .arg(remote.url())
        .arg("IMAGES")
        .env("HOME", &peers);
    let output = program::run(node, Duration::from_secs(120)).await?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "the comparison ended early: {said}");
    let text = String::from_utf8(output.stdout)?;
    let cases: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let unlike: Vec<String> = cases
        .iter()
        .filter(|case| {
            case["ssim"]
                .as_f64()
                .is_none_or(|ssim| ssim < case["least"].as_f64().unwrap_or(1.0))
        })
        .map(Value::to_string)
        .collect();
    assert!(
        unlike.is_empty(),
        "of {} cases:\n{}",
        cases.len(),
        unlike.join("\n")
    );
    assert_eq!(cases.len(), CASES);
    Ok(())
}
