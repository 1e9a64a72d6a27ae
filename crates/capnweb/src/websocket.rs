//! Sessions over a WebSocket.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::{Sink, SinkExt, Stream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig};

use crate::driver::{Received, Wire, drive};
use crate::read_ahead::{ReadAhead, SMALL_READ};
use crate::{Session, SessionError, SessionOptions, Stub, Target};

/// Serves a main object to the peer at the far end of an upgraded connection, until either side leaves. A peer that
/// vanishes is normal: clients in workerd drop their sockets without a close frame.
///
/// Dropping the future ends the session and every call that runs in it.
pub async fn serve_upgraded<S>(
    io: S,
    main: Arc<dyn Target>,
    options: SessionOptions,
) -> Result<(), SessionError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    serve_upgraded_with(io, options, |_| main).await
}

/// As [`serve_upgraded`], for a main object that needs the session: to know its size, to end it, or to call the peer's
/// main object.
pub async fn serve_upgraded_with<S>(
    io: S,
    options: SessionOptions,
    main: impl FnOnce(&Session) -> Arc<dyn Target>,
) -> Result<(), SessionError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    let core = options.core_with(main);
    drive(core, socket(io, Role::Server, &options).await, &options).await
}

/// Connects to the peer's main object over an upgraded connection, offering nothing. The session lives in a task of its
/// own until the main stub is dropped.
pub async fn connect_upgraded<S>(io: S, options: SessionOptions) -> Stub
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    connect_upgraded_with(io, Arc::new(crate::target::NoMain), options).await
}

/// As [`connect_upgraded`], offering a main object of our own.
pub async fn connect_upgraded_with<S>(io: S, main: Arc<dyn Target>, options: SessionOptions) -> Stub
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let core = options.core(main);
    let stub = Stub::owner(Arc::clone(&core), core.with(|state| state.session.remote_main()));
    let socket = socket(io, Role::Client, &options).await;
    tokio::spawn(async move { drive(core, socket, &options).await });
    stub
}

/// Connects to a `ws:` URL, with headers of your own on the handshake: what `new WebSocket(url)` cannot do.
///
/// For `wss:`, a proxy or a socket of another kind, connect yourself and use [`connect_over`].
pub async fn connect(
    url: &str,
    headers: &[(&str, &str)],
    main: Arc<dyn Target>,
    options: SessionOptions,
) -> Result<Stub, ConnectError> {
    let request = request(url, headers)?;
    let uri = request.uri();
    if uri.scheme_str() != Some("ws") {
        return Err(ConnectError::Scheme);
    }
    let host = uri.host().ok_or(ConnectError::Scheme)?.trim_matches(['[', ']']);
    let stream = tokio::time::timeout(
        options.send_deadline,
        tokio::net::TcpStream::connect((host, uri.port_u16().unwrap_or(80))),
    )
    .await
    .map_err(|_| ConnectError::TimedOut)?
    .map_err(ConnectError::Connect)?;
    // Small messages must not wait for a full segment; a socket that refuses still works.
    let _ = stream.set_nodelay(true);
    shake_hands(request, stream, main, options).await
}

/// As [`connect`], over a connection that is there: a TLS stream for a `wss:` URL, a unix socket, a proxied stream. The URL
/// says what the server is asked for; nothing is connected to.
///
/// ```
/// use std::sync::Arc;
/// use capnweb::{ConnectError, NoMain, SessionOptions, Stub};
/// use tokio::net::TcpStream;
/// use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};
///
/// async fn connect_tls(connector: &TlsConnector, token: &str) -> Result<Stub, ConnectError> {
///     let stream = TcpStream::connect(("api.example.com", 443)).await.map_err(ConnectError::Connect)?;
///     let name = ServerName::try_from("api.example.com").expect("a name");
///     let stream = connector.connect(name, stream).await.map_err(ConnectError::Connect)?;
///     let headers = [("authorization", token)];
///     capnweb::connect_over(
///         stream, "wss://api.example.com/rpc", &headers, Arc::new(NoMain), SessionOptions::default(),
///     )
///     .await
/// }
/// ```
pub async fn connect_over<S>(
    stream: S,
    url: &str,
    headers: &[(&str, &str)],
    main: Arc<dyn Target>,
    options: SessionOptions,
) -> Result<Stub, ConnectError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let request = request(url, headers)?;
    if !matches!(request.uri().scheme_str(), Some("ws" | "wss")) {
        return Err(ConnectError::Scheme);
    }
    shake_hands(request, stream, main, options).await
}

