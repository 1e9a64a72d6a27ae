//! `cargo xtask tidy`: the invariants that a diff cannot show, because they are about what is absent.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::run::{cargo, root};

/// Crates that do no I/O and know no clock.
const PURE: [&str; 6] = [
    "capnweb-proto",
    "bowline-wire",
    "bowline-access",
    "bowline-secret",
    "bowline-vectors",
    "bowline-pixels",
];
/// What a pure crate must not depend on, even indirectly.
const IMPURE: [&str; 4] = ["tokio", "hyper", "mio", "socket2"];
/// What a pure crate's source must not say outside tests.
const IMPURE_WORDS: [&str; 10] = [
    "std::fs",
    "TcpListener",
    "TcpStream",
    "UdpSocket",
    "ToSocketAddrs",
    "std::env",
    "std::process",
    "Instant::now",
    "SystemTime",
    "Timestamp::now",
];
/// One crypto provider: with two of them compiled in, rustls panics when none was installed.
const BANNED: [&str; 3] = ["openssl-sys", "native-tls", "rsa"];
/// Crates that may print, exit and read the environment.
const PROGRAMS: &[&str] = &[
    "benches",
    "examples",
    "bowline",
    "bowline-cli",
    "xtask",
    "bowline-e2e",
];

struct Findings(Vec<String>);

impl Findings {
    fn add(&mut self, finding: String) {
        self.0.push(finding);
    }
}

pub(crate) fn run() -> anyhow::Result<()> {
    let mut findings = Findings(Vec::new());
    let graph = Graph::read()?;
    pure_crates(&graph, &mut findings)?;
    directions(&graph, &mut findings);
    kinds_in_one_place(&mut findings)?;
    wire_names_in_one_place(&mut findings)?;
    secrets_exposed_rarely(&mut findings)?;
    libraries_are_quiet(&mut findings)?;
    locks_name_no_host(&mut findings)?;
    if findings.0.is_empty() {
        println!("tidy: all invariants hold");
        return Ok(());
    }
    for finding in &findings.0 {
        println!("tidy: {finding}");
    }
    bail!("{} invariants broken", findings.0.len())
}

/// Workspace packages and their dependencies.
struct Graph {
    /// Normal dependencies by package name, workspace members and others.
    edges: BTreeMap<String, Vec<String>>,
    members: Vec<String>,
}

impl Graph {
    fn read() -> anyhow::Result<Self> {
        let output = cargo([
            "metadata",
            "--format-version",
            "1",
            "--filter-platform",
            "x86_64-unknown-linux-gnu",
        ])
        .output()
        .context("start cargo metadata")?;
        let metadata: Value = serde_json::from_slice(&output.stdout).context("read cargo metadata")?;
        let mut names = BTreeMap::new();
        for package in list(&metadata["packages"]) {
            names.insert(text(&package["id"]), text(&package["name"]));
        }
        let name = |id: &Value| names.get(&text(id)).cloned().unwrap_or_default();
        let mut edges = BTreeMap::new();
        for node in list(&metadata["resolve"]["nodes"]) {
            let normal = list(&node["deps"])
                .filter(|dependency| list(&dependency["dep_kinds"]).any(|kind| kind["kind"].is_null()))
                .map(|dependency| name(&dependency["pkg"]))
                .collect();
            edges.insert(name(&node["id"]), normal);
        }
        Ok(Self {
            edges,
            members: list(&metadata["workspace_members"]).map(name).collect(),
        })
    }

