//! A server with a list of answers for each call, the last of which stays.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bowline_api::{Client, ClientOptions, Credentials};
use bowline_secret::Secret;
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::Instant;

/// What a call is answered with.
#[derive(Clone)]
pub(crate) enum Answer {
    /// A whole answer.
    With(u16, &'static str, String),
    /// The connection is closed without one.
    Reset,
}

/// A request that came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// `METHOD PATH`.
    pub(crate) call: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) at: Instant,
}

#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) origin: String,
    answers: Arc<Mutex<HashMap<String, VecDeque<Answer>>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

pub(crate) const TOKEN: &str = "t0ken-of-the-api";

/// An envelope of success.
pub(crate) fn good(result: Value) -> Answer {
    let envelope = json!({"success": true, "result": result, "errors": [], "messages": []});
    Answer::With(200, "", envelope.to_string())
}

/// An envelope of failure.
pub(crate) fn bad(status: u16, code: u64, message: &str) -> Answer {
    let errors = json!([{"code": code, "message": message}]);
    let envelope = json!({"success": false, "result": null, "errors": errors, "messages": []});
    Answer::With(status, "cf-ray: 8a-LHR", envelope.to_string())
}

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            origin: format!("http://{}", listener.local_addr().unwrap()),
            answers: Arc::default(),
            seen: Arc::default(),
        };
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = serving.clone();
                let service = service_fn(move |request| {
                    let server = server.clone();
                    async move { server.answer(request).await }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        server
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, std::io::Error> {
        let (parts, body) = request.into_parts();
        let call = format!("{} {}", parts.method, parts.uri);
        let body = body.collect().await.unwrap().to_bytes();
        self.seen.lock().unwrap().push(Seen {
            call: call.clone(),
            headers: parts.headers,
            body,
            at: Instant::now(),
        });
        let answer = {
            let mut answers = self.answers.lock().unwrap();
            let list = answers.get_mut(&call);
            list.and_then(|list| {
                if list.len() > 1 {
                    list.pop_front()
                } else {
                    list.front().cloned()
                }
            })
        };
        match answer {
            None => Ok(Response::builder().status(404).body(Full::from(call)).unwrap()),
            Some(Answer::With(status, header, body)) => {
                let mut response = Response::builder().status(status);
                if let Some((name, value)) = header.split_once(": ") {
                    response = response.header(name, value);
                }
                Ok(response.body(Full::from(body)).unwrap())
            }
            Some(Answer::Reset) => Err(std::io::Error::other("reset")),
        }
    }

    /// Sets what a call is answered with, one after the other.
    pub(crate) fn on<const N: usize>(&self, call: &str, answers: [Answer; N]) {
        self.answers
            .lock()
            .unwrap()
            .insert(call.to_owned(), answers.into());
    }

    /// What came so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The calls that came so far.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.call).collect()
    }

    /// The time between two requests that came one after the other.
    pub(crate) fn gap(&self, before: usize) -> Duration {
        let seen = self.seen();
        seen[before + 1].at - seen[before].at
    }

    pub(crate) fn client(&self) -> Client {
        self.client_as(Credentials::token(Secret::new(TOKEN)))
    }

    pub(crate) fn client_as(&self, credentials: Credentials) -> Client {
        Client::new(ClientOptions {
            base: format!("{}/client/v4/", self.origin),
            credentials,
            http: Client::connections(Vec::new()),
        })
    }
}
