//! The proxy over real sockets, against an upstream that shows the raw bytes it got.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bowline_credentials::{CredentialState, Credentials, Host, Origin, ServiceToken};
use bowline_secret::Secret;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Message, Role};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::serve;
use crate::{Capability, Deadlines, Proxy, ProxyOptions};

const NAMES: (&str, &str) = ("CLOUDFLARE_ACCESS_CLIENT_ID", "CLOUDFLARE_ACCESS_CLIENT_SECRET");
const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

struct Line {
    address: SocketAddr,
    upstream: SocketAddr,
    path: String,
    told: Arc<Mutex<Vec<String>>>,
    _stop: DropGuard,
}

async fn line(upstream: SocketAddr, credentials: CredentialState) -> Line {
    line_of(upstream, credentials, |options| options).await
}

async fn line_of(
    upstream: SocketAddr,
    credentials: CredentialState,
    with: impl FnOnce(ProxyOptions) -> ProxyOptions,
) -> Line {
    let told = Arc::new(Mutex::new(Vec::new()));
    let telling = Arc::clone(&told);
    let remote: http::Uri = format!("http://{upstream}/base/").parse().unwrap();
    let credentials = Credentials::new(Host::of(&remote).unwrap(), credentials).unwrap();
    let proxy = Proxy::new(with(ProxyOptions {
        remote,
        credentials,
        deadlines: Deadlines {
            upgrade: Duration::from_millis(300),
            first_byte: Duration::from_millis(300),
            ..Deadlines::default()
        },
        on_refusal: Some(Box::new(move |text| {
            telling.lock().unwrap().push(text.to_owned())
        })),
        ..ProxyOptions::default()
    }))
    .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
    let capability = Capability::random().unwrap();
    let path = format!("/{}", capability.as_str());
    tokio::spawn(serve(listener, proxy, capability, stop.clone()));
    Line {
        address,
        upstream,
        path,
        told,
        _stop: stop.drop_guard(),
    }
}

fn token() -> CredentialState {
    CredentialState::from_pair(given("id.access"), given("s3cret"), NAMES)
}

fn given(text: &str) -> Option<(String, Origin)> {
    Some((text.to_owned(), Origin::Given("the test")))
}

/// Records each request's head and answers it with `answer`; keeps the connection open.
async fn upstream(answer: &'static str) -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, receiver) = mpsc::channel(8);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let sender = sender.clone();
            tokio::spawn(async move {
                while let Some(head) = head(&mut stream).await {
                    let _ = sender.send(head).await;
                    if stream.write_all(answer.as_bytes()).await.is_err() || answer.contains(" 101 ") {
                        break;
                    }
                }
                let (mut reader, mut writer) = stream.split();
                let _ = tokio::io::copy(&mut reader, &mut writer).await;
            });
        }
    });
    (address, receiver)
}

async fn head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).unwrap())
}

