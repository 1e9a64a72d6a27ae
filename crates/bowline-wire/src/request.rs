//! Between an inner request and its wrapped form.

use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue};

use crate::WireError;
use crate::header::{MF_HEADER_PREFIX, MF_URL};

/// Framing of the inner connection, which does not exist: the outer framing counts.
const FRAMING: [HeaderName; 6] = [
    CONNECTION,
    CONTENT_LENGTH,
    TRANSFER_ENCODING,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("te"),
    HeaderName::from_static("upgrade"),
];

/// The inner URL, as raw text: workerd sends URLs that end after the authority.
pub fn url(headers: &HeaderMap) -> Result<String, WireError> {
    let mut values = headers.get_all(MF_URL).iter();
    let value = values.next().ok_or(WireError::Missing("MF-URL"))?;
    if values.next().is_some() {
        return Err(WireError::Repeated("MF-URL"));
    }
    String::from_utf8(value.as_bytes().to_vec()).map_err(|_| WireError::NotText("MF-URL"))
}

/// The inner headers: every `MF-Header-n: v` as `n: v`, values byte for byte, framing left out.
pub fn unwrap(headers: &HeaderMap) -> Result<HeaderMap, WireError> {
    let mut inner = HeaderMap::new();
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix(MF_HEADER_PREFIX) else {
            continue;
        };
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| WireError::WrappedName)?;
        if !FRAMING.contains(&name) {
            inner.append(name, value.clone());
        }
    }
    Ok(inner)
}

/// One inner header; the first, should it come more than once.
pub fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a HeaderValue> {
    headers.get(format!("{MF_HEADER_PREFIX}{name}"))
}

/// Wraps inner headers, values byte for byte, framing left out. A name too long for the prefix is an error.
pub fn wrap(inner: &HeaderMap) -> Result<HeaderMap, WireError> {
    let mut headers = HeaderMap::with_capacity(inner.len() + 2);
    for (name, value) in inner {
        if !FRAMING.contains(name) {
            let name = HeaderName::from_bytes(format!("{MF_HEADER_PREFIX}{name}").as_bytes())
                .map_err(|_| WireError::WrappedName)?;
            headers.append(name, value.clone());
        }
    }
    Ok(headers)
}

/// The value of `MF-URL` for `url`.
pub fn url_value(url: &str) -> Result<HeaderValue, WireError> {
    HeaderValue::from_bytes(url.as_bytes()).map_err(|_| WireError::NotText("MF-URL"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive_and_framing_does_not() {
        let mut inner = HeaderMap::new();
        inner.append(
            "cf-kv-metadata",
            HeaderValue::from_bytes("{\"s\":\"é\"}".as_bytes()).unwrap(),
        );
        inner.append("x-twice", HeaderValue::from_static("1"));
        inner.append("x-twice", HeaderValue::from_static("2"));
        inner.append("x-raw", HeaderValue::from_bytes(b"\xff\xfe").unwrap());
        let mut framed = inner.clone();
        framed.append("content-length", HeaderValue::from_static("5"));
        framed.append("transfer-encoding", HeaderValue::from_static("chunked"));
        let wrapped = wrap(&framed).unwrap();
        assert!(wrapped.keys().all(|name| name.as_str().starts_with("mf-header-")));
        assert_eq!(unwrap(&wrapped).unwrap(), inner);
    }

    #[test]
    fn a_wrapped_nothing_is_refused() {
        let mut headers = HeaderMap::new();
        headers.append("mf-header-", HeaderValue::from_static("x"));
        assert_eq!(unwrap(&headers), Err(WireError::WrappedName));
        assert_eq!(url(&headers), Err(WireError::Missing("MF-URL")));
    }
}
