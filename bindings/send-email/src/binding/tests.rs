use bowline_binding::Resources;
use capnweb::{ErrorValue, SessionOptions, Stub, connect_upgraded, serve_upgraded};
use serde_json::json;
use tempfile::TempDir;

use super::*;

type V = Value;

/// The binding at the far end of a real session.
fn mailer(entry: serde_json::Value) -> (Arc<dyn Binding>, TempDir) {
    let state = tempfile::tempdir().unwrap();
    let resources = Resources::new(state.path().to_owned());
    ((crate::DESCRIPTOR.build)(&entry, &resources).unwrap(), state)
}

async fn stub(binding: &Arc<dyn Binding>) -> Stub {
    let (near, far) = tokio::io::duplex(256 * 1024);
    let target = binding.target(&CallContext::new("MAIL", "test")).unwrap();
    tokio::spawn(serve_upgraded(far, target, SessionOptions::default()));
    connect_upgraded(near, SessionOptions::default()).await
}

fn object(members: &[(&str, V)]) -> V {
    V::object(members.iter().cloned())
}

fn builder(changes: &[(&str, V)]) -> V {
    let base = [
        ("from", V::from("Ann <a@x.com>")),
        ("to", "b@y.com".into()),
        ("subject", "héllo".into()),
        ("text", "t".into()),
    ];
    let mut members: Vec<(&str, V)> = base.to_vec();
    for (name, value) in changes {
        members.retain(|(known, _)| known != name);
        members.push((name, value.clone()));
    }
    object(&members)
}

fn kept(state: &TempDir) -> Vec<String> {
    let folder = state.path().join("send_email/MAIL");
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect()
}

