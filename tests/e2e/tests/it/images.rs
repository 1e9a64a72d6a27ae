//! Images from unmodified Workers: one contract, under each miniflare and under `bowline dev`.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bowline_client::Client;
use bowline_client::images::hosted::{ListOptions, UploadOptions};
use bowline_client::images::{Draw, Fit, Format, Gravity, Input, Output, Transform};
use bowline_e2e::client::{Answer, Outgoing};
use bowline_e2e::disk::SmallDisk;
use bowline_e2e::peers::{self, Driver, Miniflare};
use bowline_e2e::program;
use bowline_e2e::project::{Access, Project};
use bowline_e2e::rust_client::RustClient;
use bowline_e2e::worker::TestWorker;
use http::Method;
use serde_json::{Value, json};

/// A PNG of one pixel, as in the captures.
const PIXEL: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==";

/// Cases of the comparison with sharp.
const CASES: usize = 59;

/// What `info()` says of a picture that `output()` gave.
async fn info(worker: &mut impl TestWorker, output: &Value) -> Result<Value> {
    worker.ok("images.info", json!({"image": output["image"]})).await
}

/// Everything that transforms.
pub(crate) async fn contract(worker: &mut impl TestWorker) -> Result<()> {
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

    let asked = json!({"image": PIXEL, "transforms": [{"width": 32}], "output": {"format": "image/avif", "quality": 60}});
    let made = worker.ok("images.output", asked).await?;
    assert_eq!(made["contentType"], "image/avif");
    let bytes = STANDARD.decode(made["image"].as_str().context("base64")?)?;
    assert_eq!(bytes.get(4..12), Some(&b"ftypavif"[..]));

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

/// Everything that is kept, from an empty store on. `buffers`: whether the caller's Cap'n Web can send an `ArrayBuffer`,
/// which that of miniflare 4 cannot.
pub(crate) async fn hosted(worker: &mut impl TestWorker, buffers: bool) -> Result<()> {
    let options = json!({
        "id": "cats/tom", "filename": "tom.png", "metadata": {"age": 4, "home": {"city": "Porto"}}, "creator": "ann",
    });
    let made = worker
        .ok(
            "images.hosted.upload",
            json!({"image": PIXEL, "options": options}),
        )
        .await?;
    let uploaded = made["uploaded"].as_str().context("uploaded")?;
    assert!(uploaded.len() == 24 && uploaded.ends_with('Z'), "{made}");
    let variants = made["variants"].as_array().context("variants")?;
    assert!(
        variants[0]
            .as_str()
            .is_some_and(|url| url.ends_with("/cats/tom/public")),
        "{made}"
    );
    let expected = json!({
        "id": "cats/tom", "filename": "tom.png", "uploaded": uploaded, "requireSignedURLs": false,
        "meta": {"age": 4, "home": {"city": "Porto"}}, "variants": variants, "draft": false, "creator": "ann",
    });
    assert_eq!(made, expected);
    let tom = json!({"id": "cats/tom"});
    assert_eq!(worker.ok("images.hosted.details", tom.clone()).await?, expected);
    assert_eq!(worker.ok("images.hosted.bytes", tom.clone()).await?, PIXEL);
    for call in ["images.hosted.details", "images.hosted.bytes"] {
        assert_eq!(
            worker.ok(call, json!({"id": "nobody"})).await?,
            Value::Null,
            "{call}"
        );
    }

    // As an ArrayBuffer, and as text.
    for (options, age) in [
        (json!({"id": "rex", "metadata": {"age": 9}}), 9),
        (
            json!({"id": "base", "metadata": {"age": 1}, "encoding": "base64"}),
            1,
        ),
    ] {
        let made = worker
            .ok(
                "images.hosted.upload",
                json!({"image": PIXEL, "whole": buffers, "options": options}),
            )
            .await?;
        assert_eq!(made["meta"]["age"], age, "{made}");
        let id = json!({"id": made["id"]});
        assert_eq!(worker.ok("images.hosted.bytes", id).await?, PIXEL, "{made}");
    }

    let (mut ids, mut cursor) = (Vec::new(), Value::Null);
    loop {
        let mut options = json!({"limit": 2, "sortOrder": "desc"});
        if cursor.is_string() {
            options["cursor"] = cursor;
        }
        let page = worker
            .ok("images.hosted.list", json!({"options": options}))
            .await?;
        ids.extend(
            page["images"]
                .as_array()
                .context("images")?
                .iter()
                .map(|image| image["id"].clone()),
        );
        cursor = page["cursor"].clone();
        assert_eq!(page["listComplete"], !cursor.is_string(), "{page}");
        if !cursor.is_string() {
            break;
        }
    }
    assert_eq!(ids, ["base", "rex", "cats/tom"]);
    for (options, found) in [
        (json!({"creator": "ann"}), vec!["cats/tom"]),
        (
            json!({"filter": {"metadata": {"home.city": "Porto"}}}),
            vec!["cats/tom"],
        ),
        (
            json!({"filter": {"metadata": {"age": {"gte": 4, "lt": 10}}}}),
            vec!["cats/tom", "rex"],
        ),
        (
            json!({"filter": {"metadata": {"age": {"in": [1, 2]}}}}),
            vec!["base"],
        ),
    ] {
        let page = worker
            .ok("images.hosted.list", json!({"options": options}))
            .await?;
        let ids = page["images"]
            .as_array()
            .context("images")?
            .iter()
            .map(|image| image["id"].clone());
        assert_eq!(ids.collect::<Vec<_>>(), found, "{options}");
    }

    let changed = worker
        .ok(
            "images.hosted.update",
            json!({"id": "cats/tom", "options": {"requireSignedURLs": true, "metadata": {"age": 5}}}),
        )
        .await?;
    assert_eq!(
        (
            &changed["requireSignedURLs"],
            &changed["meta"],
            &changed["creator"]
        ),
        (&json!(true), &json!({"age": 5}), &json!("ann"))
    );
    let signed = worker
        .ok(
            "images.hosted.signedUrl",
            json!({"id": "cats/tom", "options": {"variant": "public", "expiresIn": 60}}),
        )
        .await?;
    let signed = signed.as_str().context("a URL")?;
    assert!(
        signed.contains("/cats/tom/public?exp=") && signed.contains("&sig="),
        "{signed}"
    );

    for (call, args, says) in [
        (
            "upload",
            json!({"image": PIXEL, "options": {"id": "rex"}}),
            "already",
        ),
        (
            "upload",
            json!({"image": STANDARD.encode("no picture")}),
            "not an image",
        ),
        (
            "signedUrl",
            json!({"id": "rex", "options": {"variant": "huge"}}),
            "there is no such variant",
        ),
        (
            "update",
            json!({"id": "nobody", "options": {"creator": "x"}}),
            "Image not found: nobody",
        ),
        (
            "list",
            json!({"options": {"filter": {"metadata": {"age": {"near": 4}}}}}),
            "operators",
        ),
    ] {
        let error = worker
            .error(&format!("images.hosted.{call}"), args.clone())
            .await?;
        let message = error["message"].as_str().unwrap_or_default();
        assert!(message.contains(says), "{call} {args}: {error}");
    }

    assert_eq!(
        worker.ok("images.hosted.delete", json!({"id": "rex"})).await?,
        true
    );
    assert_eq!(
        worker.ok("images.hosted.delete", json!({"id": "rex"})).await?,
        false
    );
    Ok(())
}

/// Images that are made before anybody uploads them. miniflare 4 has no method for it.
pub(crate) async fn drafts(worker: &mut impl TestWorker) -> Result<()> {
    let link = worker
        .ok(
            "images.hosted.createDirectUpload",
            json!({"options": {"metadata": {"from": "web"}}}),
        )
        .await?;
    let draft = worker
        .ok("images.hosted.details", json!({"id": link["id"]}))
        .await?;
    assert_eq!(
        (&draft["draft"], &draft["meta"]),
        (&json!(true), &json!({"from": "web"}))
    );
    for (options, says) in [
        (json!({"expiresIn": 120}), "expiry is out of accepted bound."),
        (
            json!({"id": "6ad4dd1c-6ec4-4a35-8a4d-3b8b45a5ea3c"}),
            "CustomID must not be UUID",
        ),
        (
            json!({"id": "mine", "requireSignedURLs": true}),
            "Private custom ID is not supported",
        ),
    ] {
        let error = worker
            .error("images.hosted.createDirectUpload", json!({"options": options}))
            .await?;
        let message = error["message"].as_str().unwrap_or_default();
        assert!(message.contains(says), "{options}: {error}");
    }
    Ok(())
}

async fn get(url: &str) -> Result<Answer> {
    Outgoing::new(Method::GET, url).send().await
}

/// What a browser is shown at the URLs that the Worker got.
async fn delivery(worker: &mut impl TestWorker) -> Result<()> {
    let tom = worker
        .ok("images.hosted.details", json!({"id": "cats/tom"}))
        .await?;
    let url = tom["variants"][0].as_str().context("a variant")?;
    assert_eq!(get(url).await?.status, 401);
    let sign = json!({"id": "cats/tom", "options": {"variant": "public", "expiresIn": 60}});
    let signed = worker.ok("images.hosted.signedUrl", sign).await?;
    let shown = get(signed.as_str().context("a URL")?).await?;
    assert_eq!(
        (shown.status.as_u16(), &shown.body[..]),
        (200, &STANDARD.decode(PIXEL)?[..])
    );
    assert_eq!(shown.headers["content-type"], "image/png");
    Ok(())
}

/// A browser uploads by the link that the Worker got, once.
async fn links(worker: &mut impl TestWorker) -> Result<()> {
    let link = worker.ok("images.hosted.createDirectUpload", json!({})).await?;
    let url = link["uploadURL"].as_str().context("a URL")?;
    let mut form =
        b"--xx\r\ncontent-disposition: form-data; name=\"file\"; filename=\"web.png\"\r\n\r\n".to_vec();
    form.extend(STANDARD.decode(PIXEL)?);
    form.extend(b"\r\n--xx--\r\n");
    for status in [200, 409] {
        let answer = Outgoing::new(Method::POST, url)
            .header("content-type", "multipart/form-data; boundary=xx")
            .body(form.clone())
            .send()
            .await?;
        assert_eq!(answer.status, status, "{}", answer.text());
    }
    let id = json!({"id": link["id"]});
    let told = worker.ok("images.hosted.details", id.clone()).await?;
    assert_eq!(
        (&told["draft"], &told["filename"]),
        (&json!(false), &json!("web.png"))
    );
    assert_eq!(worker.ok("images.hosted.bytes", id).await?, PIXEL);
    let public = get(told["variants"][0].as_str().context("a variant")?).await?;
    assert_eq!(public.status, 200);
    Ok(())
}

/// `newer`: whether the caller can do more than miniflare 4.
async fn everything(worker: &mut impl TestWorker, newer: bool) -> Result<()> {
    contract(worker).await?;
    hosted(worker, newer).await?;
    delivery(worker).await?;
    if newer {
        drafts(worker).await?;
        links(worker).await?;
    }
    Ok(())
}

async fn under(version: Miniflare) -> Result<()> {
    let project = Project::new(&[])?;
    let remote = project.serve(Access::On).await?;
    let token = project.new_token("images").await?;
    let proxy = project.connect(remote.url(), &token).await?;
    let mut worker = Driver::start(version, proxy.url()).await?;
    everything(&mut worker, matches!(version, Miniflare::V5)).await?;
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
    everything(&mut worker, true).await?;
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
    everything(&mut RustClient(client.clone()), true).await?;

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

/// Rounds of uploads until the remote is killed.
const KILLS: u64 = 20;

/// The store of hosted images on a disk of its own that is full.
#[tokio::test]
async fn images_on_a_full_disk() -> Result<()> {
    let project = Project::new(&[])?;
    let disk = SmallDisk::start(&project, 6).await?;
    let said = || disk.remote.stderr.text();
    let hosted = Client::builder(disk.remote.url())
        .build()?
        .images("IMAGES")
        .hosted();
    let mut picture = STANDARD.decode(PIXEL)?;
    picture.resize(300_000, 1);
    let upload = async |number: usize| {
        let options = UploadOptions {
            id: Some(format!("n{number}")),
            ..UploadOptions::default()
        };
        hosted.upload(picture.clone(), &options).await
    };
    // While SQLite's log is short it has to grow to tell of a deletion.
    upload(0).await?;
    disk.fill()?;
    let deleted = hosted.image("n0").await?.delete().await;
    assert!(deleted.with_context(said)?);
    let log = said();
    assert!(
        log.contains("the room that is kept for deletions is used"),
        "it was not full: {log}"
    );
    disk.free()?;
    let mut kept = 0;
    let full = loop {
        match upload(kept).await {
            Ok(_) => kept += 1,
            Err(error) => break error,
        }
    };
    assert!(
        full.to_string().contains("disk of hosted images is full"),
        "{full}"
    );
    assert!(kept > 2, "{kept}");
    disk.fill()?;
    // Not a byte is left: reading and taking away work all the same, and all that was acknowledged is there.
    let page = hosted.list(&ListOptions::default()).await?;
    assert_eq!(page.images.len(), kept);
    for number in 0..kept {
        let id = format!("n{number}");
        let bytes = hosted.image(&id).await?.bytes().await?;
        assert!(bytes.is_some_and(|bytes| bytes == picture), "{id}");
        let deleted = hosted.image(&id).await?.delete().await;
        assert!(deleted.with_context(said)?, "{id}");
    }
    // Room again, and all goes on.
    upload(0).await.with_context(said)?;
    Ok(())
}

#[tokio::test]
async fn images_loses_no_acknowledged_upload_to_a_kill() -> Result<()> {
    let project = Project::new(&[])?;
    // Each is another: what follows the end of a PNG is no part of its picture.
    let picture = |number: u64| -> Result<Vec<u8>> {
        let mut bytes = STANDARD.decode(PIXEL)?;
        bytes.resize(50_000, (number % 251) as u8);
        Ok(bytes)
    };
    let mut acknowledged = 0u64;
    for round in 0..=KILLS {
        let mut remote = project.serve(Access::Off).await?;
        let hosted = Client::builder(remote.url()).build()?.images("IMAGES").hosted();
        let page = hosted
            .list(&ListOptions {
                limit: Some(1000),
                ..ListOptions::default()
            })
            .await?;
        // Whatever was acknowledged is there, whole; at most the one that nobody heard of may be there, too.
        let found = page.images.len() as u64;
        assert!(
            found == acknowledged || found == acknowledged + 1,
            "round {round}: {acknowledged} uploads were acknowledged, {found} are there"
        );
        for number in found.saturating_sub(2)..found {
            let bytes = hosted.image(&format!("n{number}")).await?.bytes().await?;
            assert!(
                bytes == Some(picture(number)?),
                "round {round}: image {number} is another"
            );
        }
        acknowledged = found;
        if round == KILLS {
            break;
        }
        let uploads = async {
            loop {
                let options = UploadOptions {
                    id: Some(format!("n{acknowledged}")),
                    ..UploadOptions::default()
                };
                match hosted.upload(picture(acknowledged)?, &options).await {
                    Ok(_) => acknowledged += 1,
                    Err(_) => break Ok::<_, anyhow::Error>(()),
                }
            }
        };
        let kill = async {
            // Another moment each time: between an upload's arrival and its answer lie some milliseconds.
            tokio::time::sleep(Duration::from_micros(2_000 + (round * 13_791) % 120_000)).await;
            remote.kill().await
        };
        let (uploaded, killed) = tokio::join!(uploads, kill);
        uploaded?;
        killed?;
    }
    assert!(
        acknowledged >= KILLS / 4,
        "only {acknowledged} uploads were acknowledged"
    );
    Ok(())
}
