use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use bowline_binding::{Binding, CallContext, FetchReply, FetchRequest};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use image::{DynamicImage, GenericImageView, ImageFormat};
use serde_json::{Value, json};

use crate::binding::Images;
use crate::config::Config;
use crate::picture;

const BOUNDARY: &str = "--------------------------322601092942561052163606";

/// One part, as workerd writes it.
enum Part<'a> {
    File(&'a str, &'a [u8]),
    Text(&'a str, &'a str),
}

fn form(parts: &[Part]) -> Vec<u8> {
    let mut body = Vec::new();
    for part in parts {
        body.extend(format!("--{BOUNDARY}\r\n").bytes());
        match part {
            Part::File(name, bytes) => {
                let head =
                    format!("content-disposition: form-data; name=\"{name}\"; filename=\"{name}\"\r\n\r\n");
                body.extend(head.bytes());
                body.extend_from_slice(bytes);
            }
            Part::Text(name, text) => {
                body.extend(format!("content-disposition: form-data; name=\"{name}\"\r\n\r\n{text}").bytes());
            }
        }
        body.extend(b"\r\n");
    }
    body.extend(format!("--{BOUNDARY}--\r\n").bytes());
    body
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn media_type(&self) -> &str {
        self.headers["content-type"].to_str().unwrap()
    }

    fn picture(&self) -> DynamicImage {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text());
        image::load_from_memory(&self.body).unwrap()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The number of a refusal, which header and text must agree on.
    fn code(&self) -> u16 {
        let header = self.headers["cf-images-binding"].to_str().unwrap();
        let code = header.strip_prefix("err=").unwrap();
        assert!(
            self.text().starts_with(&format!("ERROR {code}: ")),
            "{}",
            self.text()
        );
        assert!(self.status.as_u16() > 399);
        code.parse().unwrap()
    }
}

async fn send(binding: &dyn Binding, path: &str, body: Vec<u8>) -> Answer {
    let mut headers = HeaderMap::new();
    let kind = format!("multipart/form-data; boundary={BOUNDARY}");
    headers.insert("content-type", HeaderValue::try_from(kind).unwrap());
    let request = FetchRequest {
        method: Method::POST,
        url: format!("https://js.images.cloudflare.com{path}"),
        headers,
        body: bowline_binding::full(body),
        upgrade: None,
    };
    let reply = binding
        .fetch(&CallContext::new("IMAGES", "local"), request)
        .await
        .unwrap();
    let FetchReply::Response(response) = reply else {
        panic!("an upgrade")
    };
    let (parts, body) = response.into_parts();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: bowline_binding::collect(body, usize::MAX).await.unwrap(),
    }
}

fn binding() -> Arc<dyn Binding> {
    // Nothing here is kept: the folder may go at once.
    let state = tempfile::tempdir().unwrap();
    let config = Config::parse(&json!({"binding": "IMAGES"})).unwrap();
    Arc::new(Images::open(config, state.path()).unwrap())
}

async fn info(bytes: &[u8]) -> Answer {
    send(&*binding(), "/info", form(&[Part::File("image", bytes)])).await
}

async fn output(bytes: &[u8], transforms: Value, format: &str) -> Answer {
    let transforms = transforms.to_string();
    let parts = [
        Part::File("image", bytes),
        Part::Text("transforms", &transforms),
        Part::Text("output_format", format),
    ];
    send(&*binding(), "/transform", form(&parts)).await
}

