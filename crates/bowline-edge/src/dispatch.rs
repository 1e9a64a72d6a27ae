//! The API of dispatch namespaces: made, listed and removed, Workers uploaded into them.
//!
//! What wrangler 4.164 asks for and reads (`wrangler dispatch-namespace`, `wrangler deploy --dispatch-namespace`): the ids,
//! and code 10092 for a Worker that is not there. The code for a namespace that is not there is this stand-in's own choice.

use std::io::ErrorKind;

use bowline_access::hex;
use bowline_access_store::random;
use bowline_binding::Body;
use http::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::api::small;
use crate::bindings::configuration;
use crate::stand::{StandError, State};
use crate::{answers, upload};

/// The folder of the modules in a kept upload.
pub(crate) const MODULES: &str = "modules";

/// A call, below `workers/dispatch/namespaces`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Call {
    List,
    Create,
    Namespace(String),
    Remove(String),
    Workers(String),
    Worker(String, String),
    Upload(String, String),
    Delete(String, String),
}

/// How a call can go wrong for reasons of the caller's.
enum Refused {
    NoNamespace(String),
    NoWorker,
    Invalid(String),
}

impl Refused {
    fn answer(self) -> Response<Body> {
        match self {
            Self::NoNamespace(name) => answers::error(
                StatusCode::NOT_FOUND,
                7003,
                &format!(
                    "there is no dispatch namespace \"{name}\"; `wrangler dispatch-namespace create {name}` makes it"
                ),
            ),
            Self::NoWorker => answers::error(StatusCode::NOT_FOUND, 10092, "This Worker does not exist"),
            Self::Invalid(problem) => answers::error(StatusCode::BAD_REQUEST, 10021, &problem),
        }
    }
}

impl Call {
    pub(crate) fn parse(method: &Method, path: &[&str]) -> Option<Self> {
        let own = |name: &&str| (*name).to_owned();
        Some(match (method.as_str(), path) {
            ("GET", []) => Self::List,
            ("POST", []) => Self::Create,
            ("GET", [namespace]) => Self::Namespace(own(namespace)),
            ("DELETE", [namespace]) => Self::Remove(own(namespace)),
            ("GET", [namespace, "scripts"]) => Self::Workers(own(namespace)),
            ("GET", [namespace, "scripts", worker]) => Self::Worker(own(namespace), own(worker)),
            ("PUT", [namespace, "scripts", worker]) => Self::Upload(own(namespace), own(worker)),
            ("DELETE", [namespace, "scripts", worker]) => Self::Delete(own(namespace), own(worker)),
            _ => return None,
        })
    }

    /// Whether it is the upload of a Worker.
    pub(crate) fn uploads(&self) -> bool {
        matches!(self, Self::Upload(..))
    }

    pub(crate) async fn answer(
        &self,
        state: &State,
        request: Request<Body>,
    ) -> Result<Response<Body>, StandError> {
        let done = self.result(state, request).await?;
        Ok(done.unwrap_or_else(Refused::answer))
    }

