//! The test Worker (`driver/worker.mjs`), wherever it runs.

use anyhow::{Context, Result, ensure};
use http::Method;
use serde_json::{Value, json};

use crate::client::Outgoing;
use crate::program::Program;

/// The Worker, taking calls one at a time.
#[expect(async_fn_in_trait, reason = "awaited where it is called, in tests only")]
pub trait TestWorker {
    /// One call in the Worker: `{"call","ok","result"|"error"}`.
    async fn call(&mut self, call: &str, args: Value) -> Result<Value>;

    /// The result of a call that must succeed.
    async fn ok(&mut self, call: &str, args: Value) -> Result<Value> {
        let mut answer = self.call(call, args.clone()).await?;
        ensure!(answer["ok"] == true, "{call} {args} failed: {answer}");
        Ok(answer["result"].take())
    }

    /// The error of a call that must fail.
    async fn error(&mut self, call: &str, args: Value) -> Result<Value> {
        let mut answer = self.call(call, args.clone()).await?;
        ensure!(answer["ok"] == false, "{call} {args} did not fail: {answer}");
        ensure!(
            answer["error"]["name"] != "DeadlineError",
            "{call} {args} hung: {answer}"
        );
        Ok(answer["error"].take())
    }
}

/// The Worker under a running `bowline dev`.
impl TestWorker for Program {
    async fn call(&mut self, call: &str, args: Value) -> Result<Value> {
        let answer = Outgoing::new(Method::POST, &format!("{}/", self.url().trim_end_matches('/')))
            .body(json!({"call": call, "args": args}).to_string())
            .send()
            .await
            .with_context(|| format!("{call} {args}"))?;
        serde_json::from_slice(&answer.body).with_context(|| format!("{call} {args}: {}", answer.text()))
    }
}
