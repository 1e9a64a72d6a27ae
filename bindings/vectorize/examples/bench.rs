//! Queries per second, recall and resources of an index, through the surface that Workers call; and of two peers on the
//! same vectors in the same process: a scan written by hand, and hnsw_rs used directly.
//!
//! `cargo run --release -p bowline-vectorize --example bench -- VECTORS DIMENSIONS [alone]` prints one JSON object; `alone`
//! leaves the peers out. `cargo xtask bench vectorize` makes rows of it.
//!
//! The vectors are made, and alike in every run: points of a mixture of 500 clusters in 48 dimensions, turned into as many
//! as asked for by a random linear map, with noise. Embeddings are like that: many dimensions, of which few are free. On
//! evenly spread noise every graph finds little, and nobody searches noise.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "an example is a program"
)]

use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anndists::dist::distances::DistDot;
use anyhow::{Context, ensure};
use bowline_binding::{Binding, CallContext, FetchReply, FetchRequest, Resources};
use hnsw_rs::hnsw::Hnsw;
use http::{HeaderMap, Method};
use serde_json::{Value, json};

const TOP_K: usize = 10;
const QUERIES: usize = 300;
/// As ours is built and asked, unless configured otherwise.
const NEIGHBOURS: usize = 20;
const BUILD_EFFORT: usize = 160;
const EFFORT: usize = 128;

const LATENT: usize = 48;
const CLUSTERS: usize = 500;

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Noise(u64);

impl Noise {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// About normal: the sum of four even numbers.
    fn normal(&mut self) -> f32 {
        let bits = self.bits();
        (0..4)
            .map(|part| ((bits >> (16 * part)) & 0xffff) as f32 / 65536.0 - 0.5)
            .sum()
    }
}

struct Source {
    noise: Noise,
    centres: Vec<f32>,
    map: Vec<f32>,
    dimensions: usize,
}

impl Source {
    fn new(dimensions: usize) -> Self {
        let mut noise = Noise(42);
        let mut many = |count| (0..count).map(|_| noise.normal()).collect::<Vec<_>>();
        let (centres, map) = (many(CLUSTERS * LATENT), many(LATENT * dimensions));
        Self {
            noise,
            centres,
            map,
            dimensions,
        }
    }

    /// A vector of length 1.
    fn next(&mut self) -> Vec<f32> {
        let cluster = self.noise.bits() as usize % CLUSTERS;
        let mut vector: Vec<f32> = (0..self.dimensions).map(|_| 0.3 * self.noise.normal()).collect();
        for axis in 0..LATENT {
            let place = self.centres[cluster * LATENT + axis] + 0.7 * self.noise.normal();
            let row = &self.map[axis * self.dimensions..][..self.dimensions];
            vector
                .iter_mut()
                .zip(row)
                .for_each(|(value, part)| *value += place * part);
        }
        let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
        vector.iter_mut().for_each(|value| *value /= length);
        vector
    }
}

/// An index as a Worker has it.
struct Ours(Arc<dyn Binding>);

impl Ours {
    fn open(state: &Path, dimensions: usize, ann: Value) -> anyhow::Result<Self> {
        let entry = json!({"index_name": "bench", "dimensions": dimensions, "metric": "cosine", "ann": ann});
        let resources = Resources::new(state);
        Ok(Self((bowline_vectorize::DESCRIPTOR.build)(&entry, &resources)?))
    }

    async fn call(&self, path: &str, body: String) -> anyhow::Result<Value> {
        let request = FetchRequest {
            method: if body.is_empty() {
                Method::GET
            } else {
                Method::POST
            },
            url: format!("http://vector-search{path}"),
            headers: HeaderMap::new(),
            body: bowline_binding::full(body),
            upgrade: None,
        };
        let reply = self.0.fetch(&CallContext::new("VEC", "bench"), request).await?;
        let FetchReply::Response(response) = reply else {
            anyhow::bail!("an upgrade")
        };
        let status = response.status();
        let body = bowline_binding::collect(response.into_body(), 64 << 20).await?;
        ensure!(status == 200, "{status}: {}", String::from_utf8_lossy(&body));
        Ok(serde_json::from_slice(&body)?)
    }

