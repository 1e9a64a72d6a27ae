//! Sessions over a WebSocket that is already upgraded.

use std::sync::Arc;
use std::time::Duration;

use capnweb_proto::ProtocolError;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig};

use crate::driver::Driver;
use crate::{Call, CallFuture, Limits, Stub, Target};

/// The code both sides close with after an abort, and after disposing the main stub.
const ABORTED: u16 = 3000;

/// What a session may be told.
#[derive(Debug, Clone)]
pub struct SessionOptions {
    /// Bounds on what the peer may do.
    pub limits: Limits,
    /// How long the peer may take to read what is sent to it, before the session is given up.
    pub send_deadline: Duration,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            send_deadline: Duration::from_secs(60),
        }
    }
}

/// Why a session ended other than by either side leaving.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The peer broke the protocol or a limit; it was told so.
    #[error("the peer broke the protocol")]
    Protocol(#[from] ProtocolError),
    /// The peer does not read.
    #[error("the peer did not read what was sent for {} s", .0.as_secs_f32())]
    Stalled(Duration),
}

/// Serves `main` to the peer until either side leaves. A peer that vanishes is normal: clients in workerd drop their
/// sockets without a close frame.
///
/// Dropping the future ends the session and every call that runs in it.
pub async fn serve_upgraded<S>(
    io: S,
    main: Arc<dyn Target>,
    options: SessionOptions,
) -> Result<(), SessionError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (driver, handles) = Driver::new(main, options.limits);
    let socket = socket(io, Role::Server, &options).await;
    let ended = run(socket, driver, &options).await;
    // Until now, so that the driver does not take a server without clients' stubs for one nobody needs.
    drop(handles);
    ended
}

/// Connects to the peer's main object over `io`. The session lives in a task of its own until the last stub is gone.
pub async fn connect_upgraded<S>(io: S, options: SessionOptions) -> Stub
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (driver, handles) = Driver::new(Arc::new(Nothing), options.limits);
    let main = Stub::new(driver.remote_main(), handles);
    let socket = socket(io, Role::Client, &options).await;
    tokio::spawn(async move { run(socket, driver, &options).await });
    main
}

/// The main object of a client that offers nothing.
struct Nothing;

impl Target for Nothing {
    fn call(&self, call: Call) -> CallFuture {
        Box::pin(std::future::ready(Err(call.not_a_function())))
    }
}

async fn socket<S: AsyncRead + AsyncWrite + Unpin>(
    io: S,
    role: Role,
    options: &SessionOptions,
) -> WebSocketStream<S> {
    // UTF-8 takes at most three bytes a UTF-16 unit.
    let bytes = options.limits.max_message_size.saturating_mul(3);
    let config = WebSocketConfig::default()
        .max_message_size(Some(bytes))
        .max_frame_size(Some(bytes));
    WebSocketStream::from_raw_socket(io, role, Some(config)).await
}

async fn run<S: AsyncRead + AsyncWrite + Unpin>(
    mut socket: WebSocketStream<S>,
    mut driver: Driver,
    options: &SessionOptions,
) -> Result<(), SessionError> {
    let (ended, why) = pump(&mut socket, &mut driver, options).await;
    driver.fail(&why);
    if ended.is_err() || driver.is_ended() {
        // The abort message is out by now; a close may not hang on a peer that does not read.
        let end = why.floor_char_boundary(123);
        let frame = CloseFrame {
            code: CloseCode::from(ABORTED),
            reason: why[..end].into(),
        };
        let _ = tokio::time::timeout(Duration::from_secs(5), socket.close(Some(frame))).await;
    }
    ended
}

/// Runs until the end; the text is for whoever still waits.
async fn pump<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut WebSocketStream<S>,
    driver: &mut Driver,
    options: &SessionOptions,
) -> (Result<(), SessionError>, String) {
    loop {
        let mut fault = None;
        tokio::select! {
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => fault = driver.handle_message(&text).err(),
                // No message of this protocol is binary; an empty text is as wrong.
                Some(Ok(Message::Binary(_))) => fault = driver.handle_message("").err(),
                Some(Ok(Message::Close(frame))) => {
                    let (code, reason) = frame.map_or((1005, String::new()), |frame| (frame.code.into(), frame.reason.to_string()));
                    return (Ok(()), format!("Peer closed WebSocket: {code} {reason}"));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return (Ok(()), "Peer closed WebSocket: 1006 ".into()),
            },
            alive = driver.step() => if !alive {
                return (Ok(()), "RPC session was shut down by disposing the main stub".into());
            },
        }
        match tokio::time::timeout(options.send_deadline, send(socket, driver)).await {
            Ok(true) => {}
            Ok(false) => return (Ok(()), "Peer closed WebSocket: 1006 ".into()),
            Err(_) => {
                return (
                    Err(SessionError::Stalled(options.send_deadline)),
                    "the peer does not read".into(),
                );
            }
        }
        if let Some(error) = fault {
            let why = error.to_string();
            return (Err(error.into()), why);
        }
        if driver.is_ended() {
            return (Ok(()), "the peer aborted the session".into());
        }
    }
}

/// Writes everything that is ready, then flushes once: a flush a message costs five times as much.
async fn send<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut WebSocketStream<S>,
    driver: &mut Driver,
) -> bool {
    let mut any = false;
    while let Some(message) = driver.poll_message() {
        any = true;
        if socket.feed(Message::text(message)).await.is_err() {
            return false;
        }
    }
    !any || socket.flush().await.is_ok()
}

#[cfg(test)]
mod tests;
