//! The two places a binding can have in one run, behind the one trait that the Worker's side asks.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use bowline_access::Permit;
use bowline_binding::{Body, BoxFuture, WireService};
use bowline_config::{BindingEntry, Project};
use bowline_credentials::Credentials;
use bowline_proxy::{Proxy, ProxyOptions};
use bowline_remote::Router;
use http::{Request, Response, Uri};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::env_vars::Env;
use crate::error::{CliError, Kind};
use crate::{endpoints, output, project, settings};

/// The proxy to `remote`, with the credentials found for it by a project in `folder`. Each kind of refusal is told once.
pub(crate) fn proxy(remote: Uri, folder: &Path, env: Env<'_>) -> Result<Proxy, CliError> {
    let credentials = settings::credentials(&remote, folder, env)?;
    quiet_proxy(remote, credentials, env, Some(Box::new(output::notice)))
}

/// The proxy to `remote`, with `on_refusal` told of the first refusal of each kind instead of the terminal.
pub(crate) fn quiet_proxy(
    remote: Uri,
    credentials: Credentials,
    env: Env<'_>,
    on_refusal: Option<bowline_proxy::OnRefusal>,
) -> Result<Proxy, CliError> {
    Proxy::new(ProxyOptions {
        remote,
        credentials,
        extra_authorities: settings::extra_authorities(env),
        on_refusal,
        warm: true,
        ..ProxyOptions::default()
    })
    .map_err(|error| CliError::new(Kind::User, error))
}

/// Answers at the far end of the line.
struct Remote(Proxy);

impl WireService for Remote {
    fn call(&self, request: Request<Incoming>) -> BoxFuture<'static, Response<Body>> {
        let proxy = self.0.clone();
        Box::pin(async move { proxy.call("/", request).await })
    }
}

/// Answers in this process, by the same router and bindings that a remote has.
struct Local(Arc<Router>);

impl WireService for Local {
    fn call(&self, request: Request<Incoming>) -> BoxFuture<'static, Response<Body>> {
        let router = Arc::clone(&self.0);
        let request = request.map(|body| body.map_err(Into::into).boxed_unsync());
        Box::pin(async move { router.route(Permit::for_own_process(), request).await })
    }
}

/// Where one binding is served, and why.
pub(crate) struct Placed {
    /// The binding's name.
    pub(crate) name: String,
    /// Its kind.
    pub(crate) kind: &'static str,
    /// `local` or `remote`.
    pub(crate) place: &'static str,
    /// The reason, for the table printed at start.
    pub(crate) why: &'static str,
}

/// Who answers for each binding of a project.
pub(crate) type Services = HashMap<String, Arc<dyn WireService>>;

/// Everything answered by one router in this process.
pub(crate) fn all_local(project: &Project, router: impl Into<Arc<Router>>) -> Services {
    let local: Arc<dyn WireService> = Arc::new(Local(router.into()));
    let names = project.bindings.iter().map(|entry| entry.name.clone());
    names.map(|name| (name, Arc::clone(&local))).collect()
}

/// Places every binding: `remote` where the entry asks for it and there is a remote, `local` otherwise.
pub(crate) fn place(
    project: &Project,
    remote: Option<&Proxy>,
    state: &Path,
    env: Env<'static>,
) -> Result<(Vec<Placed>, Services), CliError> {
    let is_remote = |entry: &BindingEntry| entry.remote && remote.is_some();
    let any_local = project.bindings.iter().any(|entry| !is_remote(entry));
    let router = if any_local {
        project::router(project, |entry| !is_remote(entry), state, env)?
    } else {
        Router::default()
    };
    let router = Arc::new(router);
    if router.has_endpoints() {
        endpoints::serve(&router, state)?;
    }
    let (mut table, mut services) = (Vec::new(), HashMap::new());
    for entry in &project.bindings {
        let (place, why, service): (_, _, Arc<dyn WireService>) = match remote {
            Some(proxy) if entry.remote => ("remote", "remote: true", Arc::new(Remote(proxy.clone()))),
            None if entry.remote => (
                "local",
                "remote: true, but no --remote was given",
                Arc::new(Local(Arc::clone(&router))),
            ),
            _ => ("local", "remote is not set", Arc::new(Local(Arc::clone(&router)))),
        };
        table.push(Placed {
            name: entry.name.clone(),
            kind: entry.kind,
            place,
            why,
        });
        services.insert(entry.name.clone(), service);
    }
    Ok((table, services))
}
