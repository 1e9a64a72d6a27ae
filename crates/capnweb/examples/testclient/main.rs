//! A client to check Cap'n Web servers with: `testclient --ws URL --http URL [--only NAME,…]`.
//!
//! Runs scenarios and prints one line of JSON for each.
#![expect(clippy::print_stdout, reason = "a program for a terminal")]

#[path = "../shared/counter.rs"]
mod counter;
mod kind_lists;
#[expect(dead_code, reason = "the server throws what the client only hears of")]
#[path = "../shared/kinds.rs"]
mod kinds;
mod scenarios;
mod shown;

use std::time::Duration;

use serde_json::json;

/// The longest a scenario may take.
const DEADLINE: Duration = Duration::from_secs(14);

/// How long the last session has to close its connection.
const GOODBYE: Duration = Duration::from_millis(100);

/// Where the server is.
#[derive(Clone)]
pub(crate) struct Urls {
    ws: String,
    http: String,
    /// Keeps labels of one run apart from those of another.
    run: String,
}

impl Urls {
    /// The WebSocket URL with another path.
    pub(crate) fn ws_at(&self, path: &str) -> String {
        at(&self.ws, path)
    }

    /// The HTTP URL with another path.
    pub(crate) fn http_at(&self, path: &str) -> String {
        at(&self.http, path)
    }

    /// A label of this run.
    pub(crate) fn label(&self, name: &str) -> capnweb::Value {
        format!("{name}-{}", self.run).into()
    }
}

fn at(url: &str, path: &str) -> String {
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    let end = url[after_scheme..]
        .find('/')
        .map_or(url.len(), |at| after_scheme + at);
    format!("{}{path}", &url[..end])
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut ws, mut http, mut only) = (None, None, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let value = arguments.next();
        match argument.as_str() {
            "--ws" => ws = value,
            "--http" => http = value,
            "--only" => only = value,
            other => return Err(format!("unknown argument {other}").into()),
        }
    }
    let (Some(ws), Some(http)) = (ws, http) else {
        return Err("usage: testclient --ws URL --http URL [--only NAME,…]".into());
    };
    let started = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let urls = Urls {
        ws,
        http,
        run: format!("{}-{}", std::process::id(), started.as_nanos()),
    };
    let names: Vec<String> = match only {
        Some(only) => only.split(',').map(str::to_owned).collect(),
        None => scenarios::NAMES.iter().map(|name| (*name).to_owned()).collect(),
    };
    for name in names {
        let running = scenarios::run(name.clone(), urls.clone());
        let line = match tokio::time::timeout(DEADLINE, running).await {
            Ok(Some(Ok(result))) => json!({"scenario": name, "ok": true, "result": result}),
            Ok(Some(Err(error))) => {
                let shown = json!({"name": error.name(), "message": error.message()});
                json!({"scenario": name, "ok": false, "error": shown})
            }
            Ok(None) => json!({"scenario": name, "skipped": true}),
            Err(_) => {
                let shown = json!({"name": "Error", "message": "the scenario did not end in time"});
                json!({"scenario": name, "ok": false, "error": shown})
            }
        };
        println!("{line}");
    }
    // The last session says goodbye in a task of its own.
    tokio::time::sleep(GOODBYE).await;
    Ok(())
}
