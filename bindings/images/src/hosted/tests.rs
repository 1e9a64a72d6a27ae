use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use bowline_binding::{Body, Endpoint, collect, full};
use bytes::Bytes;
use capnweb::{Answer, Call, Capability, NoMain, ReadableStream, SessionOptions, Stub, Target, Value};
use futures_util::{FutureExt, StreamExt, stream};
use http::{Method, Request, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use image::{ImageFormat, RgbImage};
use serde_json::json;
use tempfile::TempDir;

use super::{ABANDONED, DeliveryEndpoint, Hosted, Main};
use crate::config::Config;
use crate::work::Workshop;

const ORIGIN: &str = "http://127.0.0.1:8787";

/// One store in a folder, with its two ways in.
struct Place {
    state: TempDir,
    hosted: Arc<Hosted>,
    main: Main,
    endpoint: DeliveryEndpoint,
}

fn open(state: TempDir, change: impl FnOnce(&mut Config)) -> Place {
    let entry = json!({"binding": "IMAGES", "variants": {"thumb": {"width": 4}}});
    let mut config = Config::parse(&entry).unwrap();
    change(&mut config);
    let workshop = Arc::new(Workshop::new(config.limits.work));
    let hosted = Arc::new(Hosted::open(Arc::new(config), state.path()).unwrap());
    let endpoint = DeliveryEndpoint::new(Arc::clone(&hosted), Arc::clone(&workshop));
    endpoint.mounted(ORIGIN);
    Place {
        state,
        main: Main::new(Arc::clone(&hosted), workshop),
        hosted,
        endpoint,
    }
}

fn fresh() -> Place {
    open(tempfile::tempdir().unwrap(), |_| {})
}

fn png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, y as u8, 90]))
        .write_to(&mut bytes, ImageFormat::Png)
        .unwrap();
    bytes.into_inner()
}

async fn settled(answer: Answer) -> Result<Value, String> {
    let outcome = match answer {
        Answer::Ready(outcome) => outcome,
        Answer::Later(future) => future.await,
    };
    outcome.map_err(|error| error.message())
}

fn data(value: Value) -> serde_json::Value {
    capnweb::from_value(value).unwrap()
}

fn value(json: &serde_json::Value) -> Value {
    capnweb::to_value(json).unwrap()
}

impl Place {
    async fn try_call(&self, method: &str, args: Vec<Value>) -> Result<Value, String> {
        settled(self.main.call(Call::new(method, args))).await
    }

    async fn upload(&self, bytes: Vec<u8>, options: serde_json::Value) -> Result<serde_json::Value, String> {
        let args = vec![
            Value::Bytes(bytes, capnweb::BytesKind::ArrayBuffer),
            value(&options),
        ];
        self.try_call("upload", args).await.map(data)
    }

    async fn list(&self, options: serde_json::Value) -> serde_json::Value {
        data(self.try_call("list", vec![value(&options)]).await.unwrap())
    }

    async fn of(&self, id: &str, method: &str, options: serde_json::Value) -> Result<Value, String> {
        let handle = self.try_call("image", vec![id.into()]).await?;
        let Value::Capability(Capability::Stub(stub)) = handle else {
            panic!("image() gave {handle:?}")
        };
        let stub: Stub = stub;
        stub.call(method, [value(&options)])
            .await
            .map_err(|error| error.message())
    }

    async fn http(&self, method: Method, url: &str, form: Option<Vec<u8>>) -> (StatusCode, String, Bytes) {
        let path = url.strip_prefix(ORIGIN).unwrap();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "multipart/form-data; boundary=xx")
            .body(full(form.unwrap_or_default()))
            .unwrap();
        let response = self.endpoint.call(request).await;
        let (parts, body) = response.into_parts();
        let kind = parts.headers["content-type"].to_str().unwrap().to_owned();
        (parts.status, kind, collect(body, 1 << 20).await.unwrap())
    }

    fn files(&self) -> usize {
        std::fs::read_dir(self.state.path().join("images/files"))
            .unwrap()
            .count()
    }
}

