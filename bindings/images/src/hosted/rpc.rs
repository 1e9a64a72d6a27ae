//! The methods behind `env.NAME.hosted`.

use std::sync::Arc;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use capnweb::{Answer, BytesKind, Call, Error, ReadableStream, Stub, Target, Text, Value};
use futures_util::stream;

use super::catalog::{Image, Place};
use super::request::{self, Source};
use super::{Hosted, Refused, Sought, too_large};
use crate::work::Workshop;

/// Bytes of one chunk of `bytes()`.
const CHUNK: usize = 64 * 1024;
/// As JavaScript's `atob` has it: padding may be there or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The main object of a session.
pub(crate) struct Main {
    hosted: Arc<Hosted>,
    workshop: Arc<Workshop>,
}

impl Main {
    pub(crate) fn new(hosted: Arc<Hosted>, workshop: Arc<Workshop>) -> Self {
        Self { hosted, workshop }
    }
}

impl Target for Main {
    fn call(&self, mut call: Call) -> Answer {
        let hosted = Arc::clone(&self.hosted);
        let (first, second) = (call.take(0), call.take(1));
        match call.method.as_str() {
            "image" => match request::id(&first) {
                Ok(id) => Value::from(Stub::new(Handle { hosted, id })).into(),
                Err(refused) => Answer::error(error(&refused)),
            },
            "upload" => {
                let workshop = Arc::clone(&self.workshop);
                answer(async move { upload(&hosted, &workshop, first, &second).await })
            }
            "list" => answer(async move { list(&hosted, &first).await }),
            "createDirectUpload" => answer(async move {
                let (new, lives) = request::direct_upload(&first)?;
                let origin = hosted.origin_or_refused()?;
                let (id, path) = hosted.blocking(move |own| own.draft(new, lives)).await?;
                let url = format!("{origin}{path}");
                Ok(Value::object([("id", id.into()), ("uploadURL", url.into())]))
            }),
            _ => Answer::error(call.not_a_function()),
        }
    }

    fn methods(&self) -> &[&str] {
        &["image", "upload", "list", "createDirectUpload"]
    }
}

/// What `image(id)` gives. There need not be such an image.
struct Handle {
    hosted: Arc<Hosted>,
    id: String,
}

impl Target for Handle {
    fn call(&self, mut call: Call) -> Answer {
        let (hosted, id) = (Arc::clone(&self.hosted), self.id.clone());
        let first = call.take(0);
        match call.method.as_str() {
            "details" => answer(async move {
                let found = hosted.blocking(move |own| own.details(&id)).await?;
                Ok(found.map_or(Value::Null, |image| described(&hosted, image)))
            }),
            "bytes" => answer(async move {
                let found = hosted.blocking(move |own| own.read(&id)).await?;
                Ok(found.map_or(Value::Null, |(_, bytes)| streamed(bytes).into()))
            }),
            "signedUrl" => answer(async move {
                let signed = request::signed(&first)?;
                Ok(hosted.signed_url(&id, &signed)?.into())
            }),
            "update" => answer(async move {
                let change = request::change(&first)?;
                let image = hosted.blocking(move |own| own.update(&id, &change)).await?;
                Ok(described(&hosted, image))
            }),
            "delete" => answer(async move {
                let deleted = hosted.blocking(move |own| own.delete(&id)).await?;
                Ok(Value::Bool(deleted))
            }),
            _ => Answer::error(call.not_a_function()),
        }
    }

    fn methods(&self) -> &[&str] {
        &["details", "bytes", "signedUrl", "update", "delete"]
    }
}

