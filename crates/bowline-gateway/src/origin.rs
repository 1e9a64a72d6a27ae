//! Any HTTP origin behind a gate: streamed bodies both ways, upgrades spliced.

use std::sync::Arc;
use std::time::Duration;

use bowline_access::Permit;
use bowline_binding::Body;
use http::header::{CONNECTION, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use crate::{Guarded, respond};

/// How long a connection to the origin may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long the origin may take to the head of its answer.
const ANSWER: Duration = Duration::from_secs(120);
/// How long either side may take to complete an upgrade that was answered.
const COMPLETE: Duration = Duration::from_secs(30);
/// How long an idle connection is kept.
const IDLE: Duration = Duration::from_secs(50);

/// Headers that are about one connection (RFC 9110 §7.6.1).
const HOP: [HeaderName; 7] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// The origin's URL cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OriginError {
    /// It is no URL of an HTTP server.
    #[error("`{0}` is not an http:// or https:// URL of an origin without a path")]
    Url(String),
    /// TLS cannot be set up.
    #[error("prepare TLS for the origin")]
    Tls(#[source] rustls::Error),
}

/// An origin.
#[derive(Debug)]
pub struct Origin {
    scheme: Scheme,
    authority: Authority,
    client: Client<HttpsConnector<HttpConnector>, Body>,
}

impl Origin {
    /// The origin at `url`.
    pub fn new(url: &str) -> Result<Self, OriginError> {
        let bad = || OriginError::Url(url.to_owned());
        let parts = url.parse::<Uri>().map_err(|_| bad())?.into_parts();
        let scheme = parts
            .scheme
            .filter(|scheme| *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS)
            .ok_or_else(bad)?;
        let authority = parts
            .authority
            // Credentials in a URL would be lost without a word.
            .filter(|authority| !authority.as_str().contains('@'))
            .ok_or_else(bad)?;
        if parts.path_and_query.is_some_and(|path| path != "/") {
            return Err(bad());
        }
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(ConfigBuilderExt::try_with_platform_verifier)
            .map_err(OriginError::Tls)?
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(256)
            .set_host(false)
            .build(connector);
        Ok(Self {
            scheme,
            authority,
            client,
        })
    }

    async fn forward(&self, mut request: Request<Body>) -> Response<Body> {
        // Any other protocol would carry requests of its own past the gate (h2c does), so it is not offered to the origin.
        let protocol = request.headers().get(UPGRADE).cloned();
        let upgrade = protocol
            .filter(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"))
            .map(|protocol| (hyper::upgrade::on(&mut request), protocol));
        let mut uri = http::uri::Parts::default();
        uri.scheme = Some(self.scheme.clone());
        uri.authority = Some(self.authority.clone());
        uri.path_and_query = Some(
            request
                .uri()
                .path_and_query()
                .cloned()
                .unwrap_or_else(|| PathAndQuery::from_static("/")),
        );
        let Ok(uri) = Uri::from_parts(uri) else {
            return respond::text(
                StatusCode::BAD_REQUEST,
                "the request's target cannot be forwarded",
            );
        };
        *request.uri_mut() = uri;
        *request.version_mut() = http::Version::HTTP_11;
        strip_hop(request.headers_mut());
        // The origin sees the host that was asked for, as behind Cloudflare.
        if !request.headers().contains_key(HOST)
            && let Ok(host) = self.authority.as_str().parse()
        {
            request.headers_mut().insert(HOST, host);
        }
        if let Some((_, protocol)) = &upgrade {
            restore_upgrade(request.headers_mut(), protocol);
        }
        let answered = tokio::time::timeout(ANSWER, self.client.request(request)).await;
        let mut response = match answered {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                tracing::warn!(upstream.host = %self.authority, error = %respond::chain(&error), "the origin did not answer");
                return respond::text(
                    StatusCode::BAD_GATEWAY,
                    "the gateway let this request pass, and the origin did not answer it",
                );
            }
            Err(_) => {
                return respond::text(
                    StatusCode::GATEWAY_TIMEOUT,
                    format!("the origin gave no answer within {} s", ANSWER.as_secs()),
                );
            }
        };
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let (Some((client, _)), Some(protocol)) = (upgrade, response.headers().get(UPGRADE).cloned())
            else {
                return respond::text(
                    StatusCode::BAD_GATEWAY,
                    "the origin switched protocols without being asked",
                );
            };
            let origin = hyper::upgrade::on(&mut response);
            tokio::spawn(async move {
                let both = async { tokio::join!(client, origin) };
                if let Ok((Ok(client), Ok(origin))) = tokio::time::timeout(COMPLETE, both).await {
                    bowline_tunnel::splice(TokioIo::new(client), TokioIo::new(origin)).await;
                }
            });
            strip_hop(response.headers_mut());
            restore_upgrade(response.headers_mut(), &protocol);
            return response.map(|_| bowline_binding::empty());
        }
        strip_hop(response.headers_mut());
        response.map(|body| body.map_err(Into::into).boxed_unsync())
    }
}

impl Guarded for Origin {
    const SESSIONS: bool = true;

    async fn call(&self, permit: Permit, request: Request<Body>) -> Response<Body> {
        tracing::debug!(
            access.identity = permit.identity(),
            access.policy = permit.policy(),
            upstream.host = %self.authority,
            "forward"
        );
        self.forward(request).await
    }
}

/// Removes what is about one connection, also what `Connection` names.
fn strip_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::try_from(name.trim()).ok())
        .collect();
    for name in named.iter().chain(&HOP) {
        while headers.remove(name).is_some() {}
    }
}

fn restore_upgrade(headers: &mut HeaderMap, protocol: &http::HeaderValue) {
    headers.insert(CONNECTION, http::HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, protocol.clone());
}
