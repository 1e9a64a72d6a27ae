//! Artifacts.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use bowline_client::artifacts::{Commit, Created, Info, LogOptions, Person, RepoOptions, Scope};
use serde_json::{Value, json};

use super::RustClient;

impl RustClient {
    pub(super) async fn artifacts(&self, call: &str, args: &Value) -> Result<Value> {
        let name = args["name"].as_str().unwrap_or_default();
        let artifacts = self.0.artifacts("ART");
        Ok(match call {
            "create" => made(artifacts.create(name, &options(&args["options"])).await?),
            "delete" => json!(artifacts.delete(name).await?),
            "list" => {
                let limit = args["limit"].as_u64().and_then(|limit| u32::try_from(limit).ok());
                let page = artifacts
                    .list(limit.unwrap_or(50), args["cursor"].as_str())
                    .await?;
                let mut listed = json!({"repos": page.repos.into_iter().map(shown).collect::<Vec<_>>(), "total": page.total});
                if let Some(cursor) = page.cursor {
                    listed["cursor"] = json!(cursor);
                }
                listed
            }
            _ => {
                let repo = artifacts.get(name).await?;
                match call {
                    "info" => shown(repo.info().await?),
                    "fork" => {
                        let target = text(args, "target")?;
                        made(repo.fork(target, &options(&args["options"])).await?)
                    }
                    "createToken" => {
                        let scope = if args["scope"] == "read" {
                            Scope::Read
                        } else {
                            Scope::Write
                        };
                        let lifetime = Duration::from_secs(args["ttl"].as_u64().unwrap_or(86_400));
                        let token = repo.create_token(scope, lifetime).await?;
                        json!({"id": token.id, "plaintext": token.plaintext.expose(), "scope": token.scope, "expiresAt": token.expires_at})
                    }
                    "listTokens" => {
                        let listed = repo.list_tokens().await?;
                        let states = listed
                            .tokens
                            .iter()
                            .map(|token| format!("{:?}", token.state).to_lowercase());
                        json!({"total": listed.total, "states": states.collect::<Vec<_>>()})
                    }
                    "revokeToken" => json!(repo.revoke_token(text(args, "token")?).await?),
                    "log" => {
                        let options = LogOptions {
                            reference: args["ref"].as_str().map(str::to_owned),
                            ..LogOptions::default()
                        };
                        let commits = repo.log(&options).await?;
                        commits.iter().map(commit).collect()
                    }
                    "readCommit" => repo
                        .read_commit(text(args, "hash")?)
                        .await?
                        .as_ref()
                        .map_or(Value::Null, commit),
                    "readTree" => {
                        let entries = repo.read_tree(text(args, "hash")?).await?;
                        let entries = entries.into_iter().flatten();
                        let entry = |entry: bowline_client::artifacts::Entry| {
                            let kind = format!("{:?}", entry.kind).to_lowercase();
                            json!({"name": entry.name, "mode": entry.mode, "hash": entry.hash, "type": kind})
                        };
                        entries.map(entry).collect()
                    }
                    "readFile" => {
                        let file = repo.read_file(text(args, "ref")?, text(args, "path")?).await?;
                        file.map_or(Value::Null, |file| {
                            json!({"type": file.media_type, "text": String::from_utf8_lossy(&file.bytes)})
                        })
                    }
                    other => bail!("{other} is no call of Artifacts"),
                }
            }
        })
    }
}

fn text<'a>(args: &'a Value, name: &str) -> Result<&'a str> {
    args[name].as_str().with_context(|| format!("{name} of {args}"))
}

fn options(options: &Value) -> RepoOptions {
    RepoOptions {
        description: options["description"].as_str().map(str::to_owned),
        read_only: options["readOnly"] == true,
        default_branch: options["setDefaultBranch"].as_str().map(str::to_owned),
        default_branch_only: options["defaultBranchOnly"] == true,
    }
}

fn made(made: Created) -> Value {
    json!({
        "id": made.id, "name": made.name, "description": made.description, "defaultBranch": made.default_branch,
        "remote": made.remote, "token": made.token.expose(), "tokenExpiresAt": made.token_expires_at,
    })
}

fn shown(info: Info) -> Value {
    json!({
        "id": info.id, "name": info.name, "description": info.description, "defaultBranch": info.default_branch,
        "source": info.source, "readOnly": info.read_only, "createdAt": info.created_at, "updatedAt": info.updated_at,
        "lastPushAt": info.last_push_at, "remote": info.remote,
    })
}

fn commit(commit: &Commit) -> Value {
    let person = |person: &Person| json!({"name": person.name, "email": person.email});
    json!({
        "hash": commit.hash, "treeHash": commit.tree_hash, "message": commit.message, "author": person(&commit.author),
        "committer": person(&commit.committer), "parents": commit.parents, "authoredAt": commit.authored_at,
        "committedAt": commit.committed_at,
    })
}
