//! What bindings placed in this process serve beside the flows, on a port of its own.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use bowline_remote::{Remote, Router};
use tokio_util::sync::CancellationToken;

use crate::error::{CliError, Kind};
use crate::output;

/// Serves the endpoints of a router for as long as the program runs.
///
/// The port is remembered in the state folder: git clones hold on to the URL they came from. When somebody else has it
/// by now, a free one serves this run.
pub(crate) fn serve(router: &Arc<Router>, state: &Path) -> Result<(), CliError> {
    let internal = |error: std::io::Error| {
        let error = anyhow::Error::new(error).context("serve what bindings serve beside their flows");
        CliError::new(Kind::Internal, error)
    };
    let file = state.join("endpoints.port");
    let known: Option<u16> = std::fs::read_to_string(&file)
        .ok()
        .and_then(|text| text.trim().parse().ok());
    let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    let listener = match known.map(bind) {
        Some(Ok(listener)) => listener,
        _ => bind(0).map_err(internal)?,
    };
    let address = listener.local_addr().map_err(internal)?;
    if known.is_none() {
        std::fs::write(&file, address.port().to_string()).map_err(internal)?;
    }
    listener.set_nonblocking(true).map_err(internal)?;
    let listener = tokio::net::TcpListener::from_std(listener).map_err(internal)?;
    router.mounted(&format!("http://{address}"));
    output::notice(&format!("  endpoints at http://{address}/"));
    let remote = Remote::endpoints_only(Arc::clone(router));
    tokio::spawn(async move {
        if let Err(error) = bowline_gateway::serve(listener, remote, CancellationToken::new()).await {
            tracing::error!(error = %error, "endpoints are not served any more");
        }
    });
    Ok(())
}
