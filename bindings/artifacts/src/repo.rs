//! The methods of a repository's stub.

use std::sync::Arc;

use capnweb::{Answer, Blob, Call, Target, Text, Value};
use gix_hash::ObjectId;

use crate::binding::{answer, created, whole};
use crate::catalog::{Repo, Token};
use crate::error::Refusal;
use crate::namespace::{Namespace, Shown};
use crate::objects::{Commit, Entry, Objects, Person};
use crate::{request, token};

/// One repository, by its id: a new one of the same name is another.
pub(crate) struct RepoTarget {
    namespace: Arc<Namespace>,
    id: String,
    name: String,
}

impl RepoTarget {
    pub(crate) fn new(namespace: Arc<Namespace>, repo: Repo) -> Self {
        Self {
            namespace,
            id: repo.id,
            name: repo.name,
        }
    }

    /// Looks the repository up and goes on with it.
    fn with<F>(&self, next: impl FnOnce(Arc<Namespace>, Repo) -> F + Send + 'static) -> Answer
    where
        F: Future<Output = Result<Value, Refusal>> + Send + 'static,
    {
        let (namespace, id, name) = (Arc::clone(&self.namespace), self.id.clone(), self.name.clone());
        answer(async move {
            let repo = namespace.by_id(&id, &name).await?;
            next(namespace, repo).await
        })
    }

    /// Reads objects.
    fn read(&self, read: impl FnOnce(&Objects) -> Result<Value, Refusal> + Send + 'static) -> Answer {
        self.with(|namespace, repo| async move {
            namespace
                .blocking(move |own| read(&Objects::open(&own.repo_folder(&repo.id))?))
                .await
        })
    }

    fn read_hash(
        &self,
        hash: &Value,
        read: impl FnOnce(&Objects, ObjectId) -> Result<Option<Value>, Refusal> + Send + 'static,
    ) -> Answer {
        match request::hash(hash) {
            Ok(id) => self.read(move |objects| Ok(read(objects, id)?.unwrap_or(Value::Null))),
            Err(refusal) => Answer::error(refusal.into_error()),
        }
    }
}

impl Target for RepoTarget {
    fn call(&self, mut call: Call) -> Answer {
        let (first, second) = (call.take(0), call.take(1));
        match call.method.as_str() {
            "info" => self.with(|namespace, repo| async move { whole_info(&namespace, &repo) }),
            "createToken" => self.with(|namespace, repo| async move {
                let (scope, ttl) = (request::scope(&first)?, request::ttl(&second)?);
                let token = whole(async move { namespace.create_token(repo.id, scope, ttl).await }).await?;
                Ok(shown(token))
            }),
            "listTokens" => self.with(|namespace, repo| async move {
                let now = namespace.now();
                let (tokens, total) = namespace.tokens(repo.id).await?;
                let tokens = tokens.iter().map(|token| listed(token, now)).collect();
                Ok(Value::object([
                    ("total", Value::Number(total as f64)),
                    ("tokens", Value::Array(tokens)),
                ]))
            }),
            "revokeToken" => self.with(|namespace, repo| async move {
                let which = first
                    .as_str()
                    .filter(|text| token::is_id(text) || token::is_token(text))
                    .map(str::to_owned)
                    .ok_or_else(|| {
                        Refusal::input("Invalid tokenOrId: must be a token id or artifact token.")
                    })?;
                let revoked = whole(async move { namespace.revoke(repo.id, which).await }).await?;
                Ok(Value::Bool(revoked))
            }),
            "fork" => self.with(|namespace, repo| async move {
                let (name, options) = (request::name(&first)?, request::options(&second)?);
                let made = whole(Arc::clone(&namespace).fork(repo, name, options)).await?;
                created(&namespace, made)
            }),
            "readBlob" => self.read_hash(&first, |objects, id| {
                Ok(objects.blob(id)?.map(|bytes| blob(bytes, String::new())))
            }),
            "readTree" => self.read_hash(&first, |objects, id| {
                Ok(objects
                    .tree(id)?
                    .map(|entries| Value::Array(entries.into_iter().map(entry).collect())))
            }),
            "readCommit" => self.read_hash(&first, |objects, id| Ok(objects.commit(id)?.map(commit))),
            "readFile" => match request::file(&first) {
                Ok((reference, Some(path), whole)) => self.read(move |objects| {
                    let path: Vec<&str> = path.iter().map(String::as_str).collect();
                    let found = objects.file(&reference, &path)?;
                    Ok(found.map_or(Value::Null, |bytes| {
                        let media_type = media_type(&whole, &bytes);
                        blob(bytes, media_type.to_owned())
                    }))
                }),
                Ok((_, None, _)) => Value::Null.into(),
                Err(refusal) => Answer::error(refusal.into_error()),
            },
            "log" => match request::log(&first) {
                Ok((reference, limit, offset)) => self.read(move |objects| {
                    let commits = objects.log(&reference, limit, offset)?;
                    Ok(Value::Array(commits.into_iter().map(commit).collect()))
                }),
                Err(refusal) => Answer::error(refusal.into_error()),
            },
            _ => Answer::error(call.not_a_function()),
        }
    }

