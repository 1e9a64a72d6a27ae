//! The client of `cargo xtask bench capnweb`: `benchclient --ws URL --http URL --row NAME --rounds N`.
#![expect(clippy::print_stdout, reason = "a program for a terminal")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use capnweb::{BatchClient, Capability, Error, NoMain, ReadableStream, SessionOptions, Stub, Value, connect};
use futures_util::stream;

/// How long a round of small calls takes.
const ROUND: Duration = Duration::from_millis(400);
const FLOOD: u32 = 20_000;
const STREAM: usize = 64 * 1024 * 1024;
const CHUNK: usize = 64 * 1024;

/// Does `work` again and again for a round; it returns how much it did.
async fn repeat(mut work: impl AsyncFnMut() -> Result<f64, Error>) -> Result<f64, Error> {
    let started = Instant::now();
    let mut done = 0.0;
    while started.elapsed() < ROUND {
        done += work().await?;
    }
    Ok(done / started.elapsed().as_secs_f64())
}

fn check(right: bool) -> Result<(), Error> {
    if right {
        Ok(())
    } else {
        Err(Error::new("Error", "the answer is wrong"))
    }
}

/// 1000 rows of 99 bytes each: 100 kB of JSON.
fn rows() -> Value {
    let row = |i: u32| {
        Value::object([
            ("id", (1000 + i).into()),
            ("name", format!("item {}", 1000 + i).into()),
            ("price", (1000.5 + f64::from(i)).into()),
            ("active", true.into()),
            ("tags", Value::Array(vec!["red".into(), "blue".into()])),
            ("note", "xxxxxxxx".into()),
        ])
    };
    Value::Array((0..1000).map(row).collect())
}

/// One round of a row: its rate.
async fn round(row: &str, main: &Stub, http: &str) -> Result<f64, Error> {
    match row {
        "sequential" => {
            repeat(async || {
                check(main.call("square", [7.into()]).await?.as_f64() == Some(49.0))?;
                Ok(1.0)
            })
            .await
        }
        "concurrent" => {
            let lanes = (0..64).map(|lane| {
                repeat(async move || {
                    let answer = main.call("square", [lane.into()]).await?;
                    check(answer.as_f64() == Some(f64::from(lane * lane)))?;
                    Ok(1.0)
                })
            });
            Ok(futures_util::future::try_join_all(lanes).await?.into_iter().sum())
        }
        "flood" => {
            let started = Instant::now();
            let calls = (0..FLOOD).map(|i| main.call("square", [i.into()]).into_future());
            let answers = futures_util::future::try_join_all(calls.collect::<Vec<_>>()).await?;
            check(answers.len() == FLOOD as usize)?;
            Ok(f64::from(FLOOD) / started.elapsed().as_secs_f64())
        }
        "pipeline" => {
            repeat(async || {
                let counter = main.call("makeCounter", [0.into()]);
                let calls: Vec<_> = (0..10)
                    .map(|_| counter.call("increment", [1.into()]).into_future())
                    .collect();
                let answers = futures_util::future::try_join_all(calls).await?;
                check(answers.last().and_then(Value::as_f64) == Some(10.0))?;
                Ok(11.0)
            })
            .await
        }
        "json" => {
            let value = rows();
            repeat(async || {
                let answer = main.call("echo", [value.clone()]).await?;
                check(matches!(answer, Value::Array(rows) if rows.len() == 1000))?;
                Ok(0.1)
            })
            .await
        }
        "bytes" => {
            let value = Value::from((0..1_000_000u32).map(|i| (i % 251) as u8).collect::<Vec<u8>>());
            repeat(async || {
                let answer = main.call("echo", [value.clone()]).await?;
                check(matches!(answer, Value::Bytes(bytes, _) if bytes.len() == 1_000_000))?;
                Ok(1.0)
            })
            .await
        }
        "map" => {
            repeat(async || {
                let list = main.call("list", [100.into()]);
                let answers = list.map(|i| main.call("square", [i.into()])).await?;
                check(matches!(answers, Value::Array(answers) if answers.len() == 100))?;
                Ok(101.0)
            })
            .await
        }
        "batch" => {
            let client = BatchClient::new();
            repeat(async || {
                let answers = client
                    .batch(http, &[], SessionOptions::default(), async |main| {
                        let calls = (0..10).map(|i| main.call("square", [i.into()]).into_future());
                        futures_util::future::try_join_all(calls).await
                    })
                    .await?;
                check(answers.last().and_then(Value::as_f64) == Some(81.0))?;
                Ok(10.0)
            })
            .await
        }
        "upload" => {
            let started = Instant::now();
            let chunks = (0..STREAM / CHUNK).map(|_| Ok(Value::from(vec![120; CHUNK])));
            let stream = ReadableStream::new(stream::iter(chunks));
            let total = main.call("sumStream", [stream.into()]).await?;
            check(total.as_f64() == Some(STREAM as f64))?;
            Ok(STREAM as f64 / 1e6 / started.elapsed().as_secs_f64())
        }
        "download" => {
            let started = Instant::now();
            let answer = main
                .call("makeStream", [(STREAM as f64).into(), (CHUNK as f64).into()])
                .await?;
            let mut total = 0;
            if let Value::Capability(Capability::Readable(stream)) = &answer {
                while let Some(chunk) = stream.next().await? {
                    if let Value::Bytes(bytes, _) = chunk {
                        total += bytes.len();
                    }
                }
            }
            check(total == STREAM)?;
            Ok(STREAM as f64 / 1e6 / started.elapsed().as_secs_f64())
        }
        other => Err(Error::new("Error", format!("no row {other}"))),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut ws, mut http, mut row, mut rounds) = (String::new(), String::new(), String::new(), 1);
    let mut arguments = std::env::args().skip(1);
    while let (Some(name), Some(value)) = (arguments.next(), arguments.next()) {
        match name.as_str() {
            "--ws" => ws = value,
            "--http" => http = value,
            "--row" => row = value,
            "--rounds" => rounds = value.parse()?,
            other => return Err(format!("unknown argument {other}").into()),
        }
    }
    let main = connect(&ws, &[], Arc::new(NoMain), SessionOptions::default()).await?;
    round(&row, &main, &http).await?;
    // The first round warms up.
    let mut rates = Vec::new();
    for _ in 0..rounds {
        rates.push(round(&row, &main, &http).await?);
    }
    rates.sort_by(f64::total_cmp);
    let unit = match row.as_str() {
        "json" | "bytes" | "upload" | "download" => "MB/s",
        _ => "calls/s",
    };
    let rate = rates[rates.len() / 2];
    println!(r#"{{"row":"{row}","rate":{rate},"unit":"{unit}"}}"#);
    Ok(())
}
