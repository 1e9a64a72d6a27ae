//! Workers that an unmodified wrangler uploads into a dispatch namespace, called at a remote beside those of a folder.

use anyhow::{Context, Result, ensure};
use bowline_client::{Client, Secret};
use bowline_e2e::edge::{Inside, Sent};
use bowline_e2e::project::{Credentials, Project};
use bowline_e2e::rust_client::RustClient;
use bowline_e2e::worker::TestWorker;
use serde_json::{Value, json};

use crate::service;

const CUSTOMER: &str = r#"
import { WorkerEntrypoint } from "cloudflare:workers";
export default class extends WorkerEntrypoint {
	async fetch(request) {
		if (new URL(request.url).pathname === "/out") return fetch("https://api.example/data");
		const { one } = await this.env.DB.prepare("SELECT 1 AS one").first();
		return Response.json({ name: this.env.NAME, level: this.env.LEVEL, one });
	}
	greet(who) {
		return `${this.env.NAME} greets ${who}`;
	}
}
"#;

/// Runs wrangler to its end: whether it succeeded, and what it said.
async fn wrangler(project: &Project, arguments: &[&str]) -> Result<(bool, String)> {
    let tool = [&["wrangler"], arguments].concat();
    let mut inside = Inside::start(project, &[], Sent::Right, &tool).await?;
    let (status, said) = inside.ended().await?;
    Ok((status.success(), said))
}

/// Uploads the Worker `three` into the namespace `customers`.
async fn deploy(project: &Project, name: &str) -> Result<(bool, String)> {
    let folder = project.folder().join("uploaded");
    std::fs::create_dir_all(&folder)?;
    let configuration = json!({
        "name": "three", "main": "index.mjs", "compatibility_date": "2026-07-01",
        "vars": {"NAME": name, "LEVEL": {"high": true}},
        "d1_databases": [{"binding": "DB", "database_name": "three", "database_id": "three"}],
    });
    std::fs::write(folder.join("wrangler.jsonc"), configuration.to_string())?;
    std::fs::write(folder.join("index.mjs"), CUSTOMER)?;
    let config = folder.join("wrangler.jsonc");
    let config = config.to_str().context("a path is text")?;
    wrangler(
        project,
        &["deploy", "--config", config, "--dispatch-namespace", "customers"],
    )
    .await
}

#[tokio::test]
async fn uploads_are_called() -> Result<()> {
    let (project, remote) = service::remote().await?;
    let Credentials { id, secret } = project.new_token("dispatch").await?;
    let (id, secret) = (id.context("an id")?, secret.context("a secret")?);
    let client = Client::builder(remote.url()).service_token(id, Secret::new(secret));
    let mut worker = RustClient(client.build()?);

    let (deployed, said) = deploy(&project, "drei").await?;
    ensure!(
        !deployed && said.contains("there is no dispatch namespace \"customers\""),
        "{said}"
    );
    let (made, said) = wrangler(&project, &["dispatch-namespace", "create", "customers"]).await?;
    ensure!(
        made && said.contains("Created dispatch namespace \"customers\""),
        "{said}"
    );
    let three = json!({"name": "three", "url": "https://x.example/"});
    let answer = worker.ok("dispatch.fetch", three.clone()).await?;
    assert_eq!(answer["body"], "Worker not found.", "{answer}");
    // The second upload takes the first one's place while that runs.
    for name in ["drei", "trois"] {
        let (deployed, said) = deploy(&project, name).await?;
        ensure!(
            deployed && said.contains("Dispatch Namespace: customers"),
            "{said}"
        );
        let answer = worker.ok("dispatch.fetch", three.clone()).await?;
        let body = answer["body"].as_str().context("a body")?;
        assert_eq!(
            serde_json::from_str::<Value>(body).with_context(|| body.to_owned())?,
            json!({"name": name, "level": {"high": true}, "one": 1})
        );
        let greet = json!({"name": "three", "method": "greet", "args": ["Zoë"]});
        assert_eq!(
            worker.ok("dispatch.call", greet).await?,
            json!(format!("{name} greets Zoë"))
        );
    }
    // The outbound Worker stands behind an uploaded one, too.
    let out = json!({"name": "three", "url": "https://x.example/out", "options": {
        "limits": {"cpuMs": 50, "subRequests": 5}, "outbound": {"plan": "free"},
    }});
    let answer = worker.ok("dispatch.fetch", out).await?;
    let body: Value = serde_json::from_str(answer["body"].as_str().context("a body")?)?;
    assert_eq!(
        (&body["asked"], &body["plan"]),
        (&json!("https://api.example/data"), &json!("free")),
        "{answer}"
    );
    let greet = json!({"name": "one", "method": "greet", "args": ["Zoë"]});
    assert_eq!(worker.ok("dispatch.call", greet).await?, "one greets Zoë");
    Ok(())
}
