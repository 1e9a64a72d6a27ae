//! Vectorize on Qdrant: the same calls on it and on Bowline's own index must give the same. The server is a stand-in over
//! the vendor's own client library; `qdrant/server.py` says what it can show and what not.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use bowline_client::vectorize::{Match, QueryOptions, ReturnMetadata, Vector, Vectorize};
use bowline_client::{Client, ErrorKind};
use bowline_e2e::program::{self, Program};
use bowline_e2e::project::{Access, Project};
use bowline_e2e::{peers, upstream};
use serde_json::{Value, json};

const METRICS: [&str; 3] = ["cosine", "euclidean", "dot-product"];
const KEY: &str = "qdrant-s3cret";
/// Changes, with queries after each.
const CHANGES: u32 = 15;

async fn qdrant() -> Result<Program> {
    let python = peers::python("bowline-qdrant", include_str!("../../qdrant/requirements.txt")).await?;
    let mut command = program::cleared(&python);
    command
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("qdrant/server.py"))
        .env("QDRANT_KEY", KEY);
    Program::start(command).await
}

/// A project with an index of each metric at a server, and one like it beside it: `AT_…` and `OWN_…`.
fn project(server: &str) -> Result<Project> {
    let (mut wrangler, mut bowline) = (Vec::new(), json!({"bindings": {}}));
    for metric in METRICS {
        for place in ["AT", "OWN"] {
            let name = format!("{place}_{metric}");
            wrangler.push(json!({"binding": name, "index_name": name, "remote": true}));
            let mut index = json!({
                "dimensions": 3, "metric": metric, "mutations": "synchronous",
                "metadata_indexes": [
                    {"property": "genre", "type": "string"}, {"property": "year.first", "type": "number"},
                    {"property": "live", "type": "boolean"},
                ],
            });
            if place == "AT" {
                index["store"] = json!({"type": "qdrant", "url": server, "api_key_env": "QDRANT_KEY"});
            }
            bowline["bindings"][&name] = index;
        }
    }
    let wrangler = json!({
        "name": "e2e", "main": "worker.mjs", "compatibility_date": "2026-07-01", "vectorize": wrangler,
    });
    let mut project = Project::of(&wrangler, &bowline)?;
    project.variables = vec![("QDRANT_KEY", KEY.to_owned())];
    Ok(project)
}

/// Numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        // SplitMix64 (Steele, Lea, Flood 2014).
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) % limit
    }

    fn value(&mut self) -> f32 {
        // Tenths have no short binary form: what comes back must be what was written, to the bit.
        self.below(199) as f32 / 10.0 - 9.9
    }

    fn values(&mut self) -> [f32; 3] {
        [self.value(), self.value(), self.value()]
    }

    fn vector(&mut self) -> Vector {
        let mut metadata = json!({"note": "naïve \u{1f600}", "z": 1, "a": 0.1});
        if self.below(4) > 0 {
            // The last is longer than an index keeps.
            let genres = ["jazz", "folk", &"x".repeat(70)].map(str::to_owned);
            metadata["genre"] = genres[self.below(3) as usize].clone().into();
        }
        match self.below(4) {
            0 => metadata["year"] = json!({"first": "1990"}),
            1 => {}
            _ => metadata["year"] = json!({"first": 1990.5 + self.below(4) as f64}),
        }
        if self.below(2) == 0 {
            metadata["live"] = json!(self.below(2) == 0);
        }
        Vector {
            namespace: (self.below(2) == 0).then(|| format!("space {}", self.below(2))),
            metadata: (self.below(5) > 0)
                .then(|| metadata.as_object().cloned())
                .flatten(),
            ..Vector::new(format!("id {}", self.below(30)), self.values())
        }
    }
}

fn filters() -> Vec<Value> {
    let long = "x".repeat(64);
    vec![
        Value::Null,
        json!({"genre": "jazz"}),
        json!({"genre": long}),
        json!({"genre": {"$ne": "folk"}}),
        json!({"genre": null}),
        json!({"genre": {"$ne": null}}),
        json!({"genre": {"$in": ["jazz", null]}}),
        json!({"genre": {"$nin": ["jazz", "folk"]}}),
        json!({"year.first": 1991.5}),
        json!({"year.first": {"$gt": 1990.5, "$lte": 1992.5}}),
        json!({"year.first": {"$gte": 1991.5}, "genre": "folk"}),
        json!({"year.first": {"$lt": 1991.5}}),
        json!({"live": true}),
        json!({"live": {"$ne": true}}),
        json!({"unindexed": 1}),
    ]
}

/// Scores of f32 and of f64 differ in the last digits, and near each other may trade places.
fn same(one: &[Match], two: &[Match]) -> bool {
    let key = |all: &[Match]| -> Vec<(String, Match)> {
        let mut all: Vec<_> = all
            .iter()
            .map(|one| {
                (
                    one.id.clone(),
                    Match {
                        score: 0.0,
                        ..one.clone()
                    },
                )
            })
            .collect();
        all.sort_by(|one, two| one.0.cmp(&two.0));
        all
    };
    let near =
        |(one, two): (&Match, &Match)| (one.score - two.score).abs() <= 1e-4 * one.score.abs().max(1.0);
    key(one) == key(two) && one.iter().zip(two).all(near)
}

