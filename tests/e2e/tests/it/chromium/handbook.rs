//! The example `handbook` in a browser: it reads its documents, answers, is stopped, and says what went wrong.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use bowline_e2e::program::Program;
use bowline_e2e::project::Project;
use bowline_model_server::ModelServer;
use serde_json::json;

/// The example in a project's folder.
fn unpacked() -> Result<(Project, PathBuf)> {
    let project = Project::new(&[])?;
    let folder = project.folder().join("handbook");
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/handbook");
    copy(&example, &folder)?;
    Ok((project, folder))
}

async fn dev(project: &Project) -> Result<Program> {
    Program::start(project.with_toolchain(&["dev", "handbook", "--json", "--port", "0"])?).await
}

/// The example under `bowline dev`, with a server's models instead of its own.
async fn handbook(server: &ModelServer, chat: &str) -> Result<(Project, Program)> {
    let (project, folder) = unpacked()?;
    let model = |model: &str, task: &str| json!({"backend": "server", "model": model, "task": task});
    let bowline = json!({"bindings": {
        // The numbers of the server's embeddings.
        "VEC": {"dimensions": 4, "metric": "cosine"},
        "AI": {
            "backends": {"server": {"type": "openai", "url": server.openai()}},
            "models": {
                "@cf/baai/bge-small-en-v1.5": model("embed", "text-embeddings"),
                "@cf/meta/llama-3.2-1b-instruct": model(chat, "text-generation"),
            },
        },
    }});
    fs::write(folder.join("bowline.jsonc"), bowline.to_string())?;
    let worker =
        Program::start(project.with_toolchain(&["dev", "handbook", "--json", "--port", "0"])?).await?;
    Ok((project, worker))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// By keyboard alone, wide and narrow.
#[tokio::test]
async fn answers() -> Result<()> {
    let server = ModelServer::start().await?;
    let (_project, worker) = handbook(&server, "echo").await?;
    super::run("handbook.mjs", worker.url()).await?;
    Ok(())
}

/// Escape stops the answer on the page, and the model behind the Worker.
#[tokio::test]
async fn is_stopped() -> Result<()> {
    let server = ModelServer::start().await?;
    let (_project, worker) = handbook(&server, "drip").await?;
    super::run("handbook-stopped.mjs", worker.url()).await?;
    tokio::time::timeout(Duration::from_secs(10), server.streams(0)).await?;
    Ok(())
}

/// A model that breaks off is a problem that is told, not an answer.
#[tokio::test]
async fn tells_what_went_wrong() -> Result<()> {
    let server = ModelServer::start().await?;
    let (_project, worker) = handbook(&server, "early").await?;
    super::run("handbook-problem.mjs", worker.url()).await?;
    Ok(())
}

/// As it comes, where there are models.
#[tokio::test]
async fn answers_with_models() -> Result<()> {
    let (project, _) = unpacked()?;
    if let Err(reason) = project.models().await? {
        eprintln!("skipped: {reason}");
        return Ok(());
    }
    let worker = dev(&project).await?;
    super::run("handbook-models.mjs", worker.url()).await?;
    Ok(())
}
