//! What a configuration means.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::{ConfigError, file};

/// How one kind of binding is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BindingKey {
    /// The kind, handed on to [`BindingEntry::kind`].
    pub kind: &'static str,
    /// The member that lists bindings of this kind.
    pub wrangler_key: &'static str,
    /// The member of an entry that names it.
    pub name_key: &'static str,
}

/// One binding of the project.
#[derive(Debug, Clone, PartialEq)]
pub struct BindingEntry {
    /// The name in `env`.
    pub name: String,
    /// Its kind, as the key said.
    pub kind: &'static str,
    /// The wrangler entry with the members of `bowline.jsonc` merged over it.
    pub entry: Value,
    /// Whether the entry says `remote: true`.
    pub remote: bool,
}

/// A project.
#[derive(Debug, Clone, PartialEq)]
pub struct Project {
    /// The folder of the configuration, absolute.
    pub folder: PathBuf,
    /// The configuration, absolute.
    pub file: PathBuf,
    /// `name`.
    pub name: Option<String>,
    /// `main`, absolute.
    pub main: Option<PathBuf>,
    /// `compatibility_date`.
    pub compatibility_date: Option<String>,
    /// `compatibility_flags`.
    pub compatibility_flags: Vec<String>,
    /// `vars`: texts as they are, other values as JSON.
    pub vars: Map<String, Value>,
    /// The bindings, in the order of the keys, then of the file.
    pub bindings: Vec<BindingEntry>,
    /// What was found and not used, one sentence each.
    pub warnings: Vec<String>,
}

/// Members with no effect on what we run: silence about them is right.
const WITHOUT_EFFECT: [&str; 16] = [
    "$schema",
    "account_id",
    "workers_dev",
    "routes",
    "route",
    "dev",
    "observability",
    "preview_urls",
    "placement",
    "limits",
    "logpush",
    "minify",
    "keep_vars",
    "upload_source_maps",
    "no_bundle",
    "send_metrics",
];

impl Project {
    /// Reads the project at `path`, a configuration or the folder of one.
    pub fn load(path: &Path, keys: &[BindingKey]) -> Result<Self, ConfigError> {
        let file = file::find(path)?;
        let folder = file.parent().unwrap_or(Path::new("/")).to_owned();
        let extra_file = folder.join("bowline.jsonc");
        let mut extra = if extra_file.is_file() {
            extras(&extra_file)?
        } else {
            Map::new()
        };
        let mut reader = Reader {
            file: &file,
            members: file::read(&file)?,
        };

        let name = reader.text("name")?;
        let main = reader.text("main")?.map(|main| folder.join(main));
        let compatibility_date = reader.text("compatibility_date")?;
        let compatibility_flags = reader.texts("compatibility_flags")?;
        let vars = match reader.members.remove("vars") {
            None => Map::new(),
            Some(Value::Object(vars)) => vars,
            Some(_) => return Err(reader.member("vars", "must be an object")),
        };
        let mut bindings: Vec<BindingEntry> = Vec::new();
        for key in keys {
            for binding in reader.bindings(key)? {
                if bindings.iter().any(|other| other.name == binding.name) || vars.contains_key(&binding.name)
                {
                    return Err(reader.member(
                        key.wrangler_key,
                        &format!("names `{}`, which is taken already", binding.name),
                    ));
                }
                bindings.push(binding);
            }
        }
        for binding in &mut bindings {
            if let (Some(Value::Object(over)), Value::Object(entry)) =
                (extra.remove(&binding.name), &mut binding.entry)
            {
                entry.extend(over);
            }
        }
        let mut warnings: Vec<String> = Vec::new();
        for name in extra.keys() {
            warnings.push(format!(
                "{}: `bindings.{name}` names no binding of {}",
                extra_file.display(),
                file.display()
            ));
        }
        for key in reader
            .members
            .keys()
            .filter(|key| !WITHOUT_EFFECT.contains(&key.as_str()))
        {
            warnings.push(format!(
                "{}: `{key}` is not supported and has no effect",
                file.display()
            ));
        }
        Ok(Self {
            folder,
            file,
            name,
            main,
            compatibility_date,
            compatibility_flags,
            vars,
            bindings,
            warnings,
        })
    }
}

/// The `bindings` member of `bowline.jsonc`.
fn extras(file: &Path) -> Result<Map<String, Value>, ConfigError> {
    let mut reader = Reader {
        file,
        members: file::read(file)?,
    };
    let bindings = match reader.members.remove("bindings") {
        None => Map::new(),
        Some(Value::Object(bindings)) if bindings.values().all(Value::is_object) => bindings,
        Some(_) => return Err(reader.member("bindings", "must be an object of objects, one a binding name")),
    };
    // Read by whoever needs credentials.
    let known = ["$schema", "access"];
    match reader.members.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(reader.member(
            key,
            "is not a member of this file; it has `bindings` and `access` only",
        )),
        None => Ok(bindings),
    }
}

/// Takes members out of a file, so that what is left over is what nobody wanted.
struct Reader<'a> {
    file: &'a Path,
    members: Map<String, Value>,
}

