//! Opening connections, and HTTP over them.

use std::io::ErrorKind as IoKind;
use std::time::Duration;

use bowline_binding::{
    Binding, BindingError, BoxDuplex, CallContext, ConnectAddress, ErrorKind, ExchangeError, FetchReply,
    FetchRequest, Surfaces, exchange,
};
use http::{HeaderValue, Uri};
use tokio::net::TcpStream;
use url::Url;

use crate::config::Config;

/// Resolving and connecting together.
const CONNECT: Duration = Duration::from_secs(10);
/// From the request to the head of the answer.
const FIRST_BYTE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct VpcNetwork {
    config: Config,
}

impl VpcNetwork {
    pub(crate) fn new(config: Config) -> Self {
        Self { config }
    }

    async fn open(&self, operation: &'static str, to: &ConnectAddress) -> Result<TcpStream, BindingError> {
        if !self.config.allow.contains(to) {
            let text = format!("{to} is not on this network's list; add it to `allow` of the binding");
            return Err(BindingError::new(ErrorKind::Invalid, operation, text));
        }
        let unavailable = |word: &str, detail: String| {
            BindingError::new(
                ErrorKind::Unavailable,
                operation,
                format!("ProxyError: {word} ({to}: {detail})"),
            )
        };
        let opened = tokio::time::timeout(CONNECT, async {
            let addresses = tokio::net::lookup_host((to.host(), to.port()))
                .await
                .map_err(|error| unavailable("dns_error", error.to_string()))?;
            let mut last = unavailable("dns_error", "no address".into());
            for address in addresses {
                match TcpStream::connect(address).await {
                    Ok(stream) => return Ok(stream),
                    Err(error) if error.kind() == IoKind::ConnectionRefused => {
                        last = unavailable("connection_refused", error.to_string());
                    }
                    Err(error) => last = unavailable("connection_terminated", error.to_string()),
                }
            }
            Err(last)
        })
        .await;
        let stream = opened.unwrap_or_else(|_| {
            Err(unavailable(
                "connection_timeout",
                format!("no connection within {} s", CONNECT.as_secs()),
            ))
        })?;
        // A peer that cannot take the option still works, only slower.
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }
}

#[async_trait::async_trait]
impl Binding for VpcNetwork {
    fn surfaces(&self) -> Surfaces {
        Surfaces {
            fetch: true,
            rpc: false,
            connect: true,
        }
    }

    async fn connect(&self, _cx: &CallContext, to: ConnectAddress) -> Result<BoxDuplex, BindingError> {
        Ok(Box::new(self.open("connect", &to).await?))
    }

    async fn fetch(&self, _cx: &CallContext, request: FetchRequest) -> Result<FetchReply, BindingError> {
        let (to, authority, target) = destination(&request.url)?;
        let stream = self.open("fetch", &to).await?;
        exchange(stream, request, target, Some(authority), FIRST_BYTE)
            .await
            .map_err(|error| {
                let text = match &error {
                    ExchangeError::TimedOut(limit) => format!(
                        "ProxyError: connection_timeout ({to}: no answer within {} s)",
                        limit.as_secs()
                    ),
                    ExchangeError::Broken(_) | ExchangeError::NotUpgraded(_) => {
                        format!("ProxyError: connection_terminated ({to})")
                    }
                };
                BindingError::new(ErrorKind::Unavailable, "fetch", text).caused_by(error)
            })
    }
}

