//! A Vectorize remote that is killed, and one whose disk is full.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bowline_client::vectorize::{Mutation, QueryOptions, Vector, Vectorize};
use bowline_client::{Client, ErrorKind};
use bowline_e2e::program::Program;
use bowline_e2e::project::{Access, Project};

/// How often the remote is killed.
const ROUNDS: u32 = 12;
/// Ids that are written over and over.
const IDS: u32 = 40;

fn index(remote: &Program) -> Result<Vectorize> {
    Ok(Client::builder(remote.url()).build()?.vectorize("VEC"))
}

/// What a write may have left of each id: the number of the write it was last in. Absent for deleted.
#[derive(Default)]
struct Model {
    /// By id, all that may be found.
    may: BTreeMap<u32, Vec<Option<u32>>>,
}

impl Model {
    /// A change that was acknowledged is the only thing that may be found.
    fn acknowledged(&mut self, ids: &[u32], write: Option<u32>) {
        for id in ids {
            self.may.insert(*id, vec![write]);
        }
    }

    /// One whose answer never came may have happened.
    fn unanswered(&mut self, ids: &[u32], write: Option<u32>) {
        for id in ids {
            self.may.entry(*id).or_insert_with(|| vec![None]).push(write);
        }
    }
}

fn values(id: u32, write: u32) -> [f32; 3] {
    [id as f32 + 1.0, write as f32, 1.0]
}

/// SIGKILL in the middle of changes, many times: no acknowledged change is lost, none is half applied.
#[tokio::test]
async fn killed_in_mid_mutation() -> Result<()> {
    let project = Project::new(&[])?;
    let (mut model, mut write) = (Model::default(), 0);
    for round in 0..ROUNDS {
        let mut remote = project.serve(Access::Off).await?;
        let index = index(&remote)?;
        check(&index, &mut model)
            .await
            .with_context(|| format!("after {round} kills"))?;

        let id = remote.id().context("the remote runs")?;
        // A different moment every round, by the number of changes and not by the clock.
        let (kill, killed) = tokio::sync::oneshot::channel();
        let mut kill = Some(kill);
        let killer = tokio::spawn(async move {
            killed.await?;
            bowline_e2e::program::signal("KILL", id).await
        });
        for change in 0.. {
            write += 1;
            let ids: Vec<u32> = (0..8).map(|step| (write * 7 + step * 3) % IDS).collect();
            if change == 3 + round * 2
                && let Some(kill) = kill.take()
            {
                let _ = kill.send(());
            }
            // Every fifth change deletes.
            let outcome = if write % 5 == 0 {
                let texts: Vec<String> = ids.iter().map(u32::to_string).collect();
                (index.delete_by_ids(&texts).await, None)
            } else {
                let vectors: Vec<Vector> = ids
                    .iter()
                    .map(|id| Vector::new(id.to_string(), values(*id, write)))
                    .collect();
                (index.upsert(&vectors).await, Some(write))
            };
            match outcome {
                (Ok(_), written) => model.acknowledged(&ids, written),
                (Err(error), written) => {
                    ensure!(
                        matches!(*error.kind, ErrorKind::Line(_) | ErrorKind::Body(_)),
                        "{error:?}"
                    );
                    model.unanswered(&ids, written);
                    break;
                }
            }
            ensure!(change < 100_000, "the remote was not killed");
        }
        killer.await??;
        remote.ended().await?;
    }
    let remote = project.serve(Access::Off).await?;
    check(&index(&remote)?, &mut model).await
}

/// Everything there is, is what the model allows; what is found settles what was open.
async fn check(index: &Vectorize, model: &mut Model) -> Result<()> {
    // A change of our own: once it is seen, so is all that was accepted before the kill.
    let last = index.upsert(&[Vector::new("probe", [1.0, 0.0, 0.0])]).await?;
    index.processed(&last).await?;
    let ids: Vec<String> = (0..IDS).map(|id| id.to_string()).collect();
    let mut found = BTreeMap::new();
    for vector in index.get_by_ids(&ids).await? {
        let id: u32 = vector.id.parse()?;
        let write = vector.values[1] as u32;
        ensure!(vector.values == values(id, write), "{vector:?} was never written");
        found.insert(id, write);
    }
    for (id, may) in &mut model.may {
        let found = found.get(id).copied();
        ensure!(
            may.contains(&found),
            "id {id} holds {found:?}, and only {may:?} may be there"
        );
        *may = vec![found];
    }
    let there = model.may.values().filter(|may| may[0].is_some()).count() as u64;
    ensure!(
        index.describe().await?.vector_count == there + 1,
        "the count is wrong"
    );
    let options = QueryOptions {
        top_k: Some(100),
        ..QueryOptions::default()
    };
    let matches = index.query(&[1.0, 1.0, 1.0], &options).await?.matches;
    ensure!(
        matches.len() as u64 == there + 1,
        "a query sees {} vectors",
        matches.len()
    );
    Ok(())
}

