//! One call of `run`, read from any of its three forms.

use bowline_binding::FetchRequest;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use serde_json::{Map, Value};
use url::form_urlencoded;

use crate::error::AiError;

/// The largest body of a call, in bytes; with base64 in JSON an audio file or image of 24 MiB fits.
pub(crate) const LARGEST: usize = 32 << 20;
/// The largest inputs of the websocket form, which travel in the URL.
const LARGEST_QUERY: usize = 64 << 10;

/// The one input that came as a stream or form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Media {
    pub(crate) content_type: HeaderValue,
    pub(crate) bytes: Bytes,
}

/// What a model is asked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Inference {
    /// The name user code gave, without the prefix.
    pub(crate) model: String,
    pub(crate) inputs: Map<String, Value>,
    pub(crate) media: Option<Media>,
    pub(crate) options: Map<String, Value>,
}

impl Inference {
    /// A call with inputs alone, as a gateway's step makes it.
    pub(crate) fn new(model: &str, inputs: Value) -> Result<Self, AiError> {
        Ok(Self {
            model: model.to_owned(),
            inputs: object(inputs, "inputs")?,
            media: None,
            options: Map::new(),
        })
    }

    /// Reads `POST /run` with a JSON body, or with a stream as its body and the rest in the query.
    pub(crate) async fn read(request: FetchRequest) -> Result<Self, AiError> {
        if request.method != Method::POST {
            return Err(AiError::Incomplete("run takes POST".into()));
        }
        let model = model(&request.headers)?;
        let content_type = request.headers.get(http::header::CONTENT_TYPE).cloned();
        let query = request.query().to_owned();
        let bytes = bowline_binding::collect_boxed(request.body, LARGEST).await?;
        let streamed = form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "userInputs");
        if streamed {
            let content_type =
                content_type.ok_or_else(|| AiError::Incomplete("the stream has no content type".into()))?;
            let (inputs, options) = flattened(&query)?;
            return Ok(Self {
                model,
                inputs,
                media: Some(Media { content_type, bytes }),
                options,
            });
        }
        let body = serde_json::from_slice(&bytes)
            .map_err(|error| AiError::Incomplete(format!("the body is not JSON: {error}")))?;
        Self::from_body(model, body)
    }

    /// Reads the websocket form: everything is in the query.
    pub(crate) fn from_upgrade(request: &FetchRequest) -> Result<Self, AiError> {
        let model = model(&request.headers)?;
        if request.query().len() > LARGEST_QUERY {
            return Err(AiError::TooLarge(LARGEST_QUERY));
        }
        let body = form_urlencoded::parse(request.query().as_bytes())
            .find(|(name, _)| name == "body")
            .ok_or_else(|| AiError::Incomplete("the query has no body".into()))?
            .1;
        let body = serde_json::from_str(&body)
            .map_err(|error| AiError::Incomplete(format!("the body is not JSON: {error}")))?;
        Self::from_body(model, body)
    }

    fn from_body(model: String, body: Value) -> Result<Self, AiError> {
        let mut body = object(body, "the body")?;
        let mut take = |name: &str| body.remove(name).unwrap_or(Value::Null);
        Ok(Self {
            model,
            inputs: object(take("inputs"), "inputs")?,
            options: match take("options") {
                Value::Null => Map::new(),
                options => object(options, "options")?,
            },
            media: None,
        })
    }

    /// Whether the answer shall come as it is made.
    pub(crate) fn wants_stream(&self) -> bool {
        self.inputs.get("stream") == Some(&Value::Bool(true))
    }

    /// The `gateway` option, when it names one.
    pub(crate) fn gateway(&self) -> Option<(&str, &Map<String, Value>)> {
        let gateway = self.options.get("gateway")?.as_object()?;
        Some((gateway.get("id")?.as_str()?, gateway))
    }
}

/// `[prefix:]model`, where the model starts with `@` if there is a prefix.
fn model(headers: &HeaderMap) -> Result<String, AiError> {
    let value = headers
        .get("cf-consn-model-id")
        .ok_or_else(|| AiError::Incomplete("the request names no model".into()))?;
    let text = std::str::from_utf8(value.as_bytes())
        .map_err(|_| AiError::Incomplete("the model's name is not text".into()))?;
    let model = match text.split_once(":@") {
        Some((_, model)) => format!("@{model}"),
        None => text.to_owned(),
    };
    if model.is_empty() || model.len() > 256 {
        return Err(AiError::Incomplete("the request names no model".into()));
    }
    Ok(model)
}

fn object(value: Value, what: &str) -> Result<Map<String, Value>, AiError> {
    match value {
        Value::Object(members) => Ok(members),
        _ => Err(AiError::Incomplete(format!("{what} must be an object"))),
    }
}

type Members = Map<String, Value>;

/// The query of the stream form: `userInputs` is JSON, every other parameter an option turned into text.
fn flattened(query: &str) -> Result<(Members, Members), AiError> {
    let (mut inputs, mut options) = (Map::new(), Map::new());
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "version" => {}
            "userInputs" => {
                let value = serde_json::from_str(&value)
                    .map_err(|error| AiError::Incomplete(format!("userInputs is not JSON: {error}")))?;
                inputs = object(value, "userInputs")?;
            }
            _ => {
                options.insert(name.into_owned(), Value::String(value.into_owned()));
            }
        }
    }
    Ok((inputs, options))
}
