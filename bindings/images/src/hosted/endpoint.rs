//! Delivery of hosted images, and uploads by link: for browsers, whose credential is in the URL where one is asked for.

use std::sync::Arc;

use bowline_binding::{Body, BoxFuture, Endpoint, full};
use bytes::{Bytes, BytesMut};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyDataStream;
use multer::{Constraints, Error, Multipart, SizeLimit};
use percent_encoding::percent_decode_str;
use serde_json::json;

use super::catalog::LinkState;
use super::{DELIVERY, Hosted, PREFIX, Refused, UPLOAD, delivery_path};
use crate::chain::{self, Step};
use crate::error::Refusal;
use crate::kind::Kind;
use crate::output::{Encoded, Output};
use crate::svg;
use crate::work::{Admitted, Watch, Workshop};

/// Bytes of a form beside the image.
const MOST_BESIDE: u64 = 64 * 1024;
/// Parts of a form.
const MOST_PARTS: usize = 16;

/// The endpoint of the hosted images.
pub(crate) struct DeliveryEndpoint(Arc<Inner>);

struct Inner {
    hosted: Arc<Hosted>,
    workshop: Arc<Workshop>,
}

/// An answer that says why not.
type Refusing = (StatusCode, String);

impl DeliveryEndpoint {
    pub(crate) fn new(hosted: Arc<Hosted>, workshop: Arc<Workshop>) -> Self {
        Self(Arc::new(Inner { hosted, workshop }))
    }
}

impl Endpoint for DeliveryEndpoint {
    fn prefix(&self) -> &str {
        PREFIX
    }

    fn mounted(&self, origin: &str) {
        self.0.hosted.mounted(origin);
    }

    fn call(&self, request: Request<Body>) -> BoxFuture<'static, Response<Body>> {
        let inner = Arc::clone(&self.0);
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let upload = parts.uri.path().strip_prefix(UPLOAD);
            let answered = match (upload, &parts.method) {
                (Some(secret), &Method::POST) => inner.upload(secret, &parts.headers, body).await,
                (Some(_), &Method::OPTIONS) => Ok(preflight()),
                (None, &Method::GET | &Method::HEAD) => inner.deliver(&parts).await,
                _ => Ok(not_allowed(if upload.is_some() { "POST" } else { "GET, HEAD" })),
            };
            let mut response = answered.unwrap_or_else(|(status, said)| text(status, &said));
            if upload.is_some() {
                // Links are for pages of any origin: the link is the credential, and no cookie counts.
                response
                    .headers_mut()
                    .insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            }
            response
        })
    }
}

impl Inner {
    fn admit(&self) -> Result<Admitted, Refusing> {
        self.workshop
            .admit()
            .map_err(|_| (StatusCode::SERVICE_UNAVAILABLE, "Too busy; try again".to_owned()))
    }

    async fn upload(
        &self,
        secret: &str,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Response<Body>, Refusing> {
        let _admitted = self.admit()?;
        let (hosted, limits) = (&self.hosted, &self.hosted.config.limits);
        let asked = secret.to_owned();
        // Before anything is read: whoever has no link sends nothing.
        let state = hosted
            .blocking(move |own| own.link(&asked))
            .await
            .map_err(internal)?;
        judged(&state)?;
        let read = file(headers, body, limits.hosted_bytes);
        let (filename, bytes) = tokio::time::timeout(limits.read, read)
            .await
            .unwrap_or_else(|_| {
                let late = format!("The image did not arrive within {} s", limits.read.as_secs());
                Err((StatusCode::REQUEST_TIMEOUT, late))
            })?;
        let secret = secret.to_owned();
        let (state, id) = hosted
            .blocking(move |own| own.fill(&secret, filename.as_deref(), &bytes))
            .await
            .map_err(|refused| (StatusCode::UNPROCESSABLE_ENTITY, refused.to_string()))?;
        judged(&state)?;
        let mut response = Response::new(full(json!({"id": id, "success": true}).to_string()));
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(response)
    }

    async fn deliver(&self, request: &Parts) -> Result<Response<Body>, Refusing> {
        let hosted = &self.hosted;
        let not_found = || (StatusCode::NOT_FOUND, "Image not found".to_owned());
        let (id, variant) = request
            .uri
            .path()
            .strip_prefix(DELIVERY)
            .and_then(|path| path.rsplit_once('/'))
            .ok_or_else(not_found)?;
        let id = percent_decode_str(id)
            .decode_utf8()
            .map_err(|_| not_found())?
            .into_owned();
        let transform = hosted
            .config
            .variant(variant)
            .ok_or_else(|| (StatusCode::NOT_FOUND, "Variant not found".to_owned()))?
            .clone();
        let admitted = self.admit()?;
        let (image, bytes) = hosted
            .blocking({
                let id = id.clone();
                move |own| own.read(&id)
            })
            .await
            .map_err(internal)?
            .ok_or_else(not_found)?;
        if image.signed_only {
            // Over the path as it is written here, however the client wrote it.
            let path = delivery_path(&id, variant);
            let query = request.uri.query().unwrap_or_default();
            hosted
                .key
                .verify(&path, query, hosted.seconds())
                .map_err(|unsigned| (StatusCode::UNAUTHORIZED, unsigned.to_string()))?;
        }
        let config = Arc::clone(&hosted.config);
        let encoded = self
            .workshop
            .run(admitted, move |watch| {
                let kind = Kind::of(&bytes)?;
                // An SVG is delivered as it is by every variant: none is made of pixels.
                let Some(transform) = transform.filter(|_| kind != Kind::Svg) else {
                    return as_uploaded(kind, bytes, watch);
                };
                let output = Output::parse(Some(kind.media_type()), None, None, None)?;
                let steps = [Step::Transform {
                    image: 0,
                    transform: Box::new(transform),
                }];
                chain::run(&[bytes], &steps, &output, &config.limits, watch)
            })
            .await
            .map_err(|refusal| (refusal.status(), refusal.to_string()))?;
        let body = match request.method {
            Method::HEAD => Vec::new(),
            _ => encoded.bytes,
        };
        let mut response = Response::new(full(body));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(encoded.media_type));
        // Strangers' files from an origin that may be somebody's own: an image, and nothing else.
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(
            CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; sandbox"),
        );
        Ok(response)
    }
}

