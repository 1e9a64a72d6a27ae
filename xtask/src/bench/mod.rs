//! `cargo xtask bench AREA`: measurements against the best peer there is, all in one run.

mod client;
mod peers;
mod proxy;
mod upstream;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    area: Area,
}

#[derive(Debug, Subcommand)]
enum Area {
    /// `bowline connect` against nginx and against no proxy.
    Proxy {
        /// Print one JSON object a row.
        #[arg(long)]
        json: bool,
    },
}

pub(crate) fn run(args: &BenchArgs) -> anyhow::Result<()> {
    let Area::Proxy { json } = args.area;
    let rows = proxy::run()?;
    if json {
        for row in &rows {
            println!("{}", row.json());
        }
    } else {
        println!(
            "{:<44} {:<8} {:>12} {:>12} {:<6} {:>6}  {:<22} met",
            "row", "peer", "ours", "theirs", "unit", "ratio", "goal"
        );
        for row in &rows {
            row.print();
        }
    }
    Ok(())
}

/// What a row must show.
enum Goal {
    /// `ours` must be below this.
    Below(f64),
    /// `ours / theirs` must not be above this.
    Ratio(f64),
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
            "{:<44} {:<8} {:>12.2} {:>12.2} {:<6} {:>6.2}  {goal:<22} {met}",
            self.row,
            self.peer,
            self.ours,
            self.theirs,
            self.unit,
            self.ratio()
        );
    }
}
