//! What a preview session asks of a request, and how an answer says that the session has ended.
//!
//! Source: wrangler 4.164 at work, against a stand-in for the edge.

use bowline_wire::header::{CF_CONNECTING_IP, MF_ORIGINAL_URL};
use http::header::HOST;
use http::{HeaderMap, HeaderValue, StatusCode};

/// The edge does not know the preview token.
const TOKEN_GONE: &str = "Invalid Workers Preview configuration";
/// A product behind a binding does not know its own session any more.
const PRODUCT_GONE: &str = "error code: 1031";

/// What has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The preview token: the request reached no Worker.
    Token,
    /// A product's session: the answer is the binding's own.
    Product,
}

/// Whether an answer's body has to be looked at.
pub(crate) fn may_have_ended(status: StatusCode) -> bool {
    status == StatusCode::BAD_REQUEST
}

/// What the answer says has ended. `forwarded` tells that the proxy Worker passed it on, in which case the edge knew the
/// token and the words are an application's own. (Proxy Workers of upstream before 0.0.67 mark nothing; ours does.)
pub(crate) fn ended(status: StatusCode, forwarded: bool, body: &[u8]) -> Option<Ended> {
    let says = |text: &str| body.windows(text.len()).any(|window| window == text.as_bytes());
    if !may_have_ended(status) {
        None
    } else if !forwarded && says(TOKEN_GONE) {
        Some(Ended::Token)
    } else if says(PRODUCT_GONE) {
        Some(Ended::Product)
    } else {
        None
    }
}

/// The headers that every request to a preview carries besides its token. `headers` still has the local `Host`. The local path is left out:
/// it is a capability.
pub(crate) fn prepare(headers: &mut HeaderMap) {
    let local = headers.get(HOST).map_or(&b"localhost"[..], HeaderValue::as_bytes);
    let url = [b"http://", local, b"/"].concat();
    if let Ok(url) = HeaderValue::from_bytes(&url) {
        headers.insert(MF_ORIGINAL_URL, url);
    }
    headers.insert(CF_CONNECTING_IP, HeaderValue::from_static(""));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_edges_own_word_ends_a_token() {
        let page = b"<html>Invalid Workers Preview configuration</html>";
        let product = b"error code: 1031";
        for (status, forwarded, body, expected) in [
            (400, false, &page[..], Some(Ended::Token)),
            (400, true, page, None),
            (200, false, page, None),
            (403, false, page, None),
            (400, false, product, Some(Ended::Product)),
            (400, true, product, Some(Ended::Product)),
            (500, true, product, None),
            (400, false, b"Binding \"X\" not found", None),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(ended(status, forwarded, body), expected, "{status} {forwarded}");
        }
    }

    #[test]
    fn the_capability_stays_here() {
        let mut headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static("127.0.0.1:1"))]);
        prepare(&mut headers);
        assert_eq!(headers[MF_ORIGINAL_URL], "http://127.0.0.1:1/");
        assert_eq!(headers[CF_CONNECTING_IP], "");
    }
}
