//! `cargo xtask bench AREA`: measurements against the best peer there is, all in one run.

mod access;
mod ai;
mod artifacts;
mod capnweb;
mod client;
mod images;
mod peers;
mod proxy;
mod session;
mod upstream;
mod vectorize;
mod worker;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    area: Area,
}

#[derive(Debug, Subcommand)]
enum Area {
    /// The gate's decision, and the gateway in front of an origin against nginx with `auth_request`.
    Access {
        /// Print one JSON object a row.
        #[arg(long)]
        json: bool,
    },
    /// Workers AI through the whole line against straight at the model server.
    Ai {
        /// Print one JSON object a row.
        #[arg(long)]
        json: bool,
    },
    /// Clone and push at Artifacts against `git http-backend`.
    Artifacts {
        /// Print one JSON object a row.
        #[arg(long)]
        json: bool,
    },
    /// `bowline connect` against nginx and against no proxy.
    Proxy {
        /// Print one JSON object a row.
        #[arg(long)]
        json: bool,
    },
    /// The Rust Cap'n Web against npm's, each pairing of them.
    Capnweb {
        /// Print one JSON object a row.
        #[arg(long)]
        json: bool,
    },
    /// Vectorize against a scan written by hand and hnsw_rs used directly.
    Vectorize {
        /// Print one JSON object a row.
        #[arg(long)]
        json: bool,
        /// How many vectors, of 768 dimensions.
        #[arg(long, default_value_t = 100_000)]
        vectors: usize,
        /// Measure ours alone: for sizes at which the peers take too long.
        #[arg(long)]
        alone: bool,
    },
    /// D1 placed `local` against miniflare's own, through workerd.
    D1 {
        /// Print one JSON object a row.
        #[arg(long)]
        json: bool,
    },
    /// Images against sharp.
    Images {
        /// Print one JSON object a row.
        #[arg(long)]
        json: bool,
    },
    /// A service called through the line against the same Worker called in process.
    Service {
        /// Print one JSON object a row.
        #[arg(long)]
        json: bool,
    },
    /// A preview session: `bowline connect --config` against wrangler's connector, at the stand-in edge.
    Session {
        /// Print one JSON object a row.
        #[arg(long)]
        json: bool,
        /// Seconds for which the API is out, to see how long a session takes to come back; 0 leaves it out.
        #[arg(long, default_value_t = 60)]
        outage: u64,
    },
    /// One end of the bare echo in `capnweb`, as a process of its own.
    #[command(hide = true)]
    EchoServer(capnweb::EchoServerArgs),
    /// The other end.
    #[command(hide = true)]
    EchoClient(capnweb::EchoClientArgs),
    /// What measures one connector in `session`.
    #[command(hide = true)]
    SessionClient(session::ClientArgs),
}

pub(crate) fn run(args: &BenchArgs) -> anyhow::Result<()> {
    let (rows, json) = match &args.area {
        Area::Access { json } => (access::run()?, *json),
        Area::Ai { json } => (ai::run()?, *json),
        Area::Artifacts { json } => (artifacts::run()?, *json),
        Area::Proxy { json } => (proxy::run()?, *json),
        Area::Capnweb { json } => (capnweb::run()?, *json),
        Area::Vectorize { json, vectors, alone } => (vectorize::run(*vectors, *alone)?, *json),
        Area::D1 { json } => (worker::d1()?, *json),
        Area::Images { json } => (images::run()?, *json),
        Area::Service { json } => (worker::service()?, *json),
        Area::Session { json, outage } => (session::run(*outage)?, *json),
        Area::EchoServer(args) => return capnweb::echo_server(args),
        Area::EchoClient(args) => return capnweb::echo_client(args),
        Area::SessionClient(args) => return session::client(args),
    };
    if json {
        for row in &rows {
            println!("{}", row.json());
        }
    } else {
        println!(
            "{:<44} {:<12} {:>12} {:>12} {:<7} {:>6}  {:<22} met",
            "row", "peer", "ours", "theirs", "unit", "ratio", "goal"
        );
        for row in &rows {
            row.print();
        }
    }
    Ok(())
}

/// What a row must show.
#[derive(Clone, Copy)]
enum Goal {
    /// `ours` must be below this.
    Below(f64),
    /// `ours / theirs` must not be above this.
    Ratio(f64),
    /// `ours / theirs` must not be below this.
    AtLeast(f64),
    /// Told without a goal.
    None,
}

/// One comparison.
struct Row {
    row: String,
    peer: &'static str,
    ours: f64,
    theirs: f64,
    unit: &'static str,
    goal: Goal,
}

impl Row {
    fn ratio(&self) -> f64 {
        self.ours / self.theirs
    }

    fn goal(&self) -> Option<(String, bool)> {
        match self.goal {
            Goal::Below(limit) => Some((format!("< {limit} {}", self.unit), self.ours < limit)),
            Goal::Ratio(limit) => Some((format!("at most {limit} of theirs"), self.ratio() <= limit)),
            Goal::AtLeast(limit) => Some((format!("at least {limit} of theirs"), self.ratio() >= limit)),
            Goal::None => None,
        }
    }

    fn json(&self) -> Value {
        let round = |value: f64| (value * 1000.0).round() / 1000.0;
        let (goal, met) = self.goal().unzip();
        json!({
            "row": self.row, "peer": self.peer, "ours": round(self.ours), "theirs": round(self.theirs),
            "unit": self.unit, "ratio": round(self.ratio()), "goal": goal, "met": met,
        })
    }

    fn print(&self) {
        let (goal, met) = self.goal().unwrap_or_default();
        let met = match (goal.is_empty(), met) {
            (true, _) => "",
            (false, true) => "yes",
            (false, false) => "NO",
        };
        println!(
            "{:<44} {:<12} {:>12.2} {:>12.2} {:<7} {:>6.2}  {goal:<22} {met}",
            self.row,
            self.peer,
            self.ours,
            self.theirs,
            self.unit,
            self.ratio()
        );
    }
}

/// Runs a measurement against all targets, round by round, the order turning.
fn interleave<A: Copy, T>(
    rounds: usize,
    targets: [A; 3],
    measure: impl Fn(A) -> std::io::Result<Vec<T>>,
) -> anyhow::Result<[Vec<T>; 3]> {
    let mut all = [Vec::new(), Vec::new(), Vec::new()];
    for round in 0..rounds {
        for turn in 0..3 {
            let which = (round + turn) % 3;
            all[which].extend(measure(targets[which])?);
        }
    }
    Ok(all)
}

fn median(mut sample: Vec<f64>) -> f64 {
    sample.sort_unstable_by(f64::total_cmp);
    sample.get(sample.len() / 2).copied().unwrap_or(f64::NAN)
}