/// What was uploaded, but for scripts in an SVG.
fn as_uploaded(kind: Kind, bytes: Vec<u8>, watch: &Watch) -> Result<Encoded, Refusal> {
    let bytes = match kind {
        Kind::Svg => svg::sanitize(&bytes, watch)?,
        _ => bytes,
    };
    Ok(Encoded {
        media_type: kind.media_type(),
        bytes,
    })
}

/// The part `file` of a form, and its name.
async fn file(headers: &HeaderMap, body: Body, most: usize) -> Result<(Option<String>, Bytes), Refusing> {
    let bad = |text: &str| (StatusCode::BAD_REQUEST, text.to_owned());
    let boundary = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .and_then(|kind| multer::parse_boundary(kind).ok())
        .ok_or_else(|| bad("The body must be multipart/form-data"))?;
    let image = most as u64;
    let sizes = SizeLimit::new()
        .whole_stream(image + MOST_BESIDE)
        .per_field(MOST_BESIDE)
        .for_field("file", image);
    let constraints = Constraints::new().size_limit(sizes);
    let mut form = Multipart::with_constraints(BodyDataStream::new(body), boundary, constraints);
    for _ in 0..MOST_PARTS {
        let refused = |error| match error {
            Error::FieldSizeExceeded { .. } | Error::StreamSizeExceeded { .. } => (
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("The image is larger than {most} bytes"),
            ),
            _ => bad("The form ended early, or is not one"),
        };
        let Some(mut part) = form.next_field().await.map_err(refused)? else {
            break;
        };
        if part.name() != Some("file") {
            continue;
        }
        let name = part
            .file_name()
            .filter(|name| name.len() <= 1024)
            .map(str::to_owned);
        let mut bytes = BytesMut::new();
        while let Some(chunk) = part.chunk().await.map_err(refused)? {
            bytes.extend_from_slice(&chunk);
        }
        return Ok((name, bytes.freeze()));
    }
    Err(bad("Missing file"))
}

/// Statuses and texts of miniflare 5's simulator.
fn judged(state: &LinkState) -> Result<(), Refusing> {
    let (status, said) = match state {
        LinkState::Open => return Ok(()),
        LinkState::Unknown => (StatusCode::NOT_FOUND, "Upload link not found"),
        LinkState::Used => (StatusCode::CONFLICT, "Upload link already used"),
        LinkState::Expired => (StatusCode::GONE, "Upload link expired"),
    };
    Err((status, said.to_owned()))
}

/// What a browser asks before it sends a form with headers of its own.
fn preflight() -> Response<Body> {
    let mut response = text(StatusCode::NO_CONTENT, "");
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*"));
    response
}

fn not_allowed(allowed: &'static str) -> Response<Body> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed");
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

fn internal(refused: Refused) -> Refusing {
    (StatusCode::INTERNAL_SERVER_ERROR, refused.to_string())
}

fn text(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(full(text.to_owned()));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}
