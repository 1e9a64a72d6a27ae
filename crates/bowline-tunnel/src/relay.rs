//! The relay itself.

use std::time::Duration;

use bytes::BytesMut;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig};

use crate::close_reason;

/// Bytes read from the stream into one frame.
const CHUNK: usize = 64 * 1024;
/// The largest frame or message taken from the peer.
const LARGEST_MESSAGE: usize = 32 * 1024 * 1024;
/// How long a peer has to take our close frame, or a stream our last bytes, once the relay is over.
pub(crate) const PARTING: Duration = Duration::from_secs(5);

/// How a relay ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The byte stream came to its end.
    StreamEnded,
    /// The byte stream failed; the text was the close reason.
    StreamFailed(String),
    /// The peer closed the WebSocket with this code (1005 when it gave none, 1006 when it just vanished).
    PeerClosed(u16),
}

/// What a relay carried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relayed {
    /// Bytes from the WebSocket to the stream.
    pub to_stream: u64,
    /// Bytes from the stream to the WebSocket.
    pub from_stream: u64,
    /// How it ended.
    pub ended: Ended,
}

/// The server's side of an already upgraded connection, with bounded buffers and no extensions.
pub async fn server_socket<S: AsyncRead + AsyncWrite + Unpin>(io: S) -> WebSocketStream<S> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(LARGEST_MESSAGE))
        .max_frame_size(Some(LARGEST_MESSAGE))
        .max_write_buffer_size(LARGEST_MESSAGE)
        .write_buffer_size(0);
    WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await
}

/// Closes `socket` with 1011 and `reason` without carrying anything: the stream could not be opened.
pub async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(mut socket: WebSocketStream<S>, reason: &str) {
    part(&mut socket, CloseCode::Error, reason).await;
}

/// Carries bytes until one side ends. There is no limit on how long a healthy tunnel may be idle: a database
/// connection in a pool is. Back-pressure is the sockets' own, each direction by itself: were one to wait for the
/// other, an echoing far side would stop both for good.
///
/// Not cancel safe: dropping the future drops both sides.
pub async fn relay<S, T>(socket: WebSocketStream<S>, stream: T) -> Relayed
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite,
{
    let (mut reader, mut writer) = tokio::io::split(stream);
    let (mut sink, mut source) = socket.split();
    let (mut to_stream, mut from_stream) = (0u64, 0u64);
    let ended = {
        let inward = async {
            loop {
                let data = match source.next().await {
                    Some(Ok(Message::Binary(data))) => data,
                    Some(Ok(Message::Text(text))) => text.into(),
                    Some(Ok(Message::Close(frame))) => {
                        break Ended::PeerClosed(frame.map_or(1005, |frame| frame.code.into()));
                    }
                    // tungstenite answers pings itself.
                    Some(Ok(_)) => continue,
                    Some(Err(_)) | None => break Ended::PeerClosed(1006),
                };
                to_stream += data.len() as u64;
                if let Err(error) = write(&mut writer, &data).await {
                    break Ended::StreamFailed(error.to_string());
                }
            }
        };
        let outward = async {
            let mut buffer = BytesMut::new();
            loop {
                buffer.reserve(CHUNK);
                match reader.read_buf(&mut buffer).await {
                    Ok(0) => break Ended::StreamEnded,
                    Ok(count) => from_stream += count as u64,
                    Err(error) => break Ended::StreamFailed(error.to_string()),
                }
                if sink.send(Message::Binary(buffer.split().freeze())).await.is_err() {
                    break Ended::PeerClosed(1006);
                }
            }
        };
        // The peer's close is looked at first: when both ends end at once, its code is the better answer.
        tokio::select! { biased; ended = inward => ended, ended = outward => ended }
    };
    let Ok(mut socket) = sink.reunite(source) else {
        return Relayed {
            to_stream,
            from_stream,
            ended,
        };
    };
    match &ended {
        Ended::StreamEnded => part(&mut socket, CloseCode::Normal, "").await,
        Ended::StreamFailed(reason) => part(&mut socket, CloseCode::Error, reason).await,
        // 1011 says the far stream failed and 1006 that nobody is there: dropping the stream is the honest signal.
        Ended::PeerClosed(1006 | 1011) => {}
        Ended::PeerClosed(_) => {
            let _ = tokio::time::timeout(PARTING, writer.shutdown()).await;
            // tungstenite has queued the answering close frame; flush it.
            let _ = tokio::time::timeout(PARTING, socket.flush()).await;
        }
    }
    Relayed {
        to_stream,
        from_stream,
        ended,
    }
}

async fn write<W: AsyncWrite + Unpin>(writer: &mut W, data: &[u8]) -> std::io::Result<()> {
    writer.write_all(data).await?;
    writer.flush().await
}

