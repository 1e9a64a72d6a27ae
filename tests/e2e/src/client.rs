//! A client that can send what no library would: raw requests and WebSockets with any header.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use bytes::Bytes;
use http::header::{CONNECTION, HOST, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

/// How long any one exchange may take.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// An upgraded connection.
pub type Socket = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

/// One request to be.
#[derive(Debug, Clone)]
pub struct Outgoing {
    method: Method,
    url: String,
    headers: HeaderMap,
    body: Bytes,
    from: Option<IpAddr>,
    tls: Option<Arc<rustls::ClientConfig>>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its reason phrase, when that is not the status's own.
    pub reason: Option<String>,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// The outcome of an upgrade.
#[derive(Debug)]
pub enum Upgraded {
    /// 101.
    Socket(Box<Socket>, HeaderMap),
    /// Anything else.
    Answer(Answer),
}

impl Outgoing {
    /// A request to a connection string, with nothing in it but `Host`.
    pub fn new(method: Method, url: &str) -> Self {
        Self {
            method,
            url: url.to_owned(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            from: None,
            tls: None,
        }
    }

    /// Sends it from an address of this machine; all of 127.0.0.0/8 is.
    pub fn from(mut self, address: IpAddr) -> Self {
        self.from = Some(address);
        self
    }

    /// Sends it over TLS.
    pub fn over(mut self, tls: Arc<rustls::ClientConfig>) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Adds a header; a name may occur more than once, a value may be any bytes a header can carry.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let name = HeaderName::try_from(name).expect("a header's name");
        let value = HeaderValue::from_bytes(value.as_ref()).expect("a header's value");
        self.headers.append(name, value);
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends it and reads the answer.
    pub async fn send(self) -> Result<Answer> {
        tokio::time::timeout(DEADLINE, async { read(self.exchange().await?).await })
            .await
            .context("no answer in time")?
    }

    /// Sends it as an upgrade to a WebSocket.
    pub async fn upgrade(self) -> Result<Upgraded> {
        let key = base64::engine::general_purpose::STANDARD.encode([7; 16]);
        let request = self
            .header(CONNECTION.as_str(), "Upgrade")
            .header(UPGRADE.as_str(), "websocket")
            .header(SEC_WEBSOCKET_KEY.as_str(), key)
            .header(SEC_WEBSOCKET_VERSION.as_str(), "13");
        tokio::time::timeout(DEADLINE, async {
            let mut response = request.exchange().await?;
            if response.status() != StatusCode::SWITCHING_PROTOCOLS {
                return Ok(Upgraded::Answer(read(response).await?));
            }
            let headers = response.headers().clone();
            let upgraded = TokioIo::new(hyper::upgrade::on(&mut response).await?);
            let socket = WebSocketStream::from_raw_socket(upgraded, Role::Client, None).await;
            Ok(Upgraded::Socket(Box::new(socket), headers))
        })
        .await
        .context("no answer to the upgrade in time")?
    }

    async fn exchange(self) -> Result<http::Response<hyper::body::Incoming>> {
        let uri: Uri = self.url.parse().with_context(|| format!("`{}`", self.url))?;
        let authority = uri.authority().context("a URL has an authority")?.clone();
        let stream = match self.from {
            None => TcpStream::connect(authority.as_str()).await,
            Some(from) => {
                let socket = TcpSocket::new_v4()?;
                socket.bind((from, 0).into())?;
                socket.connect(authority.as_str().parse()?).await
            }
        };
        let stream = stream.context("connect")?;
        let mut sender = match self.tls {
            None => opened(stream).await?,
            Some(tls) => {
                let name = rustls::pki_types::ServerName::try_from(authority.host().to_owned())?;
                let stream = tokio_rustls::TlsConnector::from(tls).connect(name, stream).await;
                opened(stream.context("agree on TLS")?).await?
            }
        };
        let mut request = Request::new(Full::new(self.body));
        *request.method_mut() = self.method;
        *request.uri_mut() = uri
            .path_and_query()
            .context("a URL has a path")?
            .as_str()
            .parse()?;
        *request.headers_mut() = self.headers;
        if !request.headers().contains_key(HOST) {
            request
                .headers_mut()
                .insert(HOST, HeaderValue::from_str(authority.as_str())?);
        }
        Ok(sender.send_request(request).await?)
    }
}

async fn opened(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<hyper::client::conn::http1::SendRequest<Full<Bytes>>> {
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection.with_upgrades());
    Ok(sender)
}

async fn read(response: http::Response<hyper::body::Incoming>) -> Result<Answer> {
    let reason = response.extensions().get::<hyper::ext::ReasonPhrase>();
    let reason = reason.map(|phrase| String::from_utf8_lossy(phrase.as_bytes()).into_owned());
    let (parts, body) = response.into_parts();
    let body = body.collect().await?.to_bytes();
    Ok(Answer {
        status: parts.status,
        reason,
        headers: parts.headers,
        body,
    })
}

impl Upgraded {
    /// The socket; anything else is an error.
    pub fn socket(self) -> Result<Socket> {
        match self {
            Self::Socket(socket, _) => Ok(*socket),
            Self::Answer(answer) => bail!("the upgrade was answered {}: {}", answer.status, answer.text()),
        }
    }
}

/// Sends bytes to the authority of a URL as they are and reads what comes until the other side closes.
pub async fn raw(url: &str, request: &[u8]) -> Result<Vec<u8>> {
    let uri: Uri = url.parse()?;
    let authority = uri.authority().context("a URL has an authority")?;
    tokio::time::timeout(DEADLINE, async {
        let mut stream = TcpStream::connect(authority.as_str()).await?;
        stream.write_all(request).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        ensure!(!answer.is_empty(), "the connection was closed without an answer");
        Ok(answer)
    })
    .await
    .context("no answer in time")?
}
