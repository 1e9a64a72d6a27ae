//! `bowline config`: a wrangler configuration as one JSON document, for tools that do not read its languages.

use std::path::PathBuf;

use clap::Args;

use crate::error::{CliError, Kind};
use crate::output;

/// Print a wrangler configuration as it is written, whatever language it is in, as one line of JSON: `file` and `config`.
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    /// A wrangler configuration, or the folder that holds one.
    #[arg(default_value = ".")]
    path: PathBuf,
}

/// Prints the document.
pub(crate) fn run(args: &ConfigArgs) -> Result<(), CliError> {
    let (file, config) =
        bowline_config::document(&args.path).map_err(|error| CliError::new(Kind::Config, error))?;
    output::result(&serde_json::json!({ "file": file, "config": config }).to_string());
    Ok(())
}
