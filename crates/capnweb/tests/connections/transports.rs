//! Transports, mounted and tunnelled.

use std::net::SocketAddr;
use std::sync::Arc;

use capnweb::{ConnectError, Error, NoMain, SessionOptions, batch_over_http, connect, connect_over};
use tokio::net::{TcpListener, TcpStream};

use crate::axum_example::{HelloStub, app};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

async fn axum_server() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, app()).await });
    Ok(address)
}

#[tokio::test]
async fn an_axum_route_takes_websockets_and_batches() -> Result<()> {
    let address = axum_server().await?;
    let url = format!("ws://{address}/rpc");
    let main = connect(&url, &[], Arc::new(NoMain), SessionOptions::default()).await?;
    assert_eq!(HelloStub::from(main).greet("Ada").await?, "Hello, Ada!");
    let url = format!("http://{address}/rpc");
    let greeting = batch_over_http(&url, &[], SessionOptions::default(), async |main| {
        HelloStub::from(main).greet("Grace").await
    });
    assert_eq!(greeting.await?, "Hello, Grace!");
    // Whatever else is asked there, and what is elsewhere.
    let url = format!("ws://{address}/");
    let refused = connect(&url, &[], Arc::new(NoMain), SessionOptions::default());
    assert!(matches!(refused.await, Err(ConnectError::Request(_))));
    Ok(())
}

#[tokio::test]
async fn a_session_runs_over_tls_with_headers() -> Result<()> {
    use tokio_rustls::rustls::pki_types::ServerName;
    use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    let signed = rcgen::generate_simple_self_signed(["api.test".to_owned()])?;
    let key = signed.signing_key.serialize_der().try_into()?;
    let server = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![signed.cert.der().clone()], key)?;
    let mut roots = RootCertStore::empty();
    roots.add(signed.cert.der().clone())?;
    let client = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (seen, sees) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await?;
        let stream = TlsAcceptor::from(Arc::new(server)).accept(stream).await?;
        let seen = std::sync::Mutex::new(Some(seen));
        let service = hyper::service::service_fn(|request: http::Request<hyper::body::Incoming>| {
            let asked = (request.uri().path().to_owned(), request.headers().clone());
            if let Some(seen) = seen.lock().expect("no holder panics").take() {
                let _ = seen.send(asked);
            }
            let main = |_: &capnweb::Session| HelloStub::target(German);
            async move { Ok::<_, Error>(capnweb::server::answer(request, SessionOptions::default(), main).await) }
        });
        let served = hyper::server::conn::http1::Builder::new()
            .serve_connection(hyper_util::rt::TokioIo::new(stream), service)
            .with_upgrades();
        served.await.map_err(std::io::Error::other)
    });

    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("api.test")?;
    let stream = TlsConnector::from(Arc::new(client)).connect(name, stream).await?;
    let headers = [("authorization", "Bearer x")];
    let url = "wss://api.test/rpc";
    let main = connect_over(stream, url, &headers, Arc::new(NoMain), SessionOptions::default()).await?;
    assert_eq!(HelloStub::from(main).greet("Ada").await?, "Hallo, Ada!");
    let (path, headers) = sees.await?;
    assert_eq!(path, "/rpc");
    assert_eq!(headers["authorization"], "Bearer x");
    assert_eq!(headers["host"], "api.test");
    Ok(())
}

struct German;

impl crate::axum_example::Hello for German {
    async fn greet(&self, name: String) -> String {
        format!("Hallo, {name}!")
    }
}
