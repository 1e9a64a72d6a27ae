//! Service bindings and dispatch namespaces.

use anyhow::{Context, Result, bail};
use bowline_client::ErrorKind;
use bowline_client::dispatch::{GetOptions, Limits};
use bowline_client::service::Service;
use bowline_client::tungstenite::Message;
use bowline_client::tungstenite::protocol::{CloseFrame, frame::coding::CloseCode};
use capnweb::{Callback, ErrorValue, Readable, interface, kinds};
use futures_util::{SinkExt, StreamExt};
use http::{HeaderName, HeaderValue, Request};
use serde_json::{Value, json};

use super::RustClient;
use crate::client::DEADLINE;

/// The methods of `callee.mjs` that take or give more than plain data.
#[interface]
#[expect(dead_code, reason = "implemented in JavaScript")]
trait Admin {
    #[rpc(get)]
    fn version(&self) -> String;
    fn counter(&self, count: f64) -> CounterStub;
    async fn call_me(&self, callback: Callback<fn(f64) -> f64>) -> Result<f64, capnweb::Error>;
    fn words(&self) -> Readable<kinds::Bytes>;
    async fn length(&self, stream: Readable<kinds::Bytes>) -> Result<u32, capnweb::Error>;
    fn echo(&self, value: kinds::Any) -> kinds::Any;
}

#[interface]
#[expect(dead_code, reason = "implemented in JavaScript")]
trait Counter {
    fn increment(&self, by: Option<f64>) -> f64;
    #[rpc(get)]
    fn value(&self) -> f64;
}

/// Methods that are called by name.
const METHODS: [&str; 6] = ["add", "props", "visits", "fail", "nothing", "greet"];

impl RustClient {
    pub(super) async fn service(&self, call: &str, args: &Value) -> Result<Value> {
        let service = self.0.service(args["binding"].as_str().unwrap_or("SVC"));
        Ok(match call {
            "fetch" => fetch(&service, args).await?,
            "stream" => stream(&service, args).await?,
            "websocket" => websocket(&service, args).await?,
            "call" => method(&service, args).await?,
            "property" => {
                anyhow::ensure!(args["name"] == "version", "{args}");
                admin(&service).await?.version().await?.into()
            }
            "counter" => {
                let admin = admin(&service).await?;
                let counter = admin.counter(5.0).await?;
                let first = counter.increment(None).await?;
                let values = [
                    first,
                    counter.increment(Some(10.0)).await?,
                    counter.value().await?,
                ];
                json!(values.map(|value| value as i64))
            }
            "pipeline" => {
                let counted = admin(&service).await?.counter(40.0).increment(Some(2.0)).await?;
                json!(counted as i64)
            }
            "callback" => {
                let called = admin(&service).await?.call_me(|number: f64| number * 2.0).await?;
                json!(called as i64)
            }
            "words" => words(&admin(&service).await?).await?.into(),
            "length" => {
                let (chunks, size) = (number(args, "chunks")?, number(args, "size")?);
                let chunks = (0..chunks).map(move |_| Ok::<_, capnweb::Error>(kinds::Bytes(vec![0; size])));
                let stream = Readable::new(futures_util::stream::iter(chunks));
                admin(&service).await?.length(stream).await?.into()
            }
            "types" => types(&admin(&service).await?).await?,
            other => bail!("{other} is no call of a service"),
        })
    }

    pub(super) async fn dispatch(&self, call: &str, args: &Value) -> Result<Value> {
        let object = |value: &Value| value.as_object().cloned().unwrap_or_default();
        let (limits, outbound) = (&args["options"]["limits"], &args["options"]["outbound"]);
        let bound = |name: &str| limits[name].as_u64().and_then(|bound| u32::try_from(bound).ok());
        let options = GetOptions {
            args: object(&args["args"]),
            limits: limits.is_object().then(|| Limits {
                cpu_ms: bound("cpuMs"),
                sub_requests: bound("subRequests"),
            }),
            outbound: object(outbound),
        };
        let name = args["name"].as_str().context("a Worker has a name")?;
        let worker = self.0.dispatch_namespace("CUSTOMERS").get_with(name, &options)?;
        match call {
            "fetch" => fetch(&worker, args).await,
            "call" => method(&worker, args).await,
            other => bail!("{other} is no call of a dispatch namespace"),
        }
    }
}