fn form(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut form =
        b"--xx\r\ncontent-disposition: form-data; name=\"file\"; filename=\"mine.png\"\r\n\r\n".to_vec();
    form.extend_from_slice(bytes);
    form.extend_from_slice(b"\r\n--xx--\r\n");
    Some(form)
}

#[tokio::test]
async fn images_outlive_the_process() {
    let place = fresh();
    let options = json!({"id": "cats/tom", "filename": "tom.png", "metadata": {"age": 4}, "creator": "ann"});
    let made = place.upload(png(8, 8), options).await.unwrap();
    assert_eq!(
        made["variants"][0],
        format!("{ORIGIN}/images/delivery/cats/tom/public")
    );
    let again = place
        .upload(png(8, 8), json!({"id": "cats/tom"}))
        .await
        .unwrap_err();
    assert!(again.contains("already"), "{again}");
    assert_eq!(place.files(), 1, "a refused upload leaves no file");

    let place = open(place.state, |_| {});
    let told = data(place.of("cats/tom", "details", json!(null)).await.unwrap());
    assert_eq!(told, made);
    let changed = place
        .of("cats/tom", "update", json!({"metadata": {"age": 5}}))
        .await
        .unwrap();
    let changed = data(changed);
    assert_eq!(
        (&changed["meta"], &changed["creator"]),
        (&json!({"age": 5}), &json!("ann"))
    );
    let Value::Capability(Capability::Readable(stream)) =
        place.of("cats/tom", "bytes", json!(null)).await.unwrap()
    else {
        panic!("no stream")
    };
    assert_eq!(stream.collect(1 << 20).await.unwrap(), png(8, 8));

    assert_eq!(
        place.of("cats/tom", "delete", json!(null)).await.unwrap(),
        Value::Bool(true)
    );
    assert_eq!(
        place.of("cats/tom", "delete", json!(null)).await.unwrap(),
        Value::Bool(false)
    );
    assert_eq!(place.files(), 0);
    for method in ["details", "bytes"] {
        assert_eq!(
            place.of("cats/tom", method, json!(null)).await.unwrap(),
            Value::Null
        );
    }
    let gone = place.of("cats/tom", "update", json!({})).await.unwrap_err();
    assert_eq!(gone, "Image not found: cats/tom");
}

#[tokio::test]
async fn what_is_no_image_or_too_much_is_refused() {
    let small = png(4, 4).len();
    let place = open(tempfile::tempdir().unwrap(), |config| {
        config.limits.hosted_bytes = 2000;
        config.limits.hosted_images = 3;
        config.limits.stored_bytes = 2 * small as i64;
        config.limits.side = 100;
    });
    for (bytes, says) in [
        (b"no picture".to_vec(), "not an image"),
        (png(4, 4)[..20].to_vec(), "not an image"),
        (vec![0; 2001], "larger than 2000 bytes"),
        (png(101, 1), "too many pixels"),
    ] {
        let refused = place.upload(bytes, json!({})).await.unwrap_err();
        assert!(refused.contains(says), "{refused}");
    }
    for _ in 0..2 {
        place.upload(png(4, 4), json!({})).await.unwrap();
    }
    let refused = place.upload(png(4, 4), json!({})).await.unwrap_err();
    assert!(refused.contains("max_stored_bytes"), "{refused}");
    place.try_call("createDirectUpload", vec![]).await.unwrap();
    let refused = place.try_call("createDirectUpload", vec![]).await.unwrap_err();
    assert!(refused.contains("as many images as may be"), "{refused}");
    assert_eq!(place.files(), 2);

    // What goes makes room.
    let id = place.list(json!({"limit": 1})).await["images"][0]["id"].clone();
    place
        .of(id.as_str().unwrap(), "delete", json!(null))
        .await
        .unwrap();
    place.upload(png(4, 4), json!({})).await.unwrap();
}

