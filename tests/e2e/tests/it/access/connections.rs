//! How many connections one address may have.

use std::net::Ipv4Addr;

use anyhow::Result;
use bowline_e2e::access::Site;
use http::{Method, StatusCode};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

const MOST: usize = 4;

/// A connection from an address.
async fn connect(from: Ipv4Addr, to: &str) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    Ok(socket.connect(to.parse()?).await?)
}

/// Whether the gateway answers on a connection. It stays open.
async fn answers(stream: &mut TcpStream) -> bool {
    let request = b"GET /cdn-cgi/access/certs HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut first = [0];
    stream.write_all(request).await.is_ok() && matches!(stream.read(&mut first).await, Ok(1))
}

#[tokio::test]
async fn of_one_address_leave_room_for_others() -> Result<()> {
    let site = Site::new(None).await?;
    site.application("app", "app.example.com", &[super::any_token()], json!({}))
        .await?;
    let most = MOST.to_string();
    let gateway = site
        .gateway_with(&["--connections-per-address", &most], &[])
        .await?;
    let to = gateway.authority();
    let greedy = Ipv4Addr::new(127, 0, 0, 2);
    let mut held = Vec::new();
    for _ in 0..MOST {
        let mut stream = connect(greedy, &to).await?;
        assert!(answers(&mut stream).await);
        held.push(stream);
    }
    for _ in 0..3 {
        assert!(!answers(&mut connect(greedy, &to).await?).await, "one too many");
    }
    let other = gateway
        .request(Method::GET, "app.example.com", "/")
        .from(Ipv4Addr::new(127, 0, 0, 3).into());
    assert_eq!(other.send().await?.status, StatusCode::FORBIDDEN);
    // Room comes back with a connection's end.
    held.pop();
    let start = std::time::Instant::now();
    while !answers(&mut connect(greedy, &to).await?).await {
        assert!(
            start.elapsed() < bowline_e2e::client::DEADLINE,
            "no room came back"
        );
    }
    Ok(())
}