fn encoded(pixels: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    pixels.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// Left half red, right half blue.
fn two_halves(width: u32, height: u32) -> DynamicImage {
    let mut samples = Vec::new();
    for _ in 0..height {
        for x in 0..width {
            samples.extend(if x < width / 2 { [255, 0, 0] } else { [0, 0, 255] });
        }
    }
    picture::rgb(width, height, samples)
}

/// An animated GIF of so many frames, each of another grey.
fn animation(width: u16, height: u16, frames: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    {
        let mut encoder = gif::Encoder::new(&mut bytes, width, height, &[]).unwrap();
        encoder.set_repeat(gif::Repeat::Infinite).unwrap();
        for number in 0..frames {
            let mut samples =
                [number * 20, number * 20, number * 20, 255].repeat(usize::from(width) * usize::from(height));
            let mut frame = gif::Frame::from_rgba_speed(width, height, &mut samples, 10);
            frame.delay = 5 + u16::from(number);
            encoder.write_frame(&frame).unwrap();
        }
    }
    bytes
}

#[tokio::test]
async fn information() {
    let picture = two_halves(40, 30);
    for (format, media_type) in [
        (ImageFormat::Png, "image/png"),
        (ImageFormat::Jpeg, "image/jpeg"),
        (ImageFormat::WebP, "image/webp"),
        (ImageFormat::Gif, "image/gif"),
    ] {
        let bytes = encoded(&picture, format);
        let answer = info(&bytes).await;
        assert_eq!(answer.media_type(), "application/json");
        let told: Value = serde_json::from_slice(&answer.body).unwrap();
        let right = json!({"format": media_type, "file_size": bytes.len(), "width": 40, "height": 30});
        assert_eq!(told, right);
    }
    let answer = info(b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>").await;
    let told: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(told, json!({"format": "image/svg+xml"}));
}

#[tokio::test]
async fn every_format_in_every_format_out() {
    let picture = two_halves(64, 48);
    for from in [
        ImageFormat::Png,
        ImageFormat::Jpeg,
        ImageFormat::WebP,
        ImageFormat::Gif,
    ] {
        for to in ["image/png", "image/jpeg", "image/webp", "image/gif"] {
            let answer = output(
                &encoded(&picture, from),
                json!([{"imageIndex": 0, "width": 32}]),
                to,
            )
            .await;
            let made = answer.picture();
            assert_eq!(answer.media_type(), to);
            assert_eq!(made.dimensions(), (32, 24), "{from:?} to {to}");
            let [red, _, blue, _] = made.get_pixel(4, 12).0;
            assert!(red > 220 && blue < 40, "{from:?} to {to}: {red} {blue}");
        }
    }
    for (format, channels) in [("rgb", 3), ("rgba", 4)] {
        let answer = output(&encoded(&picture, ImageFormat::Png), json!([]), format).await;
        assert_eq!(answer.body.len(), 64 * 48 * channels);
    }
    // Nothing here reads AVIF; the comparison with sharp does. Beyond 1200 pixels it is WebP.
    for (width, media_type, start) in [
        (1200, "image/avif", &b"ftypavif"[..]),
        (1201, "image/webp", b"WEBP"),
    ] {
        let wide = encoded(&two_halves(width, 8), ImageFormat::Png);
        let answer = output(&wide, json!([]), "image/avif").await;
        assert_eq!(answer.media_type(), media_type);
        let word = if media_type == "image/avif" {
            &answer.body[4..12]
        } else {
            &answer.body[8..12]
        };
        assert_eq!(word, start, "{width}");
    }
}

#[tokio::test]
async fn turns_flips_and_cuts_go_where_they_should() {
    let picture = encoded(&two_halves(40, 20), ImageFormat::Png);
    let red = [255, 0, 0, 255];
    for (transform, size, red_at) in [
        (json!({"rotate": 90}), (20, 40), (10, 5)),
        (json!({"rotate": 180}), (40, 20), (35, 10)),
        (json!({"rotate": 270}), (20, 40), (10, 35)),
        (json!({"flip": "h"}), (40, 20), (35, 10)),
        (json!({"flip": "v"}), (40, 20), (5, 10)),
        (json!({"flip": "h", "rotate": 90}), (20, 40), (10, 35)),
        (json!({"trim": {"left": 10}}), (30, 20), (5, 10)),
        (
            json!({"trim": {"left": 1, "top": 2, "width": 5, "height": 6}}),
            (5, 6),
            (2, 2),
        ),
        (
            json!({"width": 20, "height": 20, "fit": "cover", "gravity": "left"}),
            (20, 20),
            (15, 10),
        ),
        (
            json!({"width": 10, "height": 10, "fit": "squeeze"}),
            (10, 10),
            (2, 5),
        ),
        (json!({"border": {"color": "red", "width": 2}}), (44, 24), (1, 1)),
        (
            json!({"width": 40, "height": 40, "fit": "pad", "background": "#f00"}),
            (40, 40),
            (20, 2),
        ),
    ] {
        let made = output(&picture, json!([transform]), "image/png").await.picture();
        assert_eq!(made.dimensions(), size, "{transform}");
        // Resampling leaves a trace of its neighbours in a pixel.
        let found = made.get_pixel(red_at.0, red_at.1).0;
        let off = found.iter().zip(red).map(|(one, other)| one.abs_diff(other));
        assert!(off.max() <= Some(2), "{transform}");
    }
}

#[tokio::test]
async fn overlays_are_drawn_in_order() {
    let base = encoded(&two_halves(40, 20), ImageFormat::Png);
    let green = encoded(&picture::canvas(4, 4, [0, 255, 0, 255], false), ImageFormat::Png);
    let transforms = json!([
        {"imageIndex": 1, "width": 2},
        {"drawImageIndex": 1, "targetImageIndex": 0, "top": 1, "left": 1},
        {"drawImageIndex": 2, "targetImageIndex": 0, "bottom": 0, "right": 0, "opacity": 0.5},
    ])
    .to_string();
    let parts = [
        Part::File("image", &base),
        Part::File("draw_image", &green),
        Part::File("draw_image", &green),
        Part::Text("transforms", &transforms),
        Part::Text("output_format", "image/png"),
    ];
    let made = send(&*binding(), "/transform", form(&parts)).await.picture();
    assert_eq!(made.get_pixel(1, 1).0, [0, 255, 0, 255]);
    assert_eq!(made.get_pixel(2, 2).0, [0, 255, 0, 255]);
    assert_eq!(made.get_pixel(3, 3).0, [255, 0, 0, 255]);
    assert_eq!(made.get_pixel(38, 18).0, [0, 128, 128, 255]);
}

#[tokio::test]
async fn animations_stay_animations_where_they_can() {
    let moving = animation(20, 10, 4);
    let resized = output(&moving, json!([{"width": 10}]), "image/gif").await;
    let mut decoder = gif::DecodeOptions::new().read_info(&resized.body[..]).unwrap();
    let mut delays = Vec::new();
    while let Some(frame) = decoder.next_frame_info().unwrap() {
        delays.push(frame.delay);
    }
    assert_eq!(delays, [5, 6, 7, 8]);
    assert_eq!(decoder.repeat(), gif::Repeat::Infinite);

    let webp = output(&moving, json!([{"width": 10}]), "image/webp").await;
    let mut decoder = image_webp::WebPDecoder::new(Cursor::new(&webp.body)).unwrap();
    assert_eq!((decoder.num_frames(), decoder.dimensions()), (4, (10, 5)));
    let mut frame = vec![0; decoder.output_buffer_size().unwrap()];
    let lasting: Vec<u32> = (0..4).map(|_| decoder.read_frame(&mut frame).unwrap()).collect();
    assert_eq!(lasting, [50, 60, 70, 80]);
    let back = output(&webp.body, json!([]), "image/gif").await;
    assert_eq!(back.picture().dimensions(), (10, 5));

    let transforms = "[]";
    let parts = [
        Part::File("image", &moving),
        Part::Text("transforms", transforms),
        Part::Text("output_format", "image/webp"),
        Part::Text("anim", "false"),
    ];
    let still = send(&*binding(), "/transform", form(&parts)).await;
    let decoder = image_webp::WebPDecoder::new(Cursor::new(&still.body)).unwrap();
    assert!(!decoder.is_animated());
    assert_eq!(
        output(&moving, json!([]), "image/png")
            .await
            .picture()
            .dimensions(),
        (20, 10)
    );
}

#[tokio::test]
async fn svg_passes_through_cleaned() {
    let svg = b"<svg xmlns='http://www.w3.org/2000/svg'><script>x</script><rect width='1' height='1'/></svg>";
    let answer = output(svg, json!([{"width": 5}]), "image/png").await;
    assert_eq!(answer.media_type(), "image/svg+xml");
    assert!(
        answer.text().contains("<rect") && !answer.text().contains("script"),
        "{}",
        answer.text()
    );
}

/// An EXIF block: turned by a quarter, and two names of which one stays.
fn turned_exif() -> Vec<u8> {
    use exif::experimental::Writer;
    use exif::{Field, In, Tag, Value};
    let field = |tag, value| Field {
        tag,
        ifd_num: In::PRIMARY,
        value,
    };
    let fields = [
        field(Tag::Orientation, Value::Short(vec![6])),
        field(Tag::Artist, Value::Ascii(vec![b"Nobody".to_vec()])),
        field(Tag::Copyright, Value::Ascii(vec![b"(c) Ann".to_vec()])),
    ];
    let mut writer = Writer::new();
    fields.iter().for_each(|field| writer.push_field(field));
    let mut block = Cursor::new(Vec::new());
    writer.write(&mut block, false).unwrap();
    block.into_inner()
}

/// A JPEG that is made much smaller is read smaller. What comes out is what comes of a PNG, which is read whole.
#[tokio::test]
async fn what_is_read_smaller_is_the_same() {
    // Colors tell the place, also where something is cut off.
    let mut samples = Vec::new();
    for y in 0..480_u32 {
        for x in 0..640_u32 {
            samples.extend([
                (x * 255 / 640) as u8,
                (y * 255 / 480) as u8,
                ((x + y) / 8 % 64) as u8,
            ]);
        }
    }
    let pixels = picture::rgb(640, 480, samples);
    let exif = turned_exif();
    let jpeg = |exif| {
        let jpeg = bowline_pixels::Jpeg {
            quality: 100,
            progressive: false,
            exif,
        };
        jpeg.write(pixels.as_bytes(), 640, 480).unwrap()
    };
    let pairs = [
        (jpeg(None), encoded(&pixels, ImageFormat::Png)),
        (jpeg(Some(&exif)), encoded(&pixels.rotate90(), ImageFormat::Png)),
    ];
    for (jpeg, png) in &pairs {
        for transform in [
            json!({"width": 300}),
            json!({"width": 75}),
            json!({"width": 120, "height": 120, "fit": "contain"}),
            json!({"width": 33, "height": 90, "fit": "squeeze"}),
            json!({"width": 50, "height": 50, "fit": "cover", "gravity": "left"}),
            json!({"width": 100, "height": 40, "fit": "crop", "gravity": {"x": 0.9, "y": 0.2}}),
            json!({"width": 90, "height": 90, "fit": "pad", "background": "#123456"}),
            json!({"width": 80, "rotate": 90, "flip": "h"}),
            json!({"width": 60, "height": 20, "fit": "cover", "rotate": 270, "gravity": "top"}),
            json!({"width": 60, "trim": {"left": 200, "top": 100}}),
            json!({"width": 700, "fit": "contain"}),
        ] {
            let steps = json!([transform]);
            let (small, whole) = (
                output(jpeg, steps.clone(), "rgb").await,
                output(png, steps, "rgb").await,
            );
            assert_eq!(small.body.len(), whole.body.len(), "{transform}");
            let apart: u64 = small
                .body
                .iter()
                .zip(&*whole.body)
                .map(|(one, other)| u64::from(one.abs_diff(*other)))
                .sum();
            let apart = apart as f64 / small.body.len() as f64;
            assert!(apart < 2.5, "{transform}: {apart}");
        }
    }
    // That it is read smaller at all, and not where it cannot be.
    let small = bowline_pixels::read_smaller(&pairs[0].0, 8).unwrap();
    assert_eq!(
        (small.width, small.height, small.samples.len()),
        (80, 60, 80 * 60 * 3)
    );
    let grey = encoded(&DynamicImage::ImageLuma8(pixels.to_luma8()), ImageFormat::Jpeg);
    assert!(bowline_pixels::read_smaller(&grey, 2).is_none());
    assert!(bowline_pixels::read_smaller(&pairs[0].0[..2000], 2).is_none());
    assert_eq!(
        output(&grey, json!([{"width": 64}]), "image/png")
            .await
            .picture()
            .dimensions(),
        (64, 48)
    );
}

#[tokio::test]
async fn orientation_is_carried_out_and_only_the_copyright_stays() {
    let block = turned_exif();
    let jpeg = bowline_pixels::Jpeg {
        quality: 95,
        progressive: false,
        exif: Some(&block),
    };
    let jpeg = jpeg.write(two_halves(40, 20).as_bytes(), 40, 20).unwrap();

    let answer = output(&jpeg, json!([]), "image/jpeg").await;
    let made = answer.picture();
    assert_eq!(made.dimensions(), (20, 40));
    let [red, _, blue, _] = made.get_pixel(10, 5).0;
    assert!(red > 200 && blue < 60, "{red} {blue}");
    let read = exif::Reader::new()
        .read_from_container(&mut Cursor::new(&answer.body))
        .unwrap();
    assert_eq!(
        read.fields().map(|field| field.tag).collect::<Vec<_>>(),
        [exif::Tag::Copyright]
    );
    let png = output(&jpeg, json!([]), "image/png").await;
    assert!(
        exif::Reader::new()
            .read_from_container(&mut Cursor::new(&png.body))
            .is_err()
    );
}

/// A PNG that says it has so many pixels, and has none.
fn png_head(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = encoded(&two_halves(2, 2), ImageFormat::Png);
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    let mut crc = !0u32;
    for byte in &bytes[12..29] {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ 0xedb8_8320
            } else {
                crc >> 1
            };
        }
    }
    bytes[29..33].copy_from_slice(&(!crc).to_be_bytes());
    bytes
}