async fn compare(at: &Vectorize, own: &Vectorize, dice: &mut Dice) -> Result<()> {
    for change in 0..CHANGES {
        let vectors: Vec<Vector> = (0..1 + dice.below(6)).map(|_| dice.vector()).collect();
        let ids: Vec<&str> = vectors.iter().map(|vector| vector.id.as_str()).collect();
        let last = match dice.below(4) {
            0 => {
                own.delete_by_ids(&ids).await?;
                at.delete_by_ids(&ids).await?
            }
            1 => {
                own.insert(&vectors).await?;
                at.insert(&vectors).await?
            }
            _ => {
                own.upsert(&vectors).await?;
                at.upsert(&vectors).await?
            }
        };
        let (info, expected) = (at.describe().await?, own.describe().await?);
        ensure!(
            info.vector_count == expected.vector_count,
            "{info:?} {expected:?}"
        );
        ensure!(
            info.processed_up_to_mutation == Some(last.mutation_id),
            "{info:?}"
        );
        let ids: Vec<String> = (0..30).map(|id| format!("id {id}")).collect();
        ensure!(
            at.get_by_ids(&ids).await? == own.get_by_ids(&ids).await?,
            "vectors come back as they were"
        );
        let filters = filters();
        let filter = &filters[change as usize % filters.len()];
        for return_metadata in [ReturnMetadata::Indexed, ReturnMetadata::All] {
            // Every match, so that equal scores at the end of the list cannot differ.
            let options = QueryOptions {
                top_k: Some(if return_metadata == ReturnMetadata::All {
                    20
                } else {
                    100
                }),
                namespace: (dice.below(3) == 0).then(|| "space 1".to_owned()),
                return_values: return_metadata == ReturnMetadata::All,
                return_metadata,
                filter: filter.as_object().cloned(),
            };
            let values = dice.values();
            let (found, expected) = (
                at.query(&values, &options).await?.matches,
                own.query(&values, &options).await?.matches,
            );
            ensure!(same(&found, &expected), "{options:?}\n{found:#?}\n{expected:#?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn it_is_what_the_own_index_is() -> Result<()> {
    let server = qdrant().await?;
    let project = project(server.url())?;
    let mut remote = project.serve(Access::Off).await?;
    let client = Client::builder(remote.url()).build()?;
    let mut dice = Dice(7);
    for metric in METRICS {
        let (at, own) = (
            client.vectorize(format!("AT_{metric}")),
            client.vectorize(format!("OWN_{metric}")),
        );
        compare(&at, &own, &mut dice).await.context(metric)?;

        // What only one of the two can refuse, or refuses in its own words.
        let by_id = QueryOptions::default();
        let error = at
            .query_by_id("nobody", &by_id)
            .await
            .err()
            .context("no such id")?;
        ensure!(
            error.to_string().contains("vector \"nobody\" does not exist"),
            "{error}"
        );
        let text_range = QueryOptions {
            filter: json!({"genre": {"$gt": "a"}}).as_object().cloned(),
            ..QueryOptions::default()
        };
        let error = at
            .query(&[1.0, 2.0, 3.0], &text_range)
            .await
            .err()
            .context("a range of texts")?;
        ensure!(error.to_string().contains("has no ranges of texts"), "{error}");
    }
    // A query by id finds that vector, too.
    let at = client.vectorize("AT_cosine");
    at.upsert(&[Vector::new("id 0", [1.0, 2.0, 3.0])]).await?;
    let found = at.query_by_id("id 0", &QueryOptions::default()).await?.matches;
    ensure!(found.first().is_some_and(|one| one.id == "id 0"), "{found:?}");

    // Another process sees what this one wrote.
    let before = at.describe().await?;
    remote.terminate().await?;
    let remote = project.serve(Access::Off).await?;
    let at = Client::builder(remote.url()).build()?.vectorize("AT_cosine");
    ensure!(at.describe().await? == before, "{before:?}");
    Ok(())
}

/// A server that is not there, is no Qdrant, refuses the key, or holds something else.
#[tokio::test]
async fn faults() -> Result<()> {
    let ask = async |server: &str, key: &str| -> Result<String> {
        let mut project = project(server)?;
        project.variables = vec![("QDRANT_KEY", key.to_owned())];
        let remote = project.serve(Access::Off).await?;
        let index = Client::builder(remote.url()).build()?.vectorize("AT_cosine");
        let error = index.describe().await.err().context("a fault was not told")?;
        ensure!(
            !format!("{error:?} {}", remote.stderr.text()).contains(key),
            "the key is told"
        );
        let code = match &*error.kind {
            ErrorKind::Binding { code, .. } => *code,
            _ => None,
        };
        ensure!(code == Some(50201), "{error:?}");
        Ok(error.to_string())
    };
    let told = ask("http://127.0.0.1:1", KEY).await?;
    ensure!(told.contains("127.0.0.1:1 could not be reached"), "{told}");
    let echo = upstream::http_echo().await?;
    let told = ask(&format!("http://{echo}"), KEY).await?;
    ensure!(told.contains("Qdrant"), "{told}");
    let server = qdrant().await?;
    let told = ask(server.url(), "wr0ng-key").await?;
    ensure!(
        told.contains("Qdrant answered 403: Forbidden: Bearer ****"),
        "{told}"
    );

    // An index of that name which is shaped otherwise.
    let project = project(server.url())?;
    let mut remote = project.serve(Access::Off).await?;
    let index = Client::builder(remote.url()).build()?.vectorize("AT_cosine");
    index.describe().await?;
    remote.terminate().await?;
    let settings = json!({"dimensions": 4, "metric": "cosine",
        "store": {"type": "qdrant", "url": server.url(), "api_key_env": "QDRANT_KEY"}});
    project.configure("AT_cosine", settings)?;
    let remote = project.serve(Access::Off).await?;
    let index = Client::builder(remote.url()).build()?.vectorize("AT_cosine");
    let told = index.describe().await.err().context("another shape")?.to_string();
    ensure!(
        told.contains("has the size 3, and the configuration says 4"),
        "{told}"
    );
    Ok(())
}
