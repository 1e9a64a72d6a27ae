//! The part of the demo with models: a handbook that answers questions over its own documents.
//!
//! Its Worker stands behind Access as the other one does; its models run in this process. They are large, so this part is
//! shown only when asked for.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bowline_credentials::{CredentialState, Credentials, Origin};
use bowline_gateway::Mode;
use bowline_models::{CAN_RUN, CATALOG, ModelStore};
use bowline_workerd::OutputSink;
use http::Method;
use serde_json::{Value, json};

use super::{Case, Stage, project};
use crate::commands::{dev, models};
use crate::env_vars::{self, CLOUDFLARE_ACCESS_CLIENT_ID, CLOUDFLARE_ACCESS_CLIENT_SECRET, Env};
use crate::error::{CliError, Kind};
use crate::{line, settings};

/// One request to the handbook: a model reads and writes at its own pace.
const REQUEST: Duration = Duration::from_secs(180);

const FILES: [(&str, &str); 12] = [
    (
        "wrangler.jsonc",
        include_str!("../../../../../examples/handbook/wrangler.jsonc"),
    ),
    (
        "bowline.jsonc",
        include_str!("../../../../../examples/handbook/bowline.jsonc"),
    ),
    (
        "src/index.js",
        include_str!("../../../../../examples/handbook/src/index.js"),
    ),
    (
        "src/answer.js",
        include_str!("../../../../../examples/handbook/src/answer.js"),
    ),
    (
        "src/documents.js",
        include_str!("../../../../../examples/handbook/src/documents.js"),
    ),
    (
        "src/events.js",
        include_str!("../../../../../examples/handbook/src/events.js"),
    ),
    (
        "src/page.html",
        include_str!("../../../../../examples/handbook/src/page.html"),
    ),
    (
        "src/documents/arrival.html",
        include_str!("../../../../../examples/handbook/src/documents/arrival.html"),
    ),
    (
        "src/documents/fees.csv.txt",
        include_str!("../../../../../examples/handbook/src/documents/fees.csv.txt"),
    ),
    (
        "src/documents/rules.md.txt",
        include_str!("../../../../../examples/handbook/src/documents/rules.md.txt"),
    ),
    (
        "src/documents/services.html",
        include_str!("../../../../../examples/handbook/src/documents/services.html"),
    ),
    (
        "src/documents/weather.txt",
        include_str!("../../../../../examples/handbook/src/documents/weather.txt"),
    ),
];

/// What is asked of it, and what the passages found for it say: what a model makes of them is not ours to check.
const REQUESTS: [Case; 3] = [
    Case {
        flow: "fetch",
        binding: "AI",
        method: Method::POST,
        path: "/documents",
        body: "",
        says: "passages",
    },
    Case {
        flow: "fetch",
        binding: "AI",
        method: Method::POST,
        path: "/ask",
        body: r#"{"question":"How much is one night for a boat of 10 metres?"}"#,
        says: "26 euros",
    },
    Case {
        flow: "fetch",
        binding: "AI",
        method: Method::POST,
        path: "/ask",
        body: r#"{"question":"What do two black balls mean?"}"#,
        says: "nobody leaves the harbour",
    },
];

/// Fetches the models if they are wanted and not here. Blocks, and Ctrl-C ends the program meanwhile.
pub(super) fn prepare(with_models: bool, env: Env<'_>) -> Result<(), CliError> {
    if !with_models {
        return Ok(());
    }
    if !CAN_RUN {
        let problem = "this bowline runs no models: it was built without the feature `embedded-models`";
        return Err(CliError::message(Kind::User, problem).hint(how()));
    }
    let store = ModelStore::in_cache(&env_vars::cache_folder(env));
    CATALOG
        .iter()
        .try_for_each(|model| models::fetch(&store, model).map(drop))
}

/// The command that shows this part.
fn how() -> &'static str {
    if CAN_RUN {
        "bowline demo --with-models"
    } else {
        "cargo run --release -p bowline --features embedded-models -- demo --with-models"
    }
}

/// What is said in place of this part.
pub(super) fn left_out() -> (String, Value) {
    let megabytes = CATALOG.iter().map(|model| model.download).sum::<u64>() / 1_000_000;
    let why = format!("it runs small models in this process, {megabytes} MB that are fetched once");
    let text = format!(
        "\nLeft out: Workers AI, a handbook that answers questions over its own documents; {why}. To see it:\n  {}",
        how()
    );
    (text, json!({"part": "handbook", "why": why, "how": how()}))
}

/// One call of the Worker on a binding, or one request whose answer was not what it should be.
pub(super) struct Call(Value);

impl Call {
    pub(super) fn ok(&self) -> bool {
        self.0["ok"] == true
    }

    pub(super) fn to_json(&self) -> Value {
        self.0.clone()
    }