    fn methods(&self) -> &[&str] {
        &[
            "info",
            "createToken",
            "listTokens",
            "revokeToken",
            "fork",
            "readBlob",
            "readTree",
            "readCommit",
            "readFile",
            "log",
        ]
    }

    /// The members of `info()` are properties, too: older types have them there.
    fn get(&self, name: &str) -> Answer {
        const NAMES: [&str; 10] = [
            "id",
            "name",
            "remote",
            "description",
            "defaultBranch",
            "source",
            "readOnly",
            "createdAt",
            "updatedAt",
            "lastPushAt",
        ];
        let Some(name) = NAMES.into_iter().find(|known| *known == name) else {
            return Value::Undefined.into();
        };
        self.with(move |namespace, repo| async move {
            let info = whole_info(&namespace, &repo)?;
            Ok(info.member(name).cloned().unwrap_or_default())
        })
    }
}

/// Milliseconds since 1970 as `Date.toISOString` writes them.
pub(crate) fn iso(milliseconds: i64) -> Value {
    jiff::Timestamp::from_millisecond(milliseconds).map_or(Value::Null, |at| format!("{at:.3}").into())
}

/// What is known of a repository; `remote` stands in some answers only.
pub(crate) fn info(repo: &Repo, remote: Option<String>) -> Vec<(Text, Value)> {
    let text = |text: &Option<String>| text.clone().map_or(Value::Null, Value::from);
    let mut members: Vec<(Text, Value)> = vec![
        ("id".into(), repo.id.as_str().into()),
        ("name".into(), repo.name.as_str().into()),
    ];
    members.extend(remote.map(|remote| ("remote".into(), remote.into())));
    members.extend([
        ("description".into(), text(&repo.description)),
        ("defaultBranch".into(), repo.default_branch.as_str().into()),
        ("source".into(), text(&repo.source)),
        ("readOnly".into(), repo.read_only.into()),
        ("createdAt".into(), iso(repo.created_at)),
        ("updatedAt".into(), iso(repo.updated_at)),
        ("lastPushAt".into(), repo.last_push_at.map_or(Value::Null, iso)),
    ]);
    members
}

fn whole_info(namespace: &Namespace, repo: &Repo) -> Result<Value, Refusal> {
    Ok(Value::Object(info(repo, Some(namespace.remote(&repo.name)?))))
}

fn shown(token: Shown) -> Value {
    Value::object([
        ("id", token.id.into()),
        ("plaintext", token.plaintext.into()),
        ("scope", token.scope.name().into()),
        ("expiresAt", iso(token.expires_at)),
    ])
}

fn listed(token: &Token, now: i64) -> Value {
    let state = if token.revoked {
        "revoked"
    } else if token.expires_at <= now {
        "expired"
    } else {
        "active"
    };
    Value::object([
        ("id", token.id.as_str().into()),
        ("scope", token.scope.name().into()),
        ("state", state.into()),
        ("createdAt", iso(token.created_at)),
        ("expiresAt", iso(token.expires_at)),
    ])
}

fn entry(entry: Entry) -> Value {
    Value::object([
        ("name", entry.name.into()),
        ("mode", entry.mode.into()),
        ("hash", entry.hash.into()),
        ("type", entry.kind.into()),
    ])
}

fn commit(commit: Commit) -> Value {
    let person = |person: &Person| {
        Value::object([
            ("name", person.name.as_str().into()),
            ("email", person.email.as_str().into()),
        ])
    };
    Value::object([
        ("hash", commit.hash.into()),
        ("treeHash", commit.tree.into()),
        ("message", commit.message.into()),
        ("author", person(&commit.author)),
        ("committer", person(&commit.committer)),
        (
            "parents",
            Value::Array(commit.parents.into_iter().map(Value::from).collect()),
        ),
        ("authoredAt", Value::Number(commit.author.at as f64)),
        ("committedAt", Value::Number(commit.committer.at as f64)),
    ])
}

fn blob(bytes: Vec<u8>, media_type: String) -> Value {
    Value::Blob(Box::new(Blob { media_type, bytes }))
}

/// By the extension where it is one of a few, by the content otherwise.
fn media_type(path: &str, bytes: &[u8]) -> &'static str {
    const KNOWN: [(&str, &str); 7] = [
        (".png", "image/png"),
        (".jpg", "image/jpeg"),
        (".jpeg", "image/jpeg"),
        (".gif", "image/gif"),
        (".webp", "image/webp"),
        (".ico", "image/x-icon"),
        (".pdf", "application/pdf"),
    ];
    let path = path.to_ascii_lowercase();
    if let Some((_, known)) = KNOWN.iter().find(|(end, _)| path.ends_with(end)) {
        return known;
    }
    let sample = &bytes[..bytes.len().min(8192)];
    let is_text = !sample.contains(&0)
        && match std::str::from_utf8(sample) {
            Ok(_) => true,
            // A character that the sample cuts in two is none the less text.
            Err(error) => error.error_len().is_none() && sample.len() < bytes.len(),
        };
    if is_text {
        "text/plain;charset=utf-8"
    } else {
        "application/octet-stream"
    }
}
