//! Which flow a request belongs to.

use http::header::UPGRADE;
use http::{HeaderMap, HeaderName, Uri};

use crate::WireError;
use crate::header::{
    MF_BINDING, MF_BINDING_QUERY, MF_CONNECT_ADDRESS, MF_DISPATCH_NAMESPACE_OPTIONS,
    MF_DISPATCH_NAMESPACE_OPTIONS_QUERY,
};

/// The three flows, after the methods a Worker uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flow {
    /// `env.X.fetch()` and every binding whose native form is HTTP.
    Fetch,
    /// `env.X.method()`: Cap'n Web over a WebSocket.
    Rpc,
    /// `env.X.connect()`: TCP over a WebSocket.
    Connect,
}

impl Flow {
    /// The flow in one word, for logs and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::Rpc => "rpc",
            Self::Connect => "connect",
        }
    }
}

/// A classified request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The flow.
    pub flow: Flow,
    /// The binding's name.
    pub binding: String,
    /// What user code passed to `connect()`, on that flow only. Not yet parsed.
    pub address: Option<String>,
    /// Whether the request asks for an upgrade (always so for rpc and connect; a WebSocket inside fetch otherwise).
    pub upgrade: bool,
    /// Options of the call (of a dispatch namespace, as JSON): opaque to everyone but the binding. Never on connect.
    pub options: Option<String>,
}

/// The flow alone, which every request has even when it is malformed otherwise: what an error answer must look like
/// depends on it.
pub fn flow_of(uri: &Uri, headers: &HeaderMap) -> Flow {
    let websocket = headers.get_all(UPGRADE).iter().any(|value| {
        value
            .as_bytes()
            .split(|byte| *byte == b',')
            .any(|part| part.trim_ascii().eq_ignore_ascii_case(b"websocket"))
    });
    if websocket && headers.contains_key(MF_CONNECT_ADDRESS) {
        Flow::Connect
    } else if headers.contains_key(UPGRADE) && query_values(uri, MF_BINDING_QUERY).next().is_some() {
        Flow::Rpc
    } else {
        Flow::Fetch
    }
}

/// Classifies a request by upstream's rule, in upstream's order: an upgrade with `MF-Connect-Address` is connect, any
/// upgrade with the query parameter `MF-Binding` is rpc, everything else is fetch.
pub fn classify(uri: &Uri, headers: &HeaderMap) -> Result<Call, WireError> {
    let flow = flow_of(uri, headers);
    let upgrade = headers.contains_key(UPGRADE);
    let (binding, address, options) = match flow {
        Flow::Fetch => {
            let options = headers
                .contains_key(MF_DISPATCH_NAMESPACE_OPTIONS)
                .then(|| {
                    text(
                        headers,
                        &MF_DISPATCH_NAMESPACE_OPTIONS,
                        "MF-Dispatch-Namespace-Options",
                    )
                })
                .transpose()?;
            (text(headers, &MF_BINDING, "MF-Binding")?, None, options)
        }
        Flow::Connect => {
            let address = text(headers, &MF_CONNECT_ADDRESS, "MF-Connect-Address")?;
            (text(headers, &MF_BINDING, "MF-Binding")?, Some(address), None)
        }
        Flow::Rpc => {
            let once = |name| {
                let mut values = query_values(uri, name);
                let first = values.next();
                if values.next().is_some() {
                    return Err(WireError::Query);
                }
                first
                    .map(|value| decode_form(value).ok_or(WireError::Query))
                    .transpose()
            };
            let binding = once(MF_BINDING_QUERY)?.ok_or(WireError::Query)?;
            (binding, None, once(MF_DISPATCH_NAMESPACE_OPTIONS_QUERY)?)
        }
    };
    Ok(Call {
        flow,
        binding,
        address,
        upgrade,
        options,
    })
}

fn text(headers: &HeaderMap, name: &HeaderName, shown: &'static str) -> Result<String, WireError> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().ok_or(WireError::Missing(shown))?;
    if values.next().is_some() {
        return Err(WireError::Repeated(shown));
    }
    let text = std::str::from_utf8(value.as_bytes()).map_err(|_| WireError::NotText(shown))?;
    if text.is_empty() {
        Err(WireError::Missing(shown))
    } else {
        Ok(text.to_owned())
    }
}

fn query_values<'a>(uri: &'a Uri, wanted: &'static str) -> impl Iterator<Item = &'a str> {
    uri.query()
        .unwrap_or_default()
        .split('&')
        .filter_map(move |pair| {
            let (name, value) = pair.split_once('=')?;
            (name == wanted).then_some(value)
        })
}