/// The address, `Host` value and origin-form target of a URL.
fn destination(url: &str) -> Result<(ConnectAddress, HeaderValue, Uri), BindingError> {
    let bad = |text: String| BindingError::new(ErrorKind::Invalid, "fetch", text);
    let parsed = Url::parse(url).map_err(|error| bad(format!("`{url}` is not a URL: {error}")))?;
    if !matches!(parsed.scheme(), "http" | "ws") {
        return Err(bad(format!(
            "only http URLs are carried into a network, not {}",
            parsed.scheme()
        )));
    }
    let host = parsed
        .host_str()
        .ok_or_else(|| bad(format!("`{url}` names no host")))?;
    let port = parsed.port_or_known_default().unwrap_or(80);
    let to = ConnectAddress::parse(&format!("{host}:{port}"))
        .ok_or_else(|| bad(format!("`{url}` names no host and port that can be reached")))?;
    let authority = parsed
        .port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let authority = HeaderValue::from_str(&authority).map_err(|error| bad(error.to_string()))?;
    let query = parsed
        .query()
        .map(|query| format!("?{query}"))
        .unwrap_or_default();
    let target = format!("{}{query}", parsed.path())
        .parse::<Uri>()
        .map_err(|error| bad(format!("`{url}`: {error}")))?;
    Ok((to, authority, target))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bowline_binding::{Resources, collect, empty};
    use http::{HeaderMap, Method, StatusCode};
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    fn network(allow: &[String]) -> Arc<dyn Binding> {
        let resources = Resources::new(std::env::temp_dir());
        (crate::DESCRIPTOR.build)(&json!({"binding": "NET", "allow": allow}), &resources).unwrap()
    }

    fn cx() -> CallContext {
        CallContext::new("NET", "test")
    }

    fn get(url: String) -> FetchRequest {
        FetchRequest {
            method: Method::GET,
            url,
            headers: HeaderMap::new(),
            body: empty(),
            upgrade: None,
        }
    }

    /// Answers each connection with `answer` once the request head is in; hands the head back.
    async fn upstream(answer: &'static [u8]) -> (String, tokio::sync::mpsc::Receiver<Vec<u8>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (heads, receiver) = tokio::sync::mpsc::channel(4);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                stream.write_all(answer).await.unwrap();
                heads.send(head).await.unwrap();
            }
        });
        (address, receiver)
    }

    #[tokio::test]
    async fn connects_only_to_listed_addresses() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let net = network(std::slice::from_ref(&address));
        let mut stream = net
            .connect(&cx(), ConnectAddress::parse(&address).unwrap())
            .await
            .unwrap();
        let (mut far, _) = listener.accept().await.unwrap();
        stream.write_all(b"x").await.unwrap();
        assert_eq!(far.read_u8().await.unwrap(), b'x');

        let other = ConnectAddress::parse("127.0.0.1:1").unwrap();
        let error = net.connect(&cx(), other).await.err().unwrap();
        assert!(
            error
                .message
                .contains("127.0.0.1:1 is not on this network's list"),
            "{error}"
        );
        // The same address by another name is another entry.
        let alias = ConnectAddress::parse(&address.replace("127.0.0.1", "localhost")).unwrap();
        assert!(net.connect(&cx(), alias).await.is_err());
        drop((stream, far, listener));
        let refused = net
            .connect(&cx(), ConnectAddress::parse(&address).unwrap())
            .await
            .err()
            .unwrap();
        assert!(
            refused.message.starts_with("ProxyError: connection_refused"),
            "{refused}"
        );
        let nowhere = network(&["no-such-host.invalid:80".into()]);
        let error = nowhere
            .connect(&cx(), ConnectAddress::parse("no-such-host.invalid:80").unwrap())
            .await
            .err()
            .unwrap();
        assert!(error.message.starts_with("ProxyError: dns_error"), "{error}");
    }

    #[tokio::test]
    async fn fetch_keeps_target_bytes_and_redirects() {
        let answer = b"HTTP/1.1 302 Off You Go\r\nLocation: http://elsewhere/\r\nX-Name: \xc3\xa9\r\nContent-Length: 2\r\n\r\nhi";
        let (address, mut heads) = upstream(answer).await;
        let net = network(std::slice::from_ref(&address));
        let mut request = get(format!("http://{address}/a%2Fb?x=1#frag"));
        request
            .headers
            .append("x-sent", HeaderValue::from_bytes("é".as_bytes()).unwrap());
        let FetchReply::Response(response) = net.fetch(&cx(), request).await.unwrap() else {
            panic!("expected a response")
        };
        assert_eq!(response.status(), StatusCode::FOUND);
        assert_eq!(
            response
                .extensions()
                .get::<hyper::ext::ReasonPhrase>()
                .unwrap()
                .as_bytes(),
            b"Off You Go"
        );
        assert_eq!(response.headers()["x-name"].as_bytes(), "é".as_bytes());
        assert_eq!(&collect(response.into_body(), 10).await.unwrap()[..], b"hi");
        let head = heads.recv().await.unwrap();
        assert!(
            head.starts_with(b"GET /a%2Fb?x=1 HTTP/1.1\r\n"),
            "{}",
            String::from_utf8_lossy(&head)
        );
        assert!(String::from_utf8(head).unwrap().contains("x-sent: é\r\n"));
    }

    #[tokio::test]
    async fn fetch_refuses_what_it_cannot_carry() {
        let net = network(&["127.0.0.1:1".into()]);
        for (url, says) in [
            ("https://127.0.0.1:1/", "only http URLs"),
            ("http://", "not a URL"),
            ("http://127.0.0.1:2/", "not on this network's list"),
            ("http://127.0.0.1:1/", "connection_refused"),
        ] {
            let error = net.fetch(&cx(), get(url.into())).await.err().unwrap();
            assert!(error.message.contains(says), "{url}: {error}");
        }
    }
}