impl Line {
    async fn send(&self, request: &str) -> TcpStream {
        let request = request
            .replace("HOST", &self.address.to_string())
            .replace("/CAP", &self.path);
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    /// Sends a request with `Connection: close` semantics left to the caller; reads head and a body of known length.
    async fn answer(&self, request: &str) -> (String, String) {
        let mut stream = self.send(request).await;
        let head = head(&mut stream).await.unwrap();
        let length = head.lines().find_map(|line| {
            line.to_ascii_lowercase()
                .strip_prefix("content-length: ")?
                .parse()
                .ok()
        });
        let mut body = vec![0; length.unwrap_or(0)];
        stream.read_exact(&mut body).await.unwrap();
        (head, String::from_utf8(body).unwrap())
    }

    async fn socket(&self, request: &str) -> WebSocketStream<TcpStream> {
        let mut stream = self.send(request).await;
        let head = head(&mut stream).await.unwrap();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        WebSocketStream::from_raw_socket(stream, Role::Client, None).await
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

#[tokio::test]
async fn without_credentials_nothing_on_the_wire_changes() {
    let (address, mut heads) = upstream(OK).await;
    let line = line(address, CredentialState::Nothing).await;
    let request = "PUT /CAP/p%2Fq?MF-x=%20 HTTP/1.1\r\nX-First: 1\r\nHost: HOST\r\nmf-BINDING: B\r\nMF-URL: https://fake-host?x\r\n\
                   MF-Header-cf-kv-metadata: {\"s\":\"é\"}\r\nx-Twice: a\r\nContent-Length: 0\r\nLast: z\r\n\r\n";
    line.answer(request).await;
    let expected = request
        .replace("/CAP", "/base")
        .replace("Host: HOST", &format!("Host: {}", line.upstream));
    assert_eq!(heads.recv().await.unwrap(), expected);
}

#[tokio::test]
async fn credentials_ride_on_requests_and_upgrades_alike() {
    let (address, mut heads) = upstream(OK).await;
    let line = line(address, token()).await;
    let requests = [
        "GET /CAP/ HTTP/1.1\r\nHost: HOST\r\nMF-Binding: B\r\nMF-URL: http://x/\r\n\r\n".to_owned(),
        format!("GET /CAP/?MF-Binding=B HTTP/1.1\r\nHost: HOST\r\n{HANDSHAKE}\r\n"),
        format!(
            "GET /CAP/ HTTP/1.1\r\nHost: HOST\r\nMF-Binding: B\r\nMF-Connect-Address: h:1\r\n{HANDSHAKE}\r\n"
        ),
        format!("GET /CAP/ HTTP/1.1\r\nHost: HOST\r\nMF-Binding: B\r\nMF-URL: http://x/\r\n{HANDSHAKE}\r\n"),
    ];
    for request in requests {
        // A header of the same name from the local side does not get past.
        let request = request.replace("MF-Binding: B", "MF-Binding: B\r\nCF-Access-Client-Id: spoofed");
        let _open = line.send(&request).await;
        let head = heads.recv().await.unwrap().to_ascii_lowercase();
        assert_eq!(
            head.matches("cf-access-client-id: id.access\r\n").count(),
            1,
            "{head}"
        );
        assert_eq!(
            head.matches("cf-access-client-secret: s3cret\r\n").count(),
            1,
            "{head}"
        );
        assert!(!head.contains("spoofed"));
    }
}

#[tokio::test]
async fn only_the_holder_of_the_connection_string_gets_in() {
    let (address, mut heads) = upstream(OK).await;
    let line = line(address, token()).await;
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: HOST\r\n\r\n", 404),
        (
            "GET /00000000000000000000000000000000/ HTTP/1.1\r\nHost: HOST\r\n\r\n",
            404,
        ),
        ("GET /CAP/ HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403),
        ("GET /CAP/ HTTP/1.1\r\nHost: HOST\r\nHost: HOST\r\n\r\n", 403),
        (
            "GET /CAP/ HTTP/1.1\r\nHost: HOST\r\nOrigin: https://evil.example\r\n\r\n",
            403,
        ),
        (
            "GET /CAP/?MF-Binding=B HTTP/1.1\r\nHost: HOST\r\nOrigin: null\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
            403,
        ),
        (
            "GET /CAP/ HTTP/1.1\r\nHost: HOST\r\nMF-URL: http://x\r\n\r\n",
            400,
        ),
    ] {
        let (head, _) = line.answer(request).await;
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status} ")),
            "{request}: {head}"
        );
    }
    assert!(heads.try_recv().is_err(), "something got through");
}

#[tokio::test]
async fn answers_come_back_as_they_are() {
    let answer = "HTTP/1.1 302 Off You Go\r\nX-Meta: é\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nLocation: http://elsewhere/\r\nContent-Length: 2\r\n\r\nhi";
    let (address, _heads) = upstream(answer).await;
    let line = line(address, token()).await;
    let (head, body) = line
        .answer("GET /CAP/ HTTP/1.1\r\nHost: HOST\r\nMF-Binding: B\r\n\r\n")
        .await;
    assert_eq!(format!("{head}{body}"), answer);
}

#[tokio::test]
async fn upgraded_streams_are_spliced_without_extensions() {
    let (address, mut heads) =
        upstream("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n").await;
    let line = line(address, token()).await;
    let request = format!(
        "GET /CAP/?MF-Binding=B HTTP/1.1\r\nHost: HOST\r\n{HANDSHAKE}Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
    );
    let mut stream = line.send(&request).await;
    assert!(head(&mut stream).await.unwrap().starts_with("HTTP/1.1 101 "));
    let sent = heads.recv().await.unwrap();
    assert!(
        !sent.to_ascii_lowercase().contains("extensions")
            && sent.contains("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
        "{sent}"
    );
    let data: Vec<u8> = (0..1_000_000u32).map(|n| n as u8).collect();
    let (mut reader, mut writer) = stream.into_split();
    let copy = data.clone();
    tokio::spawn(async move { writer.write_all(&copy).await.map(|()| writer) });
    let mut back = vec![0; data.len()];
    reader.read_exact(&mut back).await.unwrap();
    assert_eq!(back, data);
}

const REFUSAL: &str = "HTTP/1.1 403 Forbidden\r\nCf-Access-Aud: x\r\nContent-Length: 4\r\n\r\npage";
const LOGIN: &str = "HTTP/1.1 302 Found\r\nLocation: https://t.cloudflareaccess.com/cdn-cgi/access/login/h\r\nContent-Length: 0\r\n\r\n";

#[tokio::test]
async fn a_refusal_is_explained_on_every_flow_and_told_once() {
    for (answer, status) in [(REFUSAL, 403), (LOGIN, 401)] {
        let (address, _heads) = upstream(answer).await;
        let line = line(address, token()).await;
        let (head, body) = line
            .answer("GET /CAP/ HTTP/1.1\r\nHost: HOST\r\nMF-Binding: DB\r\n\r\n")
            .await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        let first = body.lines().next().unwrap();
        assert!(
            first.contains("\"DB\"") && first.contains("the service token was sent and not accepted"),
            "{first}"
        );
        assert!(!body.contains("Cloudflare Access") && !body.contains("s3cret"));

        // Who reads nothing but JSON gets the same words in it.
        for (accept, as_json) in [("application/json", true), ("application/json, */*", false)] {
            let accept = format!("MF-Header-Accept: {accept}");
            let (head, told) = line
                .answer(&format!(
                    "GET /CAP/ HTTP/1.1\r\nHost: HOST\r\nMF-Binding: DB\r\n{accept}\r\n\r\n"
                ))
                .await;
            let expected = serde_json::json!({"code": status, "error": body.trim_end()}).to_string();
            assert_eq!(&told, if as_json { &expected } else { &body });
            assert_eq!(head.contains("application/json"), as_json, "{head}");
        }

        let mut rpc = line
            .socket(&format!(
                "GET /CAP/?MF-Binding=DB HTTP/1.1\r\nHost: HOST\r\n{HANDSHAKE}\r\n"
            ))
            .await;
        for call in [r#"["push",["pipeline",0,["send"],[{"a":1}]]]"#, r#"["pull",1]"#] {
            rpc.send(Message::text(call)).await.unwrap();
        }
        let Message::Text(text) = rpc.next().await.unwrap().unwrap() else {
            panic!("expected the call's rejection")
        };
        let rejected: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            rejected,
            serde_json::json!(["reject", 1, ["error", "Error", body]])
        );

        // A connect and a WebSocket inside fetch have a caller that sees the status.
        for header in ["MF-Connect-Address: h:1", "MF-URL: http://x"] {
            let request =
                format!("GET /CAP/ HTTP/1.1\r\nHost: HOST\r\nMF-Binding: DB\r\n{header}\r\n{HANDSHAKE}\r\n");
            let (head, refused) = line.answer(&request).await;
            assert!(
                head.starts_with(&format!("HTTP/1.1 {status} ")) && refused == body,
                "{head}{refused}"
            );
        }
        assert_eq!(*line.told.lock().unwrap(), [body.trim_end()]);
    }
}

#[tokio::test]
async fn what_was_sent_is_in_the_explanation() {
    let half = |id: Option<&str>, secret: Option<&str>| {
        CredentialState::from_pair(id.and_then(given), secret.and_then(given), NAMES)
    };
    for (credentials, says) in [
        (CredentialState::Nothing, "no service token was sent."),
        (
            half(Some("x"), None),
            "CLOUDFLARE_ACCESS_CLIENT_SECRET is not set.",
        ),
        (half(None, Some("x")), "CLOUDFLARE_ACCESS_CLIENT_ID is not set."),
    ] {
        let (address, mut heads) = upstream(REFUSAL).await;
        let line = line(address, credentials).await;
        let (_, body) = line
            .answer("GET /CAP/ HTTP/1.1\r\nHost: HOST\r\nMF-Binding: DB\r\n\r\n")
            .await;
        assert!(body.lines().next().unwrap().ends_with(says), "{body}");
        assert!(
            !heads
                .recv()
                .await
                .unwrap()
                .to_ascii_lowercase()
                .contains("cf-access")
        );
    }
}

/// Answers by the secret a request carries: `good` passes (an upgrade with 101), anything else meets `answer`.
async fn picky(answer: &'static str) -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, receiver) = mpsc::channel(16);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let sender = sender.clone();
            tokio::spawn(async move {
                while let Some(head) = head(&mut stream).await {
                    let answer = match (head.contains("good"), head.contains("Upgrade: websocket")) {
                        (true, true) => {
                            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n"
                        }
                        (true, false) => OK,
                        (false, _) => answer,
                    };
                    let _ = sender.send(head).await;
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            });
        }
    });
    (address, receiver)
}

