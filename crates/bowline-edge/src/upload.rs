//! An upload, of a preview or into a dispatch namespace: `multipart/form-data` with `metadata`, modules, and for a preview
//! `wrangler-session-config`.

use bowline_binding::{Body, BoxFuture, WireService};
use bowline_gateway::Guarded;
use bowline_remote::Router;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http_body_util::{BodyDataStream, BodyExt};
use hyper::body::Bytes;
use multer::{Constraints, Multipart, SizeLimit};
use std::path::{Component, Path};
use std::sync::Arc;

use serde_json::Value;

/// Bytes of all parts together.
const LARGEST: u64 = 64 << 20;
/// The most modules.
const MOST_MODULES: usize = 256;
/// The most bindings.
const MOST_BINDINGS: usize = 1024;

/// One module of the uploaded Worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// Its name, by which others import it.
    pub name: String,
    /// `application/javascript+module`, `application/wasm`, `text/plain`, `application/octet-stream`.
    pub content_type: String,
    /// Its bytes.
    pub bytes: Bytes,
}

/// An upload.
#[derive(Debug, Clone, PartialEq)]
pub struct Upload {
    /// The Worker's name: of a preview, the host's first label.
    pub script: String,
    /// The name of the module that is run.
    pub main_module: String,
    /// The modules.
    pub modules: Vec<Module>,
    /// `compatibility_date`.
    pub compatibility_date: String,
    /// `compatibility_flags`.
    pub compatibility_flags: Vec<String>,
    /// The entries of `bindings`: objects with a `name` and a `type`.
    pub bindings: Vec<Value>,
}

impl Upload {
    /// Writes the modules into `folder`, by their names. Blocks.
    ///
    /// # Errors
    /// `InvalidInput` for a name that leads elsewhere; the file system's.
    pub fn write(&self, folder: &Path) -> std::io::Result<()> {
        for module in &self.modules {
            let name = Path::new(&module.name);
            if !name.components().all(|part| matches!(part, Component::Normal(_))) {
                let text = format!("`{}` is no name of a module", module.name);
                return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, text));
            }
            let file = folder.join(name);
            if let Some(parent) = file.parent() {
                std::fs::create_dir_all(parent)?;
            }
            std::fs::write(file, &module.bytes)?;
        }
        Ok(())
    }
}

/// Runs an uploaded Worker as it is, where the stand-in would answer for its bindings itself.
pub trait RunUpload: Send + Sync + 'static {
    /// Runs `upload`, whose bindings `router` answers, and `fetches` what it fetches itself: without it, the internet does.
    ///
    /// # Errors
    /// A text for whoever uploaded: the Worker cannot be run.
    fn run(
        &self,
        upload: Upload,
        router: Arc<Router>,
        fetches: Option<Arc<dyn WireService>>,
    ) -> BoxFuture<'_, Result<RunningUpload, String>>;
}

/// A Worker that runs, as something that answers requests. Dropping it ends the Worker.
#[derive(Debug)]
pub struct RunningUpload {
    /// What answers.
    pub origin: bowline_gateway::Origin,
    /// What keeps it running.
    pub held: Box<dyn Held>,
}

/// Keeps something alive until it is dropped.
pub trait Held: std::fmt::Debug + Send + Sync {}

impl<T: std::fmt::Debug + Send + Sync> Held for T {}

impl RunningUpload {
    pub(crate) async fn call(
        &self,
        permit: bowline_access::Permit,
        request: http::Request<Body>,
    ) -> http::Response<Body> {
        self.origin.call(permit, request).await
    }
}