    /// Writes all, and gives the time from the first call until the last vector is seen, less that of making them.
    async fn fill(&self, mut vectors: impl Iterator<Item = Vec<f32>>) -> anyhow::Result<Duration> {
        let (mut last, mut number, mut taken) = (Value::Null, 0, Duration::ZERO);
        loop {
            let chunk: Vec<Vec<f32>> = vectors.by_ref().take(1000).collect();
            if chunk.is_empty() {
                break;
            }
            let start = Instant::now();
            let line = |(place, values): (usize, &Vec<f32>)| {
                json!({"id": (number + place).to_string(), "values": values}).to_string()
            };
            let lines: Vec<String> = chunk.iter().enumerate().map(line).collect();
            last = self.call("/insert", lines.join("\n")).await?["mutationId"].take();
            number += chunk.len();
            taken += start.elapsed();
        }
        let start = Instant::now();
        while self.call("/info", String::new()).await?["processedUpToMutation"] != last {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(taken + start.elapsed())
    }

    /// The ids that each query finds, the queries per second, and the median of their times in ms.
    async fn ask(&self, queries: &[Vec<f32>]) -> anyhow::Result<(Vec<Vec<usize>>, f64, f64)> {
        let bodies: Vec<String> = queries
            .iter()
            .map(|query| json!({"vector": query, "topK": TOP_K}).to_string())
            .collect();
        let (mut found, mut times) = (Vec::new(), Vec::new());
        for body in bodies {
            let start = Instant::now();
            found.push(self.call("/query", body).await?);
            times.push(start.elapsed().as_secs_f64());
        }
        let rate = queries.len() as f64 / times.iter().sum::<f64>();
        times.sort_unstable_by(f64::total_cmp);
        let median = times[times.len() / 2] * 1e3;
        let id = |one: &Value| one["id"].as_str().and_then(|id| id.parse().ok());
        let ids = |answer: &Value| {
            answer["matches"]
                .as_array()?
                .iter()
                .map(id)
                .collect::<Option<Vec<usize>>>()
        };
        let found = found.iter().map(ids).collect::<Option<_>>();
        Ok((found.context("matches with ids")?, rate, median))
    }
}

/// A scan as one writes it for one kind of vector and nothing else: lengths are 1, so that cosine is the dot product.
fn scan(flat: &[f32], dimensions: usize, query: &[f32]) -> Vec<usize> {
    let mut best: Vec<(f32, usize)> = Vec::with_capacity(TOP_K + 1);
    for (number, row) in flat.chunks_exact(dimensions).enumerate() {
        let mut sums = [0.0f32; 32];
        for (one, two) in row.chunks_exact(32).zip(query.chunks_exact(32)) {
            for (sum, (one, two)) in sums.iter_mut().zip(one.iter().zip(two)) {
                *sum += one * two;
            }
        }
        let rest = row
            .chunks_exact(32)
            .remainder()
            .iter()
            .zip(query.chunks_exact(32).remainder());
        let score = sums.iter().sum::<f32>() + rest.map(|(one, two)| one * two).sum::<f32>();
        if best.len() < TOP_K || best.last().is_some_and(|last| score > last.0) {
            let place = best.partition_point(|other| other.0 >= score);
            best.insert(place, (score, number));
            best.truncate(TOP_K);
        }
    }
    best.into_iter().map(|(_, number)| number).collect()
}

fn recall(found: &[Vec<usize>], exact: &[Vec<usize>]) -> f64 {
    let hits = found.iter().zip(exact).map(|(found, exact)| {
        let exact: HashSet<_> = exact.iter().collect();
        found.iter().filter(|id| exact.contains(id)).count()
    });
    hits.sum::<usize>() as f64 / exact.iter().map(Vec::len).sum::<usize>() as f64
}

/// Resident memory, MB.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kilobytes.map_or(f64::NAN, |kilobytes| kilobytes / 1e3)
}

fn on_disk(folder: &Path) -> io::Result<f64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes as f64 / 1e6)
}

/// Hears what the graph's thread logs, the only place that tells when it is done.
#[derive(Clone)]
struct Ear(Arc<Mutex<Sender<()>>>);