/// As [`picky`], and reads each request to its end: the bodies.
async fn picky_about_bodies() -> (SocketAddr, mpsc::Receiver<Bytes>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, receiver) = mpsc::channel(16);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let sender = sender.clone();
            let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
                let sender = sender.clone();
                async move {
                    let good = request.headers()["cf-access-client-secret"] == "good";
                    let _ = sender.send(request.into_body().collect().await?.to_bytes()).await;
                    let mut response = Response::new(Full::new(Bytes::new()));
                    if !good {
                        *response.status_mut() = http::StatusCode::FORBIDDEN;
                        response
                            .headers_mut()
                            .insert("cf-access-aud", http::HeaderValue::from_static("aud"));
                    }
                    Ok::<_, hyper::Error>(response)
                }
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    (address, receiver)
}

#[tokio::test]
async fn during_a_rotation_the_other_secret_is_tried() {
    let two = |new: &str, old: &str| {
        let token = ServiceToken::new("id.access", Secret::new(new), vec![Origin::Given("the test")]);
        CredentialState::Token(token.with_previous(Some(Secret::new(old))))
    };
    let fetch = "GET /CAP/ HTTP/1.1\r\nHost: HOST\r\nX-Own: kept\r\nMF-Binding: DB\r\n\r\n";
    let rpc = format!("GET /CAP/?MF-Binding=DB HTTP/1.1\r\nHost: HOST\r\n{HANDSHAKE}\r\n");
    for answer in [REFUSAL, LOGIN] {
        for request in [fetch, &rpc] {
            let (address, mut heads) = picky(answer).await;
            let line = line(address, two("bad", "good")).await;
            let mut stream = line.send(request).await;
            let passed = head(&mut stream).await.unwrap();
            assert!(!passed.contains(" 403 ") && !passed.contains(" 401 "), "{passed}");
            let (first, second) = (heads.recv().await.unwrap(), heads.recv().await.unwrap());
            assert_eq!(
                first.replace("bad", "good"),
                second,
                "the same request, byte by byte"
            );
            line.answer(fetch).await;
            assert!(
                heads.recv().await.unwrap().contains("good"),
                "kept for later calls"
            );
            assert!(line.told.lock().unwrap().is_empty(), "nothing to tell");
        }
    }

    // A short body is sent again, whether its length was told or not.
    for body in [
        format!("Content-Length: {0}\r\n\r\n{1}", 64 * 1024, "x".repeat(64 * 1024)),
        format!(
            "Transfer-Encoding: chunked\r\n\r\n10000\r\n{}\r\n0\r\n\r\n",
            "x".repeat(64 * 1024)
        ),
    ] {
        let (address, mut bodies) = picky_about_bodies().await;
        let line = line(address, two("bad", "good")).await;
        let post = format!("POST /CAP/ HTTP/1.1\r\nHost: HOST\r\nMF-Binding: DB\r\n{body}");
        let (passed, said) = line.answer(&post).await;
        assert!(passed.starts_with("HTTP/1.1 200 "), "{passed}{said}");
        let (first, second) = (bodies.recv().await.unwrap(), bodies.recv().await.unwrap());
        assert_eq!(first.len(), 64 * 1024);
        assert_eq!(first, second, "the same body");
    }

    // One that is longer, or goes on, is not sent twice; the caller is told that it may try again.
    let (address, mut heads) = picky(REFUSAL).await;
    let line_with_body = line(address, two("bad", "good")).await;
    let post =
        "POST /CAP/ HTTP/1.1\r\nHost: HOST\r\nMF-Binding: DB\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n";
    let (refused, body) = line_with_body.answer(post).await;
    assert!(
        refused.starts_with("HTTP/1.1 403 ") && body.contains("can be made again"),
        "{refused}{body}"
    );
    heads.recv().await.unwrap();

    // Neither works: two attempts once, one from then on, and one report.
    let (address, mut heads) = picky(REFUSAL).await;
    let line_with_none = line(address, two("bad", "worse")).await;
    for _ in 0..3 {
        let (refused, _) = line_with_none.answer(fetch).await;
        assert!(refused.starts_with("HTTP/1.1 403 "), "{refused}");
    }
    let mut sent = Vec::new();
    while let Ok(head) = heads.try_recv() {
        sent.push(head.contains("worse"));
    }
    assert_eq!(sent, [false, true, false, false]);
    assert_eq!(line_with_none.told.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_websocket_that_alone_is_refused_is_told_as_that() {
    let (address, _heads) = upstream_by_kind().await;
    let line = line(address, token()).await;
    let connect = format!(
        "GET /CAP/ HTTP/1.1\r\nHost: HOST\r\nMF-Binding: DB\r\nMF-Connect-Address: h:1\r\n{HANDSHAKE}\r\n"
    );
    // Before anything has passed, the credentials are the likelier cause, and an empty 403 is nobody's in particular.
    let (head, body) = line.answer(&connect).await;
    assert!(
        head.starts_with("HTTP/1.1 403 ") && body.contains("answered the upgrade with 403"),
        "{body}"
    );
    line.answer("GET /CAP/ HTTP/1.1\r\nHost: HOST\r\nMF-Binding: DB\r\n\r\n")
        .await;
    let (_, body) = line.answer(&connect).await;
    assert!(
        body.starts_with("bowline: Access refused the WebSocket of binding \"DB\""),
        "{body}"
    );
    assert!(body.contains("Protect its hostname instead"), "{body}");
    assert_eq!(line.told.lock().unwrap().len(), 1);
}

/// Requests pass, upgrades get an empty 403.
async fn upstream_by_kind() -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, receiver) = mpsc::channel(16);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            while let Some(head) = head(&mut stream).await {
                let answer = if head.contains("Upgrade: websocket") {
                    "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
                } else {
                    OK
                };
                let _ = sender.try_send(head);
                let _ = stream.write_all(answer.as_bytes()).await;
                if answer != OK {
                    break;
                }
            }
        }
    });
    (address, receiver)
}

