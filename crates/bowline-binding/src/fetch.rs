//! The fetch flow as a binding sees it.

use http::{HeaderMap, HeaderValue, Method, Response};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::Body;

/// A byte stream in both directions.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A boxed byte stream.
pub type BoxDuplex = Box<dyn Duplex>;

/// A request as user code made it: the `MF-*` wrapping is gone.
pub struct FetchRequest {
    /// The method.
    pub method: Method,
    /// The raw inner URL. It is text and not a `Uri` because workerd sends URLs that end after the authority
    /// (`https://fake-host?limit=1`).
    pub url: String,
    /// The inner headers. Values are bytes (UTF-8 where workerd writes text), not Latin-1.
    pub headers: HeaderMap,
    /// The body, streamed.
    pub body: Body,
    /// Present when user code asked for a WebSocket.
    pub upgrade: Option<UpgradeRequest>,
}

/// The handshake fields of a WebSocket upgrade inside fetch. They are handed on so that whoever answers can compute
/// `Sec-WebSocket-Accept` and the bytes can be spliced without parsing a frame.
#[derive(Debug, Clone)]
pub struct UpgradeRequest {
    /// `Sec-WebSocket-Key` of the request that asked.
    pub key: HeaderValue,
    /// `Sec-WebSocket-Version` of the request that asked.
    pub version: HeaderValue,
}

/// A binding's answer on the fetch flow.
pub enum FetchReply {
    /// An ordinary response.
    Response(Response<Body>),
    /// 101: these headers (with `Sec-WebSocket-Accept`), then the bytes of both sides are spliced.
    Upgrade {
        /// Response headers of the 101.
        headers: HeaderMap,
        /// The far side of the splice.
        duplex: BoxDuplex,
    },
}

impl From<Response<Body>> for FetchReply {
    fn from(response: Response<Body>) -> Self {
        Self::Response(response)
    }
}

impl FetchRequest {
    /// The path of the URL, starting with `/`, without query or fragment; `/` when the URL ends after the authority.
    pub fn path(&self) -> &str {
        let rest = self.after_authority();
        let end = rest.find(['?', '#']).unwrap_or(rest.len());
        if end == 0 { "/" } else { &rest[..end] }
    }

    /// The query of the URL without `?`; empty when there is none.
    pub fn query(&self) -> &str {
        let rest = self.after_authority();
        let rest = rest.split('#').next().unwrap_or_default();
        rest.split_once('?').map_or("", |(_, query)| query)
    }

    fn after_authority(&self) -> &str {
        let Some((_, rest)) = self.url.split_once("://") else {
            return &self.url;
        };
        rest.find(['/', '?', '#']).map_or("", |at| &rest[at..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_need_no_path() {
        for (url, path, query) in [
            ("https://fake-host", "/", ""),
            ("https://fake-host?limit=1#x", "/", "limit=1"),
            (
                "http://d1/query?resultsFormat=NONE",
                "/query",
                "resultsFormat=NONE",
            ),
            ("http://h/a%2F..%2Fb#f", "/a%2F..%2Fb", ""),
            ("", "/", ""),
        ] {
            let request = FetchRequest {
                method: Method::GET,
                url: url.into(),
                headers: HeaderMap::new(),
                body: crate::empty(),
                upgrade: None,
            };
            assert_eq!((request.path(), request.query()), (path, query), "{url}");
        }
    }
}
