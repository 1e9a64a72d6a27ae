//! The modules of a Worker: its main module and every file beside and below it.

use std::path::Path;

use crate::RunnerError;

/// Bounds on what is read: a folder that exceeds them is not a Worker's source.
const MOST_FILES: usize = 4096;
const MOST_BYTES: u64 = 64 * 1024 * 1024;

/// What a module is to workerd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ModuleBody {
    EsModule(String),
    Text(String),
    Json(String),
    Wasm(Vec<u8>),
    Data(Vec<u8>),
}

/// One module, named as others import it: relative to the main module's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Module {
    pub(crate) name: String,
    pub(crate) body: ModuleBody,
}

/// Reads the modules of `main`, the main module first. Dot files, `node_modules` and files of other types are left
/// out; links are not followed out of the folder.
pub(crate) fn read(main: &Path) -> Result<Vec<Module>, RunnerError> {
    let project = |problem: String| RunnerError::Project {
        file: main.to_owned(),
        problem,
    };
    if !matches!(extension(main), "js" | "mjs") {
        return Err(project(
            "`main` must be a plain ES module (.js or .mjs); bundle it first".into(),
        ));
    }
    let folder = main.parent().unwrap_or(Path::new("/"));
    let mut modules = vec![Module {
        name: name(folder, main).ok_or_else(|| project("its name is not UTF-8".into()))?,
        body: ModuleBody::EsModule(text(main)?),
    }];
    let mut folders = vec![folder.to_owned()];
    let mut bytes = 0;
    while let Some(current) = folders.pop() {
        let entries = std::fs::read_dir(&current)
            .and_then(Iterator::collect::<std::io::Result<Vec<_>>>)
            .map_err(|source| RunnerError::system(format!("read {}", current.display()), source))?;
        for entry in entries {
            let path = entry.path();
            let Some(file_name) = entry.file_name().to_str().map(str::to_owned) else {
                continue;
            };
            let kind = entry
                .file_type()
                .map_err(|source| RunnerError::system(format!("read {}", path.display()), source))?;
            if file_name.starts_with('.') || file_name == "node_modules" || path == main {
                continue;
            }
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                let Some(body) = body(&path)? else { continue };
                bytes += match &body {
                    ModuleBody::EsModule(text) | ModuleBody::Text(text) | ModuleBody::Json(text) => {
                        text.len()
                    }
                    ModuleBody::Wasm(data) | ModuleBody::Data(data) => data.len(),
                } as u64;
                if modules.len() == MOST_FILES || bytes > MOST_BYTES {
                    return Err(project(format!(
                        "more than {MOST_FILES} modules or {MOST_BYTES} bytes lie beside it; give the Worker a folder of \
                         its own"
                    )));
                }
                let name = name(folder, &path).ok_or_else(|| project("its name is not UTF-8".into()))?;
                modules.push(Module { name, body });
            }
        }
    }
    // The order of a directory is not stable; that of a configuration should be.
    modules[1..].sort_by(|one, other| one.name.cmp(&other.name));
    Ok(modules)
}

fn body(path: &Path) -> Result<Option<ModuleBody>, RunnerError> {
    Ok(Some(match extension(path) {
        "js" | "mjs" => ModuleBody::EsModule(text(path)?),
        "json" => ModuleBody::Json(text(path)?),
        "txt" | "html" | "sql" => ModuleBody::Text(text(path)?),
        "wasm" => ModuleBody::Wasm(data(path)?),
        "bin" => ModuleBody::Data(data(path)?),
        _ => return Ok(None),
    }))
}

fn extension(path: &Path) -> &str {
    path.extension()
        .and_then(|extension| extension.to_str())
        .unwrap_or_default()
}

fn name(folder: &Path, path: &Path) -> Option<String> {
    let parts: Option<Vec<&str>> = path
        .strip_prefix(folder)
        .ok()?
        .iter()
        .map(|part| part.to_str())
        .collect();
    Some(parts?.join("/"))
}

fn data(path: &Path) -> Result<Vec<u8>, RunnerError> {
    let size = std::fs::metadata(path)
        .map_err(|source| RunnerError::system(format!("read {}", path.display()), source))?
        .len();
    if size > MOST_BYTES {
        return Err(RunnerError::Project {
            file: path.to_owned(),
            problem: format!("{size} bytes is too large for a module (at most {MOST_BYTES})"),
        });
    }
    std::fs::read(path).map_err(|source| RunnerError::system(format!("read {}", path.display()), source))
}

fn text(path: &Path) -> Result<String, RunnerError> {
    String::from_utf8(data(path)?).map_err(|_| RunnerError::Project {
        file: path.to_owned(),
        problem: "is not UTF-8".into(),
    })
}
