//! Artifacts against real git clients.

mod contract;
mod simulator;

use anyhow::{Context, Result};
use bowline_e2e::disk::SmallDisk;
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

#[tokio::test]
async fn tokens_say_who_may_do_what() -> Result<()> {
    let project = project(&json!({}))?;
    let (remote, main) = remote(&project).await?;
    let git = Folder::new()?;
    let made = main.call("create", ["one".into()]).await?;
    let (url, write) = (text(&made, "remote")?, text(&made, "token")?);
    assert_eq!(url, format!("{}git/team/one.git", remote.url()));
    let other = create(&main, "two").await?;
    let repo = get(&main, "one").await?;
    let read = repo.call("createToken", ["read".into(), 3600.0.into()]).await?;
    let (read_id, read) = (text(&read, "id")?, text(&read, "plaintext")?);

    git.git(".", &["clone", "-q", &with_token(&url, &read), "a"])
        .await?;
    git.commit("a", "f", "1").await?;
    let refused = git.try_git("a", &["push", "-q", "origin", "HEAD"]).await?;
    assert!(refused.err.contains("403"), "{}", refused.err);
    git.git("a", &["push", "-q", &with_token(&url, &write), "HEAD"])
        .await?;
    let bearer = format!("http.extraHeader=Authorization: Bearer {write}");
    git.git("a", &["-c", &bearer, "ls-remote", "-q", &url]).await?;

    // Nobody without a token of the repository gets in, or hears whether it exists.
    let foreign = other.replace("two.git", "one.git");
    let nowhere = url.replace("one.git", "nowhere.git");
    for (refused, status) in [
        (url.clone(), "could not read Username"),
        (foreign, "Authentication failed"),
        (
            with_token(&url, "art_v2_x_0000000000000000000000000000000000000000"),
            "Authentication failed",
        ),
        (with_token(&nowhere, "wrong"), "Authentication failed"),
        (with_token(&nowhere, &write), "not found"),
    ] {
        let said = git.try_git(".", &["ls-remote", "-q", &refused]).await?;
        assert!(!said.ok && said.err.contains(status), "{refused}: {}", said.err);
    }

    let listed = repo.call("listTokens", []).await?;
    assert_eq!(listed.member("total"), Some(&Value::Number(2.0)));
    assert_eq!(
        repo.call("revokeToken", [read.as_str().into()]).await?,
        Value::Bool(true)
    );
    assert_eq!(
        repo.call("revokeToken", [read_id.into()]).await?,
        Value::Bool(false)
    );
    let said = git
        .try_git(".", &["ls-remote", "-q", &with_token(&url, &read)])
        .await?;
    assert!(said.err.contains("Authentication failed"), "{}", said.err);

    let options = Value::object([("readOnly", true.into())]);
    let made = main.call("create", ["frozen".into(), options]).await?;
    let frozen = with_token(&text(&made, "remote")?, &text(&made, "token")?);
    git.git(".", &["ls-remote", "-q", &frozen]).await?;
    let said = git.try_git("a", &["push", "-q", &frozen, "HEAD"]).await?;
    assert!(said.err.contains("403"), "{}", said.err);

    // A stub stays with its repository, and a deleted one's tokens are good for nothing.
    assert_eq!(main.call("delete", ["ONE".into()]).await?, Value::Bool(true));
    assert_eq!(main.call("delete", ["one".into()]).await?, Value::Bool(false));
    create(&main, "one").await?;
    assert_eq!(code(&repo.call("info", []).await.unwrap_err()), "NOT_FOUND");
    let said = git
        .try_git(".", &["ls-remote", "-q", &with_token(&url, &write)])
        .await?;
    assert!(said.err.contains("Authentication failed"), "{}", said.err);
    for (method, arguments, expected) in [
        ("create", vec!["../up".into()], "INVALID_REPO_NAME"),
        ("create", vec!["One".into()], "ALREADY_EXISTS"),
        ("get", vec!["nowhere".into()], "NOT_FOUND"),
        (
            "list",
            vec![Value::object([("cursor", "x".into())])],
            "INVALID_INPUT",
        ),
    ] {
        let error = main.call(method, arguments).await.unwrap_err();
        assert_eq!(code(&error), expected, "{method}: {error}");
    }

    // Every page once, newest first.
    let (mut names, mut cursor) = (Vec::new(), Value::Undefined);
    loop {
        let options = Value::object([("limit", 1.0.into()), ("cursor", cursor.clone())]);
        let page = main.call("list", [options]).await?;
        let Some(Value::Array(repos)) = page.member("repos") else {
            anyhow::bail!("{page:?}")
        };
        for repo in repos {
            names.push(text(repo, "name")?);
        }
        match page.member("cursor") {
            Some(next) => cursor = next.clone(),
            None => break,
        }
    }
    assert_eq!(names, ["one", "frozen", "two"]);
    Ok(())
}

