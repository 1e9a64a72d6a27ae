//! The same calls on miniflare 5's own Artifacts and on ours, with the same commits pushed to both by git.

use anyhow::{Context, Result};
use bowline_e2e::git::{Folder, with_token};
use bowline_e2e::peers::{Driver, Miniflare};
use bowline_e2e::project::{Access, Project};
use bowline_e2e::worker::TestWorker;
use serde_json::{Value, json};

/// Calls before anything was pushed, and after. `$HEAD`, `$FIRST`, `$TREE` and `$BLOB` are what git says of the pushed
/// commits.
const CALLS: &str = include_str!("../../../driver/artifacts_calls.json");

/// Where our answer is another: a part of the call, what of the failure differs, and why.
const EXCEPTIONS: &[(&str, &[&str], &str)] = &[
    (
        "\"description\":1}",
        &["message"],
        "the texts about options are our own",
    ),
    (
        "\"readOnly\":\"yes\"",
        &["message"],
        "the texts about options are our own",
    ),
    (
        "\"setDefaultBranch\":",
        &["message"],
        "the texts about options are our own",
    ),
    ("\"ttl\":", &["message"], "what was given is not repeated"),
    (
        "\"hash\":\"\"",
        &["message"],
        "an empty hash has no text of its own",
    ),
    ("\"url\":\"not a url\"", &["code"], "there is a code for bad URLs"),
    ("\"url\":\"http:", &["code"], "there is a code for bad URLs"),
    (
        "art.readCommit {\"name\":\"notes\",\"hash\":\"$TREE\"",
        &["message", "code"],
        "what the object is can be told",
    ),
    (
        "art.readTree {\"name\":\"notes\",\"hash\":\"$BLOB\"",
        &["message", "code"],
        "what the object is can be told",
    ),
    (
        "art.readTree {\"name\":\"notes\",\"hash\":\"$HEAD\"",
        &["message", "code"],
        "what the object is can be told",
    ),
];

/// Members that no two places have in common.
const OWN: [&str; 9] = [
    "id",
    "plaintext",
    "cursor",
    "remote",
    "token",
    "createdAt",
    "updatedAt",
    "lastPushAt",
    "expiresAt",
];