/// Decodes a value as `URLSearchParams` wrote it: `+` is a space. `None` for a bad escape or bytes that are not UTF-8.
fn decode_form(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => {
                let [high, low, tail @ ..] = rest else { return None };
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                bytes.push(u8::try_from(digit(high)? * 16 + digit(low)?).ok()?);
                rest = tail;
            }
            other => bytes.push(*other),
        }
    }
    String::from_utf8(bytes).ok().filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn case(uri: &str, pairs: &[(&'static str, &str)]) -> Result<(Flow, String), WireError> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        classify(&uri.parse().unwrap(), &headers).map(|call| (call.flow, call.binding))
    }

    #[test]
    fn upstreams_rule_in_upstreams_order() {
        let (ws, binding, address) = (
            ("upgrade", "websocket"),
            ("mf-binding", "B"),
            ("mf-connect-address", "h:1"),
        );
        let query = "/?MF-Binding=Q";
        assert_eq!(case("/", &[binding]), Ok((Flow::Fetch, "B".into())));
        assert_eq!(case("/", &[binding, ws]), Ok((Flow::Fetch, "B".into())));
        assert_eq!(case(query, &[binding]), Ok((Flow::Fetch, "B".into())));
        assert_eq!(
            case(query, &[("upgrade", "WebSocket")]),
            Ok((Flow::Rpc, "Q".into()))
        );
        assert_eq!(case(query, &[("upgrade", "h2c")]), Ok((Flow::Rpc, "Q".into())));
        assert_eq!(
            case(query, &[ws, address, binding]),
            Ok((Flow::Connect, "B".into()))
        );
        assert_eq!(case("/", &[address, binding]), Ok((Flow::Fetch, "B".into())));
        assert_eq!(
            case("/p/?x=1&MF-Binding=a+b%2Fc%C3%A9", &[ws]),
            Ok((Flow::Rpc, "a b/cé".into()))
        );
    }

    #[test]
    fn malformed_requests_name_the_part() {
        let ws = ("upgrade", "websocket");
        assert_eq!(case("/", &[]), Err(WireError::Missing("MF-Binding")));
        assert_eq!(
            case("/", &[("mf-binding", "")]),
            Err(WireError::Missing("MF-Binding"))
        );
        assert_eq!(
            case("/", &[("mf-binding", "a"), ("mf-binding", "b")]),
            Err(WireError::Repeated("MF-Binding"))
        );
        assert_eq!(
            case("/", &[ws, ("mf-connect-address", "h:1")]),
            Err(WireError::Missing("MF-Binding"))
        );
        for bad in [
            "/?MF-Binding=%",
            "/?MF-Binding=%zz",
            "/?MF-Binding=%ff",
            "/?MF-Binding=",
            "/?MF-Binding=a&MF-Binding=b",
        ] {
            assert_eq!(case(bad, &[ws]), Err(WireError::Query), "{bad}");
        }
    }

    #[test]
    fn a_name_that_is_not_text() {
        let mut headers = HeaderMap::new();
        headers.insert(MF_BINDING, HeaderValue::from_bytes(b"\xff").unwrap());
        assert_eq!(
            classify(&"/".parse().unwrap(), &headers),
            Err(WireError::NotText("MF-Binding"))
        );
    }

    #[test]
    fn options_ride_in_a_header_or_in_the_query() {
        let mut headers = HeaderMap::new();
        headers.insert(MF_BINDING, HeaderValue::from_static("D"));
        headers.insert(
            MF_DISPATCH_NAMESPACE_OPTIONS,
            HeaderValue::from_bytes("{\"name\":\"é\"}".as_bytes()).unwrap(),
        );
        let options = |uri: &str, headers: &HeaderMap| {
            classify(&uri.parse().unwrap(), headers).map(|call| call.options)
        };
        assert_eq!(
            options("/", &headers).unwrap().as_deref(),
            Some("{\"name\":\"é\"}")
        );
        headers.append(MF_DISPATCH_NAMESPACE_OPTIONS, HeaderValue::from_static("{}"));
        assert_eq!(
            options("/", &headers),
            Err(WireError::Repeated("MF-Dispatch-Namespace-Options"))
        );
        let mut upgrade = HeaderMap::new();
        upgrade.insert(UPGRADE, HeaderValue::from_static("websocket"));
        assert_eq!(
            options(
                "/?MF-Binding=D&MF-Dispatch-Namespace-Options=%7B%22name%22%3A%22a+b%22%7D",
                &upgrade
            )
            .unwrap()
            .as_deref(),
            Some("{\"name\":\"a b\"}")
        );
        assert_eq!(options("/?MF-Binding=D", &upgrade).unwrap(), None);
        for bad in ["%7", "x&MF-Dispatch-Namespace-Options=y"] {
            let uri = format!("/?MF-Binding=D&MF-Dispatch-Namespace-Options={bad}");
            assert_eq!(options(&uri, &upgrade), Err(WireError::Query), "{bad}");
        }
    }
}