async fn admin(service: &Service) -> Result<AdminStub> {
    Ok(service.interface().await?)
}

fn number(args: &Value, name: &str) -> Result<usize> {
    let number = args[name].as_u64().with_context(|| format!("{name} of {args}"))?;
    Ok(usize::try_from(number)?)
}

async fn method(service: &Service, args: &Value) -> Result<Value> {
    let wanted = args["method"].as_str().unwrap_or_default();
    let known = METHODS.into_iter().find(|method| *method == wanted);
    let method = known.with_context(|| format!("{wanted} is no method"))?;
    Ok(whole(service.call(method, &args["args"]).await?))
}

/// JavaScript has one kind of number, and JSON shows a whole one without a fraction.
fn whole(value: Value) -> Value {
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(float) if float.fract() == 0.0 => json!(float as i64),
            _ => Value::Number(number),
        },
        Value::Array(items) => items.into_iter().map(whole).collect(),
        other => other,
    }
}

fn request(args: &Value) -> Result<Request<()>> {
    let mut request = Request::builder()
        .uri(args["url"].as_str().context("a request has a URL")?)
        .method(args["method"].as_str().unwrap_or("GET"))
        .body(())?;
    for (name, value) in args["headers"].as_object().into_iter().flatten() {
        let value = HeaderValue::from_str(value.as_str().unwrap_or_default())?;
        request.headers_mut().insert(HeaderName::try_from(name)?, value);
    }
    if let Some(protocol) = args["protocol"].as_str() {
        let value = HeaderValue::from_str(protocol)?;
        request.headers_mut().insert("sec-websocket-protocol", value);
    }
    Ok(request)
}

/// An answer as the Worker describes it.
async fn fetch(service: &Service, args: &Value) -> Result<Value> {
    let body = match args["body"].as_str() {
        Some(text) => bowline_client::full(text.to_owned()),
        None => bowline_client::empty(),
    };
    let response = match service.fetch(request(args)?.map(|()| body)).await {
        Ok(response) => response,
        Err(error) => match &*error.kind {
            // To a Worker it is an answer like any other.
            ErrorKind::OnTheWay { status, text } => {
                return Ok(json!({"status": status.as_u16(), "body": text, "headers": {}}));
            }
            _ => return Err(error.into()),
        },
    };
    let headers: serde_json::Map<String, Value> = response
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into()))
        .collect();
    let status = response.status().as_u16();
    let body = bowline_client::collect(response.into_body(), 1 << 20).await?;
    Ok(json!({"status": status, "headers": headers, "body": String::from_utf8_lossy(&body)}))
}

/// Chunks go in and come out while the request is still being sent.
async fn stream(service: &Service, args: &Value) -> Result<Value> {
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let chunks = futures_util::stream::unfold(receiver, async |mut receiver| {
        let chunk: bytes::Bytes = receiver.recv().await?;
        Some((Ok::<_, std::io::Error>(chunk), receiver))
    });
    let request =
        Request::post("https://callee.example/echo").body(bowline_client::stream(Box::pin(chunks)))?;
    let mut body = service.fetch(request).await?.into_body();
    let mut heard = Vec::new();
    let mut next = async || {
        let frame = tokio::time::timeout(DEADLINE, http_body_util::BodyExt::frame(&mut body)).await;
        let frame = frame.context("no chunk in time")?.transpose();
        frame.map_err(anyhow::Error::from_boxed)
    };
    for word in args["words"].as_array().into_iter().flatten() {
        let word = word.as_str().unwrap_or_default().to_owned();
        sender.send(word.into()).await?;
        let frame = next().await?.context("the answer ended early")?;
        let chunk = frame.into_data().unwrap_or_default();
        heard.push(String::from_utf8_lossy(&chunk).into_owned());
    }
    drop(sender);
    let done = next().await?.is_none();
    Ok(json!({"heard": heard, "done": done}))
}