    fn new(binding: &str, ok: bool, status: u16, milliseconds: f64, detail: String) -> Self {
        Self(json!({
            "flow": "fetch", "binding": binding, "credentials": "valid", "access": true, "ok": ok, "status": status,
            "elapsed_ms": milliseconds, "detail": detail,
        }))
    }

    fn to_line(&self) -> String {
        let text = |key: &str| self.0[key].as_str().unwrap_or_default();
        let mark = if self.ok() { "ok  " } else { "FAIL" };
        let elapsed = self.0["elapsed_ms"].as_f64().unwrap_or_default();
        format!(
            "  {mark} {:<10} {:<5} {:<4} {elapsed:>7.1} ms  {}",
            text("flow"),
            text("binding"),
            self.0["status"],
            text("detail")
        )
    }
}

/// Starts the handbook behind Access with a valid token, has it read its documents and answer questions.
pub(super) async fn show(
    folder: &Path,
    store: bowline_access_store::AccessStore,
    token: (String, String),
    env: Env<'static>,
    say: impl Fn(&str),
) -> Result<(Vec<Call>, Stage), CliError> {
    say(
        "\nA handbook that answers from its own documents. Its models (small: what they read is right, what they say may not be):",
    );
    let project = project::write(&folder.join("handbook"), &FILES)?;
    let state = folder.join("handbook-remote");
    let router = Arc::new(crate::project::router(&project, |_| true, &state, env)?);
    let (url, guard) = super::remote(store, Mode::Guard, router).await?;
    let given = |value: String| Some((value, Origin::Given("this demo")));
    let names = (CLOUDFLARE_ACCESS_CLIENT_ID, CLOUDFLARE_ACCESS_CLIENT_SECRET);
    let pair = CredentialState::from_pair(given(token.0), given(token.1), names);
    let credentials = Credentials::new(settings::host(&url)?, pair).map_err(settings::unsendable)?;
    let proxy = line::quiet_proxy(url, credentials, env, None)?;
    let (_, services) = line::place(&project, Some(&proxy), folder, env)?;
    let ignore: OutputSink = Arc::new(|_| {});
    let runner = dev::start(project, services, 0, env, ignore).await?;

    let mut calls = Vec::new();
    for case in &REQUESTS {
        let asked: Value = serde_json::from_str(case.body).unwrap_or_default();
        say(&match asked["question"].as_str() {
            Some(question) => format!("\n{question}"),
            None => "\nRead the documents:".to_owned(),
        });
        let (made, answer) = request(case, &runner.url()).await;
        made.iter().for_each(|call| say(&call.to_line()));
        if !answer.is_empty() {
            say(&format!("  → {}", answer.replace('\n', "\n    ")));
        }
        calls.extend(made);
    }
    let stage = Stage {
        runner,
        beside: None,
        _remote: guard,
    };
    Ok((calls, stage))
}

/// The calls that one request makes, and the answer if it asks for one. One more, failed, where the request is.
async fn request(case: &Case, worker: &str) -> (Vec<Call>, String) {
    let started = Instant::now();
    let failed = |status: u16, why: String| {
        let elapsed = started.elapsed().as_secs_f64() * 1e3;
        Call::new(
            case.binding,
            false,
            status,
            elapsed,
            format!("{}: {why}", case.path),
        )
    };
    let (status, text) = match tokio::time::timeout(REQUEST, super::call(case, worker)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return (vec![failed(0, error.to_string())], String::new()),
        Err(_) => {
            let why = format!("no answer within {} s", REQUEST.as_secs());
            return (vec![failed(0, why)], String::new());
        }
    };
    let (mut calls, mut answer, mut done) = (Vec::new(), String::new(), false);
    for (event, data) in events(&text) {
        match event {
            "call" if data["ms"].is_number() => {
                let text = |key: &str| data[key].as_str().unwrap_or_default();
                let detail = format!("{}  {}", text("text"), text("says"));
                let elapsed = data["ms"].as_f64().unwrap_or_default();
                calls.push(Call::new(
                    text("binding"),
                    data["ok"] == true,
                    status,
                    elapsed,
                    detail,
                ));
            }
            "token" => answer.push_str(data["text"].as_str().unwrap_or_default()),
            "done" => done = true,
            _ => {}
        }
    }
    if !done || !text.contains(case.says) {
        let end = text.trim_end().rsplit("\n\n").next().unwrap_or_default();
        calls.push(failed(status, end.to_owned()));
    } else if case.path == "/ask" && answer.trim().is_empty() {
        calls.push(failed(status, "the model said nothing".to_owned()));
    }
    (calls, answer.trim().to_owned())
}

/// The events of a stream, whole.
fn events(text: &str) -> impl Iterator<Item = (&str, Value)> {
    text.split("\n\n").filter_map(|event| {
        let (name, data) = event.strip_prefix("event: ")?.split_once("\ndata: ")?;
        Some((name, serde_json::from_str(data).ok()?))
    })
}
