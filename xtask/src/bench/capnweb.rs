//! The Rust Cap'n Web against npm's, and against a bare WebSocket echo.
//!
//! Every pairing is a server and a client, each a process of its own. The programs of both languages have one command
//! line and one set of rows; `capnweb/client.js` says what each row does. Rounds are interleaved, so that what else the
//! machine does falls on all alike.

mod echo;
mod idle;
mod programs;

use anyhow::Context;

pub(crate) use self::echo::{
    ClientArgs as EchoClientArgs, ServerArgs as EchoServerArgs, client as echo_client, server as echo_server,
};
use self::programs::{Program, Server};
use super::{Goal, Row, median, peers};
use crate::run::debian;

/// Rounds of each row; each goes to all pairings in turn.
const ROUNDS: usize = 5;
/// For small calls the work is per message, and for payloads per byte: base64 and JSON cost both languages much alike.
const SMALL: Goal = Goal::AtLeast(10.0);
const PAYLOAD: Goal = Goal::AtLeast(5.0);

/// One row of the programs.
struct Load {
    /// As the programs know it.
    name: &'static str,
    title: &'static str,
    unit: &'static str,
    goal: Goal,
    /// Whether all programs share one core.
    on_one_core: bool,
}

const LOADS: [Load; 11] = [
    // Where the scheduler puts two processes that take turns decides what a round trip costs, so they are also measured where
    // it has no choice.
    Load {
        on_one_core: true,
        ..load("sequential", "sequential calls on one core", "calls/s", SMALL)
    },
    load("sequential", "sequential calls", "calls/s", SMALL),
    load("concurrent", "64 concurrent calls", "calls/s", SMALL),
    load("flood", "flood of 20000 calls", "calls/s", SMALL),
    load("pipeline", "pipeline of 10 calls", "calls/s", SMALL),
    load("map", "map over 100", "calls/s", SMALL),
    load("batch", "HTTP batch of 10", "calls/s", SMALL),
    load("json", "100 kB JSON echo", "MB/s", PAYLOAD),
    load("bytes", "1 MB bytes echo", "MB/s", PAYLOAD),
    load("upload", "64 MiB stream up", "MB/s", PAYLOAD),
    load("download", "64 MiB stream down", "MB/s", PAYLOAD),
];

const fn load(name: &'static str, title: &'static str, unit: &'static str, goal: Goal) -> Load {
    Load {
        name,
        title,
        unit,
        goal,
        on_one_core: false,
    }
}

/// A client and the server it goes to.
struct Pairing<'a> {
    client: &'a Program,
    server: &'a Server,
}

pub(crate) fn run() -> anyhow::Result<Vec<Row>> {
    debian(&[
        ("node", "nodejs"),
        ("npm", "npm"),
        ("taskset", "util-linux"),
        ("prlimit", "util-linux"),
    ])?;
    let cores = std::thread::available_parallelism()
        .context("count the cores")?
        .get();
    let (js, rust, echo) = (programs::js()?, programs::rust()?, programs::echo()?);
    // Before any server starts, which inherits it.
    idle::allow_many_sockets()?;

    let (js_server, rust_server) = (js.server.start()?, rust.server.start()?);
    let (echo_plain, echo_coalesced) = (echo.plain.server.start()?, echo.coalesced.server.start()?);
    let pairings = [
        (&js.client, &js_server),
        (&js.client, &rust_server),
        (&rust.client, &rust_server),
    ]
    .map(|(client, server)| Pairing { client, server });
    let echoes = [
        (&echo.plain.client, &echo_plain),
        (&echo.coalesced.client, &echo_coalesced),
    ]
    .map(|(client, server)| Pairing { client, server });

    let (mut pure, mut mixed, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for load in &LOADS {
        let core = load.on_one_core.then_some("0");
        let all = format!("0-{}", cores - 1);
        for server in [&js_server, &rust_server, &echo_plain] {
            peers::pin(server.id(), core.unwrap_or(&all))?;
        }
        let mut racing: Vec<&Pairing<'_>> = pairings.iter().collect();
        match load.name {
            "sequential" | "json" => racing.push(&echoes[0]),
            "concurrent" => racing.extend(&echoes),
            _ => {}
        }
        let mut rates = interleave(&racing, load, core)?.into_iter();
        let mut next = || rates.next().unwrap_or(f64::NAN);
        let (js_js, rust_js, rust_rust) = (next(), next(), next());
        let row = |what: &str, peer, ours, theirs, goal| Row {
            row: format!("{}, {what}", load.title),
            peer,
            ours,
            theirs,
            unit: load.unit,
            goal,
        };
        pure.push(row("Rust<->Rust", "JS<->JS", rust_rust, js_js, load.goal));
        mixed.push(row(
            "Rust server, JS client",
            "JS<->JS",
            rust_js,
            js_js,
            Goal::AtLeast(1.0),
        ));
        if load.name == "sequential" {
            // What the kernel takes for a message there and one back.
            bare.push(row("Rust<->Rust", "bare echo", rust_rust, next(), Goal::None));
        }
        if load.name == "json" {
            // What a program pays that has a tree of values and nothing else.
            bare.push(row("Rust<->Rust", "serde_json", rust_rust, next(), Goal::None));
        }
        if load.name == "concurrent" {
            bare.push(row(
                "Rust<->Rust",
                "bare echo",
                rust_rust,
                next(),
                Goal::AtLeast(0.5),
            ));
            // What is left to gain by writing to the socket less often.
            bare.push(row("Rust<->Rust", "batched echo", rust_rust, next(), Goal::None));
        }
    }
    let memory = Row {
        row: "resident memory per idle session".into(),
        peer: "JS",
        ours: idle::session_memory(&rust.server).context("memory of the Rust server")?,
        theirs: idle::session_memory(&js.server).context("memory of the JavaScript server")?,
        unit: "kB",
        goal: Goal::Below(16.0),
    };
    Ok(pure
        .into_iter()
        .chain(mixed)
        .chain(bare)
        .chain([memory])
        .collect())
}

/// The median rate of each pairing, round by round, the order turning.
fn interleave(pairings: &[&Pairing<'_>], load: &Load, core: Option<&str>) -> anyhow::Result<Vec<f64>> {
    let mut rates = vec![Vec::new(); pairings.len()];
    for round in 0..ROUNDS {
        for turn in 0..pairings.len() {
            let which = (round + turn) % pairings.len();
            let Pairing { client, server } = pairings[which];
            rates[which].push(client.rate(server, load.name, load.unit, core)?);
        }
    }
    Ok(rates.into_iter().map(median).collect())
}