async fn refusal(stub: &Stub, mail: V) -> (String, String) {
    match stub.call("send", vec![mail]).await.unwrap_err().into_value() {
        V::Error(error) => {
            let ErrorValue { message, props, .. } = *error;
            let code = props
                .iter()
                .find(|(name, _)| name == "code")
                .and_then(|(_, value)| value.as_str())
                .unwrap_or_default();
            (code.to_owned(), message)
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_builder_form_becomes_a_whole_message() {
    let (binding, state) = mailer(json!({"name": "MAIL"}));
    let stub = stub(&binding).await;
    let attachment = object(&[
        ("filename", "f.txt".into()),
        ("type", "text/plain".into()),
        ("disposition", "attachment".into()),
        (
            "content",
            V::Bytes(
                b"data".to_vec(),
                capnweb::BytesKind::named("ArrayBuffer").unwrap(),
            ),
        ),
    ]);
    let mail = builder(&[
        (
            "cc",
            V::Array(vec![
                "c@z.com".into(),
                object(&[("email", "d@z.com".into()), ("name", "Dee".into())]),
            ]),
        ),
        ("bcc", "hidden@z.com".into()),
        ("html", "<b>t</b>".into()),
        ("headers", object(&[("X-A", "1".into()), ("List-Id", "l".into())])),
        ("attachments", V::Array(vec![attachment])),
    ]);
    let answer = stub.call("send", vec![mail]).await.unwrap();
    let id = answer.member("messageId").and_then(V::as_str).unwrap().to_owned();
    let mails = kept(&state);
    let [mail] = mails.as_slice() else {
        panic!("{mails:?}")
    };
    let parsed = mail_parser::MessageParser::new().parse(mail.as_bytes()).unwrap();
    assert_eq!(parsed.message_id(), Some(id.as_str()));
    assert_eq!(parsed.subject(), Some("héllo"));
    assert_eq!(parsed.cc().unwrap().iter().count(), 2);
    assert!(parsed.date().is_some() && parsed.bcc().is_none() && !mail.contains("hidden"));
    assert_eq!(
        (parsed.body_text(0).as_deref(), parsed.body_html(0).as_deref()),
        (Some("t"), Some("<b>t</b>"))
    );
    assert_eq!(parsed.attachment(0).unwrap().contents(), b"data");
    assert!(mail.contains("X-A: 1\r\n") && mail.contains("List-Id: l\r\n"));
}

#[tokio::test]
async fn raw_mail_is_kept_to_the_byte() {
    let (binding, state) = mailer(json!({"name": "MAIL", "allowed_destination_addresses": ["B@y.com"]}));
    let stub = stub(&binding).await;
    let raw = "From: a@x.com\r\nTo: b@y.com\r\nMessage-ID: <1@x>\r\n\r\nhi\r\n";
    let mail = |from: &str, to: &str, raw: &str| {
        object(&[("from", from.into()), ("to", to.into()), (RAW, raw.into())])
    };
    let answer = stub
        .call("send", vec![mail("a@x.com", "b@y.com", raw)])
        .await
        .unwrap();
    assert_eq!(answer.member("messageId").and_then(V::as_str), Some("1@x"));
    assert_eq!(kept(&state), [raw]);
    let e = |code: &str, message: &str| (code.to_owned(), message.to_owned());
    for (from, to, raw, expected) in [
        (
            "other@x.com",
            "b@y.com",
            raw,
            e(
                "E_VALIDATION_ERROR",
                "From: header does not match mail from other@x.com",
            ),
        ),
        (
            "a@x.com",
            "c@y.com",
            raw,
            e("E_RECIPIENT_NOT_ALLOWED", "email to c@y.com not allowed"),
        ),
        (
            "a@x.com",
            "b@y.com",
            "From: a@x.com\r\n\r\nhi",
            e("E_VALIDATION_ERROR", "invalid message-id"),
        ),
        (
            "a@x.com",
            "b@y.com",
            "Received: by x\r\nFrom: a@x.com\r\nMessage-ID: <1@x>\r\n\r\nhi",
            e("E_VALIDATION_ERROR", "invalid headers set"),
        ),
        ("", "b@y.com", raw, e("E_FIELD_MISSING", "from is missing")),
    ] {
        assert_eq!(refusal(&stub, mail(from, to, raw)).await, expected);
    }
    assert_eq!(kept(&state).len(), 1, "a refused mail leaves nothing behind");
}

#[tokio::test]
async fn every_documented_refusal() {
    let (binding, state) = mailer(json!({"name": "MAIL", "allowed_sender_addresses": ["a@x.com"]}));
    let stub = stub(&binding).await;
    let many = |n: usize| V::Array((0..n).map(|i| format!("u{i}@y.com").into()).collect());
    let header = |name: &str, value: &str| [("headers", object(&[(name, value.into())]))];
    let headers = |n: usize, prefix: &str, size: usize| {
        let pairs = (0..n).map(|i| (format!("{prefix}{i}"), "v".repeat(size).into()));
        [("headers", V::object(pairs))]
    };
    for (changes, code) in [
        (&[("from", V::Undefined)][..], "E_FIELD_MISSING"),
        (&[("to", V::Array(vec![]))], "E_FIELD_MISSING"),
        (&[("subject", V::Undefined)], "E_FIELD_MISSING"),
        (&[("text", V::Null)], "E_FIELD_MISSING"),
        (&[("to", "not an address".into())], "E_VALIDATION_ERROR"),
        (&[("to", V::Number(1.0))], "E_VALIDATION_ERROR"),
        (
            &[("subject", "x\r\nBcc: evil@z.com".into())],
            "E_VALIDATION_ERROR",
        ),
        (&[("subject", "x".repeat(999).into())], "E_VALIDATION_ERROR"),
        (&[("to", many(51))], "E_TOO_MANY_RECIPIENTS"),
        (&[("from", "z@x.com".into())], "E_SENDER_NOT_VERIFIED"),
        (
            &[("text", "x".repeat(6 * 1024 * 1024).into())],
            "E_CONTENT_TOO_LARGE",
        ),
        (&header("Subject", "x"), "E_HEADER_USE_API_FIELD"),
        (&header("content-type", "x"), "E_HEADER_NOT_ALLOWED"),
        (&header("X A", "x"), "E_HEADER_NAME_INVALID"),
        (&header("X-A", "x\nBcc: evil@z.com"), "E_HEADER_VALUE_INVALID"),
        (&header("X-A", &"x".repeat(2049)), "E_HEADER_VALUE_TOO_LONG"),
        (&headers(10, "X-", 2000), "E_HEADERS_TOO_LARGE"),
        (&headers(21, "A", 1), "E_HEADERS_TOO_MANY"),
    ] {
        let (found, message) = refusal(&stub, builder(changes)).await;
        assert_eq!(found, code, "{message}");
    }
    assert!(kept(&state).is_empty());
    let (code, _) = refusal(&stub, V::Number(1.0)).await;
    assert_eq!(code, "E_VALIDATION_ERROR");
}

/// Enough of a mail server to take one mail: RFC 5321's replies in order.
async fn smtp_server(verdict: &'static str) -> (String, tokio::task::JoinHandle<String>) {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("smtp://{}", listener.local_addr().unwrap());
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (reader, mut writer) = stream.split();
        let mut lines = BufReader::new(reader).lines();
        writer.write_all(b"220 test\r\n").await.unwrap();
        let (mut log, mut in_data) = (String::new(), false);
        while let Ok(Some(line)) = lines.next_line().await {
            log.push_str(&line);
            log.push('\n');
            let reply = match line.as_str() {
                "." => verdict,
                _ if in_data => continue,
                "DATA" => "354 go on",
                "QUIT" => break,
                _ => "250 ok",
            };
            in_data = line == "DATA";
            writer.write_all(format!("{reply}\r\n").as_bytes()).await.unwrap();
        }
        log
    });
    (url, served)
}

#[tokio::test]
async fn smtp_gets_the_envelope_and_a_refused_mail_is_kept() {
    for (verdict, taken) in [("250 taken", true), ("554 no", false)] {
        let (url, served) = smtp_server(verdict).await;
        let (binding, state) = mailer(json!({"name": "MAIL", "smtp": url}));
        let stub = stub(&binding).await;
        let mail = builder(&[("bcc", "hidden@z.com".into())]);
        if taken {
            stub.call("send", vec![mail]).await.unwrap();
        } else {
            let (code, message) = refusal(&stub, mail).await;
            assert_eq!(code, "E_DELIVERY_FAILED", "{message}");
        }
        assert_eq!(kept(&state).len(), 1);
        drop((stub, binding));
        let log = tokio::time::timeout(std::time::Duration::from_secs(20), served)
            .await
            .unwrap()
            .unwrap();
        assert!(
            log.contains("RCPT TO:<b@y.com>") && log.contains("RCPT TO:<hidden@z.com>"),
            "{log}"
        );
    }
}

#[test]
fn configurations_that_are_wrong() {
    let resources = Resources::new(std::env::temp_dir());
    for (entry, field) in [
        (json!({"name": "MAIL", "smtp": "http://user:hunter2@x"}), "smtp"),
        (
            json!({"name": "MAIL", "allowed_sender_addresses": "a@x"}),
            "allowed_sender_addresses",
        ),
        (
            json!({"name": "MAIL", "destination_address": "a@x", "allowed_destination_addresses": []}),
            "destination_address",
        ),
        (json!({"name": "../up"}), "name"),
    ] {
        let error = (crate::DESCRIPTOR.build)(&entry, &resources)
            .err()
            .unwrap()
            .to_string();
        assert!(
            error.starts_with(&format!("`{field}`")) && !error.contains("hunter2"),
            "{error}"
        );
    }
}