#[tokio::test]
async fn hostile_images_are_refused_by_number() {
    let small = encoded(&two_halves(4, 4), ImageFormat::Png);
    // A GIF whose canvas is the largest there is, in fifty bytes.
    let mut gif_bomb = encoded(&two_halves(4, 4), ImageFormat::Gif);
    gif_bomb[6..10].fill(0xff);
    for (what, bytes, code) in [
        ("nothing", vec![], 9412),
        ("garbage", vec![7; 1000], 9412),
        ("html", b"<!doctype html><p>login".to_vec(), 9412),
        ("tiff", b"II*\0aaaaaaaa".to_vec(), 9412),
        ("heic", b"\0\0\0\x18ftypheic".to_vec(), 9412),
        ("avif", b"\0\0\0\x18ftypavif".to_vec(), 9412),
        ("a torn png", small[..40].to_vec(), 9516),
        ("only a jpeg's mark", b"\xff\xd8\xff\xe0".to_vec(), 9516),
        (
            "only a webp's mark",
            b"RIFF\xff\xff\xff\xffWEBPVP8 ".to_vec(),
            9516,
        ),
        ("a png bomb", png_head(50_000, 50_000), 9413),
        ("a gif bomb", gif_bomb, 9413),
    ] {
        let answer = output(&bytes, json!([]), "image/png").await;
        assert_eq!(answer.code(), code, "{what}: {}", answer.text());
    }
    for (transform, code) in [
        (json!({"width": 12_000, "height": 12_000, "fit": "squeeze"}), 9413),
        (json!({"border": {"width": 12_000}}), 9413),
        (json!({"width": -1}), 9401),
        (json!({"segment": "foreground"}), 9401),
        (json!({"gravity": "face"}), 9401),
        (json!({"trim": {"left": 5}}), 9401),
        (json!({"imageIndex": 9}), 9432),
        (json!({"drawImageIndex": 0, "targetImageIndex": 0}), 9432),
    ] {
        let answer = output(&small, json!([transform]), "image/png").await;
        assert_eq!(answer.code(), code, "{transform}: {}", answer.text());
    }
    assert_eq!(output(&small, json!([]), "errfmt").await.code(), 9401);
    assert_eq!(output(&small, json!("x"), "image/png").await.code(), 9432);
}