async fn upload(
    hosted: &Arc<Hosted>,
    workshop: &Workshop,
    source: Value,
    options: &Value,
) -> Result<Value, Refused> {
    let source = request::source(source)?;
    let (new, base64) = request::upload(options)?;
    // Held while the bytes are: so many uploads and transforms at a time, and no more.
    let _admitted = workshop
        .admit()
        .map_err(|_| Refused::new("too many images are being worked on; try again"))?;
    let most = hosted.config.limits.hosted_bytes;
    // Lines of base64 have ends.
    let most_read = if base64 { most / 2 * 3 } else { most };
    let bytes = match source {
        Source::Bytes(bytes) if bytes.len() > most_read => return Err(too_large(most)),
        Source::Bytes(bytes) => bytes,
        Source::Stream(stream) => {
            let read = hosted.config.limits.read;
            tokio::time::timeout(read, stream.collect(most_read))
                .await
                .map_err(|_| Refused::new(format!("the image did not arrive within {} s", read.as_secs())))?
                .map_err(|error| match error.name() {
                    "RangeError" => too_large(most),
                    _ => Refused::new(format!("the image could not be read: {}", error.message())),
                })?
        }
    };
    let own = Arc::clone(hosted);
    let image = own
        .blocking(move |own| {
            let bytes = if base64 { decoded(bytes)? } else { bytes };
            own.upload(new, &bytes)
        })
        .await?;
    Ok(described(hosted, image))
}

fn decoded(mut text: Vec<u8>) -> Result<Vec<u8>, Refused> {
    text.retain(|byte| !byte.is_ascii_whitespace());
    BASE64
        .decode(text)
        .map_err(|_| Refused::new("encoding is \"base64\", and the bytes are not base64 text"))
}

async fn list(hosted: &Arc<Hosted>, options: &Value) -> Result<Value, Refused> {
    let list = request::list(options)?;
    let sought = Sought {
        after: list.cursor.as_deref().map(place).transpose()?,
        limit: list.limit,
        descending: list.descending,
        creator: list.creator,
        filter: list.filter,
    };
    let page = hosted.blocking(move |own| own.page(sought)).await?;
    let images = page.images.into_iter().map(|image| described(hosted, image));
    let mut members = vec![
        ("images", Value::Array(images.collect())),
        ("listComplete", page.next.is_none().into()),
    ];
    members.extend(page.next.map(|next| ("cursor", cursor(&next).into())));
    Ok(Value::object(members))
}

fn cursor(place: &Place) -> String {
    BASE64.encode(format!("{}:{}", place.uploaded, place.id))
}

fn place(cursor: &str) -> Result<Place, Refused> {
    BASE64
        .decode(cursor)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .and_then(|text| {
            let (uploaded, id) = text.split_once(':')?;
            Some(Place {
                uploaded: uploaded.parse().ok()?,
                id: id.to_owned(),
            })
        })
        .ok_or_else(|| Refused::new("cursor is not one that list() gave"))
}

/// The metadata of an image, as Workers see it.
fn described(hosted: &Hosted, image: Image) -> Value {
    let meta = serde_json::from_str::<serde_json::Value>(&image.meta)
        .ok()
        .and_then(|meta| capnweb::to_value(&meta).ok())
        .unwrap_or_else(|| Value::object::<&str>([]));
    let uploaded = jiff::Timestamp::from_millisecond(image.uploaded);
    let variants = hosted.variants(&image.id).into_iter().map(Value::from);
    let mut members: Vec<(Text, Value)> = vec![("id".into(), image.id.into())];
    members.extend(image.filename.map(|name| ("filename".into(), name.into())));
    members.extend(
        uploaded
            .ok()
            .map(|at| ("uploaded".into(), format!("{at:.3}").into())),
    );
    members.extend([
        ("requireSignedURLs".into(), image.signed_only.into()),
        ("meta".into(), meta),
        ("variants".into(), Value::Array(variants.collect())),
        ("draft".into(), image.file.is_none().into()),
    ]);
    members.extend(image.creator.map(|creator| ("creator".into(), creator.into())));
    Value::Object(members)
}

fn streamed(bytes: Vec<u8>) -> ReadableStream {
    let bytes = bytes::Bytes::from(bytes);
    ReadableStream::new(stream::unfold(bytes, |mut rest| async move {
        if rest.is_empty() {
            return None;
        }
        let chunk = rest.split_to(rest.len().min(CHUNK));
        Some((Ok(Value::Bytes(chunk.to_vec(), BytesKind::Uint8Array)), rest))
    }))
}

fn answer(future: impl Future<Output = Result<Value, Refused>> + Send + 'static) -> Answer {
    Answer::later(async move { future.await.map_err(|refused| error(&refused)) })
}

fn error(refused: &Refused) -> Error {
    tracing::debug!(binding.kind = "images", error = %refused, "call refused");
    Error::new("Error", refused.to_string())
}
