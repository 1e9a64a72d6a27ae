//! Every call, and every row of the table of errors.

use std::sync::Arc;
use std::time::Duration;

use bowline_api::{
    Cause, Client, Credentials, EdgePreview, Exchange, Form, Module, ModuleKind, Retry, accounts, deploy,
    hostname,
};
use bowline_secret::Secret;
use bytes::Bytes;
use http::HeaderMap;
use serde_json::json;

use crate::server::{Answer, Server, TOKEN, bad, good};

const SESSION: &str = "GET /client/v4/accounts/acc/workers/subdomain/edge-preview";
const SUBDOMAIN: &str = "GET /client/v4/accounts/acc/workers/subdomain";
const REGISTER: &str = "PUT /client/v4/accounts/acc/workers/subdomain";
const UPLOAD: &str = "POST /client/v4/accounts/acc/workers/scripts/app/edge-preview";

fn preview(client: Client) -> EdgePreview {
    let exchange: Exchange = Arc::new(|_| {
        Box::pin(async {
            HeaderMap::from_iter([(
                http::HeaderName::from_static("cf-access-client-id"),
                "id".parse().unwrap(),
            )])
        })
    });
    EdgePreview::new(client, "acc", "app", exchange)
}

fn form() -> Form {
    Form {
        metadata: json!({"main_module": "m.js", "bindings": []}),
        modules: vec![Module {
            name: "m.js".into(),
            kind: ModuleKind::EsModule,
            body: Bytes::from_static(b"export default {}"),
        }],
    }
}

/// A server on which everything goes well.
async fn well() -> Server {
    let server = Server::start().await;
    server.on(SESSION, [good(json!({"token": "session-1"}))]);
    server.on(SUBDOMAIN, [good(json!({"subdomain": "sub"}))]);
    server.on(
        UPLOAD,
        [good(
            json!({"preview_token": "preview-1", "tail_url": "wss://tail.example/x"}),
        )],
    );
    server
}