impl io::Write for Ear {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        if String::from_utf8_lossy(text).contains("the approximate index was built")
            && let Ok(sender) = self.0.lock()
        {
            let _ = sender.send(());
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn listen() -> Receiver<()> {
    let (sender, receiver) = channel();
    let ear = Ear(Arc::new(Mutex::new(sender)));
    tracing_subscriber::fmt().with_writer(move || ear.clone()).init();
    receiver
}

#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |what| -> anyhow::Result<usize> { Ok(arguments.next().context(what)?.parse()?) };
    let (vectors, dimensions) = (number("VECTORS")?, number("DIMENSIONS")?);
    let alone = arguments.next().is_some();
    let built = listen();
    let seconds = |start: Instant| start.elapsed().as_secs_f64();

    let mut source = Source::new(dimensions);
    let queries: Vec<Vec<f32>> = (0..QUERIES).map(|_| source.next()).collect();
    // Alone, they are made as they are written: memory is the index's then, and nobody else's.
    let rows: Vec<Vec<f32>> = if alone {
        Vec::new()
    } else {
        (0..vectors).map(|_| source.next()).collect()
    };
    let mut report = json!({"vectors": vectors, "dimensions": dimensions});

    let state = tempfile::tempdir()?;
    let before = resident();
    let ours = Ours::open(state.path(), dimensions, json!(false))?;
    let taken = if alone {
        ours.fill((0..vectors).map(|_| source.next())).await?
    } else {
        ours.fill(rows.iter().cloned()).await?
    };
    report["insert_s"] = json!(taken.as_secs_f64());
    report["memory_scan_mb"] = json!(resident() - before);
    report["disk_mb"] = json!(on_disk(&state.path().join("vectorize"))?);
    drop(ours);
    let start = Instant::now();
    let ours = Ours::open(state.path(), dimensions, json!(false))?;
    report["open_s"] = json!(seconds(start));

    let flat: Vec<f32> = rows.concat();
    let asked = &queries[..if vectors > 200_000 { 30 } else { 100 }];
    let (exact, mut rate, median) = ours.ask(asked).await?;
    report["scan_p50_ms"] = json!(median);
    if !alone {
        // In turns, so that what else the machine does falls on both alike.
        let mut theirs = 0.0f64;
        for _ in 0..3 {
            let start = Instant::now();
            let scanned: Vec<_> = asked.iter().map(|query| scan(&flat, dimensions, query)).collect();
            theirs = theirs.max(asked.len() as f64 / seconds(start));
            ensure!(recall(&scanned, &exact) > 0.999, "the two scans disagree");
            rate = rate.max(ours.ask(asked).await?.1);
        }
        report["scan_by_hand_qps"] = json!(theirs);
    }
    report["scan_qps"] = json!(rate);
    let exact: Vec<Vec<usize>> = if alone {
        ours.ask(&queries).await?.0
    } else {
        queries
            .iter()
            .map(|query| scan(&flat, dimensions, query))
            .collect()
    };
    drop((ours, flat));

    let start = Instant::now();
    let ours = Ours::open(
        state.path(),
        dimensions,
        json!({"threshold": 1000, "effort": EFFORT}),
    )?;
    tokio::task::spawn_blocking(move || built.recv()).await??;
    report["graph_build_s"] = json!(seconds(start));
    let (found, mut rate, median) = ours.ask(&queries).await?;
    report["graph_p50_ms"] = json!(median);
    for _ in 0..3 {
        rate = rate.max(ours.ask(&queries).await?.1);
    }
    report["graph_qps"] = json!(rate);
    report["graph_recall"] = json!(recall(&found, &exact));
    report["memory_graph_mb"] = json!(resident() - before);
    drop(ours);

    if !alone {
        let start = Instant::now();
        let direct = Hnsw::<f32, DistDot>::new(NEIGHBOURS, vectors, 16, BUILD_EFFORT, DistDot);
        let data: Vec<_> = rows.iter().zip(0..).collect();
        direct.parallel_insert(&data);
        report["hnsw_rs_build_s"] = json!(seconds(start));
        let mut theirs = 0.0f64;
        let mut found = Vec::new();
        for _ in 0..4 {
            let start = Instant::now();
            found = queries
                .iter()
                .map(|query| {
                    direct
                        .search(query, TOP_K, EFFORT)
                        .iter()
                        .map(|one| one.d_id)
                        .collect()
                })
                .collect();
            theirs = theirs.max(queries.len() as f64 / seconds(start));
        }
        report["hnsw_rs_qps"] = json!(theirs);
        report["hnsw_rs_recall"] = json!(recall(&found, &exact));
    }
    eprintln!("resident in the end: {:.0} MB", resident());
    println!("{report}");
    Ok(())
}
