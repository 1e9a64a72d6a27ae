//! The same calls from every caller: unmodified miniflare, `bowline dev` with the binding at a remote and in its own
//! process, and `bowline-client`. git is the witness.

use anyhow::{Context, Result};
use bowline_client::{Client, Secret};
use bowline_e2e::git::{Folder, with_token};
use bowline_e2e::peers::{Driver, Miniflare};
use bowline_e2e::project::{Access, Credentials, Project};
use bowline_e2e::rust_client::RustClient;
use bowline_e2e::worker::TestWorker;
use serde_json::{Value, json};

/// What a caller's Cap'n Web can carry.
#[derive(Clone, Copy)]
struct Carries {
    /// `code` of an error.
    codes: bool,
    blobs: bool,
}

const ALL: Carries = Carries {
    codes: true,
    blobs: true,
};

async fn under_miniflare(version: Miniflare) -> Result<()> {
    let project = Project::new(&[])?;
    let remote = project.serve(Access::On).await?;
    let token = project.new_token("artifacts").await?;
    let proxy = project.connect(remote.url(), &token).await?;
    let mut worker = Driver::start(version, proxy.url()).await?;
    // miniflare 4 has capnweb 0.5.
    let new = version == Miniflare::V5;
    every_call(
        &mut worker,
        Carries {
            codes: new,
            blobs: new,
        },
    )
    .await?;
    worker.stop().await
}

#[tokio::test]
async fn four() -> Result<()> {
    under_miniflare(Miniflare::V4).await
}

#[tokio::test]
async fn five() -> Result<()> {
    under_miniflare(Miniflare::V5).await
}

#[tokio::test]
async fn dev_with_a_remote() -> Result<()> {
    let project = Project::new(&[])?;
    let remote = project.serve(Access::On).await?;
    let token = project.new_token("artifacts").await?;
    let mut worker = project.dev(remote.url(), &token).await?;
    every_call(&mut worker, ALL).await
}

#[tokio::test]
async fn dev_in_its_own_process() -> Result<()> {
    let project = Project::new(&[])?;
    let mut dev = project.with_toolchain(&["dev", "--json", "--port", "0"])?;
    dev.arg("--state").arg(project.state());
    let mut worker = bowline_e2e::program::Program::start(dev).await?;
    every_call(&mut worker, ALL).await
}

#[tokio::test]
async fn rust_client() -> Result<()> {
    let project = Project::new(&[])?;
    let remote = project.serve(Access::On).await?;
    let Credentials { id, secret } = project.new_token("artifacts").await?;
    let (id, secret) = (id.context("an id")?, secret.context("a secret")?);
    let client = Client::builder(remote.url()).service_token(id, Secret::new(secret));
    every_call(&mut RustClient(client.build()?), ALL).await
}