#[tokio::test]
async fn a_link_is_good_for_one_upload() {
    let place = fresh();
    let link = async |options: serde_json::Value| {
        let made = place.try_call("createDirectUpload", vec![value(&options)]).await;
        let made = data(made.unwrap());
        let text = |key: &str| made[key].as_str().unwrap().to_owned();
        (text("id"), text("uploadURL"))
    };
    let (id, url) = link(json!({"metadata": {"from": "web"}})).await;
    let draft = data(place.of(&id, "details", json!(null)).await.unwrap());
    assert_eq!(draft["draft"], true);
    assert_eq!(place.of(&id, "bytes", json!(null)).await.unwrap(), Value::Null);
    assert_eq!(
        place.http(Method::GET, &url, None).await.0,
        StatusCode::METHOD_NOT_ALLOWED
    );
    // What fails leaves the link good.
    for (sent, status) in [
        (None, StatusCode::BAD_REQUEST),
        (form(b"no picture"), StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        assert_eq!(place.http(Method::POST, &url, sent).await.0, status);
    }
    // Of many that come at once, one is taken.
    let image = png(6, 6);
    let rush = (0..8).map(|_| place.http(Method::POST, &url, form(&image)));
    let mut statuses: Vec<_> = futures_util::future::join_all(rush)
        .await
        .into_iter()
        .map(|(status, ..)| status.as_u16())
        .collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409, 409, 409, 409, 409, 409, 409]);
    assert_eq!(place.files(), 1);
    let told = data(place.of(&id, "details", json!(null)).await.unwrap());
    assert_eq!(
        (&told["draft"], &told["filename"], &told["meta"]),
        (&json!(false), &json!("mine.png"), &json!({"from": "web"}))
    );

    let (_, url) = link(json!({})).await;
    let unknown = format!("{ORIGIN}/images/upload/{}", "0".repeat(32));
    assert_eq!(
        place.http(Method::POST, &unknown, form(&image)).await.0,
        StatusCode::NOT_FOUND
    );
    let mut late = Hosted::open(Arc::clone(&place.hosted.config), place.state.path()).unwrap();
    late.clock = || jiff::Timestamp::now().as_millisecond() + 1_801_000;
    let endpoint = DeliveryEndpoint::new(Arc::new(late), Arc::new(Workshop::new(ABANDONED)));
    let place = Place { endpoint, ..place };
    assert_eq!(
        place.http(Method::POST, &url, form(&image)).await.0,
        StatusCode::GONE
    );
}

/// Whoever uploads goes away in the middle, by either way: nothing stays, and the link is as good as before.
#[tokio::test]
async fn a_cancelled_upload_leaves_nothing() {
    let place = fresh();
    let made = place
        .try_call("createDirectUpload", vec![value(&json!({}))])
        .await;
    let url = data(made.unwrap())["uploadURL"].as_str().unwrap().to_owned();
    let whole = form(&png(6, 6)).unwrap();
    let post = |body: Body| {
        Request::post(url.strip_prefix(ORIGIN).unwrap())
            .header("content-type", "multipart/form-data; boundary=xx")
            .body(body)
            .unwrap()
    };
    let start = || Ok(Frame::data(Bytes::copy_from_slice(&whole[..whole.len() / 2])));
    // The connection breaks.
    let broken = stream::iter([start(), Err("reset".into())]);
    let response = place
        .endpoint
        .call(post(StreamBody::new(broken).boxed_unsync()))
        .await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    // The server stops waiting for an answer.
    let silent = stream::iter([start()]).chain(stream::pending());
    let waiting = place.endpoint.call(post(StreamBody::new(silent).boxed_unsync()));
    assert!(waiting.now_or_never().is_none());

    let picture = png(6, 6);
    let half = Value::from(picture[..picture.len() / 2].to_vec());
    let broken = stream::iter([Ok(half.clone()), Err(capnweb::Error::new("Error", "gone"))]);
    let args = |source| vec![Value::from(source), value(&json!({"id": "tom"}))];
    let refused = place.try_call("upload", args(ReadableStream::new(broken))).await;
    assert!(
        refused.as_ref().is_err_and(|text| text.contains("gone")),
        "{refused:?}"
    );
    // The session ends.
    let workshop = Arc::new(Workshop::new(ABANDONED));
    let main = Main::new(Arc::clone(&place.hosted), Arc::clone(&workshop));
    let session = capnweb::pair(Arc::new(NoMain), Arc::new(main), SessionOptions::default());
    let (asked, reading) = tokio::sync::oneshot::channel();
    let silent = stream::once(async move {
        let _ = asked.send(());
        Ok(half)
    });
    let waiting = session.call(
        "upload",
        args(ReadableStream::new(silent.chain(stream::pending()))),
    );
    reading.await.unwrap();
    drop((waiting, session));
    let ended = async {
        while Arc::strong_count(&workshop) > 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), ended)
        .await
        .unwrap();

    assert_eq!(place.files(), 0);
    assert_eq!(
        place.list(json!({})).await["images"].as_array().unwrap().len(),
        1,
        "the draft"
    );
    assert_eq!(
        place.http(Method::POST, &url, Some(whole.clone())).await.0,
        StatusCode::OK
    );
    place.upload(picture, json!({"id": "tom"})).await.unwrap();
}

