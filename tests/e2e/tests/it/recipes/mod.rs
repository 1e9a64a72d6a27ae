//! Every recipe of `docs/recipes.md` as it stands there, with unmodified tools, against a real remote behind Access.

mod miniflare;
mod package;
mod platform;
mod vite;
mod vitest;
mod wrangler;

use std::net::SocketAddr;
use std::process::Output;

use anyhow::{Result, ensure};
use bowline_e2e::peers::Miniflare;
use bowline_e2e::program::Program;
use bowline_e2e::project::{Credentials, Project};
use bowline_e2e::recipes::{Kitchen, plain};
use bowline_e2e::upstream;
use bowline_e2e::worker::TestWorker;
use bowline_model_server::ModelServer;
use serde_json::{Value, json};

use crate::miniflare::every_binding;

/// A remote with Access on, everything it leads to, and the three kinds of credentials.
struct Stage {
    project: Project,
    remote: Program,
    tcp: SocketAddr,
    http: SocketAddr,
    right: Credentials,
    wrong: Credentials,
    _models: ModelServer,
}

/// Credentials that do not pass, and what the first line of the explanation says of them.
const NONE: &str = "no service token was sent";
const WRONG: &str = "the service token was sent and not accepted";

impl Stage {
    async fn new() -> Result<Self> {
        let (tcp, http) = (upstream::tcp_echo().await?, upstream::http_echo().await?);
        let models = ModelServer::start().await?;
        let project = Project::new(&[tcp.to_string(), http.to_string()])?;
        let model = json!({"backend": "server", "model": "echo", "task": "text-generation"});
        let backends = json!({"server": {"type": "openai", "url": models.openai()}});
        project.configure("AI", json!({"backends": backends, "models": {"@cf/echo": model}}))?;
        // Its services are Workers, so it may have to install workerd.
        let mut serve = project.with_toolchain(&["serve", "--json", "--listen", "127.0.0.1:0"])?;
        serve.arg("--state").arg(project.state());
        let remote = Program::start(serve).await?;
        let right = project.new_token("recipes").await?;
        let wrong = Credentials {
            id: right.id.clone(),
            secret: Some("0".repeat(64)),
        };
        Ok(Self {
            project,
            remote,
            tcp,
            http,
            right,
            wrong,
            _models: models,
        })
    }

    async fn kitchen(&self, miniflare: Miniflare) -> Result<Kitchen<'_>> {
        Kitchen::new(&self.project, self.remote.url(), miniflare).await
    }

    /// One call on each binding that can say why it was refused.
    fn calls(&self) -> Vec<(&'static str, Value)> {
        let http = format!("http://{}/x", self.http);
        let mail = json!({"from": "from@example.com", "to": "to@example.com", "subject": "s", "text": "t"});
        vec![
            ("d1.first", json!({"sql": "SELECT 1 AS one"})),
            ("vec.describe", json!({})),
            (
                "ai.run",
                json!({"model": "@cf/echo", "inputs": {"prompt": "ahoy"}}),
            ),
            ("art.create", json!({"name": "notes"})),
            ("svc.call", json!({"method": "add", "args": [1, 2]})),
            ("svc.fetch", json!({"url": "https://callee.example/x"})),
            (
                "dispatch.call",
                json!({"name": "two", "method": "greet", "args": ["you"]}),
            ),
            (
                "dispatch.fetch",
                json!({"name": "one", "url": "https://customer.example/y"}),
            ),
            ("vpc.fetch", json!({"url": http})),
            ("mail.builder", json!({"message": mail})),
        ]
    }

    /// Runs a recipe that serves the test Worker: with the right token every binding answers, with a wrong one and with none
    /// every call says why not, and the terminal says it once.
    async fn serves(&self, kitchen: &Kitchen<'_>, codes: bool, command: &[&str]) -> Result<()> {
        let mut served = kitchen.serve(&self.right, command).await?;
        for (call, args) in self.calls() {
            let result = served.ok(call, args).await?;
            assert!(right(call, &result), "{call}: {result}");
        }
        every_binding(&mut served, codes, &self.project, self.tcp, self.http).await?;
        let (_, said) = served.interrupt().await?;
        assert!(!said.contains("refused"), "{said}");
        for (credentials, reason) in [(&self.wrong, WRONG), (&Credentials::default(), NONE)] {
            let mut served = kitchen.serve(credentials, command).await?;
            for (call, args) in self.calls() {
                let answer = served.call(call, args).await?;
                refused(call, &answer, reason);
            }
            let (_, said) = served.interrupt().await?;
            assert_eq!(
                said.matches("bowline: Access refused").count(),
                1,
                "told once: {said}"
            );
            assert!(said.contains(reason), "{said}");
        }
        Ok(())
    }
}

