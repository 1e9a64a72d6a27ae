//! The methods of `env.NAME`.

use std::sync::Arc;

use base64::Engine;
use bowline_binding::{Binding, BindingError, CallContext, Endpoint, Surfaces};
use capnweb::{Answer, Call, Stub, Target, Value};

use crate::catalog::{Place, Repo};
use crate::endpoint::GitEndpoint;
use crate::error::Refusal;
use crate::namespace::{Namespace, Shown};
use crate::repo::{RepoTarget, info, iso};
use crate::request;

pub(crate) struct Artifacts(Arc<Namespace>);

impl Artifacts {
    pub(crate) fn new(namespace: Namespace) -> Self {
        Self(Arc::new(namespace))
    }
}

#[async_trait::async_trait]
impl Binding for Artifacts {
    fn surfaces(&self) -> Surfaces {
        Surfaces {
            rpc: true,
            ..Surfaces::default()
        }
    }

    fn target(&self, _cx: &CallContext) -> Result<Arc<dyn Target>, BindingError> {
        Ok(Arc::new(Main(Arc::clone(&self.0))))
    }

    fn endpoint(&self) -> Option<Arc<dyn Endpoint>> {
        Some(Arc::new(GitEndpoint::new(Arc::clone(&self.0))))
    }
}

/// The main object of a session.
struct Main(Arc<Namespace>);

impl Target for Main {
    fn call(&self, mut call: Call) -> Answer {
        let namespace = Arc::clone(&self.0);
        let (first, second) = (call.take(0), call.take(1));
        match call.method.as_str() {
            "create" => answer(async move {
                let (name, options) = (request::name(&first)?, request::options(&second)?);
                let made = whole(Arc::clone(&namespace).create(name, options)).await?;
                created(&namespace, made)
            }),
            "import" => answer(async move {
                let request = request::import(&first)?;
                let made = whole(Arc::clone(&namespace).import(request)).await?;
                created(&namespace, made)
            }),
            "get" => answer(async move {
                let repo = namespace.find(request::name(&first)?).await?;
                Ok(Stub::new(RepoTarget::new(namespace, repo)).into())
            }),
            "list" => answer(async move {
                let (limit, cursor) = request::list(&first)?;
                let after = cursor.as_deref().map(decode).transpose()?;
                list(&namespace, limit, after).await
            }),
            "delete" => answer(async move {
                let name = request::name(&first)?;
                whole(namespace.delete(name)).await.map(Value::Bool)
            }),
            _ => Answer::error(call.not_a_function()),
        }
    }

    fn methods(&self) -> &[&str] {
        &["create", "import", "get", "list", "delete"]
    }
}

/// An answer that fails as Artifacts does.
pub(crate) fn answer(future: impl Future<Output = Result<Value, Refusal>> + Send + 'static) -> Answer {
    Answer::later(async move { future.await.map_err(Refusal::into_error) })
}

/// Runs a change to its end, also when the caller's session ends meanwhile.
pub(crate) async fn whole<T: Send + 'static>(
    future: impl Future<Output = Result<T, Refusal>> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::spawn(future)
        .await
        .unwrap_or_else(|error| Err(Refusal::internal("an internal error occurred", error)))
}

/// What `create`, `fork` and `import` resolve to.
pub(crate) fn created(namespace: &Namespace, (repo, token): (Repo, Shown)) -> Result<Value, Refusal> {
    Ok(Value::object([
        ("id", repo.id.into()),
        ("remote", namespace.remote(&repo.name)?.into()),
        ("name", repo.name.into()),
        ("description", repo.description.map_or(Value::Null, Value::from)),
        ("defaultBranch", repo.default_branch.into()),
        ("token", token.plaintext.into()),
        ("tokenExpiresAt", iso(token.expires_at)),
    ]))
}

async fn list(namespace: &Arc<Namespace>, limit: i64, after: Option<Place>) -> Result<Value, Refusal> {
    let page = namespace.list(limit, after).await?;
    let last = page.repos.last().filter(|_| page.more);
    let cursor = last.map(|repo| encode(repo.created_at, &repo.id));
    let repos = page
        .repos
        .into_iter()
        .map(|repo| {
            let mut members = info(&repo, None);
            members.push(("status".into(), "ready".into()));
            members.push(("jurisdiction".into(), "unrestricted".into()));
            Value::Object(members)
        })
        .collect();
    let mut members = vec![
        ("repos", Value::Array(repos)),
        ("total", Value::Number(page.total as f64)),
    ];
    members.extend(cursor.map(|cursor| ("cursor", cursor.into())));
    Ok(Value::object(members))
}

const CURSOR: base64::engine::GeneralPurpose = base64::engine::general_purpose::URL_SAFE_NO_PAD;

fn encode(created_at: i64, id: &str) -> String {
    CURSOR.encode(format!("{created_at}:{id}"))
}

fn decode(cursor: &str) -> Result<Place, Refusal> {
    CURSOR
        .decode(cursor)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .and_then(|text| {
            let (created_at, id) = text.split_once(':')?;
            Some(Place {
                created_at: created_at.parse().ok()?,
                id: id.to_owned(),
            })
        })
        .ok_or_else(|| Refusal::input("Invalid cursor: it is not one that list() returned."))
}
