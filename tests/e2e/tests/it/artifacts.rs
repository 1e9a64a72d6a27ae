//! Artifacts against real git clients.

use anyhow::{Context, Result};
use bowline_e2e::git::{Folder, code, stub, text, with_token};
use bowline_e2e::program::Program;
use bowline_e2e::project::{Access, Project};
use capnweb::{Capability, Stub, Value};
use serde_json::json;

fn project(limits: &serde_json::Value) -> Result<Project> {
    let wrangler = json!({
        "name": "git", "main": "worker.mjs", "compatibility_date": "2026-07-01",
        "artifacts": [{"binding": "ART", "namespace": "team"}],
    });
    Project::of(&wrangler, &json!({"bindings": {"ART": limits}}))
}

/// A remote without Access, and the binding's main object.
async fn remote(project: &Project) -> Result<(Program, Stub)> {
    let remote = project.serve(Access::Off).await?;
    let main = stub(remote.url(), "ART").await?;
    Ok((remote, main))
}

/// Makes a repository; its URL with a token that may write.
async fn create(main: &Stub, name: &str) -> Result<String> {
    let made = main.call("create", [name.into()]).await?;
    Ok(with_token(&text(&made, "remote")?, &text(&made, "token")?))
}

async fn get(main: &Stub, name: &str) -> Result<Stub> {
    match main.call("get", [name.into()]).await? {
        Value::Capability(Capability::Stub(stub)) => Ok(stub),
        other => anyhow::bail!("get gave {other:?}"),
    }
}