#[tokio::test]
async fn concurrent_pushes_lose_nothing() -> Result<()> {
    let project = project(&json!({}))?;
    let (_remote, main) = remote(&project).await?;
    let url = create(&main, "busy").await?;
    let git = Folder::new()?;
    git.git(".", &["init", "-q", "seed"]).await?;
    git.commit("seed", "f", "0").await?;
    git.git("seed", &["push", "-q", &url, "HEAD:main"]).await?;
    let mut pushes = Vec::new();
    for index in 0..8 {
        let name = format!("c{index}");
        git.git(".", &["clone", "-q", &url, &name]).await?;
        pushes.push((git.commit(&name, &name, &name).await?, name));
    }
    let outcomes = futures_util::future::try_join_all(pushes.iter().map(async |(commit, name)| {
        let refspec = format!("HEAD:{name}");
        let to_own = ["push", "-q", "origin", &refspec];
        let (own, shared) = tokio::join!(
            git.git(name, &to_own),
            git.try_git(name, &["push", "-q", "origin", "HEAD:main"])
        );
        own?;
        anyhow::Ok((commit, shared?.ok))
    }))
    .await?;
    let winners: Vec<&String> = outcomes
        .iter()
        .filter(|(_, won)| *won)
        .map(|(commit, _)| *commit)
        .collect();
    assert_eq!(
        winners.len(),
        1,
        "one push of several to one branch is a fast-forward"
    );
    let refs = git.git(".", &["ls-remote", "-q", &url]).await?;
    assert!(
        refs.contains(&format!("{}\trefs/heads/main", winners[0])),
        "{refs}"
    );
    for (commit, name) in &pushes {
        assert!(
            refs.contains(&format!("{commit}\trefs/heads/{name}")),
            "{name}: {refs}"
        );
    }
    Ok(())
}

/// Incompressible bytes, the same in every run.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    (0..length / 8)
        .flat_map(|_| {
            // xorshift64
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        })
        .collect()
}

#[tokio::test]
async fn large_files_pass_and_huge_packs_do_not() -> Result<()> {
    let project = project(&json!({"max_repo_bytes": 48 << 20}))?;
    let (_remote, main) = remote(&project).await?;
    let url = create(&main, "large").await?;
    let git = Folder::new()?;
    git.git(".", &["clone", "-q", &url, "a"]).await?;
    let large = noise(33 << 20, 1);
    git.commit("a", "large", &large).await?;
    git.git("a", &["push", "-q", "origin", "HEAD"]).await?;
    git.git(".", &["clone", "-q", &url, "b"]).await?;
    assert!(std::fs::read(git.path().join("b/large"))? == large);
    let repo = get(&main, "large").await?;
    let path = Value::object([("ref", "HEAD".into()), ("path", "large".into())]);
    assert_eq!(
        code(&repo.call("readFile", [path]).await.unwrap_err()),
        "MEMORY_LIMIT"
    );

    let kept = git.git("a", &["rev-parse", "HEAD"]).await?;
    git.commit("a", "more", noise(20 << 20, 2)).await?;
    let said = git.try_git("a", &["push", "-q", "origin", "HEAD"]).await?;
    assert!(
        !said.ok && said.err.contains("pack exceeds maximum allowed size"),
        "{}",
        said.err
    );
    assert!(git.git(".", &["ls-remote", "-q", &url]).await?.contains(&kept));
    git.git("b", &["fetch", "-q"]).await?;
    Ok(())
}