async fn websocket(service: &Service, args: &Value) -> Result<Value> {
    let (mut socket, head) = service.websocket(request(args)?).await?;
    let sent = args["messages"].as_array().context("messages")?;
    for message in sent {
        let message = match message.as_str() {
            Some(text) => Message::text(text),
            None => Message::binary(serde_json::from_value::<Vec<u8>>(message["bytes"].clone())?),
        };
        socket.send(message).await?;
    }
    let mut messages = Vec::new();
    let mut close = None;
    while close.is_none() {
        let next = tokio::time::timeout(DEADLINE, socket.next()).await;
        match next
            .context("no message in time")?
            .context("the socket ended")??
        {
            Message::Text(text) => messages.push(json!(text.as_str())),
            Message::Binary(bytes) => messages.push(json!({"bytes": bytes.to_vec()})),
            Message::Close(frame) => {
                close = Some(
                    frame
                        .map(|frame| json!({"code": u16::from(frame.code), "reason": frame.reason.as_str()})),
                );
            }
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
        }
        if messages.len() == sent.len() && close.is_none() {
            let code = args["code"].as_u64().unwrap_or(4001);
            let frame = CloseFrame {
                code: CloseCode::from(u16::try_from(code)?),
                reason: args["reason"].as_str().unwrap_or("enough").into(),
            };
            socket.close(Some(frame)).await?;
        }
    }
    let protocol = head.headers().get("sec-websocket-protocol");
    let protocol = protocol.map(|protocol| String::from_utf8_lossy(protocol.as_bytes()));
    Ok(json!({"status": head.status().as_u16(), "protocol": protocol, "messages": messages, "close": close}))
}

async fn words(admin: &AdminStub) -> Result<String, capnweb::Error> {
    let stream = admin.words().await?.into_untyped();
    let bytes = stream.collect(1024).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// One of each kind of value, there and back.
async fn types(admin: &AdminStub) -> Result<Value, capnweb::Error> {
    use capnweb::{BytesKind, Value as Any};
    let bytes = Any::Bytes(vec![1, 2, 255], BytesKind::Uint8Array);
    let given = Any::object([
        ("date", Any::Date(Some(5.0))),
        ("none", Any::Undefined),
        ("nothing", Any::Null),
        ("big", Any::BigInt("12345678901234567890".into())),
        ("bytes", bytes),
        ("list", Any::Array(vec![1.into(), Any::Array(vec!["x".into()])])),
        ("infinite", f64::NEG_INFINITY.into()),
        (
            "error",
            Any::Error(Box::new(ErrorValue::new("RangeError", "inside"))),
        ),
    ]);
    let got = admin.echo(kinds::Any(given)).await?.0;
    let member = |name: &str| got.member(name).cloned().unwrap_or_default();
    let plain = |value: Any| capnweb::from_value::<Value>(value).map(whole);
    Ok(json!({
        "date": match member("date") { Any::Date(Some(time)) => json!(time as i64), other => json!(format!("{other:?}")) },
        "none": got.member("none") == Some(&Any::Undefined),
        "nothing": plain(member("nothing"))?,
        "big": match member("big") { Any::BigInt(digits) => digits, other => format!("{other:?}") },
        "bytes": match member("bytes") { Any::Bytes(bytes, _) => json!(bytes), other => json!(format!("{other:?}")) },
        "list": plain(member("list"))?,
        "infinite": match member("infinite") { Any::Number(number) if number == f64::NEG_INFINITY => "-Infinity".into(), other => format!("{other:?}") },
        "error": match member("error") { Any::Error(error) => json!([error.name, error.message]), other => json!(format!("{other:?}")) },
    }))
}
