//! `toMarkdown`: documents as text a model can read.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bowline_binding::{Body, FetchRequest};
use http::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::error::{AiError, json as answer};

/// The largest body, in bytes.
const LARGEST: usize = 64 << 20;
/// The largest document, in bytes: the time to read HTML grows with its size and with how deep it is.
const LARGEST_FILE: usize = 16 << 20;
const MOST_FILES: usize = 100;
/// Conversions at a time; they take a thread each.
const AT_ONCE: usize = 4;
/// HTML elements open at a time. A parser looks through all of them for every tag.
const MOST_OPEN: usize = 2_000;
/// Levels of the parsed tree. Writing it out recurses.
const DEEPEST: usize = 256;

/// What can be converted: extension, media type, how.
const FORMATS: [(&str, &str, Format); 8] = [
    (".html", "text/html", Format::Html),
    (".htm", "text/html", Format::Html),
    (".csv", "text/csv", Format::Csv),
    (".xml", "application/xml", Format::Fenced("xml")),
    (".xml", "text/xml", Format::Fenced("xml")),
    (".json", "application/json", Format::Fenced("json")),
    (".md", "text/markdown", Format::Markdown),
    (".txt", "text/plain", Format::Text),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Html,
    Csv,
    Fenced(&'static str),
    Markdown,
    Text,
}

/// Converts documents, a few at a time.
pub(crate) struct Converter {
    slots: Arc<Semaphore>,
}

impl Converter {
    pub(crate) fn new() -> Self {
        Self {
            slots: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// Everything below `/to-everything/markdown/`.
    pub(crate) async fn answer(&self, rest: &str, request: FetchRequest) -> Response<Body> {
        match (request.method.as_str(), rest) {
            ("GET", "supported") => {
                let formats: Vec<Value> = FORMATS
                    .iter()
                    .map(|(extension, mime, _)| json!({"extension": extension, "mimeType": mime}))
                    .collect();
                answer(
                    StatusCode::OK,
                    &json!({"success": true, "result": formats, "errors": [], "messages": []}),
                )
            }
            ("POST", "transformer") => match self.transform(request.body).await {
                Ok(result) => answer(
                    StatusCode::OK,
                    &json!({"success": true, "result": result, "errors": [], "messages": []}),
                ),
                Err(error) => refused(&error),
            },
            _ => refused(&AiError::Incomplete(format!("toMarkdown has no endpoint {rest}"))),
        }
    }

    async fn transform(&self, body: Body) -> Result<Vec<Value>, AiError> {
        let bytes = bowline_binding::collect_boxed(body, LARGEST).await?;
        let slot = Arc::clone(&self.slots).acquire_owned().await;
        tokio::task::spawn_blocking(move || {
            let _slot = slot;
            convert_all(&bytes)
        })
        .await
        .unwrap_or_else(|_| Err(AiError::Upstream("the conversion failed".into())))
    }
}

/// This client reads `errors[0].message`.
fn refused(error: &AiError) -> Response<Body> {
    let body = json!({
        "success": false, "result": null, "messages": [],
        "errors": [{"code": error.code(), "message": error.to_string()}],
    });
    answer(error.status(), &body)
}

fn convert_all(body: &[u8]) -> Result<Vec<Value>, AiError> {
    let document: Value = serde_json::from_slice(body)
        .map_err(|error| AiError::Incomplete(format!("the body is not JSON: {error}")))?;
    let files = document
        .get("files")
        .and_then(Value::as_array)
        .filter(|files| (1..=MOST_FILES).contains(&files.len()))
        .ok_or_else(|| AiError::Input(format!("files must be a list of 1 to {MOST_FILES} files")))?;
    let options = document
        .pointer("/options/conversionOptions")
        .unwrap_or(&Value::Null);
    files.iter().map(|file| convert(file, options)).collect()
}

/// One file's entry in the result. Only a request that is malformed fails as a whole.
fn convert(file: &Value, options: &Value) -> Result<Value, AiError> {
    let text = |key: &str| file.get(key).and_then(Value::as_str);
    let (Some(name), Some(data)) = (text("name"), text("data")) else {
        return Err(AiError::Input("each file must have a name and data".into()));
    };
    let bytes = STANDARD
        .decode(data)
        .map_err(|_| AiError::Base64("the data of a file"))?;
    let mime = text("mimeType").unwrap_or_default();
    let id = uuid::Uuid::new_v4().to_string();
    Ok(match markdown(name, mime, bytes, options) {
        Ok((format, data)) => json!({
            "id": id, "name": name, "mimeType": mime, "format": format, "tokens": tokens(&data), "data": data,
        }),
        Err(problem) => {
            json!({"id": id, "name": name, "mimeType": mime, "format": "error", "error": problem})
        }
    })
}

/// About as many tokens as a tokenizer would make: four characters each.
fn tokens(text: &str) -> usize {
    text.chars().count().div_ceil(4)
}

fn markdown(
    name: &str,
    mime: &str,
    bytes: Vec<u8>,
    options: &Value,
) -> Result<(&'static str, String), String> {
    let format = format(name, mime).ok_or_else(|| {
        let known: Vec<&str> = FORMATS.iter().map(|(extension, ..)| *extension).collect();
        format!(
            "{mime} cannot be converted here; supported are {}",
            known.join(", ")
        )
    })?;
    if bytes.len() > LARGEST_FILE {
        return Err(format!("the file is larger than {LARGEST_FILE} bytes"));
    }
    for option in ["/html/cssSelector", "/html/hostname"] {
        if format == Format::Html && options.pointer(option).is_some_and(|value| !value.is_null()) {
            return Err(format!(
                "the option {} is not offered here",
                option[1..].replace('/', ".")
            ));
        }
    }
    let wanted = options.pointer("/output/format").and_then(Value::as_str);
    if wanted.is_some_and(|wanted| wanted != "markdown") && format != Format::Text {
        return Err("output.format must be \"markdown\" here".into());
    }
    let text = String::from_utf8(bytes).map_err(|_| "the file is not UTF-8".to_owned())?;
    let text = text.trim_start_matches('\u{feff}');
    match format {
        Format::Html => html(text).map(|text| ("markdown", text)),
        Format::Csv => table(text).map(|text| ("markdown", text)),
        Format::Fenced(language) => Ok(("markdown", fenced(language, text))),
        Format::Markdown => Ok(("markdown", text.to_owned())),
        Format::Text => Ok(("text", text.to_owned())),
    }
}

/// By media type, or by the name's end when the type says nothing.
fn format(name: &str, mime: &str) -> Option<Format> {
    let mime = mime
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let silent = matches!(mime.as_str(), "" | "application/octet-stream");
    let name = name.to_ascii_lowercase();
    FORMATS
        .iter()
        .find(|(extension, of, _)| {
            if silent {
                name.ends_with(extension)
            } else {
                *of == mime
            }
        })
        .map(|(_, _, format)| *format)
}

fn html(text: &str) -> Result<String, String> {
    let deep = || "the HTML is nested too deeply".to_owned();
    if opened(text) > MOST_OPEN {
        return Err(deep());
    }
    let converter = htmd::HtmlToMarkdown::builder()
        .skip_tags(vec!["script", "style", "noscript", "template", "iframe", "svg"])
        .build();
    let tree = converter.html_to_tree(text).map_err(|error| error.to_string())?;
    let mut level = vec![Rc::clone(&tree)];
    for depth in 0.. {
        if depth == DEEPEST {
            return Err(deep());
        }
        level = level
            .iter()
            .flat_map(|node| node.children.borrow().clone())
            .collect();
        if level.is_empty() {
            break;
        }
    }
    Ok(converter.tree_to_markdown(&tree))
}

/// The most elements that are open at once, counted on the tags alone and rather too high. Elements that close their
/// like by themselves, or never have content, do not count.
fn opened(text: &str) -> usize {
    const UNCOUNTED: [&str; 27] = [
        "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr",
        "p", "li", "dt", "dd", "td", "th", "tr", "tbody", "thead", "tfoot", "option", "html", "head", "body",
    ];
    let mut open: HashMap<String, usize> = HashMap::new();
    let (mut now, mut most) = (0_usize, 0_usize);
    for part in text.split('<').skip(1) {
        let (closes, part) = part.strip_prefix('/').map_or((false, part), |part| (true, part));
        let name: String = part
            .chars()
            .take(16)
            .take_while(char::is_ascii_alphanumeric)
            .map(|c| c.to_ascii_lowercase())
            .collect();
        if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || UNCOUNTED.contains(&name.as_str()) {
            continue;
        }
        let count = open.entry(name).or_default();
        if !closes {
            *count += 1;
            now += 1;
            most = most.max(now);
        } else if *count > 0 {
            *count -= 1;
            now -= 1;
        }
    }
    most
}

fn table(text: &str) -> Result<String, String> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(text.as_bytes());
    let rows: Vec<csv::StringRecord> = reader
        .records()
        .collect::<Result<_, _>>()
        .map_err(|error| format!("the file is not CSV: {error}"))?;
    let columns = rows.iter().map(csv::StringRecord::len).max().unwrap_or(0);
    // Padding a ragged table writes cells nobody sent.
    if columns.saturating_mul(rows.len()) > text.len().saturating_mul(4) + 1024 {
        return Err("the rows of the table are of too different lengths".into());
    }
    let mut out = String::new();
    for (number, row) in rows.iter().enumerate() {
        out.push('|');
        for column in 0..columns {
            let cell = row.get(column).unwrap_or_default();
            out.push(' ');
            out.push_str(&cell.replace('|', "\\|").replace(['\r', '\n'], " "));
            out.push_str(" |");
        }
        out.push('\n');
        if number == 0 {
            out.push('|');
            out.push_str(&" --- |".repeat(columns));
            out.push('\n');
        }
    }
    Ok(out)
}

/// A code block whose fence is longer than any in the text.
fn fenced(language: &str, text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat((longest + 1).max(3));
    format!("{fence}{language}\n{}\n{fence}\n", text.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn convert_one(name: &str, mime: &str, text: &str) -> Value {
        let file = json!({"name": name, "mimeType": mime, "data": STANDARD.encode(text)});
        convert(&file, &Value::Null).unwrap()
    }

    #[test]
    fn documents() {
        for (name, mime, text, format, data) in [
            (
                "a.html",
                "text/html",
                "<h1>x</h1><p>a <b>b</b><script>no</script>",
                "markdown",
                "# x\n\na **b**",
            ),
            (
                "a.csv",
                "text/csv",
                "a,b|c\n1,\"two\nlines\"\n3",
                "markdown",
                "| a | b\\|c |\n| --- | --- |\n| 1 | two lines |\n| 3 |  |\n",
            ),
            (
                "a.xml",
                "application/xml",
                "<a>```</a>",
                "markdown",
                "````xml\n<a>```</a>\n````\n",
            ),
            (
                "a.txt",
                "text/plain; charset=utf-8",
                "\u{feff}plain",
                "text",
                "plain",
            ),
            ("A.MD", "application/octet-stream", "# md", "markdown", "# md"),
        ] {
            let converted = convert_one(name, mime, text);
            assert_eq!(
                (converted["format"].as_str(), converted["data"].as_str()),
                (Some(format), Some(data)),
                "{name}"
            );
        }
        let refused = convert_one("a.pdf", "application/pdf", "%PDF");
        assert_eq!(refused["format"], "error");
        assert!(
            refused["error"]
                .as_str()
                .unwrap()
                .contains("application/pdf cannot be converted"),
            "{refused}"
        );
    }

    #[test]
    fn hostile_html_is_refused_in_time() {
        for text in [
            "<div>".repeat(1 << 20),
            "<b>".repeat(1 << 20),
            "<div></b>".repeat(1 << 18),
            "<div>".repeat(400),
        ] {
            assert_eq!(convert_one("a.html", "text/html", &text)["format"], "error");
        }
        for text in [
            "<p>x".repeat(20_000),
            "<ul><li>x</ul>".repeat(20_000),
            "<".repeat(1 << 20),
            "<div>x</div>".repeat(20_000),
        ] {
            assert_eq!(convert_one("a.html", "text/html", &text)["format"], "markdown");
        }
    }

    #[test]
    fn what_is_not_base64_or_utf8() {
        let file = json!({"name": "a.txt", "mimeType": "text/plain", "data": "?"});
        assert_eq!(convert(&file, &Value::Null).unwrap_err().code(), 5004);
        let file = json!({"name": "a.txt", "mimeType": "text/plain", "data": STANDARD.encode(b"\xff")});
        assert_eq!(
            convert(&file, &Value::Null).unwrap()["error"],
            "the file is not UTF-8"
        );
    }
}