impl Reader<'_> {
    fn member(&self, key: &str, problem: &str) -> ConfigError {
        ConfigError::Member {
            file: self.file.to_owned(),
            key: key.to_owned(),
            problem: problem.to_owned(),
        }
    }

    fn text(&mut self, key: &str) -> Result<Option<String>, ConfigError> {
        match self.members.remove(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.member(key, "must be a text")),
        }
    }

    fn texts(&mut self, key: &str) -> Result<Vec<String>, ConfigError> {
        let shape = "must be a list of texts";
        match self.members.remove(key) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => items
                .into_iter()
                .map(|item| {
                    if let Value::String(text) = item {
                        Ok(text)
                    } else {
                        Err(self.member(key, shape))
                    }
                })
                .collect(),
            Some(_) => Err(self.member(key, shape)),
        }
    }

    fn bindings(&mut self, key: &BindingKey) -> Result<Vec<BindingEntry>, ConfigError> {
        let shape = "must be a list of objects";
        let entries = match self.members.remove(key.wrangler_key) {
            None => return Ok(Vec::new()),
            Some(Value::Array(entries)) => entries,
            // Kinds of which a Worker has one (`ai`, `images`, `browser`) are an object instead of a list.
            Some(Value::Object(entry)) if entry.contains_key(key.name_key) => vec![Value::Object(entry)],
            Some(_) => return Err(self.member(key.wrangler_key, shape)),
        };
        let mut bindings = Vec::with_capacity(entries.len());
        for (index, entry) in entries.into_iter().enumerate() {
            let Value::Object(members) = &entry else {
                return Err(self.member(key.wrangler_key, shape));
            };
            let place = |member: &str| format!("{}[{index}].{member}", key.wrangler_key);
            let name = match members.get(key.name_key) {
                Some(Value::String(name)) if !name.is_empty() => name.clone(),
                _ => return Err(self.member(&place(key.name_key), "must name the binding")),
            };
            let remote = match members.get("remote") {
                None => false,
                Some(Value::Bool(remote)) => *remote,
                Some(_) => return Err(self.member(&place("remote"), "must be true or false")),
            };
            bindings.push(BindingEntry {
                name,
                kind: key.kind,
                entry,
                remote,
            });
        }
        Ok(bindings)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;

    const KEYS: [BindingKey; 2] = [
        BindingKey {
            kind: "one",
            wrangler_key: "ones",
            name_key: "binding",
        },
        BindingKey {
            kind: "two",
            wrangler_key: "two",
            name_key: "name",
        },
    ];

    fn load(files: &[(&str, &str)]) -> Result<Project, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        Project::load(folder.path(), &KEYS)
    }

    #[test]
    fn the_same_project_in_both_languages() {
        let jsonc = r#"{ // a comment
            "$schema": "x", "name": "app", "main": "src/index.js", "compatibility_date": "2026-11-17",
            "compatibility_flags": ["nodejs_compat"], "vars": {"A": "text", "B": {"x": [1]}},
            "ones": [{"binding": "X", "id": "1", "remote": true}], "two": {"name": "Y"}, "queues": {},
        }"#;
        let toml = "name = \"app\"\nmain = \"src/index.js\"\ncompatibility_date = \"2026-11-17\"\n\
            compatibility_flags = [\"nodejs_compat\"]\nvars = { A = \"text\", B = { x = [1] } }\nqueues = {}\n\
            [[ones]]\nbinding = \"X\"\nid = \"1\"\nremote = true\n[two]\nname = \"Y\"\n";
        let extra = r#"{"bindings": {"X": {"id": "2", "more": 3}, "Z": {}}}"#;
        for (name, text) in [("wrangler.jsonc", jsonc), ("wrangler.toml", toml)] {
            let project = load(&[(name, text), ("bowline.jsonc", extra)]).unwrap();
            assert_eq!(project.name.as_deref(), Some("app"));
            assert!(project.main.unwrap().is_absolute());
            assert_eq!(project.compatibility_flags, ["nodejs_compat"]);
            assert_eq!(Value::Object(project.vars), json!({"A": "text", "B": {"x": [1]}}));
            assert_eq!(project.bindings.len(), 2);
            assert_eq!(
                project.bindings[0].entry,
                json!({"binding": "X", "id": "2", "remote": true, "more": 3})
            );
            assert!(project.bindings[0].remote && !project.bindings[1].remote);
            assert_eq!(
                (project.bindings[1].kind, project.bindings[1].name.as_str()),
                ("two", "Y")
            );
            assert_eq!(project.warnings.len(), 2, "{:?}", project.warnings);
        }
    }

    #[test]
    fn faults_name_file_and_member() {
        for (text, says) in [
            ("{", "wrangler.jsonc: "),
            ("[]", "a configuration is an object"),
            (r#"{"name": 1}"#, "`name` must be a text"),
            (r#"{"ones": {}}"#, "`ones` must be a list of objects"),
            (r#"{"ones": [{}]}"#, "`ones[0].binding` must name the binding"),
            (
                r#"{"two": [{"name": "A", "remote": 1}]}"#,
                "`two[0].remote` must be true or false",
            ),
            (
                r#"{"ones": [{"binding": "A"}], "two": [{"name": "A"}]}"#,
                "`two` names `A`, which is taken already",
            ),
            (
                r#"{"vars": {"A": 1}, "two": [{"name": "A"}]}"#,
                "which is taken already",
            ),
            (r#"{"compatibility_flags": [1]}"#, "must be a list of texts"),
        ] {
            let error = load(&[("wrangler.jsonc", text)]).unwrap_err().to_string();
            assert!(
                error.contains(says) && error.contains("wrangler.jsonc"),
                "{text}: {error}"
            );
        }
        assert!(
            load(&[])
                .unwrap_err()
                .to_string()
                .starts_with("no wrangler.jsonc")
        );
        let extra = load(&[("wrangler.jsonc", "{}"), ("bowline.jsonc", r#"{"binding": {}}"#)])
            .unwrap_err()
            .to_string();
        assert!(extra.contains("`binding` is not a member"), "{extra}");
    }
}