#[tokio::test]
async fn credentials_of_another_host_make_no_proxy() {
    let foreign = Host::of(&"https://other.example/".parse().unwrap()).unwrap();
    let options = ProxyOptions {
        remote: "https://remote.example/".parse().unwrap(),
        credentials: Credentials::new(foreign, token()).unwrap(),
        ..ProxyOptions::default()
    };
    assert!(matches!(
        Proxy::new(options),
        Err(crate::ProxyError::ForeignCredentials(_))
    ));
}

#[tokio::test]
async fn credentials_never_follow_a_redirect() {
    let (elsewhere, mut reached) = upstream(OK).await;
    let location: &'static str = Box::leak(
        format!("HTTP/1.1 302 Found\r\nLocation: http://{elsewhere}/\r\nContent-Length: 0\r\n\r\n")
            .into_boxed_str(),
    );
    let (address, mut heads) = upstream(location).await;
    let line = line(address, token()).await;
    for request in [
        "GET /CAP/ HTTP/1.1\r\nHost: HOST\r\nMF-Binding: DB\r\n\r\n".to_owned(),
        format!(
            "GET /CAP/ HTTP/1.1\r\nHost: HOST\r\nMF-Binding: DB\r\nMF-Connect-Address: h:1\r\n{HANDSHAKE}\r\n"
        ),
    ] {
        let (head, _) = line.answer(&request).await;
        assert!(head.starts_with("HTTP/1.1 302 "), "{head}");
        assert!(heads.recv().await.unwrap().contains("s3cret"));
    }
    assert!(reached.try_recv().is_err(), "nothing came to the other host");
}