/// Sends a close frame and waits, for a while, until the peer has answered it: closing the connection earlier could
/// reset it before the peer has read what was sent.
pub(crate) async fn part<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut WebSocketStream<S>,
    code: CloseCode,
    reason: &str,
) {
    let frame = CloseFrame {
        code,
        reason: close_reason(reason).into(),
    };
    let _ = tokio::time::timeout(PARTING, async {
        socket.close(Some(frame)).await?;
        while let Some(message) = socket.next().await {
            message?;
        }
        Ok::<(), tokio_tungstenite::tungstenite::Error>(())
    })
    .await;
}

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};

    use super::*;

    async fn pair() -> (WebSocketStream<DuplexStream>, WebSocketStream<DuplexStream>) {
        let (near, far) = duplex(256 * 1024);
        (
            WebSocketStream::from_raw_socket(near, Role::Client, None).await,
            server_socket(far).await,
        )
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_go_both_ways_and_eof_closes_with_1000() {
        let (mut client, server) = pair().await;
        let (mut app, stream) = duplex(1024);
        let relayed = tokio::spawn(relay(server, stream));
        client.send(Message::binary(vec![1, 2, 3])).await.unwrap();
        client.send(Message::text("é")).await.unwrap();
        let mut got = [0; 5];
        app.read_exact(&mut got).await.unwrap();
        assert_eq!(got, [1, 2, 3, 0xc3, 0xa9]);
        app.write_all(b"answer").await.unwrap();
        assert_eq!(
            client.next().await.unwrap().unwrap(),
            Message::binary(&b"answer"[..])
        );
        drop(app);
        let Message::Close(Some(frame)) = client.next().await.unwrap().unwrap() else {
            panic!("expected a close")
        };
        assert_eq!(frame.code, CloseCode::Normal);
        assert!(client.next().await.is_none());
        let relayed = relayed.await.unwrap();
        assert_eq!(
            relayed,
            Relayed {
                to_stream: 5,
                from_stream: 6,
                ended: Ended::StreamEnded
            }
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_closing_peer_ends_the_stream() {
        let (mut client, server) = pair().await;
        let (mut app, stream) = duplex(1024);
        let relayed = tokio::spawn(relay(server, stream));
        client.send(Message::binary(&b"last"[..])).await.unwrap();
        client.close(None).await.unwrap();
        let mut all = Vec::new();
        app.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, b"last");
        assert_eq!(relayed.await.unwrap().ended, Ended::PeerClosed(1005));
    }

    #[tokio::test(start_paused = true)]
    async fn a_vanished_peer_drops_the_stream() {
        let (client, server) = pair().await;
        let (mut app, stream) = duplex(1024);
        let relayed = tokio::spawn(relay(server, stream));
        drop(client);
        assert_eq!(app.read(&mut [0]).await.unwrap(), 0);
        assert_eq!(relayed.await.unwrap().ended, Ended::PeerClosed(1006));
    }

    /// A stream whose first read fails, as a reset TCP connection does.
    struct Failing;
    impl AsyncRead for Failing {
        fn poll_read(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            _: &mut tokio::io::ReadBuf<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            std::task::Poll::Ready(Err(std::io::Error::other(format!("{}é", "x".repeat(122)))))
        }
    }
    impl AsyncWrite for Failing {
        fn poll_write(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            data: &[u8],
        ) -> std::task::Poll<std::io::Result<usize>> {
            std::task::Poll::Ready(Ok(data.len()))
        }
        fn poll_flush(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            std::task::Poll::Ready(Ok(()))
        }
        fn poll_shutdown(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            std::task::Poll::Ready(Ok(()))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_failing_stream_closes_with_1011_and_a_bounded_reason() {
        let (mut client, server) = pair().await;
        let relayed = tokio::spawn(relay(server, Failing));
        let Message::Close(Some(frame)) = client.next().await.unwrap().unwrap() else {
            panic!("expected a close")
        };
        assert_eq!(
            (frame.code, frame.reason.as_str()),
            (CloseCode::Error, "x".repeat(122).as_str())
        );
        assert!(client.next().await.is_none());
        assert!(matches!(relayed.await.unwrap().ended, Ended::StreamFailed(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn an_echo_larger_than_every_buffer_does_not_stall() {
        let (client, server) = pair().await;
        let (app, stream) = duplex(1024);
        tokio::spawn(async move {
            let (mut reader, mut writer) = tokio::io::split(app);
            let _ = tokio::io::copy(&mut reader, &mut writer).await;
        });
        tokio::spawn(relay(server, stream));
        let (mut sink, mut source) = client.split();
        let sent = tokio::spawn(async move {
            for _ in 0..64 {
                sink.send(Message::binary(vec![7; 64 * 1024])).await.unwrap();
            }
            sink
        });
        let mut back = 0;
        while back < 64 * 64 * 1024 {
            back += source.next().await.unwrap().unwrap().len();
        }
        drop(sent.await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_peer_does_not_hold_the_relay() {
        let (client, server) = pair().await;
        let (app, stream) = duplex(1024);
        let relayed = tokio::spawn(relay(server, stream));
        drop(app);
        // The client neither reads nor answers the close; the paused clock runs to the deadline.
        assert_eq!(relayed.await.unwrap().ended, Ended::StreamEnded);
        drop(client);
    }
}