#[tokio::test]
async fn hostile_forms_are_refused_by_number() {
    let small = encoded(&two_halves(4, 4), ImageFormat::Png);
    let whole = form(&[Part::File("image", &small)]);
    let text = "x".repeat(100_000);
    let many: Vec<Part> = (0..70).map(|_| Part::File("draw_image", &small)).collect();
    for (what, body, code) in [
        ("no part", form(&[]), 9432),
        ("no image", form(&[Part::Text("transforms", "[]")]), 9432),
        ("a torn form", whole[..whole.len() / 2].to_vec(), 9402),
        ("no form", b"hello".to_vec(), 9402),
        (
            "much text",
            form(&[Part::File("image", &small), Part::Text("transforms", &text)]),
            9402,
        ),
        (
            "much image",
            form(&[Part::File("image", &vec![0; 20_000_001])]),
            9402,
        ),
        ("many parts", form(&many), 9432),
        ("text", form(&[Part::Text("text_input", "{}")]), 9401),
    ] {
        let answer = send(&*binding(), "/transform", body).await;
        assert_eq!(answer.code(), code, "{what}: {}", answer.text());
    }
    assert_eq!(send(&*binding(), "/other", whole).await.code(), 9432);
}

/// Every byte of every format, changed and cut: an answer, and never the one that a panic gives.
#[tokio::test]
async fn damaged_images_never_panic() {
    let pixels = two_halves(12, 9);
    let binding = binding();
    let transforms = json!([{"width": 6, "blur": 3, "sharpen": 1}]).to_string();
    let mut originals: Vec<Vec<u8>> = [
        ImageFormat::Png,
        ImageFormat::Jpeg,
        ImageFormat::WebP,
        ImageFormat::Gif,
    ]
    .map(|format| encoded(&pixels, format))
    .into();
    originals.push(animation(8, 8, 3));
    for original in originals {
        let step = (original.len() / 120).max(1);
        for at in (0..original.len()).step_by(step) {
            let mut changed = original.clone();
            changed[at] ^= 0x55;
            for bytes in [&changed[..], &original[..at]] {
                let parts = [
                    Part::File("image", bytes),
                    Part::Text("transforms", &transforms),
                    Part::Text("output_format", "image/webp"),
                ];
                let answer = send(&*binding, "/transform", form(&parts)).await;
                if answer.status != StatusCode::OK {
                    assert_ne!(answer.code(), 9523, "at {at}: {}", answer.text());
                }
            }
        }
    }
}