#[tokio::test]
async fn forks_and_imports_are_copies() -> Result<()> {
    let source_project = project(&json!({}))?;
    let (source, main) = remote(&source_project).await?;
    let made = main
        .call(
            "create",
            [
                "source".into(),
                Value::object([("setDefaultBranch", "trunk".into())]),
            ],
        )
        .await?;
    let (plain, token) = (text(&made, "remote")?, text(&made, "token")?);
    let url = with_token(&plain, &token);
    let git = Folder::new()?;
    git.git(".", &["init", "-q", "--initial-branch=trunk", "a"])
        .await?;
    let secret = git.commit("a", "secret", "rewritten away").await?;
    git.git("a", &["push", "-q", &url, "HEAD:gone"]).await?;
    git.git("a", &["push", "-q", &url, ":gone"]).await?;
    git.git("a", &["checkout", "-q", "--orphan", "clean"]).await?;
    git.git("a", &["rm", "-q", "-rf", "."]).await?;
    git.commit("a", "f", "1").await?;
    let head = git.commit("a", "f", "2").await?;
    git.git("a", &["push", "-q", &url, "HEAD:trunk", "HEAD:side"])
        .await?;

    let repo = get(&main, "source").await?;
    let description = Value::object([("description", "a fork".into()), ("readOnly", true.into())]);
    let made = repo.call("fork", ["fork".into(), description]).await?;
    assert_eq!(
        (text(&made, "defaultBranch")?, text(&made, "description")?),
        ("trunk".into(), "a fork".into())
    );
    let fork = get(&main, "fork").await?;
    let info = fork.call("info", []).await?;
    assert_eq!(text(&info, "source")?, "artifacts:team/source");
    assert_eq!(info.member("readOnly"), Some(&Value::Bool(true)));
    assert_eq!(
        fork.call("readCommit", [secret.into()]).await?,
        Value::Null,
        "unreachable objects are not forked"
    );
    let refs = git
        .git(
            ".",
            &[
                "ls-remote",
                "-q",
                &with_token(&text(&made, "remote")?, &text(&made, "token")?),
            ],
        )
        .await?;
    assert!(refs.contains("refs/heads/side") && refs.contains(&head), "{refs}");
    let only = Value::object([("defaultBranchOnly", true.into())]);
    let made = repo.call("fork", ["only".into(), only]).await?;
    let refs = git
        .git(
            ".",
            &[
                "ls-remote",
                "-q",
                &with_token(&text(&made, "remote")?, &text(&made, "token")?),
            ],
        )
        .await?;
    assert!(
        !refs.contains("side") && refs.contains("refs/heads/trunk"),
        "{refs}"
    );
    assert_eq!(
        code(&repo.call("fork", ["only".into()]).await.unwrap_err()),
        "ALREADY_EXISTS"
    );

    // The same over TLS into another place.
    let (tls, certificate) = bowline_e2e::upstream::tls(
        source
            .url()
            .trim_start_matches("http://")
            .trim_end_matches('/')
            .parse()?,
    )
    .await?;
    let ca = git.path().join("ca.pem");
    std::fs::write(&ca, certificate)?;
    let project = project(&json!({"import_hosts": [tls.to_string()], "import_ca_file": ca}))?;
    let (_remote, main) = remote(&project).await?;
    let import = |name: &str, url: &str, more: &[(&str, Value)]| {
        let mut source = vec![("url", Value::from(url))];
        source.extend(more.iter().cloned());
        main.call(
            "import",
            [Value::object([
                ("source", Value::object(source)),
                ("target", Value::object([("name", name.into())])),
            ])],
        )
    };
    let https = |path: &str| {
        format!(
            "https://x:{}@{tls}/git/team/{path}",
            token.split('?').next().unwrap_or_default()
        )
    };
    let made = import("whole", &https("source.git"), &[]).await?;
    assert_eq!(text(&made, "defaultBranch")?, "trunk");
    let info = get(&main, "whole").await?.call("info", []).await?;
    assert_eq!(
        text(&info, "source")?,
        format!("git:https://{tls}/git/team/source.git")
    );
    import(
        "shallow",
        &https("source.git"),
        &[("branch", "side".into()), ("depth", 1.0.into())],
    )
    .await?;
    let log = get(&main, "shallow").await?.call("log", []).await?;
    assert!(
        matches!(&log, Value::Array(commits) if commits.len() == 1),
        "{log:?}"
    );
    for (name, url, more, expected) in [
        ("whole", https("source.git"), vec![], "ALREADY_EXISTS"),
        (
            "x",
            format!("https://{tls}/git/team/source.git"),
            vec![],
            "REMOTE_AUTH_REQUIRED",
        ),
        ("x", https("nowhere.git"), vec![], "NOT_FOUND"),
        (
            "x",
            https("source.git"),
            vec![("branch", Value::from("nowhere"))],
            "NOT_FOUND",
        ),
        ("x", "https://127.0.0.1:1/a.git".into(), vec![], "INVALID_URL"),
        ("x", "https://localhost/a.git".into(), vec![], "INVALID_URL"),
        ("x", source.url().into(), vec![], "INVALID_URL"),
        ("x", "ext::sh -c id".into(), vec![], "INVALID_URL"),
        ("..", https("source.git"), vec![], "INVALID_REPO_NAME"),
    ] {
        let error = import(name, &url, &more).await.unwrap_err();
        assert_eq!(code(&error), expected, "{name}: {error}");
        assert!(!error.to_string().contains("art_v2"), "{error}");
    }
    // Nothing of the failed ones is left, the name least of all.
    create(&main, "x").await?;
    for entry in std::fs::read_dir(project.state().join("artifacts/team/repos"))? {
        let config = std::fs::read_to_string(entry?.path().join("config"))?;
        assert!(
            !config.contains("art_v2") && !config.contains("remote"),
            "{config}"
        );
    }
    Ok(())
}

