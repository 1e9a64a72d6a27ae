//! Every header name of the wire, once.

use http::HeaderName;

/// Names the binding (flows fetch and connect).
pub const MF_BINDING: HeaderName = HeaderName::from_static("mf-binding");
/// The raw inner URL of a fetch.
pub const MF_URL: HeaderName = HeaderName::from_static("mf-url");
/// What an inner header's name is prefixed with.
pub const MF_HEADER_PREFIX: &str = "mf-header-";
/// The address of a connect.
pub const MF_CONNECT_ADDRESS: HeaderName = HeaderName::from_static("mf-connect-address");
/// Says that an answer comes from the binding and not from something on the way.
pub const MF_FORWARDED_RESPONSE: HeaderName = HeaderName::from_static("mf-forwarded-response");
/// Options of a dispatch namespace, opaque JSON.
pub const MF_DISPATCH_NAMESPACE_OPTIONS: HeaderName =
    HeaderName::from_static("mf-dispatch-namespace-options");
/// The query parameter that names the binding (flow rpc).
pub const MF_BINDING_QUERY: &str = "MF-Binding";
/// The query parameter with the options of a dispatch namespace (flow rpc).
pub const MF_DISPATCH_NAMESPACE_OPTIONS_QUERY: &str = "MF-Dispatch-Namespace-Options";
/// The token of a preview session at Cloudflare's edge.
pub const CF_WORKERS_PREVIEW_TOKEN: HeaderName = HeaderName::from_static("cf-workers-preview-token");
/// The URL under which a request reached the proxy of a preview session.
pub const MF_ORIGINAL_URL: HeaderName = HeaderName::from_static("mf-original-url");
/// The client's address, as the edge tells it.
pub const CF_CONNECTING_IP: HeaderName = HeaderName::from_static("cf-connecting-ip");