async fn every_call(worker: &mut impl TestWorker, carries: Carries) -> Result<()> {
    let git = Folder::new()?;
    let options = json!({"description": "what we know", "setDefaultBranch": "trunk"});
    let made = worker
        .ok("art.create", json!({"name": "Notes", "options": options}))
        .await?;
    assert_eq!(
        (&made["name"], &made["description"], &made["defaultBranch"]),
        (&json!("Notes"), &json!("what we know"), &json!("trunk"))
    );
    let text = |value: &Value, name: &str| -> Result<String> {
        Ok(value[name]
            .as_str()
            .with_context(|| format!("{name} of {value}"))?
            .to_owned())
    };
    let id = text(&made, "id")?;
    assert!(
        id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()),
        "{id}"
    );
    assert!(text(&made, "remote")?.ends_with("/git/team/Notes.git"), "{made}");
    assert!(text(&made, "token")?.starts_with("art_v2_x_"), "{made}");
    assert!(made["tokenExpiresAt"].is_string(), "{made}");
    let url = with_token(&text(&made, "remote")?, &text(&made, "token")?);

    git.git(".", &["clone", "-q", &url, "a"]).await?;
    git.commit("a", "docs/a.txt", "first\n").await?;
    let head = git.commit("a", "docs/a.txt", "Zoë was here\n").await?;
    git.git("a", &["push", "-q", "origin", "HEAD:trunk"]).await?;

    let notes = json!({"name": "notes"});
    let info = worker.ok("art.info", notes.clone()).await?;
    assert_eq!((&info["id"], &info["name"]), (&json!(id), &json!("Notes")));
    assert_eq!(
        (&info["readOnly"], &info["source"]),
        (&json!(false), &json!(null)),
        "{info}"
    );
    assert!(text(&info, "lastPushAt")? > text(&info, "createdAt")?, "{info}");
    let log = worker.ok("art.log", notes.clone()).await?;
    assert_eq!(log[0]["hash"], json!(head), "{log}");
    assert_eq!(log[1]["message"], "change docs/a.txt", "{log}");
    assert_eq!(log[0]["parents"], json!([log[1]["hash"]]), "{log}");
    let at_branch = worker
        .ok("art.log", json!({"name": "notes", "ref": "trunk"}))
        .await?;
    assert_eq!(at_branch, log);
    let commit = worker
        .ok("art.readCommit", json!({"name": "notes", "hash": head}))
        .await?;
    assert_eq!(commit, log[0]);
    assert_eq!(
        commit["author"],
        json!({"name": "Ann", "email": "ann@example.com"})
    );
    let tree = worker
        .ok(
            "art.readTree",
            json!({"name": "notes", "hash": commit["treeHash"]}),
        )
        .await?;
    assert_eq!(
        (&tree[0]["name"], &tree[0]["mode"], &tree[0]["type"]),
        (&json!("docs"), &json!("40000"), &json!("tree"))
    );
    let file = |path: &str| json!({"name": "notes", "ref": "HEAD", "path": path});
    if carries.blobs {
        let read = worker.ok("art.readFile", file("docs/a.txt")).await?;
        assert_eq!(
            read,
            json!({"type": "text/plain;charset=utf-8", "text": "Zoë was here\n"})
        );
    }
    assert_eq!(worker.ok("art.readFile", file("docs/b.txt")).await?, json!(null));

    let token = worker
        .ok(
            "art.createToken",
            json!({"name": "notes", "scope": "read", "ttl": 3600}),
        )
        .await?;
    assert_eq!(token["scope"], "read");
    let reading = with_token(&text(&made, "remote")?, &text(&token, "plaintext")?);
    git.git(".", &["ls-remote", "-q", &reading]).await?;
    let refused = git.try_git("a", &["push", "-q", &reading, "HEAD:side"]).await?;
    assert!(!refused.ok && refused.err.contains("403"), "{}", refused.err);
    let listed = worker.ok("art.listTokens", notes.clone()).await?;
    assert_eq!(listed, json!({"total": 2, "states": ["active", "active"]}));
    let revoke = json!({"name": "notes", "token": text(&token, "id")?});
    assert_eq!(worker.ok("art.revokeToken", revoke.clone()).await?, json!(true));
    assert_eq!(worker.ok("art.revokeToken", revoke).await?, json!(false));
    let listed = worker.ok("art.listTokens", notes.clone()).await?;
    assert_eq!(listed, json!({"total": 2, "states": ["active", "revoked"]}));
    assert!(!git.try_git(".", &["ls-remote", "-q", &reading]).await?.ok);

    let fork = json!({"name": "notes", "target": "copy", "options": {"readOnly": true}});
    let forked = worker.ok("art.fork", fork).await?;
    let copy = with_token(&text(&forked, "remote")?, &text(&forked, "token")?);
    assert!(git.git(".", &["ls-remote", "-q", &copy]).await?.contains(&head));
    let info = worker.ok("art.info", json!({"name": "copy"})).await?;
    assert_eq!(
        (&info["source"], &info["readOnly"]),
        (&json!("artifacts:team/Notes"), &json!(true))
    );
    let page = worker.ok("art.list", json!({"limit": 1})).await?;
    assert_eq!(
        (&page["total"], &page["repos"][0]["name"]),
        (&json!(2), &json!("copy"))
    );
    let page = worker
        .ok("art.list", json!({"limit": 1, "cursor": text(&page, "cursor")?}))
        .await?;
    assert_eq!(
        (&page["repos"][0]["name"], &page["cursor"]),
        (&json!("Notes"), &json!(null))
    );

    for (call, args, code, says) in [
        (
            "art.create",
            json!({"name": "NOTES"}),
            "ALREADY_EXISTS",
            "repo already exists: NOTES",
        ),
        (
            "art.create",
            json!({"name": "../up"}),
            "INVALID_REPO_NAME",
            "Invalid repo name.",
        ),
        (
            "art.createToken",
            json!({"name": "notes", "scope": "read", "ttl": 1}),
            "INVALID_TTL",
            "Invalid TTL",
        ),
        (
            "art.info",
            json!({"name": "nowhere"}),
            "NOT_FOUND",
            "Repository not found: nowhere.",
        ),
    ] {
        let error = worker.error(call, args).await?;
        assert!(
            error["message"]
                .as_str()
                .is_some_and(|message| message.contains(says)),
            "{error}"
        );
        if carries.codes {
            assert_eq!(error["code"], code, "{error}");
        }
    }
    assert_eq!(worker.ok("art.delete", notes.clone()).await?, json!(true));
    assert_eq!(worker.ok("art.delete", notes).await?, json!(false));
    assert!(!git.try_git(".", &["ls-remote", "-q", &url]).await?.ok);
    Ok(())
}
