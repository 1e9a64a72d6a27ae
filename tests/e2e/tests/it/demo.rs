//! The main job in one command.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use bowline_e2e::program;
use bowline_e2e::project::Project;
use serde_json::Value;

#[tokio::test]
async fn every_flow_does_what_it_should() -> Result<()> {
    let project = Project::new(&[])?;
    let command = project.with_toolchain(&["demo", "--once", "--json"])?;
    let output = program::run(command, Duration::from_secs(150)).await?;
    let said = String::from_utf8_lossy(&output.stderr);
    let document: Value = serde_json::from_slice(&output.stdout)?;
    assert!(
        output.status.success() && document["ok"] == true,
        "{document}\n{said}"
    );
    let (mut seen, mut bindings) = (BTreeSet::new(), BTreeSet::new());
    for check in document["checks"].as_array().into_iter().flatten() {
        for key in ["binding", "status", "detail"] {
            assert!(check.get(key).is_some(), "{key} is in {check}");
        }
        assert!(check["elapsed_ms"].is_number() && check["ok"] == true, "{check}");
        bindings.insert(check["binding"].as_str().unwrap_or_default());
        seen.insert(format!(
            "{} {} {}",
            check["flow"].as_str().unwrap_or_default(),
            check["credentials"].as_str().unwrap_or_default(),
            check["access"]
        ));
    }
    let left_out = &document["left_out"][0];
    assert_eq!(left_out["part"], "handbook", "{document}");
    assert!(
        left_out["how"].as_str().unwrap().ends_with("demo --with-models"),
        "{left_out}"
    );
    for binding in ["ART", "DB", "FRAMES", "IMAGES", "MAIL", "PRESS", "VEC", "VPC"] {
        assert!(bindings.contains(binding), "{binding} among {bindings:?}");
    }
    assert!(seen.contains("git valid true"), "git among {seen:?}");
    for flow in ["fetch", "rpc", "connect", "websocket"] {
        for case in ["valid true", "none true", "wrong true", "none false"] {
            assert!(
                seen.contains(&format!("{flow} {case}")),
                "{flow} {case} among {seen:?}"
            );
        }
    }
    Ok(())
}

/// The part with models, where there are any.
#[tokio::test]
async fn with_models() -> Result<()> {
    let project = Project::new(&[])?;
    if let Err(reason) = project.models().await? {
        eprintln!("skipped: {reason}");
        return Ok(());
    }
    let command = project.with_toolchain(&["demo", "--once", "--json", "--with-models"])?;
    let output = program::run(command, Duration::from_secs(300)).await?;
    let said = String::from_utf8_lossy(&output.stderr);
    let document: Value = serde_json::from_slice(&output.stdout)?;
    assert!(
        output.status.success() && document["ok"] == true && document["left_out"] == serde_json::json!([]),
        "{document}\n{said}"
    );
    // Which models they are is said before they say anything.
    assert!(
        said.contains("@cf/meta/llama-3.2-1b-instruct → SmolLM2-135M-Instruct at here (in this process)"),
        "{said}"
    );
    for call in [
        "toMarkdown(\"fees.csv\")",
        "vectors of 384 numbers",
        "query(vector",
        "{ stream: true }",
    ] {
        let made = document["checks"].as_array().into_iter().flatten();
        let mut details = made.filter_map(|check| check["detail"].as_str());
        assert!(
            details.any(|detail| detail.contains(call)),
            "{call} in {document}"
        );
    }
    Ok(())
}