/// Requests that no git client makes.
#[tokio::test]
async fn hostile_requests_are_refused() -> Result<()> {
    use bowline_e2e::client::Outgoing;
    use http::Method;
    let project = project(&json!({}))?;
    let (mut remote, main) = remote(&project).await?;
    let made = main.call("create", ["a".into()]).await?;
    let token = text(&made, "token")?;
    let base = remote.url().trim_end_matches('/').to_owned();
    let send = |method: Method, path: &str| {
        Outgoing::new(method, &format!("{base}{path}")).header("authorization", format!("Bearer {token}"))
    };
    for path in [
        "/git/team/a.git/HEAD",
        "/git/team/a.git/config",
        "/git/team/a.git/info/refs",
        "/git/team/..%2F..%2Fcatalog.sqlite.git/info/refs?service=git-upload-pack",
        "/git/team/../../etc.git/info/refs?service=git-upload-pack",
        "/git/team/a%00.git/info/refs?service=git-upload-pack",
        "/git/team/%61.git/info/refs?service=git-upload-pack",
        "/git/team/a.git/info/refs?service=git-upload-archive",
        "/git/team/a.git/info/refs?service=--help",
    ] {
        let answer = send(Method::GET, path).send().await?;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
    }
    let answer = send(Method::GET, "/git/team/a.git/info/refs?service=git-upload-pack")
        .header("git-protocol", "version=2; $(touch /tmp/x)")
        .send()
        .await?;
    assert_eq!(answer.status, 200);
    assert!(
        answer.text().starts_with("001e# service=git-upload-pack\n0000"),
        "{}",
        answer.text()
    );
    let post =
        |media: &str| send(Method::POST, "/git/team/a.git/git-upload-pack").header("content-type", media);
    assert_eq!(post("text/plain").body("0000").send().await?.status, 415);
    let media = "application/x-git-upload-pack-request";
    assert_eq!(
        post(media)
            .header("content-encoding", "br")
            .body("0000")
            .send()
            .await?
            .status,
        415
    );
    // Garbage, and a body that is not what it says it is, end the exchange and nothing else.
    for (encoding, body) in [("identity", "zzzz"), ("gzip", "no gzip"), ("identity", "fff0")] {
        let _ = post(media)
            .header("content-encoding", encoding)
            .body(body)
            .send()
            .await;
    }
    // More nothing than a fetch may ask with, in a hundred kilobytes.
    let bomb = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        for _ in 0..96 {
            std::io::Write::write_all(&mut encoder, &[0; 1 << 20])?;
        }
        encoder.finish()?
    };
    let _ = post(media)
        .header("content-encoding", "gzip")
        .body(bomb)
        .send()
        .await;
    let answer = send(Method::GET, "/git/team/a.git/info/refs?service=git-upload-pack")
        .send()
        .await?;
    assert_eq!(answer.status, 200, "the place still serves");
    remote.terminate().await?;
    assert!(
        !remote.stderr.text().contains("panicked"),
        "{}",
        remote.stderr.text()
    );
    Ok(())
}

