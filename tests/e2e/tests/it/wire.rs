//! What the proxy changes on the wire: nothing that it does not have to.

use anyhow::Result;
use bowline_e2e::client;
use bowline_e2e::project::{Credentials, Project};
use bowline_e2e::upstream;
use http::Uri;

/// Requests with `{path}` and `{host}` to be filled in, as workerd writes them.
const REQUESTS: [&str; 4] = [
    "GET {path} HTTP/1.1\r\nHost: {host}\r\nMF-Binding: VEC\r\nMF-URL: http://vector-search/info\r\n\r\n",
    "POST {path} HTTP/1.1\r\nContent-Length: 30\r\nHost: {host}\r\nMF-Binding: DB\r\nMF-Header-Content-Type: \
     application/json\r\nMF-URL: http://d1/query?resultsFormat=NONE\r\n\r\n{\"sql\":\"select 1\",\"params\":[]}",
    "PUT {path} HTTP/1.1\r\nContent-Length: 1\r\nHost: {host}\r\nMF-Binding: KV\r\nMF-URL: https://fake-host?k=1\r\n\
     MF-Header-CF-KV-Metadata: {\"s\":\"é\"}\r\nMF-Header-X-Two: 1\r\nMF-Header-X-Two: 2\r\n\r\nx",
    "GET {path}?MF-Binding=MAIL HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: \
     dzt+INl5mlJ81kXlmLoEMQ==\r\nSec-WebSocket-Version: 13\r\nHost: {host}\r\n\r\n",
];

fn filled(request: &str, url: &str) -> Result<Vec<u8>> {
    let uri: Uri = url.parse()?;
    let host = uri.authority().map(ToString::to_string).unwrap_or_default();
    Ok(request
        .replacen("{path}", uri.path(), 1)
        .replacen("{host}", &host, 1)
        .into_bytes())
}

#[tokio::test]
async fn without_credentials_the_bytes_are_the_same() -> Result<()> {
    let (address, recorded) = upstream::recorder().await?;
    let remote = format!("http://{address}/");
    let project = Project::new(&[])?;
    let proxy = project.connect(&remote, &Credentials::default()).await?;
    for request in REQUESTS {
        let direct = filled(request, &remote)?;
        client::raw(&remote, &direct).await?;
        // Only this request asks for the end of the connection, so that the answer has an end to read to.
        let mut through = tokio::net::TcpStream::connect(
            proxy.url().parse::<Uri>()?.authority().map_or("", |a| a.as_str()),
        )
        .await?;
        tokio::io::AsyncWriteExt::write_all(&mut through, &filled(request, proxy.url())?).await?;
        let mut first = [0];
        tokio::time::timeout(
            client::DEADLINE,
            tokio::io::AsyncReadExt::read_exact(&mut through, &mut first),
        )
        .await??;
        let recorded = std::mem::take(&mut *recorded.lock().unwrap());
        let [first, second] = &recorded[..] else {
            panic!("{} requests arrived", recorded.len())
        };
        assert_eq!(first, &direct);
        assert_eq!(
            String::from_utf8_lossy(second),
            String::from_utf8_lossy(first),
            "through the proxy, and direct"
        );
        assert_eq!(second, first);
    }
    Ok(())
}

#[tokio::test]
async fn with_credentials_two_headers_are_added() -> Result<()> {
    let (address, recorded) = upstream::recorder().await?;
    let remote = format!("http://{address}/");
    let credentials = Credentials {
        id: Some("a.access".into()),
        secret: Some("b".into()),
    };
    let project = Project::new(&[])?;
    let proxy = project.connect(&remote, &credentials).await?;
    let authority = proxy
        .url()
        .parse::<Uri>()?
        .authority()
        .map(ToString::to_string)
        .unwrap_or_default();
    for request in REQUESTS {
        let direct = filled(request, &remote)?;
        let mut through = tokio::net::TcpStream::connect(&authority).await?;
        tokio::io::AsyncWriteExt::write_all(&mut through, &filled(request, proxy.url())?).await?;
        let mut first = [0];
        tokio::time::timeout(
            client::DEADLINE,
            tokio::io::AsyncReadExt::read_exact(&mut through, &mut first),
        )
        .await??;
        let recorded = std::mem::take(&mut *recorded.lock().unwrap());
        let arrived = String::from_utf8_lossy(&recorded[0]).into_owned();
        let added: Vec<&str> = arrived
            .split("\r\n")
            .filter(|line| line.to_ascii_lowercase().starts_with("cf-access-client-"))
            .collect();
        assert_eq!(added.len(), 2, "{arrived}");
        assert!(
            added[0].eq_ignore_ascii_case("cf-access-client-id: a.access"),
            "{arrived}"
        );
        assert!(
            added[1].eq_ignore_ascii_case("cf-access-client-secret: b"),
            "{arrived}"
        );
        let rest = added.iter().fold(arrived.clone(), |text, line| {
            text.replacen(&format!("{line}\r\n"), "", 1)
        });
        assert_eq!(rest, String::from_utf8_lossy(&direct));
    }
    Ok(())
}