#[tokio::test]
async fn a_job_that_nobody_waits_for_ends() {
    let workshop = crate::work::Workshop::new(Duration::from_secs(20));
    let (started, begun) = tokio::sync::oneshot::channel();
    let (ended, end) = tokio::sync::oneshot::channel();
    let job = workshop.run(workshop.admit().unwrap(), move |watch| {
        started.send(()).ok();
        let refusal = loop {
            if let Err(refusal) = watch.check() {
                break refusal;
            }
            std::thread::yield_now();
        };
        ended.send(refusal.code).ok();
        Ok(())
    });
    tokio::select! {
        _ = job => panic!("it waits to be abandoned"),
        begun = begun => begun.unwrap(),
    }
    assert_eq!(
        tokio::time::timeout(Duration::from_secs(10), end)
            .await
            .unwrap()
            .unwrap(),
        9528
    );
}

#[tokio::test]
async fn a_job_has_a_deadline_and_a_panic_is_an_answer() {
    let workshop = crate::work::Workshop::new(Duration::from_millis(50));
    let late = workshop
        .run(workshop.admit().unwrap(), |watch| -> Result<(), _> {
            loop {
                watch.check()?;
                std::thread::yield_now();
            }
        })
        .await;
    assert_eq!(late.unwrap_err().code, 9529);
    let workshop = crate::work::Workshop::new(Duration::from_secs(20));
    let broken = workshop
        .run(workshop.admit().unwrap(), |_| -> Result<(), _> {
            panic!("a codec's defect")
        })
        .await;
    assert_eq!(broken.unwrap_err().code, 9523);
    let admitted: Vec<_> = (0..32).map(|_| workshop.admit().unwrap()).collect();
    assert_eq!(workshop.admit().err().unwrap().code, 9522);
    drop(admitted);
    assert!(workshop.admit().is_ok());
}