/// Leaves what is comparable: of what is a place's own, whether it is there.
fn compared(answer: &mut Value) {
    match answer {
        Value::Object(members) => {
            // The simulator says when a token ends in the token alone.
            members.remove("tokenExpiresAt");
            for (name, value) in members {
                if OWN.contains(&name.as_str()) && !value.is_null() {
                    *value = "…".into();
                } else {
                    compared(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(compared),
        _ => {}
    }
}

#[tokio::test]
async fn as_in_miniflare_five() -> Result<()> {
    let project = Project::new(&[])?;
    let remote = project.serve(Access::Off).await?;
    let folder = tempfile::tempdir()?;
    let mut ours = Driver::start(Miniflare::V5, remote.url()).await?;
    let mut theirs = Driver::with_own_artifacts(folder.path()).await?;
    let [before, after]: [Vec<(String, Value)>; 2] = serde_json::from_str(CALLS)?;

    let mut seen = Seen::default();
    for (call, args) in before {
        let told = format!("{call} {args}");
        seen.compare(&mut ours, &mut theirs, &told, &call, args).await?;
    }
    let git = Folder::new()?;
    git.git(".", &["init", "-q", "--initial-branch=trunk", "a"])
        .await?;
    let first = git.commit("a", "docs/a.txt", "first\n").await?;
    git.commit("a", "bin/run", vec![0, 159, 146, 150]).await?;
    let head = git.commit("a", "docs/a.txt", "Zoë was here\n").await?;
    git.git("a", &["tag", "-a", "v1", "-m", "one"]).await?;
    for (side, worker) in [&mut ours, &mut theirs].into_iter().enumerate() {
        let token = worker
            .ok(
                "art.createToken",
                json!({"name": "notes", "scope": "write", "ttl": 600}),
            )
            .await?;
        let read = worker
            .ok(
                "art.createToken",
                json!({"name": "notes", "scope": "read", "ttl": 600}),
            )
            .await?;
        let info = worker.ok("art.info", json!({"name": "notes"})).await?;
        let text = |value: &Value, name: &str| -> Result<String> {
            Ok(value[name]
                .as_str()
                .with_context(|| format!("{value}"))?
                .to_owned())
        };
        let plain = text(&info, "remote")?;
        let url = with_token(&plain, &text(&token, "plaintext")?);
        git.git("a", &["push", "-q", &url, "HEAD:trunk", "v1"]).await?;
        for (name, more) in [("whole", &[][..]), ("shallow", &["--depth=1"])] {
            let copy = format!("{name}-{side}");
            git.git(".", &[&["clone", "-q"], more, &[&url, &copy]].concat())
                .await?;
            assert_eq!(git.git(&copy, &["rev-parse", "HEAD"]).await?, head, "{copy}");
        }
        for (url, says) in [
            (with_token(&plain, &text(&read, "plaintext")?), "403"),
            (with_token(&plain, "art_v2_x_wrong"), "Authentication failed"),
        ] {
            let said = git.try_git("a", &["push", "-q", &url, "HEAD:side"]).await?;
            assert!(!said.ok && said.err.contains(says), "{side}: {}", said.err);
        }
    }
    let known = [
        ("$HEAD", head.clone()),
        ("$FIRST", first),
        ("$TREE", git.git("a", &["rev-parse", "HEAD^{tree}"]).await?),
        ("$BLOB", git.git("a", &["rev-parse", "HEAD:docs/a.txt"]).await?),
    ];
    for (call, args) in after {
        let told = format!("{call} {args}");
        let mut text = args.to_string();
        for (name, value) in &known {
            text = text.replace(name, value);
        }
        let args = serde_json::from_str(&text)?;
        seen.compare(&mut ours, &mut theirs, &told, &call, args).await?;
    }
    seen.judge();
    ours.stop().await?;
    theirs.stop().await
}

/// An answer without some members of it or of its error.
fn without(answer: &Value, members: &[&str]) -> Value {
    let mut answer = answer.clone();
    for part in ["", "/error"] {
        if let Some(Value::Object(object)) = answer.pointer_mut(part) {
            object.retain(|name, _| !members.contains(&name.as_str()));
        }
    }
    answer
}

/// What the two answered differently.
#[derive(Default)]
struct Seen {
    differences: Vec<String>,
    used: Vec<usize>,
}

impl Seen {
    async fn compare(
        &mut self,
        ours: &mut Driver,
        theirs: &mut Driver,
        told: &str,
        call: &str,
        args: Value,
    ) -> Result<()> {
        let mut answers = [
            ours.call(call, args.clone()).await?,
            theirs.call(call, args.clone()).await?,
        ];
        answers.iter_mut().for_each(compared);
        for answer in &mut answers {
            // An error's name does not travel: user code of a remote binding sees `Error`.
            *answer = without(answer, &["name"]);
        }
        let [ours, theirs] = answers;
        if ours == theirs {
            return Ok(());
        }
        let allowed = EXCEPTIONS.iter().position(|(part, members, _)| {
            told.contains(part) && without(&ours, members) == without(&theirs, members)
        });
        match allowed {
            Some(index) => self.used.push(index),
            None => self
                .differences
                .push(format!("{told}\n  ours   {ours}\n  theirs {theirs}")),
        }
        Ok(())
    }

    fn judge(&self) {
        assert!(self.differences.is_empty(), "{}", self.differences.join("\n"));
        let unused: Vec<_> = EXCEPTIONS
            .iter()
            .enumerate()
            .filter(|(index, _)| !self.used.contains(index))
            .map(|(_, exception)| exception)
            .collect();
        assert!(unused.is_empty(), "no exception is needed for {unused:?}");
    }
}