/// The calls of a stage, made all at once by a program that prints `ANSWER` and the answer.
struct Batch(Vec<(&'static str, Value)>);

impl Stage {
    /// Puts such a program into the project, and the calls beside it.
    fn batch(&self, name: &str, program: &str) -> Result<Batch> {
        let calls = self.calls();
        std::fs::write(self.project.folder().join("calls.json"), json!(calls).to_string())?;
        std::fs::write(self.project.folder().join(name), program)?;
        Ok(Batch(calls))
    }
}

impl Batch {
    fn answers(&self, output: &Output) -> Result<Vec<Value>> {
        let said = String::from_utf8_lossy(&output.stdout);
        let answers: Vec<Value> = said
            .lines()
            .map(plain)
            .filter_map(|line| line.strip_prefix("ANSWER ").map(serde_json::from_str))
            .collect::<Result<_, _>>()?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(answers.len() == self.0.len(), "{said}\n{errors}");
        Ok(answers)
    }

    /// Every call answered what it should, and nothing else failed.
    fn right(&self, output: &Output) -> Result<()> {
        for ((call, _), answer) in self.0.iter().zip(self.answers(output)?) {
            assert!(right(call, &answer["result"]), "{call}: {answer}");
        }
        assert!(output.status.success(), "{output:?}");
        Ok(())
    }

    /// Every call says why it was refused, and the terminal says it once.
    fn refused(&self, output: &Output, reason: &str) -> Result<()> {
        for ((call, _), answer) in self.0.iter().zip(self.answers(output)?) {
            refused(call, &answer, reason);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let told = said
            .lines()
            .filter(|line| line.starts_with("bowline: Access refused"));
        assert_eq!(told.count(), 1, "told once: {said}");
        Ok(())
    }
}

/// Whether a call of [`Stage::calls`] answered what it should.
fn right(call: &str, result: &Value) -> bool {
    match call {
        "d1.first" => *result == json!({"one": 1}),
        "vec.describe" => result["dimensions"] == 3,
        "ai.run" => result["result"]["response"] == "you said: ahoy",
        "art.create" => result["name"] == "notes" && result["token"].is_string(),
        "svc.call" => *result == 3,
        "svc.fetch" => result["status"] == 203 && result["headers"]["x-from"] == "callee",
        "dispatch.call" => *result == "two greets you",
        "dispatch.fetch" => result["body"]
            .as_str()
            .is_some_and(|body| body.contains("\"customer\":\"one\"")),
        "vpc.fetch" => result["status"] == 418,
        "mail.builder" => result["messageId"].is_string(),
        _ => false,
    }
}

/// Fails unless the answer to a call is a refusal of Access that says why.
fn refused(call: &str, answer: &Value, reason: &str) {
    let binding = match &call[..3] {
        "d1." => "DB",
        "vec" => "VEC",
        "ai." => "AI",
        "art" => "ART",
        "svc" => "SVC",
        "dis" => "CUSTOMERS",
        "vpc" => "VPC",
        _ => "MAIL",
    };
    // A fetch gives the refusal as its response, every other call throws it.
    let text = if answer["ok"] == true {
        assert_eq!(answer["result"]["status"], 403, "{call}: {answer}");
        &answer["result"]["body"]
    } else {
        &answer["error"]["message"]
    };
    if call == "vec.describe" {
        // workerd asks without saying what it accepts, and shows a status and no more; the words are on the terminal.
        assert_eq!(text, "INDEX_GET_ERROR: Status + 403", "{answer}");
        return;
    }
    let text = text.as_str().unwrap_or_default();
    assert!(
        text.contains(&format!("Access refused binding \"{binding}\"")) && text.contains(reason),
        "{call}: {answer}"
    );
}
