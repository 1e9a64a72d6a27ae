//! `bowline access log`.

use bowline_access_store::AuditEntry;
use clap::Args;
use serde_json::Value;

use super::state::{Common, failed};
use crate::env_vars::Env;
use crate::error::CliError;

#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    /// How many entries.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=100_000))]
    limit: i64,
    #[command(flatten)]
    common: Common,
}

pub(super) async fn run(args: LogArgs, env: Env<'_>) -> Result<(), CliError> {
    let entries = args
        .common
        .open(env)
        .await?
        .audit_log(args.limit)
        .await
        .map_err(failed)?;
    let document = Value::Array(entries.iter().map(AuditEntry::to_json).collect());
    args.common
        .print(&document, || entries.iter().map(line).collect());
    Ok(())
}

fn line(entry: &AuditEntry) -> String {
    let at =
        jiff::Timestamp::from_millisecond(entry.at_ms).map_or_else(|_| String::new(), |at| at.to_string());
    let mut line = format!("{at}  {}  {}", entry.event, entry.decision);
    for (name, value) in [
        ("identity", &entry.identity),
        ("policy", &entry.policy),
        ("reason", &entry.reason),
        ("application", &entry.application),
        ("address", &entry.address),
        ("host", &entry.host),
        ("request", &entry.request),
    ] {
        if let Some(value) = value {
            // Hosts and paths come from strangers: nothing of theirs may steer a terminal.
            line.push_str(&format!("  {name}={}", value.escape_debug()));
        }
    }
    line
}