    fn reachable(&self, from: &str) -> Vec<String> {
        let (mut seen, mut queue) = (vec![from.to_owned()], vec![from.to_owned()]);
        while let Some(package) = queue.pop() {
            for next in self.edges.get(&package).into_iter().flatten() {
                if !seen.contains(next) {
                    seen.push(next.clone());
                    queue.push(next.clone());
                }
            }
        }
        seen
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn pure_crates(graph: &Graph, findings: &mut Findings) -> anyhow::Result<()> {
    for member in PURE {
        for reached in graph.reachable(member) {
            if IMPURE.contains(&reached.as_str()) {
                findings.add(format!("{member} is pure and must not depend on {reached}"));
            }
        }
        for (path, source) in sources(&format!("crates/{member}/src"))? {
            for word in IMPURE_WORDS {
                if before_tests(&source).contains(word) {
                    findings.add(format!("{} is in a pure crate and says {word}", path.display()));
                }
            }
        }
    }
    Ok(())
}

fn directions(graph: &Graph, findings: &mut Findings) {
    let bindings: Vec<&String> = graph
        .members
        .iter()
        .filter(|name| {
            root()
                .join("bindings")
                .join(name.trim_start_matches("bowline-"))
                .exists()
        })
        .collect();
    for (package, dependencies) in graph
        .edges
        .iter()
        .filter(|(name, _)| graph.members.contains(name))
    {
        for dependency in dependencies {
            let fault = match package.as_str() {
                "capnweb" | "capnweb-macros" | "capnweb-proto" if dependency.starts_with("bowline-") => {
                    "Cap'n Web knows nothing of Bowline"
                }
                name if bindings.iter().any(|binding| *binding == name)
                    && [
                        "bowline-access",
                        "bowline-wire",
                        "bowline-tunnel",
                        "bowline-remote",
                        "bowline-proxy",
                    ]
                    .contains(&dependency.as_str()) =>
                {
                    "a binding knows nothing of Access, MF-* headers and WebSockets"
                }
                name if bindings.contains(&dependency) && name != "bowline-remote" => {
                    "bindings are named in the registry only"
                }
                "bowline-proxy" if dependency == "bowline-remote" || dependency == "bowline-binding" => {
                    "the proxy is not the remote"
                }
                _ => continue,
            };
            findings.add(format!("{package} depends on {dependency}: {fault}"));
        }
    }
    for banned in BANNED {
        if graph
            .members
            .iter()
            .any(|member| graph.reachable(member).iter().any(|reached| reached == banned))
        {
            findings.add(format!("{banned} is in the dependency graph"));
        }
    }
}

/// No crate but the binding's own names a kind, except the registry.
fn kinds_in_one_place(findings: &mut Findings) -> anyhow::Result<()> {
    for (path, source) in sources("crates")? {
        // The second is the form of an upload, whose names are Cloudflare's.
        let lists = [
            "bowline-remote/src/registry.rs",
            "bowline-session/src/bindings.rs",
            // A member of the API's answers is called so, too.
            "bowline-edge/src/dispatch.rs",
        ];
        if lists.iter().any(|list| path.ends_with(list)) {
            continue;
        }
        for kind in [
            "\"ai\"",
            "\"artifacts\"",
            "\"d1\"",
            "\"dispatch_namespace\"",
            "\"images\"",
            "\"vectorize\"",
            "\"send_email\"",
            "\"vpc_network\"",
        ] {
            if before_tests(&source).contains(kind) {
                findings.add(format!("{} names the binding kind {kind}", path.display()));
            }
        }
    }
    Ok(())
}

fn wire_names_in_one_place(findings: &mut Findings) -> anyhow::Result<()> {
    for (path, source) in sources("crates")?.into_iter().chain(sources("bindings")?) {
        let in_wire = path.components().any(|part| part.as_os_str() == "bowline-wire");
        let code = before_tests(&source);
        if !in_wire && (code.contains("\"MF-") || code.contains("\"mf-")) {
            findings.add(format!(
                "{} spells an MF-* header; bowline-wire has the constants",
                path.display()
            ));
        }
    }
    Ok(())
}

/// A secret's text is taken out only where it is sent, hashed, or shown once when it is new.
fn secrets_exposed_rarely(findings: &mut Findings) -> anyhow::Result<()> {
    for (path, source) in sources("crates")?
        .into_iter()
        .chain(sources("bindings")?)
        .chain(sources("bin")?)
    {
        let allowed = [
            "bowline-secret/src/lib.rs",
            "bowline-access/src/service_token.rs",
            "bowline-access-store/src/postgres.rs",
            "bowline-binding/src/credential.rs",
            "bowline-client/examples/artifacts.rs",
            "bowline-client/src/artifacts.rs",
            "bowline-api/src/credentials.rs",
            "bowline-api/src/edge_preview.rs",
            "bowline-api/src/wrangler_login.rs",
            "bowline-ai-gateway/src/credential.rs",
            "bowline-client/src/client.rs",
            "bowline-credentials/src/application_token.rs",
            "bowline-credentials/src/exchange.rs",
            "bowline-credentials/src/preview_tokens.rs",
            "bowline-credentials/src/service_token.rs",
            "bowline-credentials/src/token_files.rs",
            "bowline-edge/src/credential.rs",
            "bowline-gateway/benches/decision.rs",
            "bowline-session/src/tail.rs",
            "bowline-gateway/src/admin/tokens.rs",
            "bowline-gateway/src/login/oidc.rs",
            "commands/access/api_token.rs",
            "commands/access/token.rs",
            "commands/demo.rs",
            "commands/edge/environment.rs",
        ];
        let code = before_tests(&source);
        if code.contains(".expose()") && !allowed.iter().any(|place| path.ends_with(place)) {
            findings.add(format!("{} exposes a secret", path.display()));
        }
    }
    Ok(())
}

fn libraries_are_quiet(findings: &mut Findings) -> anyhow::Result<()> {
    for (path, source) in sources("crates")?.into_iter().chain(sources("bindings")?) {
        if PROGRAMS
            .iter()
            .any(|program| path.components().any(|part| part.as_os_str() == *program))
        {
            continue;
        }
        let code = before_tests(&source);
        for word in ["println!", "eprintln!", "process::exit", "env::var"] {
            if code.contains(word) {
                findings.add(format!("{} is a library and says {word}", path.display()));
            }
        }
    }
    Ok(())
}

fn locks_name_no_host(findings: &mut Findings) -> anyhow::Result<()> {
    let output = Command::new("git")
        .args(["ls-files", "*package-lock.json"])
        .current_dir(root())
        .output()
        .context("start git")?;
    for path in String::from_utf8_lossy(&output.stdout).lines() {
        if std::fs::read_to_string(root().join(path)).is_ok_and(|lock| lock.contains("\"resolved\": \"http"))
        {
            findings.add(format!("{path} names a registry's host"));
        }
    }
    Ok(())
}

/// Rust sources below a folder, tests in their own files left out.
fn sources(below: &str) -> anyhow::Result<Vec<(PathBuf, String)>> {
    fn walk(folder: &Path, found: &mut Vec<(PathBuf, String)>) -> anyhow::Result<()> {
        for entry in std::fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
            let path = entry?.path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            if path.is_dir() {
                if !["tests", "target", "node_modules"].contains(&name) {
                    walk(&path, found)?;
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") && name != "tests.rs" {
                found.push((path.clone(), std::fs::read_to_string(&path)?));
            }
        }
        Ok(())
    }
    let mut found = Vec::new();
    walk(&root().join(below), &mut found)?;
    Ok(found)
}

/// The part of a source above its tests, which stand last.
fn before_tests(source: &str) -> &str {
    source.split("#[cfg(test)]").next().unwrap_or_default()
}
