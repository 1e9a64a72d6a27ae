//! What a configuration means.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::{ConfigError, file};

/// How one kind of binding is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BindingKey {
    /// The kind, handed on to [`BindingEntry::kind`].
    pub kind: &'static str,
    /// The member that lists bindings of this kind. A dot leads into an object: `queues.producers`.
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
    /// `name`, with the environment's own after it where one was asked for.
    pub name: Option<String>,
    /// `account_id`.
    pub account_id: Option<String>,
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
    "env",
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
        Self::load_environment(path, keys, None)
    }

    /// Reads the project at `path` as it is in one of its environments (`env.NAME`).
    ///
    /// As wrangler has it: bindings and `vars` are the environment's own and never inherited, the rest is inherited member
    /// by member, and the Worker's name has the environment's after it unless the environment names it.
    pub fn load_environment(
        path: &Path,
        keys: &[BindingKey],
        environment: Option<&str>,
    ) -> Result<Self, ConfigError> {
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
        if let Some(environment) = environment {
            reader.enter(environment, keys)?;
        }

        let name = reader.text("name")?;
        let account_id = reader.text("account_id")?;
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
            account_id,
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

    /// Puts the members of an environment in the place of the file's own.
    fn enter(&mut self, environment: &str, keys: &[BindingKey]) -> Result<(), ConfigError> {
        let mut known = match self.members.remove("env") {
            None => Map::new(),
            Some(Value::Object(known)) => known,
            Some(_) => return Err(self.member("env", "must be an object of environments")),
        };
        let own = match known.remove(environment) {
            Some(Value::Object(own)) => own,
            Some(_) => return Err(self.member(&format!("env.{environment}"), "must be an object")),
            None => {
                let names: Vec<&str> = known.keys().map(String::as_str).collect();
                let names = if names.is_empty() {
                    "none".into()
                } else {
                    names.join(", ")
                };
                return Err(self.member("env", &format!("has no `{environment}`; there is {names}")));
            }
        };
        let bound = |key: &str| {
            keys.iter()
                .any(|one| one.wrangler_key.split('.').next() == Some(key))
        };
        self.members.retain(|key, _| key != "vars" && !bound(key));
        if !own.contains_key("name")
            && let Some(Value::String(name)) = self.members.get_mut("name")
        {
            name.push('-');
            name.push_str(environment);
        }
        self.members.extend(own);
        Ok(())
    }

    /// Takes out what is listed under a key, which may lead into an object.
    fn take(&mut self, key: &str) -> Option<Value> {
        match key.split_once('.') {
            None => self.members.remove(key),
            Some((outer, inner)) => {
                let outer = self.members.get_mut(outer)?.as_object_mut()?;
                outer.remove(inner)
            }
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
        let entries = match self.take(key.wrangler_key) {
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
    fn an_environment_inherits_all_but_bindings() {
        let text = r#"{"name": "app", "main": "a.js", "account_id": "acc", "vars": {"A": "1"},
            "ones": [{"binding": "X"}], "outer": {"inner": [{"binding": "Q"}]},
            "env": {"stage": {"ones": [{"binding": "Y", "remote": true}], "main": "b.js"}, "live": {"name": "other"}}}"#;
        let keys = [
            KEYS[0],
            BindingKey {
                kind: "nested",
                wrangler_key: "outer.inner",
                name_key: "binding",
            },
        ];
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("wrangler.jsonc"), text).unwrap();
        let load = |environment| Project::load_environment(folder.path(), &keys, environment);
        let names = |project: &Project| -> Vec<String> {
            project
                .bindings
                .iter()
                .map(|binding| binding.name.clone())
                .collect()
        };
        let top = load(None).unwrap();
        assert_eq!(
            (top.name.as_deref(), names(&top)),
            (Some("app"), vec!["X".into(), "Q".into()])
        );
        assert_eq!(top.warnings.len(), 1, "`outer` itself: {:?}", top.warnings);
        let stage = load(Some("stage")).unwrap();
        assert_eq!(
            (stage.name.as_deref(), names(&stage)),
            (Some("app-stage"), vec!["Y".to_owned()])
        );
        assert!(stage.main.unwrap().ends_with("b.js") && stage.vars.is_empty());
        assert_eq!(stage.account_id.as_deref(), Some("acc"));
        assert_eq!(load(Some("live")).unwrap().name.as_deref(), Some("other"));
        let error = load(Some("gone")).unwrap_err().to_string();
        assert!(
            error.ends_with("`env` has no `gone`; there is stage, live"),
            "{error}"
        );
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
