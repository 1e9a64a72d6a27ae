//! Images and speech.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderValue;
use serde_json::{Map, Value};

use super::garbage;
use crate::backend::{Ask, Output};
use crate::error::AiError;

/// The body of `images/generations`.
pub(super) fn image_request(ask: Ask<'_>) -> Result<Map<String, Value>, AiError> {
    if ask.media.is_some() {
        return Err(AiError::Input(
            "forms and streams are not offered for images by this backend".into(),
        ));
    }
    let prompt = ask.inputs.get("prompt").and_then(Value::as_str);
    let prompt = prompt.ok_or_else(|| AiError::Input("prompt (a text) is required".into()))?;
    let mut body = Map::new();
    body.insert("model".into(), ask.model.into());
    body.insert("prompt".into(), prompt.into());
    body.insert("n".into(), 1.into());
    body.insert("response_format".into(), "b64_json".into());
    let side = |name: &str| match ask.inputs.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value
            .as_u64()
            .filter(|side| (1..=4096).contains(side))
            .map(Some)
            .ok_or_else(|| AiError::Input(format!("{name} must be a whole number from 1 to 4096"))),
    };
    match (side("width")?, side("height")?) {
        (None, None) => {}
        (Some(width), Some(height)) => {
            body.insert("size".into(), format!("{width}x{height}").into());
        }
        _ => return Err(AiError::Input("width and height come together".into())),
    }
    for name in ["seed", "negative_prompt"] {
        if let Some(value) = ask.inputs.get(name).filter(|value| !value.is_null()) {
            body.insert(name.into(), value.clone());
        }
    }
    Ok(body)
}

/// The image of an answer, with the type its first bytes tell.
pub(super) fn image(answer: &Value) -> Result<Output, AiError> {
    let text = answer.pointer("/data/0/b64_json").and_then(Value::as_str);
    let bytes = text
        .and_then(|text| STANDARD.decode(text).ok())
        .ok_or_else(|| garbage("an image in base64"))?;
    let kind = match bytes.as_slice() {
        [0x89, b'P', b'N', b'G', ..] => "image/png",
        [0xff, 0xd8, 0xff, ..] => "image/jpeg",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => "image/webp",
        _ => return Err(garbage("a PNG, JPEG or WebP image")),
    };
    Ok(Output::bytes(kind, bytes))
}

/// The form of `audio/transcriptions`.
pub(super) fn transcription_request(ask: Ask<'_>) -> Result<(HeaderValue, Bytes), AiError> {
    let (kind, audio) = match ask.media {
        Some(media) => (
            String::from_utf8_lossy(media.content_type.as_bytes()).into_owned(),
            media.bytes.clone(),
        ),
        None => ("application/octet-stream".to_owned(), audio(ask.inputs)?),
    };
    if kind.starts_with("multipart/") {
        return Err(AiError::Input(
            "a form is not offered for speech by this backend; send the audio itself".into(),
        ));
    }
    if audio.is_empty() {
        return Err(AiError::Input("audio is empty".into()));
    }
    let boundary = uuid::Uuid::new_v4().simple().to_string();
    let mut form = Vec::with_capacity(audio.len() + 1024);
    let mut field = |name: &str, value: &str| {
        form.extend_from_slice(
            format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
                .as_bytes(),
        );
    };
    field("model", ask.model);
    field("response_format", "json");
    for (name, given) in [("language", "language"), ("prompt", "initial_prompt")] {
        // A value with a line break could become a field of its own.
        if let Some(value) = ask
            .inputs
            .get(given)
            .and_then(Value::as_str)
            .filter(|value| !value.contains(['\r', '\n']))
        {
            field(name, value);
        }
    }
    let extension = extension(&kind);
    form.extend_from_slice(
        format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"audio.{extension}\"\r\nContent-Type: {kind}\r\n\r\n"
        )
        .as_bytes(),
    );
    form.extend_from_slice(&audio);
    form.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    let content_type = HeaderValue::from_str(&format!("multipart/form-data; boundary={boundary}"))
        .map_err(|_| garbage("a boundary"))?;
    Ok((content_type, form.into()))
}

/// `audio` as base64 or as a list of bytes.
fn audio(inputs: &Map<String, Value>) -> Result<Bytes, AiError> {
    match inputs.get("audio") {
        Some(Value::String(text)) => STANDARD
            .decode(text)
            .map(Bytes::from)
            .map_err(|_| AiError::Base64("audio")),
        Some(Value::Array(bytes)) => bytes
            .iter()
            .map(|byte| byte.as_u64().and_then(|byte| u8::try_from(byte).ok()))
            .collect::<Option<Vec<u8>>>()
            .map(Bytes::from)
            .ok_or_else(|| AiError::Input("audio must be a list of bytes".into())),
        _ => Err(AiError::Input(
            "audio (base64, a list of bytes or a stream) is required".into(),
        )),
    }
}

/// Servers tell formats by the file's name.
fn extension(kind: &str) -> &'static str {
    match kind.split(';').next().unwrap_or_default().trim() {
        "audio/mpeg" | "audio/mp3" => "mp3",
        "audio/wav" | "audio/x-wav" | "audio/wave" => "wav",
        "audio/ogg" => "ogg",
        "audio/flac" => "flac",
        "audio/webm" => "webm",
        "audio/mp4" | "audio/m4a" | "audio/x-m4a" => "m4a",
        _ => "bin",
    }
}
