//! Each form of binding reaches the service of its name.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::sync::Arc;

use serde_json::json;

use crate::support::{CONFIG, Far, Folder, get};

const WORKER: &str = r#"
import { EmailMessage } from "cloudflare:email";
import { greeting } from "./lib/greeting.js";
import data from "./data.json";
import page from "./page.html";

const read = async (stream) => new TextDecoder().decode(await new Response(stream).arrayBuffer());
const routes = {
  "/modules": async (env) => ({ greeting: greeting(), data, page, quoted: env.QUOTED, object: env.OBJECT }),
  "/d1": (env) => env.DB.prepare("SELECT ? AS one").bind("é").all(),
  "/vectorize": (env) => env.VEC.query([1, 2, 3], { topK: 1 }),
  "/mail/raw": (env) => env.MAIL.send(new EmailMessage("a@x.example", "b@x.example", "Subject: x\r\n\r\nHello")),
  "/mail/stream": (env) => env.MAIL.send(new EmailMessage("a@x.example", "b@x.example", new Response("Hello").body)),
  "/mail/builder": (env) => env.MAIL.send({ from: "a@x.example", to: "b@x.example", subject: "s", text: "t" }),
  "/mail/awaited": async (env) => { const mail = await env.MAIL; return { send: typeof mail.send, then: typeof env.MAIL.then }; },
  "/mail/fetch": async (env) => {
    const response = await env.MAIL.fetch("http://h/a?b#c", { method: "POST", body: "x", headers: { "X-One": "é" } });
    return { status: response.status, reason: response.statusText, seen: await response.json() };
  },
  "/vpc/fetch": async (env) => {
    const response = await env.VPC.fetch("https://inner.example:8443/a%2Fb?c=d", {
      method: "POST", body: "hello", headers: { "X-One": "1", "MF-Connect-Address": "evil:1", "MF-Binding": "DB", "MF-URL": "x" },
      redirect: "manual",
    });
    return { status: response.status, reason: response.statusText, headers: [...response.headers], seen: await response.json() };
  },
  "/vpc/ws": async (env) => {
    const response = await env.VPC.fetch("http://inner.example/ws?MF-Binding=DB", { headers: { Upgrade: "websocket" } });
    const socket = response.webSocket;
    socket.accept();
    const answer = new Promise((resolve) => socket.addEventListener("message", (event) => resolve(event.data)));
    socket.send("hello");
    const text = await answer;
    socket.close(1000);
    return { text };
  },
  "/vpc/connect": async (env) => {
    const socket = env.VPC.connect("db.internal:5432");
    const writer = socket.writable.getWriter();
    await writer.write(new TextEncoder().encode("hello"));
    const { value } = await socket.readable.getReader().read();
    return { text: new TextDecoder().decode(value) };
  },
};

export default {
  async fetch(request, env) {
    try {
      return Response.json(await routes[new URL(request.url).pathname](env));
    } catch (error) {
      return Response.json({ error: error.message, name: error.name }, { status: 502 });
    }
  },
};
"#;

fn folder() -> Folder {
    let folder = Folder::new(CONFIG, WORKER);
    let source = folder.path().join("src");
    std::fs::create_dir(source.join("lib")).unwrap();
    for (name, text) in [
        (
            "lib/greeting.js",
            "import { word } from './word.mjs'; export const greeting = () => word;",
        ),
        ("lib/word.mjs", "export const word = 'hello \"you\"\\u00e9é';"),
        ("data.json", "{\"a\": [1, \"\\\"\"]}"),
        ("page.html", "<p>é\n"),
    ] {
        std::fs::write(source.join(name), text).unwrap();
    }
    folder
}

