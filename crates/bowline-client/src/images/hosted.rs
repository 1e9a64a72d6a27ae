//! Images that the remote keeps, as `env.NAME.hosted` is in a Worker.
//!
//! ```no_run
//! use bowline_client::images::hosted::UploadOptions;
//!
//! # async fn example(client: bowline_client::Client, photo: Vec<u8>) -> Result<(), bowline_client::Error> {
//! let hosted = client.images("IMAGES").hosted();
//! let kept = hosted.upload(photo, &UploadOptions::default()).await?;
//! assert_eq!(kept.variants.len(), 1); // its URL
//! # Ok(())
//! # }
//! ```
//!
//! Source of the wire: captures of miniflare 5's client, and its simulator for what is optional.

use std::time::Duration;

use bytes::Bytes;
use capnweb::{BytesKind, Capability, ReadableStream, Stub, Value};
use futures_util::stream;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::{Binding, Error, ErrorKind, Rpc, Secret};

/// Bytes of one chunk of an upload.
const CHUNK: usize = 64 * 1024;

/// What a new image may be told. Members that are `None` are left to the remote.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UploadOptions {
    /// Its id; a new UUID unless told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The name of the file it came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filename: Option<String>,
    /// Whether only signed URLs show it.
    #[serde(rename = "requireSignedURLs")]
    pub require_signed_urls: bool,
    /// What else is to be known of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Json>>,
    /// Whose it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creator: Option<String>,
}

/// What a link for one upload may be told.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DirectUploadOptions {
    /// The image's id; a new UUID unless told. One that is told must be none, and cannot be asked signed URLs for.
    pub id: Option<String>,
    /// Whether only signed URLs show the image.
    pub require_signed_urls: bool,
    /// What else is to be known of it.
    pub metadata: Option<Map<String, Json>>,
    /// Whose it is.
    pub creator: Option<String>,
    /// How long the link is good: between 2 minutes and 6 hours, half an hour unless told.
    pub expires_in: Option<Duration>,
}

/// A link by which somebody may upload one image, once.
#[derive(Debug, Clone, Deserialize)]
pub struct DirectUpload {
    /// The image's id.
    pub id: String,
    /// Where a form with the part `file` is to be posted. Whoever knows it may upload.
    #[serde(rename = "uploadURL", deserialize_with = "secret")]
    pub upload_url: Secret,
}

/// What is known of an image.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Details {
    /// Its id.
    pub id: String,
    /// The name of the file it came from.
    #[serde(default)]
    pub filename: Option<String>,
    /// When it was uploaded or its link made, RFC 3339.
    #[serde(default)]
    pub uploaded: Option<String>,
    /// Whether only signed URLs show it.
    #[serde(rename = "requireSignedURLs")]
    pub require_signed_urls: bool,
    /// What else is known of it.
    #[serde(default)]
    pub meta: Map<String, Json>,
    /// URLs of its variants.
    #[serde(default)]
    pub variants: Vec<String>,
    /// Whether its upload is still to come.
    #[serde(default)]
    pub draft: bool,
    /// Whose it is.
    #[serde(default)]
    pub creator: Option<String>,
}

/// In which order images are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SortOrder {
    /// Oldest first.
    Asc,
    /// Newest first.
    Desc,
}

/// Which images are listed.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListOptions {
    /// How many: 50 unless told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Where to go on: [`Page::cursor`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Oldest first unless told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sort_order: Option<SortOrder>,
    /// Only those of a creator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creator: Option<String>,
    /// Only those whose metadata are so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<Filter>,
}

/// A condition on images.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Filter {
    /// By field (`home.city` for one in another), a value, or an object of `eq`, `in`, `gt`, `gte`, `lt`, `lte`.
    pub metadata: Map<String, Json>,
}

/// Some images.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Page {
    /// The images of this page.
    pub images: Vec<Details>,
    /// Where the next page starts; absent on the last one.
    #[serde(default)]
    pub cursor: Option<String>,
    /// Whether this is the last page.
    pub list_complete: bool,
}

/// What changes in an image; `None` leaves it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Update {
    /// Whether only signed URLs show it.
    #[serde(rename = "requireSignedURLs", skip_serializing_if = "Option::is_none")]
    pub require_signed_urls: Option<bool>,
    /// What else is to be known of it, in place of what was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Json>>,
    /// Whose it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creator: Option<String>,
}

/// The images that a remote keeps. Cheap to clone. Each call is a session of its own.
#[derive(Debug, Clone)]
pub struct Hosted(Binding);

impl Hosted {
    pub(super) fn new(binding: Binding) -> Self {
        Self(binding)
    }

    /// Keeps an image.
    pub async fn upload(&self, image: impl Into<Bytes>, options: &UploadOptions) -> Result<Details, Error> {
        let options = encoded(&self.0, "upload", options)?;
        self.call("upload", [chunks(image.into()).into(), options]).await
    }