#[tokio::test]
async fn the_remotes_own_refusals_pass_unchanged() {
    for answer in [
        "HTTP/1.1 403 Forbidden\r\nContent-Length: 11\r\n\r\nyou may not",
        "HTTP/1.1 403 No\r\nMF-Forwarded-Response: true\r\nContent-Length: 17\r\n\r\nCloudflare Access",
        "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
    ] {
        let (address, _heads) = upstream(answer).await;
        let line = line(address, token()).await;
        let (head, body) = line
            .answer("GET /CAP/ HTTP/1.1\r\nHost: HOST\r\nMF-Binding: B\r\n\r\n")
            .await;
        assert_eq!(format!("{head}{body}"), answer);
        assert!(line.told.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn every_wait_ends_and_says_where() {
    // An upstream that accepts and says nothing.
    let (silent, _heads) = upstream("").await;
    let line_to_silent = line(silent, token()).await;
    let (head, body) = line_to_silent
        .answer("GET /CAP/ HTTP/1.1\r\nHost: HOST\r\nMF-Binding: DB\r\n\r\n")
        .await;
    assert!(head.starts_with("HTTP/1.1 504 "), "{head}");
    assert!(
        body.contains("\"DB\"") && body.contains(&silent.to_string()) && body.contains("0.3 s"),
        "{body}"
    );

    // Nobody there.
    let nobody = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let line = line(nobody, token()).await;
    let (head, body) = line
        .answer("GET /CAP/ HTTP/1.1\r\nHost: HOST\r\nMF-Binding: DB\r\n\r\n")
        .await;
    assert!(
        head.starts_with("HTTP/1.1 502 ") && body.contains("refused"),
        "{head}{body}"
    );
    let mut rpc = line
        .socket(&format!(
            "GET /CAP/?MF-Binding=DB HTTP/1.1\r\nHost: HOST\r\n{HANDSHAKE}\r\n"
        ))
        .await;
    for call in [r#"["push",["pipeline",0,["send"],[]]]"#, r#"["pull",1]"#] {
        rpc.send(Message::text(call)).await.unwrap();
    }
    assert!(
        rpc.next()
            .await
            .unwrap()
            .unwrap()
            .to_text()
            .unwrap()
            .contains("connecting to")
    );
}

#[test]
fn remotes_that_are_none() {
    for bad in ["ftp://h/", "/path", "http://user:pass@h/", "http://h/?q=1"] {
        let options = ProxyOptions {
            remote: bad.parse().unwrap(),
            ..ProxyOptions::default()
        };
        assert!(Proxy::new(options).is_err(), "{bad}");
    }
}

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n";

#[tokio::test]
async fn a_call_is_served_by_a_connection_that_was_ready() {
    let (address, mut heads) = upstream(SWITCH).await;
    let line = line_of(address, token(), |options| ProxyOptions {
        warm: true,
        ..options
    })
    .await;
    let own_key = "dGhlIHNhbXBsZSBub25jZQ==";
    let (mut calls, mut straight) = (0, 0);
    // When one is ready is for the scheduler to say; it is soon.
    while straight == calls {
        calls += 1;
        assert!(calls < 50, "every call opened a connection of its own");
        let mut stream = line
            .send(&format!(
                "GET /CAP/?MF-Binding=B HTTP/1.1\r\nHost: HOST\r\n{HANDSHAKE}\r\n"
            ))
            .await;
        let answer = head(&mut stream).await.unwrap().to_ascii_lowercase();
        assert!(answer.starts_with("http/1.1 101 "), "{answer}");
        stream.write_all(b"frames").await.unwrap();
        let mut back = [0; 6];
        stream.read_exact(&mut back).await.unwrap();
        assert_eq!(&back, b"frames");
        let first = heads.recv().await.unwrap();
        for head in std::iter::once(first).chain(std::iter::from_fn(|| heads.try_recv().ok())) {
            assert!(head.contains("s3cret"), "spares are authenticated as well");
            straight += usize::from(head.contains(own_key));
        }
    }
    // The answer is to the key that was sent, whatever the spare was opened with.
    let mut stream = line
        .send(&format!(
            "GET /CAP/?MF-Binding=B HTTP/1.1\r\nHost: HOST\r\n{HANDSHAKE}\r\n"
        ))
        .await;
    let answer = head(&mut stream).await.unwrap();
    assert!(
        answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") || answer.contains("-Accept: x"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_preview_carries_its_token_and_waits_for_the_next() {
    use bowline_credentials::{PreviewToken, PreviewTokens};
    const GONE: &str =
        "HTTP/1.1 400 Bad Request\r\nContent-Length: 37\r\n\r\nInvalid Workers Preview configuration";
    let (mut source, tokens) = PreviewTokens::new();
    let next =
        |generation| PreviewToken::new(&Secret::new(format!("preview-{generation}")), generation).unwrap();
    source.publish(next(1));
    let (address, mut heads) = upstream(GONE).await;
    let line = line_of(address, token(), |options| ProxyOptions {
        preview: Some(tokens.clone()),
        ..options
    })
    .await;
    let request = "POST /CAP/ HTTP/1.1\r\nHost: HOST\r\nMF-Binding: B\r\nMF-URL: http://x/\r\nContent-Length: 2\r\n\r\nhi";
    let answering = line.answer(request);
    let renewing = async {
        let first = heads.recv().await.unwrap().to_ascii_lowercase();
        assert_eq!(source.expired().await.dead, 1);
        source.publish(next(2));
        (first, heads.recv().await.unwrap().to_ascii_lowercase())
    };
    let ((head, body), (first, second)) = tokio::join!(answering, renewing);
    assert!(
        first.contains("cf-workers-preview-token: preview-1\r\n"),
        "{first}"
    );
    assert!(
        second.contains("cf-workers-preview-token: preview-2\r\n"),
        "{second}"
    );
    for sent in [&first, &second] {
        assert!(
            sent.lines().any(|line| line.trim_end() == "cf-connecting-ip:")
                && sent.contains("mf-original-url: http://127.0.0.1:"),
            "{sent}"
        );
        assert!(!sent.contains(line.path.as_str()), "the capability stays here");
    }
    // Twice in a row is no accident, and is told as what it is.
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert!(
        body.starts_with("bowline: binding \"B\": the preview session at "),
        "{body}"
    );
}