#[tokio::test]
async fn commits_succeed_and_content_reads_back() -> Result<()> {
    let project = project(&json!({}))?;
    let (_remote, main) = remote(&project).await?;
    let url = create(&main, "Notes").await?;
    let git = Folder::new()?;

    git.git(".", &["clone", "-q", &url, "a"]).await?;
    let first = git.commit("a", "docs/read me.md", "hello\n").await?;
    git.git("a", &["push", "-q", "origin", "HEAD"]).await?;
    let second = git.commit("a", "bin/run", vec![0, 159, 146, 150]).await?;
    git.git("a", &["tag", "-a", "v1", "-m", "one"]).await?;
    git.git("a", &["push", "-q", "origin", "HEAD", "v1"]).await?;

    for (name, arguments) in [
        ("whole", &[][..]),
        ("v0", &["-c", "protocol.version=0"]),
        ("v1", &["-c", "protocol.version=1"]),
    ] {
        let clone = [arguments, &["clone", "-q", &url, name]].concat();
        git.git(".", &clone).await?;
        assert_eq!(git.git(name, &["rev-parse", "HEAD"]).await?, second, "{name}");
        assert_eq!(
            std::fs::read(git.path().join(name).join("bin/run"))?,
            [0, 159, 146, 150]
        );
        git.git(name, &["fsck", "--strict"]).await?;
    }
    git.git(".", &["clone", "-q", "--depth=1", &url, "shallow"])
        .await?;
    assert_eq!(git.git("shallow", &["rev-list", "--count", "HEAD"]).await?, "1");
    git.git("shallow", &["fetch", "-q", "--unshallow"]).await?;
    assert_eq!(git.git("shallow", &["rev-list", "--count", "HEAD"]).await?, "2");
    git.git(
        ".",
        &[
            "clone",
            "-q",
            "--filter=blob:none",
            "--no-checkout",
            &url,
            "partial",
        ],
    )
    .await?;
    let missing = git
        .git("partial", &["rev-list", "--objects", "--missing=print", "HEAD"])
        .await?;
    assert!(
        missing.lines().any(|line| line.starts_with('?')),
        "a partial clone has no blobs: {missing}"
    );
    git.git("partial", &["checkout", "-q", "main"]).await?;

    // A third commit reaches the other clone, which then rewrites history by force.
    let third = git.commit("a", "c", "3").await?;
    git.git("a", &["push", "-q"]).await?;
    git.git("whole", &["pull", "-q"]).await?;
    assert_eq!(git.git("whole", &["rev-parse", "HEAD"]).await?, third);
    git.git("whole", &["reset", "-q", "--hard", &first]).await?;
    let fourth = git.commit("whole", "d", "4").await?;
    let refused = git.try_git("whole", &["push", "-q"]).await?;
    assert!(
        !refused.ok && refused.err.contains("non-fast-forward"),
        "{}",
        refused.err
    );
    git.git("whole", &["push", "-q", "--force"]).await?;
    git.git("a", &["push", "-q", "origin", "HEAD:side"]).await?;
    git.git("a", &["push", "-q", "origin", ":side"]).await?;

    // What git says of its objects, the binding says, too.
    let repo = get(&main, "notes").await?;
    let info = repo.call("info", []).await?;
    assert_eq!(text(&info, "name")?, "Notes");
    assert!(text(&info, "lastPushAt")? > text(&info, "createdAt")?);
    assert_eq!(repo.get("defaultBranch").await?.as_str(), Some("main"));
    let commits = repo.call("log", []).await?;
    let Value::Array(commits) = commits else {
        anyhow::bail!("log gave {commits:?}")
    };
    assert_eq!(commits.len(), 2);
    assert_eq!(text(&commits[0], "hash")?, fourth);
    assert_eq!(text(&commits[0], "message")?, "change d");
    assert_eq!(
        commits[0]
            .member("author")
            .map(|author| text(author, "email"))
            .context("author")??,
        "ann@example.com"
    );
    assert_eq!(text(&commits[1], "hash")?, first);
    let at_tag = repo
        .call(
            "log",
            [Value::object([("ref", "v1".into()), ("offset", 1.0.into())])],
        )
        .await?;
    assert!(matches!(&at_tag, Value::Array(commits) if commits.len() == 1));
    let commit = repo.call("readCommit", [first.as_str().into()]).await?;
    let tree = text(&commit, "treeHash")?;
    assert_eq!(
        tree,
        git.git("whole", &["rev-parse", &format!("{first}^{{tree}}")])
            .await?
    );
    let tree = repo.call("readTree", [tree.into()]).await?;
    let Value::Array(entries) = tree else {
        anyhow::bail!("readTree gave {tree:?}")
    };
    assert_eq!(
        (
            text(&entries[0], "name")?,
            text(&entries[0], "mode")?,
            text(&entries[0], "type")?
        ),
        ("docs".into(), "40000".into(), "tree".into())
    );
    let file = |reference: &str, path: &str| {
        repo.call(
            "readFile",
            [Value::object([("ref", reference.into()), ("path", path.into())])],
        )
    };
    let Value::Blob(blob) = file("HEAD", "docs/read me.md").await? else {
        anyhow::bail!("no blob")
    };
    assert_eq!(
        (blob.bytes.as_slice(), blob.media_type.as_str()),
        (&b"hello\n"[..], "text/plain;charset=utf-8")
    );
    let Value::Blob(blob) = file("refs/tags/v1", "bin/run").await? else {
        anyhow::bail!("no blob")
    };
    assert_eq!(blob.media_type, "application/octet-stream");
    for (reference, path) in [
        ("HEAD", "bin/run"),
        ("HEAD", "docs"),
        ("HEAD", "docs/../docs/read me.md"),
        ("nowhere", "c"),
        ("refs/remotes/x", "c"),
        ("../../config", "c"),
        ("HEAD", "docs/read me.md/x"),
    ] {
        assert_eq!(file(reference, path).await?, Value::Null, "{reference} {path}");
    }
    let blob = git.git("whole", &["rev-parse", "HEAD:d"]).await?;
    assert!(
        matches!(repo.call("readBlob", [blob.as_str().into()]).await?, Value::Blob(blob) if blob.bytes == b"4")
    );
    assert_eq!(repo.call("readBlob", [first.as_str().into()]).await?, Value::Null);
    assert_eq!(repo.call("readBlob", ["0".repeat(40).into()]).await?, Value::Null);
    assert_eq!(
        code(&repo.call("readTree", [blob.into()]).await.unwrap_err()),
        "INVALID_INPUT"
    );
    assert_eq!(
        code(&repo.call("readTree", ["xyz".into()]).await.unwrap_err()),
        "INVALID_INPUT"
    );
    Ok(())
}
