//! The form in which a Worker is uploaded.

use bytes::{BufMut, Bytes, BytesMut};
use http::HeaderValue;
use serde_json::Value;

/// What a module is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModuleKind {
    /// JavaScript.
    EsModule,
    /// WebAssembly.
    Wasm,
    /// A text.
    Text,
    /// Bytes.
    Data,
}

impl ModuleKind {
    fn content_type(self) -> &'static str {
        match self {
            Self::EsModule => "application/javascript+module",
            Self::Wasm => "application/wasm",
            Self::Text => "text/plain",
            Self::Data => "application/octet-stream",
        }
    }
}

/// A module. Its name is the form's and the file's name too.
#[derive(Debug, Clone)]
pub struct Module {
    /// As others import it.
    pub name: String,
    /// What it is.
    pub kind: ModuleKind,
    /// Its text or bytes.
    pub body: Bytes,
}

/// A Worker to be uploaded.
#[derive(Debug, Clone)]
pub struct Form {
    /// `metadata`. Its `main_module` names the first module.
    pub metadata: Value,
    /// The modules, the main one first.
    pub modules: Vec<Module>,
}

impl Form {
    /// The content type and the body, with a further part at the end if one is given. `boundary` must stand in no part.
    pub(crate) fn encode(&self, boundary: &str, last: Option<(&str, &Value)>) -> (HeaderValue, Bytes) {
        let modules: usize = self.modules.iter().map(|module| module.body.len() + 512).sum();
        let mut body = BytesMut::with_capacity(modules + 8192);
        let mut part = |disposition: &str, content_type: Option<&str>, content: &[u8]| {
            body.put_slice(
                format!("--{boundary}\r\nContent-Disposition: form-data; {disposition}\r\n").as_bytes(),
            );
            if let Some(content_type) = content_type {
                body.put_slice(format!("Content-Type: {content_type}\r\n").as_bytes());
            }
            body.put_slice(b"\r\n");
            body.put_slice(content);
            body.put_slice(b"\r\n");
        };
        part("name=\"metadata\"", None, self.metadata.to_string().as_bytes());
        for module in &self.modules {
            let name = quoted(&module.name);
            let disposition = format!("name=\"{name}\"; filename=\"{name}\"");
            part(&disposition, Some(module.kind.content_type()), &module.body);
        }
        if let Some((name, content)) = last {
            part(
                &format!("name=\"{}\"", quoted(name)),
                None,
                content.to_string().as_bytes(),
            );
        }
        body.put_slice(format!("--{boundary}--\r\n").as_bytes());
        let content_type = HeaderValue::from_str(&format!("multipart/form-data; boundary={boundary}"));
        let plain = HeaderValue::from_static("multipart/form-data");
        (content_type.unwrap_or(plain), body.freeze())
    }

    /// A boundary that nobody can have foreseen, so that no part can contain it.
    pub(crate) fn boundary() -> String {
        format!("----bowline-{:032x}", rand::random::<u128>())
    }
}

/// As browsers write a name (HTML standard, multipart/form-data encoding).
fn quoted(name: &str) -> String {
    name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parts_in_their_order() {
        let module = |name: &str, kind, body| Module {
            name: name.into(),
            kind,
            body: Bytes::from_static(body),
        };
        let form = Form {
            metadata: json!({"main_module": "a.js"}),
            modules: vec![
                module("a.js", ModuleKind::EsModule, b"export default {}"),
                module("b\".wasm", ModuleKind::Wasm, b"\0\r\n"),
            ],
        };
        let (content_type, body) = form.encode("B", Some(("last", &json!({"x": 1}))));
        assert_eq!(content_type, "multipart/form-data; boundary=B");
        let expected = "--B\r\nContent-Disposition: form-data; name=\"metadata\"\r\n\r\n{\"main_module\":\"a.js\"}\r\n\
            --B\r\nContent-Disposition: form-data; name=\"a.js\"; filename=\"a.js\"\r\nContent-Type: application/javascript+module\r\n\r\n\
            export default {}\r\n\
            --B\r\nContent-Disposition: form-data; name=\"b%22.wasm\"; filename=\"b%22.wasm\"\r\nContent-Type: application/wasm\r\n\r\n\
            \0\r\n\r\n--B\r\nContent-Disposition: form-data; name=\"last\"\r\n\r\n{\"x\":1}\r\n--B--\r\n";
        assert_eq!(String::from_utf8_lossy(&body), expected);
        assert_ne!(Form::boundary(), Form::boundary());
    }
}
