//! The form that the binding's client sends.
//!
//! Source: `cloudflare-internal:images-api` of workerd 1.20261117.1, and captures of miniflare 4 and 5: multipart, chunked,
//! parts without a type, files named after their part.

use std::time::Duration;

use bowline_binding::Body;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http_body_util::BodyDataStream;
use multer::{Constraints, Error, Multipart, SizeLimit};

use crate::config::Limits;
use crate::error::Refusal;

/// Parts of one request.
const MOST_PARTS: usize = 64;
/// Bytes of a part that is no image.
const MOST_TEXT: u64 = 64 * 1024;

/// A request's parts.
#[derive(Debug, Default)]
pub(crate) struct Form {
    /// The canvas, then the overlays in the order of the form.
    pub(crate) images: Vec<Bytes>,
    pub(crate) transforms: Option<String>,
    pub(crate) format: Option<String>,
    pub(crate) quality: Option<String>,
    pub(crate) background: Option<String>,
    pub(crate) animated: Option<String>,
}

impl Form {
    /// Reads a request to its end.
    pub(crate) async fn read(headers: &HeaderMap, body: Body, limits: &Limits) -> Result<Self, Refusal> {
        tokio::time::timeout(limits.read, Self::read_all(headers, body, limits))
            .await
            .unwrap_or_else(|_| Err(slow(limits.read)))
    }

    async fn read_all(headers: &HeaderMap, body: Body, limits: &Limits) -> Result<Self, Refusal> {
        let boundary = headers
            .get(CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok())
            .and_then(|kind| multer::parse_boundary(kind).ok())
            .ok_or_else(|| Refusal::request("the body must be multipart/form-data with a boundary"))?;
        let sizes = SizeLimit::new()
            .whole_stream(limits.request_bytes)
            .per_field(MOST_TEXT)
            .for_field("image", limits.image_bytes)
            .for_field("draw_image", limits.image_bytes);
        let mut parts = Multipart::with_constraints(
            BodyDataStream::new(body),
            boundary,
            Constraints::new().size_limit(sizes),
        );
        let mut form = Self::default();
        let (mut canvas, mut overlays) = (None, Vec::new());
        for _ in 0..MOST_PARTS {
            let Some(mut part) = parts.next_field().await.map_err(refused)? else {
                form.images
                    .push(canvas.ok_or_else(|| Refusal::request("there is no part `image`"))?);
                form.images.append(&mut overlays);
                return Ok(form);
            };
            let name = part.name().unwrap_or_default().to_owned();
            if matches!(name.as_str(), "text_input" | "draw_text") {
                return Err(Refusal::options("text is not offered here: there are no fonts"));
            }
            let mut bytes = BytesMut::new();
            while let Some(chunk) = part.chunk().await.map_err(refused)? {
                bytes.extend_from_slice(&chunk);
            }
            let bytes = bytes.freeze();
            let text = |bytes: Bytes| {
                String::from_utf8(bytes.into()).map_err(|_| Refusal::request(format!("{name} is not UTF-8")))
            };
            match name.as_str() {
                "image" => canvas = Some(bytes),
                "draw_image" => overlays.push(bytes),
                "transforms" => form.transforms = Some(text(bytes)?),
                "output_format" => form.format = Some(text(bytes)?),
                "output_quality" => form.quality = Some(text(bytes)?),
                "background" => form.background = Some(text(bytes)?),
                "anim" => form.animated = Some(text(bytes)?),
                // What a later client may add changes nothing that is understood here.
                _ => {}
            }
        }
        Err(Refusal::request(format!(
            "there are more than {MOST_PARTS} parts"
        )))
    }
}

fn slow(after: Duration) -> Refusal {
    Refusal::request(format!("the body did not arrive within {} s", after.as_secs()))
}

fn refused(error: Error) -> Refusal {
    match error {
        Error::FieldSizeExceeded { limit, .. } | Error::StreamSizeExceeded { limit } => {
            Refusal::too_many_bytes(limit)
        }
        Error::StreamReadFailed(_) | Error::IncompleteStream | Error::IncompleteFieldData { .. } => {
            Refusal::interrupted()
        }
        other => Refusal::request(other),
    }
}