/// A page of another origin uploads by a link, and reads the answer, good or bad.
#[tokio::test]
async fn pages_of_any_origin_use_links() {
    let place = fresh();
    let path = format!("/images/upload/{}", "0".repeat(32));
    for (method, status) in [
        (Method::OPTIONS, StatusCode::NO_CONTENT),
        (Method::POST, StatusCode::NOT_FOUND),
        (Method::PUT, StatusCode::METHOD_NOT_ALLOWED),
    ] {
        let request = Request::builder()
            .method(method)
            .uri(&path)
            .body(full(Vec::new()))
            .unwrap();
        let response = place.endpoint.call(request).await;
        assert_eq!(response.status(), status);
        assert_eq!(response.headers()["access-control-allow-origin"], "*");
    }
    // Whoever may see an image is another question.
    let request = Request::get("/images/delivery/a/public")
        .body(full(Vec::new()))
        .unwrap();
    let response = place.endpoint.call(request).await;
    assert!(!response.headers().contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn variants_are_delivered_and_signed_ones_to_who_may() {
    let place = fresh();
    place.upload(png(8, 8), json!({"id": "a b/é"})).await.unwrap();
    let told = data(place.of("a b/é", "details", json!(null)).await.unwrap());
    let url = |number: usize| told["variants"][number].as_str().unwrap().to_owned();
    let (status, kind, body) = place.http(Method::GET, &url(0), None).await;
    assert_eq!(
        (status, kind.as_str(), &body[..]),
        (StatusCode::OK, "image/png", &png(8, 8)[..])
    );
    let (_, _, thumb) = place.http(Method::GET, &url(1), None).await;
    assert_eq!(image::load_from_memory(&thumb).unwrap().width(), 4);
    assert_eq!(place.http(Method::HEAD, &url(0), None).await.2.len(), 0);
    for missing in [
        "/images/delivery/a%20b/%C3%A9/huge",
        "/images/delivery/other/public",
        "/images/delivery/public",
        "/images/",
    ] {
        let url = format!("{ORIGIN}{missing}");
        assert_eq!(
            place.http(Method::GET, &url, None).await.0,
            StatusCode::NOT_FOUND,
            "{missing}"
        );
    }

    place
        .of("a b/é", "update", json!({"requireSignedURLs": true}))
        .await
        .unwrap();
    assert_eq!(
        place.http(Method::GET, &url(0), None).await.0,
        StatusCode::UNAUTHORIZED
    );
    let sign = async |options: serde_json::Value| place.of("a b/é", "signedUrl", options).await;
    let signed = sign(json!({"variant": "thumb", "expiresIn": 60})).await.unwrap();
    let signed = signed.as_str().unwrap().to_owned();
    assert_eq!(place.http(Method::GET, &signed, None).await.0, StatusCode::OK);
    let other = signed.replace("/thumb?", "/public?");
    assert_eq!(
        place.http(Method::GET, &other, None).await.0,
        StatusCode::UNAUTHORIZED
    );
    for (options, says) in [
        (json!({"variant": "huge"}), "there are public, thumb"),
        (json!({"variant": "thumb", "keyName": "mine"}), "one signing key"),
        (json!({}), "variant is required"),
    ] {
        let refused = sign(options).await.unwrap_err();
        assert!(refused.contains(says), "{refused}");
    }
    // The key is kept: what was signed stays good.
    let place = open(place.state, |_| {});
    assert_eq!(place.http(Method::GET, &signed, None).await.0, StatusCode::OK);

    let svg = br#"<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script><rect width="1" height="1"/></svg>"#;
    place
        .upload(svg.to_vec(), json!({"id": "drawing"}))
        .await
        .unwrap();
    for variant in ["public", "thumb"] {
        let url = format!("{ORIGIN}/images/delivery/drawing/{variant}");
        let (_, kind, body) = place.http(Method::GET, &url, None).await;
        let body = String::from_utf8_lossy(&body).into_owned();
        assert!(
            kind == "image/svg+xml" && body.contains("rect") && !body.contains("script"),
            "{body}"
        );
    }
}

#[tokio::test]
async fn lists_are_paged_in_either_order() {
    let place = fresh();
    for number in 0..7 {
        let creator = if number % 2 == 0 { "even" } else { "odd" };
        let options = json!({"id": format!("{number}"), "creator": creator, "metadata": {"number": number}});
        place.upload(png(1, 1), options).await.unwrap();
    }
    let ids = |page: &serde_json::Value| -> String {
        let images = page["images"].as_array().unwrap();
        images.iter().map(|image| image["id"].as_str().unwrap()).collect()
    };
    for (order, all) in [("asc", "0123456"), ("desc", "6543210")] {
        let (mut seen, mut cursor) = (String::new(), json!(null));
        loop {
            let page = place
                .list(json!({"limit": 3, "sortOrder": order, "cursor": cursor}))
                .await;
            seen.push_str(&ids(&page));
            cursor = page["cursor"].clone();
            assert_eq!(page["listComplete"], cursor.is_null());
            if cursor.is_null() {
                break;
            }
        }
        assert_eq!(seen, all);
    }
    assert_eq!(ids(&place.list(json!({"creator": "odd"})).await), "135");
    let filter = json!({"filter": {"metadata": {"number": {"gt": 2, "lte": 5}}}, "limit": 3});
    let page = place.list(filter).await;
    assert_eq!(
        (ids(&page).as_str(), &page["listComplete"]),
        ("345", &json!(true))
    );
    let refused = place
        .try_call("list", vec![value(&json!({"cursor": "nonsense"}))])
        .await;
    assert!(refused.unwrap_err().contains("cursor"));
}

#[tokio::test]
async fn files_without_a_row_are_swept_when_they_are_old() {
    let place = fresh();
    place.upload(png(1, 1), json!({"id": "kept"})).await.unwrap();
    let files = place.state.path().join("images/files");
    let old = std::time::SystemTime::now() - 2 * ABANDONED;
    for entry in std::fs::read_dir(&files).unwrap() {
        let file = std::fs::File::options()
            .write(true)
            .open(entry.unwrap().path())
            .unwrap();
        file.set_modified(old).unwrap();
    }
    std::fs::write(files.join("young"), "x").unwrap();
    std::fs::write(files.join("old"), "x").unwrap();
    let file = std::fs::File::options()
        .write(true)
        .open(files.join("old"))
        .unwrap();
    file.set_modified(old).unwrap();
    let place = open(place.state, |_| {});
    assert!(files.join("young").exists() && !files.join("old").exists());
    assert!(matches!(
        place.of("kept", "bytes", json!(null)).await.unwrap(),
        Value::Capability(Capability::Readable(_))
    ));
}
