//! Embeddings and tokens a second of the embedded models, through the whole line, against the same models in a bare candle
//! program (`crates/bowline-models/examples/bare.rs`).
//!
//! Both are asked in turn, so that what else the machine does falls on both alike, and each has one thread: candle's workers
//! spin, and two programs' workers would only spin against each other.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::{Call, Connection, Target};
use crate::bench::{Goal, Row, median};
use crate::run::{cargo, check, target};

/// Turns of each, after one that loads the models.
const TURNS: usize = 9;
/// What `bare` generates.
const TOKENS: usize = 48;
/// The names that stand for the embedded models.
const EMBED: &str = "@cf/embed";
const CHAT: &str = "@cf/chat";
const PROMPT: &str = "The most important thing about knots is that";

/// The program with its models, and the bare one. `None`, said, where the models cannot be had.
pub(super) struct Models {
    bare: PathBuf,
    /// MiniLM and SmolLM2, as the program lists them.
    folders: Vec<String>,
}

impl Models {
    /// Builds both programs and fetches the models.
    pub(super) fn prepare(program: &Path) -> anyhow::Result<Option<Self>> {
        check(&mut cargo([
            "build",
            "--release",
            "--quiet",
            "--package",
            "bowline",
            "--package",
            "bowline-models",
            "--features",
            "bowline/embedded-models,bowline-models/candle",
            "--bin",
            "bowline",
            "--example",
            "bare",
        ]))?;
        let pulled = Command::new(program)
            .args(["models", "pull"])
            .stderr(Stdio::inherit())
            .output()
            .context("start bowline models pull")?;
        if !pulled.status.success() {
            eprintln!("the models cannot be had, so that their rows are left out");
            return Ok(None);
        }
        let folders = String::from_utf8_lossy(&pulled.stdout)
            .lines()
            .map(str::to_owned)
            .collect();
        Ok(Some(Self {
            bare: target()?.join("release/examples/bare"),
            folders,
        }))
    }

    /// What the table of models needs: the backend, and the two names.
    pub(super) fn configure(entry: &mut Value) {
        entry["backends"]["here"] = json!({"type": "embedded"});
        entry["models"][EMBED] =
            json!({"backend": "here", "model": "all-MiniLM-L6-v2", "task": "text-embeddings"});
        entry["models"][CHAT] =
            json!({"backend": "here", "model": "SmolLM2-135M-Instruct", "task": "text-generation"});
    }

    /// Measures both.
    pub(super) fn rows(&self, line: &Target) -> anyhow::Result<Vec<Row>> {
        let mut bare = Bare::start(&self.bare, &self.folders)?;
        let mut connection = Connection::open(line)?;
        let texts: Vec<String> = (0..16)
            .map(|number| format!("Sentence {number} says how the bowline is tied, and why it holds a ship."))
            .collect();
        let mut embed = |texts: &[String]| {
            let ours = Call::wrapped_for(
                line,
                "run",
                EMBED,
                &json!({"inputs": {"text": texts}, "options": {}}),
            );
            measure(
                &mut connection,
                &mut bare,
                &ours,
                &format!("embed {}", json!(texts)),
                |answer| answer["data"].take(),
            )
        };
        let (ours_many, bare_many) = embed(&texts)?;
        let (ours_one, bare_one) = embed(&texts[..1])?;
        let inputs = json!({
            "prompt": PROMPT, "raw": true, "temperature": 0, "repetition_penalty": 1, "max_tokens": TOKENS,
        });
        let ours = Call::wrapped_for(line, "run", CHAT, &json!({"inputs": inputs, "options": {}}));
        let (ours_words, bare_words) = measure(
            &mut connection,
            &mut bare,
            &ours,
            &format!("generate {}", json!(PROMPT)),
            |answer| answer["response"].take(),
        )?;
        let row = |row: &str, count: usize, ours: f64, theirs: f64, goal| Row {
            row: row.to_owned(),
            peer: "bare candle",
            ours: count as f64 / ours,
            theirs: count as f64 / theirs,
            unit: "/s",
            goal,
        };
        Ok(vec![
            row(
                "embeddings, 16 in a call",
                16,
                ours_many,
                bare_many,
                Goal::AtLeast(0.95),
            ),
            row("embeddings, 1 in a call", 1, ours_one, bare_one, Goal::None),
            row("tokens", TOKENS, ours_words, bare_words, Goal::AtLeast(0.95)),
        ])
    }
}

/// The median seconds of ours and of the bare program, after both gave the same.
fn measure(
    connection: &mut Connection,
    bare: &mut Bare,
    ours: &Call<'_>,
    theirs: &str,
    result: impl Fn(&mut Value) -> Value,
) -> anyhow::Result<(f64, f64)> {
    let (mut own, mut other) = (Vec::new(), Vec::new());
    for turn in 0..=TURNS {
        let start = Instant::now();
        let answer = connection.whole(&ours.bytes)?;
        // Reading the numbers is this program's work, which is not optimised.
        let seconds = start.elapsed().as_secs_f64();
        let mut answer: Value = serde_json::from_slice(&answer)?;
        let expected = bare.ask(theirs)?;
        if turn == 0 {
            ensure!(
                alike(&result(&mut answer), &expected["out"]),
                "the two programs do not say the same: {answer} and {expected}"
            );
            continue;
        }
        own.push(seconds);
        other.push(expected["seconds"].as_f64().context("a time")?);
    }
    Ok((median(own), median(other)))
}

/// Equal, numbers as far as f32 goes.
fn alike(one: &Value, two: &Value) -> bool {
    match (one, two) {
        (Value::Array(one), Value::Array(two)) => {
            one.len() == two.len() && one.iter().zip(two).all(|(one, two)| alike(one, two))
        }
        (Value::Number(one), Value::Number(two)) => {
            let difference = one.as_f64().zip(two.as_f64()).map(|(one, two)| (one - two).abs());
            difference.is_some_and(|difference| difference < 1e-4)
        }
        _ => one == two,
    }
}

/// The bare program; killed when dropped.
struct Bare {
    child: Child,
    stdin: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Bare {
    fn start(program: &Path, folders: &[String]) -> anyhow::Result<Self> {
        let mut child = Command::new(program)
            .args(folders)
            .env("RAYON_NUM_THREADS", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        let stdin = child.stdin.take().context("no standard input")?;
        let stdout = child.stdout.take().context("no standard output")?;
        Ok(Self {
            child,
            stdin,
            answers: BufReader::new(stdout),
        })
    }

    fn ask(&mut self, call: &str) -> anyhow::Result<Value> {
        writeln!(self.stdin, "{call}")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        serde_json::from_str(&line).with_context(|| format!("the bare program said `{line}`"))
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