/// Reads an upload.
///
/// # Errors
/// What is wrong with it, for whoever sent it.
pub(crate) async fn read(script: &str, headers: &HeaderMap, body: Body) -> Result<Upload, String> {
    let content_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let boundary = multer::parse_boundary(content_type)
        .map_err(|_| "the upload is not multipart/form-data with a boundary".to_owned())?;
    let constraints = Constraints::new().size_limit(SizeLimit::new().whole_stream(LARGEST));
    let body = BodyDataStream::new(body.map_err(std::io::Error::other));
    let mut parts = Multipart::with_constraints(body, boundary, constraints);
    let (mut metadata, mut modules) = (None, Vec::new());
    while let Some(part) = parts.next_field().await.map_err(unreadable)? {
        let name = part.name().unwrap_or_default().to_owned();
        let content_type = part.content_type().map(ToString::to_string).unwrap_or_default();
        let bytes = part.bytes().await.map_err(unreadable)?;
        match name.as_str() {
            "metadata" => metadata = Some(document(&name, &bytes)?),
            // What it says (`workers_dev`, `minimal_mode`) is all that this edge does; it must be readable all the same.
            "wrangler-session-config" => {
                document(&name, &bytes)?;
            }
            _ if modules.len() == MOST_MODULES => {
                return Err(format!("the upload has more than {MOST_MODULES} modules"));
            }
            _ => modules.push(Module {
                name,
                content_type,
                bytes,
            }),
        }
    }
    let metadata = metadata.ok_or("the upload has no part `metadata`")?;
    let text = |key: &str| metadata[key].as_str().unwrap_or_default().to_owned();
    let main_module = text("main_module");
    if !modules.iter().any(|module| module.name == main_module) {
        return Err(format!(
            "`main_module` is \"{main_module}\", and no part has that name"
        ));
    }
    let bindings = match &metadata["bindings"] {
        Value::Null => Vec::new(),
        Value::Array(bindings) if bindings.len() <= MOST_BINDINGS => bindings.clone(),
        _ => return Err(format!("`bindings` must be a list of at most {MOST_BINDINGS}")),
    };
    for binding in &bindings {
        if !binding["name"].is_string() || !binding["type"].is_string() {
            return Err("every entry of `bindings` needs a `name` and a `type`".into());
        }
    }
    let flags = metadata["compatibility_flags"].as_array().into_iter().flatten();
    Ok(Upload {
        script: script.to_owned(),
        main_module,
        modules,
        compatibility_date: text("compatibility_date"),
        compatibility_flags: flags.filter_map(Value::as_str).map(str::to_owned).collect(),
        bindings,
    })
}

fn document(name: &str, bytes: &[u8]) -> Result<Value, String> {
    serde_json::from_slice::<Value>(bytes)
        .ok()
        .filter(Value::is_object)
        .ok_or_else(|| format!("the part `{name}` is no JSON object"))
}

fn unreadable(error: multer::Error) -> String {
    match error {
        multer::Error::StreamSizeExceeded { limit } => format!("the upload is larger than {limit} bytes"),
        error => format!("the upload cannot be read: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use bowline_binding::full;
    use http::HeaderMap;

    use super::read;

    fn form(parts: &[(&str, &str)]) -> (HeaderMap, String) {
        let mut headers = HeaderMap::new();
        headers.insert(
            "content-type",
            "multipart/form-data; boundary=XX".parse().unwrap(),
        );
        let mut text = String::new();
        for (name, body) in parts {
            text.push_str(&format!(
                "--XX\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{name}\"\r\n\
                 Content-Type: application/javascript+module\r\n\r\n{body}\r\n"
            ));
        }
        text.push_str("--XX--\r\n");
        (headers, text)
    }

    #[tokio::test]
    async fn parts() {
        let metadata = r#"{"main_module":"m.js","bindings":[{"name":"DB","type":"d1","id":"x"}],
            "compatibility_date":"2025-04-28","compatibility_flags":["a"]}"#;
        let (headers, text) = form(&[
            ("metadata", metadata),
            ("m.js", "export {}"),
            ("wrangler-session-config", "{}"),
        ]);
        let upload = read("name", &headers, full(text)).await.unwrap();
        assert_eq!((upload.main_module.as_str(), upload.modules.len()), ("m.js", 1));
        assert_eq!(upload.modules[0].content_type, "application/javascript+module");
        assert_eq!(upload.bindings[0]["id"], "x");
        assert_eq!(upload.compatibility_flags, ["a"]);
    }

    #[tokio::test]
    async fn what_is_wrong_is_said() {
        let wrong = [
            (form(&[]), "no part `metadata`"),
            (form(&[("metadata", "{")]), "no JSON object"),
            (form(&[("metadata", "[]")]), "no JSON object"),
            (
                form(&[("metadata", r#"{"main_module":"m"}"#)]),
                "no part has that name",
            ),
            (
                form(&[
                    ("metadata", r#"{"main_module":"m","bindings":[{"name":"A"}]}"#),
                    ("m", ""),
                ]),
                "needs a `name` and a `type`",
            ),
            (
                form(&[("metadata", r#"{"main_module":"m","bindings":{}}"#), ("m", "")]),
                "must be a list",
            ),
            (
                form(&[
                    ("metadata", r#"{"main_module":"m"}"#),
                    ("m", ""),
                    ("wrangler-session-config", "x"),
                ]),
                "`wrangler-session-config` is no JSON",
            ),
        ];
        for ((headers, text), says) in wrong {
            let error = read("name", &headers, full(text.clone())).await.unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
        let (headers, text) = form(&[("metadata", "{}")]);
        let error = read("name", &HeaderMap::new(), full(text.clone()))
            .await
            .unwrap_err();
        assert!(error.contains("multipart/form-data"), "{error}");
        let error = read("name", &headers, full(text[..60].to_owned()))
            .await
            .unwrap_err();
        assert!(error.contains("cannot be read"), "{error}");
    }
}