#[tokio::test]
async fn every_form_reaches_its_service() {
    let far = Arc::new(Far::default());
    let folder = folder();
    let runner = folder.start(&far).await.unwrap();

    let (_, modules) = get(&runner, "/modules").await;
    assert_eq!(
        modules,
        json!({"greeting": "hello \"you\"éé", "data": {"a": [1, "\""]}, "page": "<p>é\n",
            "quoted": "a\"b\\c\né", "object": {"x": [1]}})
    );

    let (_, rows) = get(&runner, "/d1").await;
    assert_eq!(rows["results"], json!([{"one": 1}]), "{rows}");
    let (_, matches) = get(&runner, "/vectorize").await;
    assert_eq!(matches["matches"][0]["id"], "a", "{matches}");
    {
        let seen = far.seen.lock().unwrap();
        assert_eq!(seen[0]["url"], "http://d1/query?resultsFormat=ROWS_AND_COLUMNS");
        assert_eq!(seen[0]["body"], r#"{"sql":"SELECT ? AS one","params":["é"]}"#);
        assert_eq!(seen[0]["binding"], "DB");
        assert_eq!(seen[1]["url"], "http://vector-search/query");
        assert_eq!(seen[1]["binding"], "VEC");
    }
    assert_eq!(far.upgrades(), 0);

    for path in ["/mail/raw", "/mail/stream", "/mail/builder"] {
        let before = far.upgrades();
        let (status, sent) = get(&runner, path).await;
        assert_eq!(status, 200, "{path}: {sent}");
        assert_eq!(sent["path"], r#"["send"]"#, "{path}: {sent}");
        assert_eq!(sent["raw"], path != "/mail/builder", "{path}: {sent}");
        assert_eq!(far.upgrades(), before + 1, "{path}");
    }

    // Nobody asked the far end for a `then`, and the stream went by without a call of its own.
    assert_eq!(*far.calls.lock().unwrap(), [r#"["send"]"#; 3]);

    let (_, fetched) = get(&runner, "/vpc/fetch").await;
    assert_eq!(
        (&fetched["status"], &fetched["reason"]),
        (&json!(302), &json!("As Told"))
    );
    let seen = &fetched["seen"];
    assert_eq!(seen["binding"], "VPC", "{fetched}");
    assert_eq!(seen["url"], "https://inner.example:8443/a%2Fb?c=d");
    assert_eq!(
        (&seen["method"], &seen["body"]),
        (&json!("POST"), &json!("hello"))
    );
    assert_eq!(seen["headers"]["x-one"], "1");
    assert_eq!(seen["headers"]["mf-connect-address"], "evil:1");
    let headers: Vec<&str> = fetched["headers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|header| header[0].as_str().unwrap())
        .collect();
    assert_eq!(
        headers,
        ["content-length", "location", "set-cookie", "set-cookie"]
    );

    assert_eq!(get(&runner, "/vpc/ws").await.1, json!({"text": "ws|hello"}));
    assert_eq!(
        get(&runner, "/vpc/connect").await.1,
        json!({"text": "db.internal:5432|hello"})
    );
    runner.stop().await;
}

#[tokio::test]
async fn awaiting_and_fetching_make_no_call() {
    let far = Arc::new(Far {
        refuse: Some("never asked"),
        ..Far::default()
    });
    let folder = folder();
    let runner = folder.start(&far).await.unwrap();
    let (status, awaited) = get(&runner, "/mail/awaited").await;
    assert_eq!(
        (status, awaited),
        (200, json!({"send": "function", "then": "undefined"}))
    );
    let (status, fetched) = get(&runner, "/mail/fetch").await;
    assert_eq!(status, 200, "{fetched}");
    assert_eq!(
        (&fetched["status"], &fetched["reason"]),
        (&json!(200), &json!("As Told"))
    );
    assert_eq!(fetched["seen"]["url"], "http://h/a?b");
    assert_eq!(fetched["seen"]["headers"]["x-one"], "é");
    assert_eq!(fetched["seen"]["body"], "x");
    assert_eq!(far.upgrades(), 0);
    runner.stop().await;
}

#[tokio::test]
async fn a_refused_upgrade_says_why_at_the_first_call() {
    let far = Arc::new(Far {
        refuse: Some("Access refused this: no service token\nmore"),
        ..Far::default()
    });
    let folder = folder();
    let runner = folder.start(&far).await.unwrap();
    let (status, refused) = get(&runner, "/mail/builder").await;
    assert_eq!(status, 502, "{refused}");
    assert_eq!(refused["error"], "Access refused this: no service token\nmore");
    let (status, refused) = get(&runner, "/vpc/connect").await;
    assert_eq!(status, 502, "{refused}");
    runner.stop().await;
}