/// The store on a disk of its own that is full.
#[tokio::test]
async fn a_full_store_loses_nothing() -> Result<()> {
    let project = project(&json!({}))?;
    let disk = SmallDisk::start(&project, 6).await?;
    let remote = &disk.remote;
    let main = stub(remote.url(), "ART").await?;
    let url = create(&main, "first").await?;
    let git = Folder::new()?;
    git.git(".", &["clone", "-q", &url, "a"]).await?;
    let kept = git.commit("a", "f", "kept").await?;
    git.git("a", &["push", "-q", "origin", "HEAD"]).await?;
    // While SQLite's log is short it has to grow to tell of a deletion.
    create(&main, "doomed").await?;
    disk.fill()?;
    let deleted = main.call("delete", ["doomed".into()]).await;
    assert_eq!(deleted.with_context(|| remote.stderr.text())?, Value::Bool(true));
    let said = remote.stderr.text();
    assert!(
        said.contains("the room that is kept for deletions is used"),
        "it was not full: {said}"
    );
    disk.free()?;
    git.commit("a", "noise", noise(12 << 20, 3)).await?;
    let said = git.try_git("a", &["push", "-q", "origin", "HEAD"]).await?;
    assert!(!said.ok, "6 MB hold no 12");
    // Repositories until there is no room for one more.
    let mut made = vec!["first".to_owned()];
    let error = loop {
        let name = format!("r{}", made.len());
        match main.call("create", [name.as_str().into()]).await {
            Ok(_) => made.push(name),
            Err(error) => break error,
        }
    };
    assert_eq!(code(&error), "INTERNAL_ERROR", "{error}");
    let listed = main
        .call("list", [Value::object([("limit", 200.0.into())])])
        .await?;
    assert_eq!(listed.member("total"), Some(&Value::Number(made.len() as f64)));
    assert!(git.git(".", &["ls-remote", "-q", &url]).await?.contains(&kept));
    // Not a byte is left. What takes something away works all the same.
    disk.fill()?;
    let repo = get(&main, "first").await?;
    let tokens = repo.call("listTokens", []).await?;
    let Some(Value::Array(tokens)) = tokens.member("tokens") else {
        anyhow::bail!("{tokens:?}")
    };
    let revoked = repo.call("revokeToken", [text(&tokens[0], "id")?.into()]).await;
    assert_eq!(revoked.with_context(|| remote.stderr.text())?, Value::Bool(true));
    for name in made.iter().skip(1) {
        let deleted = main.call("delete", [name.as_str().into()]).await;
        assert_eq!(
            deleted.with_context(|| remote.stderr.text())?,
            Value::Bool(true),
            "{name}"
        );
    }
    // Room again, and all goes on.
    let token = repo.call("createToken", []).await;
    let token = text(&token.with_context(|| remote.stderr.text())?, "plaintext")?;
    let url = with_token(&text(&repo.call("info", []).await?, "remote")?, &token);
    git.git("a", &["remote", "set-url", "origin", &url]).await?;
    let after = create(&main, "after").await;
    after.with_context(|| remote.stderr.text())?;
    git.git("a", &["reset", "-q", "--hard", "HEAD~1"]).await?;
    git.commit("a", "small", "fits").await?;
    git.git("a", &["push", "-q", "origin", "HEAD"]).await?;
    Ok(())
}