    /// One page of the images.
    pub async fn list(&self, options: &ListOptions) -> Result<Page, Error> {
        let options = encoded(&self.0, "list", options)?;
        self.call("list", [options]).await
    }

    /// Makes a link by which somebody else may upload one image.
    pub async fn create_direct_upload(&self, options: &DirectUploadOptions) -> Result<DirectUpload, Error> {
        const METHOD: &str = "createDirectUpload";
        let mut members = vec![("requireSignedURLs", options.require_signed_urls.into())];
        let text = |text: &Option<String>| text.as_deref().map(Value::from);
        members.extend(text(&options.id).map(|id| ("id", id)));
        members.extend(text(&options.creator).map(|creator| ("creator", creator)));
        if let Some(metadata) = &options.metadata {
            members.push(("metadata", encoded(&self.0, METHOD, metadata)?));
        }
        let seconds = options.expires_in.map(|lives| Value::Number(lives.as_secs_f64()));
        members.extend(seconds.map(|seconds| ("expiresIn", seconds)));
        self.call(METHOD, [Value::object(members)]).await
    }

    /// The image of an id, whether there is one or not.
    pub async fn image(&self, id: &str) -> Result<Image, Error> {
        let rpc = self.0.rpc().await?;
        match rpc.call("image", [id.into()]).await? {
            Value::Capability(Capability::Stub(stub)) => Ok(Image {
                binding: self.0.clone(),
                rpc,
                stub,
            }),
            other => {
                let text = format!("an image was expected, and this came: {other:?}");
                Err(self.0.fails("image", ErrorKind::Answer(text)))
            }
        }
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: &'static str,
        args: impl IntoIterator<Item = Value>,
    ) -> Result<T, Error> {
        let rpc = self.0.rpc().await?;
        rpc.read(method, rpc.stub().call(method, args)).await
    }
}

/// One image. Cheap to clone; holds a session.
#[derive(Debug, Clone)]
pub struct Image {
    binding: Binding,
    rpc: Rpc,
    stub: Stub,
}

impl Image {
    /// What is known of it, `None` when there is none.
    pub async fn details(&self) -> Result<Option<Details>, Error> {
        self.call("details", []).await
    }

    /// Its bytes as they were uploaded, `None` when there are none. At most as many as the client takes of an answer.
    pub async fn bytes(&self) -> Result<Option<Vec<u8>>, Error> {
        const METHOD: &str = "bytes";
        let client = self.binding.client();
        match self.rpc.result(METHOD, self.stub.call(METHOD, [])).await? {
            Value::Null => Ok(None),
            Value::Capability(Capability::Readable(stream)) => {
                let after = client.deadlines().call;
                let collected = tokio::time::timeout(after, stream.collect(client.largest_answer())).await;
                match collected {
                    Ok(Ok(bytes)) => Ok(Some(bytes)),
                    Ok(Err(error)) => Err(self.binding.fails(METHOD, ErrorKind::Rejected(error))),
                    Err(_) => {
                        let what = "reading the image";
                        Err(self.binding.fails(METHOD, ErrorKind::TimedOut { what, after }))
                    }
                }
            }
            other => {
                let text = format!("a stream was expected, and this came: {other:?}");
                Err(self.binding.fails(METHOD, ErrorKind::Answer(text)))
            }
        }
    }

    /// A URL that shows a variant of it, for so many seconds or for good. Whoever knows it may look.
    pub async fn signed_url(&self, variant: &str, expires_in: Option<u32>) -> Result<Secret, Error> {
        let mut options = vec![("variant", Value::from(variant))];
        options.extend(expires_in.map(|seconds| ("expiresIn", seconds.into())));
        let url: String = self.call("signedUrl", [Value::object(options)]).await?;
        Ok(Secret::new(url))
    }

    /// Changes what is known of it.
    pub async fn update(&self, update: &Update) -> Result<Details, Error> {
        let update = encoded(&self.binding, "update", update)?;
        self.call("update", [update]).await
    }

    /// Deletes it; whether there was one.
    pub async fn delete(&self) -> Result<bool, Error> {
        self.call("delete", []).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: &'static str,
        args: impl IntoIterator<Item = Value>,
    ) -> Result<T, Error> {
        self.rpc.read(method, self.stub.call(method, args)).await
    }
}

/// In pieces: a message of its own may be as large as a whole image only where both ends allow it.
fn chunks(image: Bytes) -> ReadableStream {
    ReadableStream::new(stream::unfold(image, |mut rest| async move {
        if rest.is_empty() {
            return None;
        }
        let chunk = rest.split_to(rest.len().min(CHUNK));
        Some((Ok(Value::Bytes(chunk.to_vec(), BytesKind::Uint8Array)), rest))
    }))
}

fn encoded(binding: &Binding, operation: &'static str, data: &impl Serialize) -> Result<Value, Error> {
    capnweb::to_value(data).map_err(|error| binding.fails(operation, ErrorKind::Invalid(error.message())))
}

fn secret<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    String::deserialize(deserializer).map(Secret::new)
}