#[tokio::test]
async fn three_calls_make_a_session() {
    let server = well().await;
    let preview = preview(server.client());
    let (token, host) = preview.open().await.unwrap();
    assert_eq!(host, "app.sub.workers.dev");
    let uploaded = preview.upload(&token, &form()).await.unwrap();
    assert_eq!(uploaded.token.expose(), "preview-1");
    assert_eq!(uploaded.tail.unwrap().expose(), "wss://tail.example/x");
    assert_eq!(server.calls(), [SESSION, SUBDOMAIN, UPLOAD]);
    for seen in server.seen() {
        assert_eq!(seen.headers["authorization"], format!("Bearer {TOKEN}"));
        assert!(
            seen.headers["user-agent"]
                .to_str()
                .unwrap()
                .starts_with("bowline/")
        );
    }
    let seen = &server.seen()[2];
    assert_eq!(seen.headers["cf-preview-upload-config-token"], "session-1");
    let body = String::from_utf8(seen.body.to_vec()).unwrap();
    let parts: Vec<usize> = [
        "name=\"metadata\"",
        "name=\"m.js\"; filename=\"m.js\"",
        "name=\"wrangler-session-config\"",
    ]
    .iter()
    .map(|part| body.find(part).unwrap())
    .collect();
    assert!(parts.is_sorted(), "{body}");
    assert!(body.contains(r#"{"workers_dev":true,"minimal_mode":true}"#));
}

#[tokio::test]
async fn a_session_token_is_exchanged_where_one_can() {
    let server = well().await;
    let url = format!("{}/exchange", server.origin);
    server.on(
        SESSION,
        [good(json!({"token": "session-1", "exchange_url": url}))],
    );
    let preview = preview(server.client());
    let used = async || {
        let (token, _) = preview.open().await.unwrap();
        preview.upload(&token, &form()).await.unwrap();
        server.seen().pop().unwrap().headers["cf-preview-upload-config-token"].clone()
    };
    // Nothing that goes wrong there is an error.
    for answer in [
        Answer::Reset,
        Answer::With(500, "", "x".into()),
        Answer::With(200, "", "{}".into()),
    ] {
        server.on("GET /exchange", [answer]);
        assert_eq!(used().await, "session-1");
    }
    server.on(
        "GET /exchange",
        [Answer::With(200, "", r#"{"token": "better"}"#.into())],
    );
    assert_eq!(used().await, "better");
    let exchange = server
        .seen()
        .into_iter()
        .rfind(|seen| seen.call == "GET /exchange")
        .unwrap();
    assert_eq!(exchange.headers["cf-access-client-id"], "id");
    assert!(
        !exchange.headers.contains_key("authorization"),
        "the API's credentials stay with the API"
    );
}

#[tokio::test]
async fn an_account_without_a_subdomain_gets_one() {
    let server = well().await;
    server.on(SUBDOMAIN, [bad(404, 10007, "no subdomain")]);
    server.on(REGISTER, [good(json!({"subdomain": "fresh"}))]);
    let (_, host) = preview(server.client()).open().await.unwrap();
    assert_eq!(host, "app.fresh.workers.dev");
    let sent: serde_json::Value = serde_json::from_slice(&server.seen()[2].body).unwrap();
    let name = sent["subdomain"].as_str().unwrap();
    assert!(
        name.len() == 8 && name.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{name}"
    );
}

#[tokio::test]
async fn what_is_temporary_is_tried_three_times() {
    let server = well().await;
    let down = || Answer::With(503, "", "<html>".into());
    server.on(SESSION, [down(), Answer::Reset, good(json!({"token": "s"}))]);
    preview(server.client()).open().await.unwrap();
    assert!(server.gap(0) < Duration::from_millis(900), "at once");
    assert!(server.gap(1) >= Duration::from_secs(1), "after a second");

    // A failing subdomain repeats the session: they are one unit.
    let server = well().await;
    server.on(SUBDOMAIN, [down()]);
    let error = preview(server.client()).open().await.unwrap_err();
    assert_eq!(
        server.calls(),
        [SESSION, SUBDOMAIN, SESSION, SUBDOMAIN, SESSION, SUBDOMAIN]
    );
    assert_eq!(error.retry(), Retry::Soon);
    assert!(matches!(error.cause, Cause::Malformed { .. }), "{error}");
}

#[tokio::test]
async fn retry_after_is_obeyed() {
    let server = well().await;
    let limited = |after: &'static str| {
        Answer::With(
            429,
            after,
            r#"{"success": false, "errors": [{"code": 971, "message": "slow"}]}"#.into(),
        )
    };
    server.on(SESSION, [limited("retry-after: 1"), good(json!({"token": "s"}))]);
    preview(server.client()).open().await.unwrap();
    assert!(
        (1.0..2.5).contains(&server.gap(0).as_secs_f64()),
        "{:?}",
        server.gap(0)
    );
    // More than a minute is not waited for.
    let server = well().await;
    server.on(SESSION, [limited("retry-after: 3600")]);
    let error = preview(server.client()).open().await.unwrap_err();
    assert_eq!(server.calls().len(), 1);
    assert_eq!(error.retry(), Retry::After(Duration::from_secs(3600)));
}

#[tokio::test]
async fn every_code_has_its_words_and_its_next_step() {
    for (status, code, words, next) in [
        (400, 9106, "missing or malformed", "CLOUDFLARE_API_TOKEN"),
        (403, 10000, "not accepted", "Workers Scripts: Edit"),
        (403, 10405, "not allowed for this call", "API token"),
        (403, 10063, "no workers.dev subdomain", "dashboard"),
        (400, 10021, "not accepted as a Worker", "bindings"),
        (400, 10049, "has ended", "a new one"),
    ] {
        let server = well().await;
        server.on(UPLOAD, [bad(status, code, "the API's words")]);
        let preview = preview(server.client());
        let (token, _) = preview.open().await.unwrap();
        let error = preview.upload(&token, &form()).await.unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains(words) && text.contains(&format!("({code}: the API's words)")),
            "{text}"
        );
        assert!(text.ends_with("[ray 8a-LHR]"), "{text}");
        assert!(error.advice().unwrap().contains(next), "{:?}", error.advice());
        assert_eq!(error.retry(), Retry::Never, "{code}");
        assert_eq!(error.is_authentication(), [9106, 10000, 10405].contains(&code));
        assert_eq!(error.is_session_expired(), code == 10049);
        assert_eq!(server.calls().len(), 3, "{code} is not tried again");
    }
    // A code nobody knows is told in the API's words.
    let server = well().await;
    server.on(SESSION, [bad(400, 4711, "odd")]);
    let error = preview(server.client()).open().await.unwrap_err();
    assert!(error.to_string().contains("status 400 (4711: odd)"), "{error}");
    assert_eq!(error.advice(), None);
}

#[tokio::test]
async fn what_is_not_the_api_is_told_as_that() {
    for (status, body) in [
        (200, "<html>\n<p>Sign in</p>"),
        (200, ""),
        (200, "[]"),
        (200, "{\"success\": 1}"),
    ] {
        let server = well().await;
        server.on(SESSION, [Answer::With(status, "", body.into())]);
        let error = preview(server.client()).open().await.unwrap_err();
        assert!(error.to_string().contains("is not the API's"), "{error}");
        assert!(error.advice().unwrap().contains("CLOUDFLARE_API_BASE_URL"));
        assert_eq!(server.calls().len(), 1);
    }
    for (answer, lacks) in [
        (good(json!({})), "session token"),
        (good(json!({"token": 1})), "session token"),
        (Answer::With(204, "", String::new()), "session token"),
    ] {
        let server = well().await;
        server.on(SESSION, [answer]);
        let error = preview(server.client()).open().await.unwrap_err();
        assert!(error.to_string().contains(lacks), "{error}");
    }
    let server = well().await;
    server.on(SUBDOMAIN, [good(json!({"subdomain": "no:dns"}))]);
    let error = preview(server.client()).open().await.unwrap_err();
    assert!(error.to_string().contains("is not a host"), "{error}");
}

#[tokio::test]
async fn an_api_that_says_back_what_it_heard_is_not_repeated() {
    let server = well().await;
    server.on(SESSION, [bad(400, 1, &format!("bad token {TOKEN}!"))]);
    let error = preview(server.client()).open().await.unwrap_err();
    assert!(error.to_string().contains("bad token ****!"), "{error}");
    server.on(
        SESSION,
        [Answer::With(200, "", format!("Authorization: Bearer {TOKEN}"))],
    );
    let error = preview(server.client()).open().await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains(TOKEN), "{error}");
    assert!(!format!("{:?}", server.client()).contains(TOKEN));
}

#[tokio::test]
async fn a_key_goes_with_its_address() {
    let server = well().await;
    let client = server.client_as(Credentials::key("a@example.com", Secret::new("k")));
    preview(client).open().await.unwrap();
    let headers = &server.seen()[0].headers;
    assert_eq!(
        (&headers["x-auth-key"], &headers["x-auth-email"]),
        (&"k".parse().unwrap(), &"a@example.com".parse().unwrap())
    );
    assert!(!headers.contains_key("authorization"));
}

#[tokio::test]
async fn the_only_account_is_found() {
    let (list, members) = (
        "GET /client/v4/accounts?page=1",
        "GET /client/v4/memberships?page=1",
    );
    let account = |id: &str| json!({"id": id, "name": format!("name of {id}")});
    let server = Server::start().await;
    server.on(list, [good(json!([account("a"), account("b")]))]);
    server.on(members, [good(json!([{"account": account("b")}]))]);
    assert_eq!(
        accounts(&server.client()).await.unwrap().id,
        "b",
        "the one in common"
    );
    // A token of an account has no memberships.
    server.on(list, [good(json!([account("a")]))]);
    server.on(members, [bad(403, 10000, "no user")]);
    assert_eq!(accounts(&server.client()).await.unwrap().id, "a");
    server.on(list, [good(json!([account("a"), account("b")]))]);
    let error = accounts(&server.client()).await.unwrap_err();
    assert!(error.to_string().contains("b  name of b"), "{error}");
    assert!(error.advice().unwrap().contains("CLOUDFLARE_ACCOUNT_ID"));
    server.on(list, [good(json!([]))]);
    assert!(
        accounts(&server.client())
            .await
            .unwrap_err()
            .to_string()
            .contains("no account")
    );
}

#[tokio::test]
async fn a_worker_is_deployed_and_published() {
    let server = well().await;
    let put = "PUT /client/v4/accounts/acc/workers/scripts/app";
    server.on(put, [good(json!({"id": "app"}))]);
    server.on(
        "POST /client/v4/accounts/acc/workers/scripts/app/subdomain",
        [good(json!({"enabled": true}))],
    );
    let client = server.client();
    assert_eq!(
        hostname(&client, "acc", "app").await.unwrap(),
        "app.sub.workers.dev"
    );
    deploy(&client, "acc", "app", &form()).await.unwrap();
    let seen = server.seen();
    assert_eq!(seen[1].call, put);
    assert!(!String::from_utf8_lossy(&seen[1].body).contains("wrangler-session-config"));
    let published: serde_json::Value = serde_json::from_slice(&seen[2].body).unwrap();
    assert_eq!(published["enabled"], true);
}