    /// The outer error is ours, the inner one the caller's.
    async fn result(
        &self,
        state: &State,
        request: Request<Body>,
    ) -> Result<Result<Response<Body>, Refused>, StandError> {
        let uploads = &state.uploads;
        let namespace = |name: &str| -> Result<Value, StandError> {
            Ok(json!({
                "namespace_id": hex(&Sha256::digest(name)[..16]), "namespace_name": name,
                "script_count": uploads.workers(name)?.len(),
            }))
        };
        let worker = |space: &str, name: &str| json!({"dispatch_namespace": space, "script": {"id": name}});
        match self {
            Self::Create | Self::List => {}
            Self::Namespace(name)
            | Self::Remove(name)
            | Self::Workers(name)
            | Self::Worker(name, _)
            | Self::Upload(name, _)
            | Self::Delete(name, _) => {
                if !uploads.has(name) {
                    return Ok(Err(Refused::NoNamespace(name.clone())));
                }
            }
        }
        Ok(Ok(match self {
            Self::List => answers::page(
                uploads
                    .namespaces()?
                    .iter()
                    .map(|name| namespace(name))
                    .collect::<Result<_, _>>()?,
            ),
            Self::Create => {
                let asked = small(request).await.unwrap_or_default();
                let Some(name) = asked["name"].as_str() else {
                    return Ok(Err(Refused::Invalid("the body has no text `name`".into())));
                };
                match uploads.create(name) {
                    Ok(true) => answers::success(namespace(name)?),
                    Ok(false) => {
                        let text = format!("there is a dispatch namespace \"{name}\" already");
                        return Ok(Err(Refused::Invalid(text)));
                    }
                    Err(error) if error.kind() == ErrorKind::InvalidInput => {
                        return Ok(Err(Refused::Invalid(error.to_string())));
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            Self::Namespace(name) => answers::success(namespace(name)?),
            Self::Remove(name) => {
                uploads.remove(name)?;
                answers::success(Value::Null)
            }
            Self::Workers(space) => {
                let workers = uploads.workers(space)?;
                answers::page(workers.iter().map(|name| worker(space, name)).collect())
            }
            Self::Worker(space, name) if uploads.find(space, name).is_some() => {
                answers::success(worker(space, name))
            }
            Self::Delete(space, name) if uploads.delete(space, name)? => answers::success(Value::Null),
            Self::Worker(..) | Self::Delete(..) => return Ok(Err(Refused::NoWorker)),
            Self::Upload(space, name) => return put(state, space, name, request).await,
        }))
    }
}

/// Keeps an upload where the binding finds it.
async fn put(
    state: &State,
    namespace: &str,
    worker: &str,
    request: Request<Body>,
) -> Result<Result<Response<Body>, Refused>, StandError> {
    let (parts, body) = request.into_parts();
    let upload = match upload::read(worker, &parts.headers, body).await {
        Ok(upload) => upload,
        Err(problem) => return Ok(Err(Refused::Invalid(problem))),
    };
    let configuration = match configuration(&upload, &state.options.bindings) {
        Ok(configuration) => configuration,
        Err(problem) => return Ok(Err(Refused::Invalid(problem))),
    };
    // Clients read it as a UUID without hyphens.
    let version = hex(&random::<16>()?);
    let (uploads, version_id) = (state.uploads.clone(), version.clone());
    let (space, name) = (namespace.to_owned(), worker.to_owned());
    let kept = tokio::task::spawn_blocking(move || {
        uploads.put(&space, &name, &version_id, |folder| {
            // Apart, so that no module is taken for a configuration.
            upload.write(&folder.join(MODULES))?;
            std::fs::write(folder.join("wrangler.json"), configuration.to_string())
        })
    });
    match kept.await.map_err(std::io::Error::other)? {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::InvalidInput => {
            return Ok(Err(Refused::Invalid(error.to_string())));
        }
        // Removed meanwhile.
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Ok(Err(Refused::NoNamespace(namespace.to_owned())));
        }
        Err(error) => return Err(error.into()),
    }
    Ok(Ok(answers::success(json!({
        "id": worker, "etag": version, "deployment_id": version,
    }))))
}

#[cfg(test)]
mod tests {
    use bowline_binding::Resources;
    use bowline_remote::REGISTRY;
    use http::Method;
    use serde_json::{Value, json};

    use super::Call;
    use crate::bindings::{Bindings, configuration};
    use crate::upload::Upload;

    #[test]
    fn only_known_calls_lead_somewhere() {
        let upload = Call::parse(&Method::PUT, &["n", "scripts", "w"]);
        assert_eq!(upload, Some(Call::Upload("n".into(), "w".into())));
        for (method, path) in [
            (Method::PUT, &["n"][..]),
            (Method::POST, &["n", "scripts", "w"]),
            (Method::GET, &["n", "secrets"]),
            (Method::GET, &["n", "scripts", "w", "settings"]),
        ] {
            assert_eq!(Call::parse(&method, path), None, "{method} {path:?}");
        }
    }

    #[test]
    fn an_upload_says_its_configuration() {
        let state = tempfile::tempdir().unwrap();
        let bindings = Bindings::new(REGISTRY, Resources::new(state.path()), Vec::new());
        let configured = |entries: Value| {
            let upload = Upload {
                script: "w".into(),
                main_module: "a.js".into(),
                modules: Vec::new(),
                compatibility_date: "2026-07-01".into(),
                compatibility_flags: vec!["nodejs_compat".into()],
                bindings: entries.as_array().unwrap().clone(),
            };
            configuration(&upload, &bindings)
        };
        let given = json!([
            {"name": "A", "type": "plain_text", "text": "a"}, {"name": "J", "type": "json", "json": [1]},
            {"name": "DB", "type": "d1", "id": "x"}, {"name": "DB2", "type": "d1", "id": "y"},
            {"name": "MAIL", "type": "send_email"},
        ]);
        let expected = json!({
            "name": "w", "main": "modules/a.js", "compatibility_date": "2026-07-01",
            "compatibility_flags": ["nodejs_compat"], "vars": {"A": "a", "J": [1]},
            "d1_databases": [{"binding": "DB", "id": "x"}, {"binding": "DB2", "id": "y"}],
            "send_email": [{"name": "MAIL"}],
        });
        assert_eq!(configured(given).unwrap(), expected);
        for kind in ["kv_namespace", "secret_text", "inherit"] {
            let error = configured(json!([{"name": "K", "type": kind}])).unwrap_err();
            assert!(
                error.starts_with("binding K:") && error.contains(kind) && error.contains("`vars`"),
                "{error}"
            );
        }
    }
}