/// Kills the remote in mid-write, again and again. Whatever was acknowledged is there afterwards.
async fn killed(rounds: u32, seed: u32) -> Result<()> {
    let project = project(&json!({}))?;
    let git = Folder::new()?;
    git.git(".", &["init", "-q", "a"]).await?;
    let (mut main_url_path, mut token) = (String::new(), String::new());
    let (mut pushed, mut made) = (Vec::<(u32, String)>::new(), Vec::<String>::new());
    let mut there = Vec::new();
    for round in 0..=rounds {
        let (mut remote, main) = remote(&project).await?;
        if round == 0 {
            let created = main.call("create", ["main".into()]).await?;
            main_url_path = text(&created, "remote")?.replace(remote.url(), "");
            token = text(&created, "token")?;
        }
        let repo = get(&main, "main").await?;
        for (branch, commit) in pushed.drain(..) {
            let options = Value::object([("ref", format!("r{branch}").into()), ("limit", 1.0.into())]);
            let log = repo.call("log", [options]).await?;
            let Value::Array(commits) = &log else {
                anyhow::bail!("{log:?}")
            };
            assert_eq!(
                commits
                    .first()
                    .map(|first| text(first, "hash"))
                    .transpose()?
                    .as_deref(),
                Some(commit.as_str()),
                "round {round}: r{branch}"
            );
        }
        for name in made.drain(..) {
            get(&main, &name)
                .await
                .with_context(|| format!("round {round}: {name}"))?;
            main.call("delete", [name.into()]).await?;
        }
        if round == rounds {
            there = ids(&main).await?;
            break;
        }
        let commit = git.commit("a", "f", format!("{seed} {round}")).await?;
        let url = with_token(&format!("{}{main_url_path}", remote.url()), &token);
        let refspec = format!("HEAD:refs/heads/r{round}");
        let arguments = ["push", "-q", &url, &refspec];
        let pushing = git.try_git("a", &arguments);
        let creating = async {
            let mut made = Vec::new();
            for index in 0_u32.. {
                let name = format!("n{round}-{index}");
                match main.call("create", [name.as_str().into()]).await {
                    Ok(_) => made.push(name),
                    Err(_) => break,
                }
            }
            made
        };
        let killing = async {
            // Where in the writes this falls is the point, and differs from round to round.
            tokio::time::sleep(std::time::Duration::from_millis(u64::from(
                (round + seed) * 37 % 120,
            )))
            .await;
            if round % 2 == 1 {
                let children = bowline_e2e::program::children(remote.id().unwrap_or(0)).unwrap_or_default();
                for (child, _) in children {
                    // It may have ended by itself.
                    let _ = bowline_e2e::program::signal("KILL", child).await;
                }
            }
            remote.kill().await
        };
        let (said, acknowledged, killed) = tokio::join!(pushing, creating, killing);
        killed?;
        if said?.ok {
            pushed.push((round, commit));
        }
        made = acknowledged;
    }
    // Of a creation that was killed there may be half a folder that no git takes for a repository, and no row.
    for id in there {
        let folder = project.state().join(format!("artifacts/team/repos/{id}.git"));
        let folder = folder.to_string_lossy();
        git.git(".", &["--git-dir", &folder, "fsck", "--full", "--strict"])
            .await?;
    }
    Ok(())
}

/// Ids of the repositories there are, at most 200.
async fn ids(main: &Stub) -> Result<Vec<String>> {
    let listed = main
        .call("list", [Value::object([("limit", 200.0.into())])])
        .await?;
    let Some(Value::Array(repos)) = listed.member("repos") else {
        anyhow::bail!("{listed:?}")
    };
    repos.iter().map(|repo| text(repo, "id")).collect()
}

#[tokio::test]
async fn killed_in_mid_write_rounds_1_to_50() -> Result<()> {
    killed(50, 1).await
}

#[tokio::test]
async fn killed_in_mid_write_rounds_51_to_100() -> Result<()> {
    killed(50, 2).await
}

#[tokio::test]
async fn killed_in_mid_write_rounds_101_to_150() -> Result<()> {
    killed(50, 3).await
}

#[tokio::test]
async fn killed_in_mid_write_rounds_151_to_200() -> Result<()> {
    killed(50, 4).await
}