fn request(url: &str, headers: &[(&str, &str)]) -> Result<http::Request<()>, ConnectError> {
    use http::{HeaderName, HeaderValue};
    use tokio_tungstenite::tungstenite::client::IntoClientRequest;
    let mut request = url.into_client_request().map_err(ConnectError::Request)?;
    for (name, value) in headers {
        let name = HeaderName::try_from(*name).map_err(|_| ConnectError::Header)?;
        let mut value = HeaderValue::try_from(*value).map_err(|_| ConnectError::Header)?;
        // Headers are how credentials travel.
        value.set_sensitive(true);
        request.headers_mut().append(name, value);
    }
    Ok(request)
}

async fn shake_hands<S>(
    request: http::Request<()>,
    stream: S,
    main: Arc<dyn Target>,
    options: SessionOptions,
) -> Result<Stub, ConnectError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let handshake =
        tokio_tungstenite::client_async_with_config(request, ReadAhead::new(stream), Some(config(&options)));
    let (stream, _) = tokio::time::timeout(options.send_deadline, handshake)
        .await
        .map_err(|_| ConnectError::TimedOut)?
        .map_err(ConnectError::Request)?;
    let socket = Socket::new(stream);
    let core = options.core(main);
    let stub = Stub::owner(Arc::clone(&core), core.with(|state| state.session.remote_main()));
    tokio::spawn(async move { drive(core, socket, &options).await });
    Ok(stub)
}

/// No session could be opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Not a `ws:` URL with a host; where the connection is there, not a `wss:` URL either.
    #[error("not a WebSocket URL that can be connected to so")]
    Scheme,
    /// A header that cannot be sent. It is not shown: it may be a credential.
    #[error("a header has characters that cannot be sent")]
    Header,
    /// Nobody listens there.
    #[error("connect to the server")]
    Connect(#[source] std::io::Error),
    /// Nothing within the deadline.
    #[error("the server did not answer in time")]
    TimedOut,
    /// The URL is none, or the server refused the upgrade.
    #[error("upgrade to a WebSocket")]
    Request(#[source] tokio_tungstenite::tungstenite::Error),
}

fn config(options: &SessionOptions) -> WebSocketConfig {
    // UTF-8 takes at most three bytes a UTF-16 unit.
    let bytes = options.limits.max_message_size.saturating_mul(3);
    WebSocketConfig::default()
        .max_message_size(Some(bytes))
        .max_frame_size(Some(bytes))
        // Idle sessions are many: this is what each holds. [`ReadAhead`] takes more at a time while there is more.
        .read_buffer_size(SMALL_READ)
}

async fn socket<S: AsyncRead + AsyncWrite + Unpin>(
    io: S,
    role: Role,
    options: &SessionOptions,
) -> Socket<ReadAhead<S>> {
    Socket::new(WebSocketStream::from_raw_socket(ReadAhead::new(io), role, Some(config(options))).await)
}

/// A WebSocket as a transport.
struct Socket<S> {
    stream: WebSocketStream<S>,
    /// A message was too long to be taken, so no frame can be made out any more.
    overrun: bool,
}

impl<S> Socket<S> {
    fn new(stream: WebSocketStream<S>) -> Self {
        Self {
            stream,
            overrun: false,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Wire for Socket<S> {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Received> {
        loop {
            let message = match Pin::new(&mut self.stream).poll_next(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(message) => message,
            };
            return Poll::Ready(match message {
                Some(Ok(Message::Text(text))) => Received::Text(text),
                Some(Ok(Message::Binary(_))) => Received::Garbage,
                Some(Ok(Message::Close(frame))) => {
                    let (code, reason) = frame.map_or((1005, String::new()), |frame| {
                        (frame.code.into(), frame.reason.to_string())
                    });
                    Received::Closed(format!("{code} {reason}"))
                }
                Some(Ok(_)) => continue,
                Some(Err(Error::Capacity(_))) => {
                    self.overrun = true;
                    Received::TooLong
                }
                Some(Err(_)) | None => Received::Closed("1006 ".into()),
            });
        }
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        Sink::poll_ready(Pin::new(&mut self.stream), cx).map(|ready| ready.is_ok())
    }

    fn feed(&mut self, message: String) -> bool {
        Sink::start_send(Pin::new(&mut self.stream), Message::text(message)).is_ok()
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        Sink::poll_flush(Pin::new(&mut self.stream), cx).map(|flushed| flushed.is_ok())
    }

    async fn close(&mut self, code: u16, reason: &str) {
        let frame = CloseFrame {
            code: CloseCode::from(code),
            reason: reason.to_owned().into(),
        };
        // The peer may be gone already. Waiting for its answer keeps the kernel from resetting what was just sent.
        if self.stream.send(Message::Close(Some(frame))).await.is_ok() {
            while let Some(Ok(_)) = futures_util::StreamExt::next(&mut self.stream).await {}
            if self.overrun {
                let _ = tokio::io::copy(self.stream.get_mut(), &mut tokio::io::sink()).await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