/// A remote that cannot write any more refuses changes, answers queries, and goes on once there is room.
#[tokio::test]
async fn a_full_disk() -> Result<()> {
    let project = Project::new(&[])?;
    let kept = Vector::new("kept", [1.0, 2.0, 3.0]);
    let mut remote = project.serve(Access::Off).await?;
    let written = index(&remote)?.upsert(std::slice::from_ref(&kept)).await?;
    index(&remote)?.processed(&written).await?;
    ensure!(remote.terminate().await?.success(), "the remote stops when told");

    // No file may grow beyond 256 KiB: what a full disk does, without one.
    let mut limited = project.limited(Access::Off, 256).await?;
    let full = index(&limited)?;
    let mut accepted = Vec::<(Mutation, u32)>::new();
    let batch = |number: u32| -> Vec<Vector> {
        let text = "x".repeat(8000);
        (0..20)
            .map(|step| Vector {
                metadata: serde_json::json!({ "text": text }).as_object().cloned(),
                ..Vector::new(format!("{number}-{step}"), values(step, number))
            })
            .collect()
    };
    let mut refused = None;
    for number in 0..100 {
        match full.upsert(&batch(number)).await {
            Ok(mutation) => accepted.push((mutation, number)),
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
    }
    let refused = refused.context("a full disk was not noticed")?;
    let ErrorKind::Binding {
        code: Some(50001), ..
    } = *refused.kind
    else {
        anyhow::bail!("{refused:?}");
    };
    ensure!(refused.may_retry(), "there may be room later");
    let found = full.query(&[1.0, 2.0, 3.0], &QueryOptions::default()).await?;
    ensure!(
        found.matches.iter().any(|one| one.id == "kept"),
        "queries go on: {found:?}"
    );
    limited.terminate().await?;

    let remote = project.serve(Access::Off).await?;
    let index = index(&remote)?;
    let last = index.upsert(&[Vector::new("last", [0.0, 0.0, 1.0])]).await?;
    index.processed(&last).await?;
    for (_, number) in &accepted {
        let ids: Vec<String> = (0..20).map(|step| format!("{number}-{step}")).collect();
        ensure!(
            index.get_by_ids(&ids).await?.len() == 20,
            "an accepted change was lost"
        );
    }
    ensure!(
        index.get_by_ids(&["kept"]).await? == [kept],
        "what was there stays"
    );
    Ok(())
}

/// Uploads at and over what an upload may be.
#[tokio::test]
async fn huge_uploads() -> Result<()> {
    let project = Project::new(&[])?;
    let remote = project.serve(Access::Off).await?;
    let index = index(&remote)?;
    let text = "x".repeat(10_000);
    let one = |id: u32| Vector {
        metadata: serde_json::json!({ "text": text }).as_object().cloned(),
        ..Vector::new(id.to_string(), [1.0, 2.0, 3.0])
    };
    let most: Vec<Vector> = (0..1000).map(one).collect();
    let written = tokio::time::timeout(Duration::from_secs(60), index.upsert(&most)).await??;
    index.processed(&written).await?;
    ensure!(index.describe().await?.vector_count == 1000);
    let more: Vec<Vector> = (0..1001).map(one).collect();
    let error = index
        .upsert(&more)
        .await
        .err()
        .context("1001 vectors were taken")?;
    ensure!(error.to_string().contains("at most 1000 vectors"), "{error}");

    let request = http::Request::post("http://vector-search/upsert");
    let spaces = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b' '; 1 << 20].into()));
    let endless = bowline_client::stream(spaces);
    let client = Client::builder(remote.url()).build()?;
    let answer = client.binding("VEC").fetch(request.body(endless)?).await;
    let told = match answer {
        Ok(response) => response.status() == 413,
        // The connection may be gone before an upload without end is told why.
        Err(error) => matches!(*error.kind, ErrorKind::Line(_)),
    };
    ensure!(told, "an upload without end was taken");
    ensure!(index.describe().await?.vector_count == 1000);
    Ok(())
}
