//! workerd's configuration in Cap'n Proto's text form.

use std::fmt::Write;
use std::path::Path;

use bowline_config::{BindingEntry, Project};
use bowline_wire::header::MF_BINDING;
use serde_json::Value;

use crate::modules::{Module, ModuleBody};
use crate::runner::Callee;
use bowline_binding::{InnerBinding, WorkerForm};

/// The socket that tells when workerd is ready.
pub(crate) const ENTRY: &str = "entry";

/// Whose requests the Worker's own `fetch()` makes, to whoever answers them. No binding can have this name.
pub(crate) const FETCHES: &str = "fetch()";

/// The module behind a dispatcher.
const DISPATCHER: &str = "bowline-internal:dispatcher";

/// One Worker's code.
#[derive(Clone, Copy)]
pub(crate) struct Script<'a> {
    pub(crate) project: &'a Project,
    pub(crate) modules: &'a [Module],
    pub(crate) compatibility_date: &'a str,
}

/// Where the Worker is reached.
pub(crate) enum Door<'a> {
    /// By browsers, at `host:port`; port 0 lets the system choose.
    Address(&'a str),
    /// By other Workers' bindings, at two sockets.
    Callee {
        callee: &'a Callee,
        fetch: &'a Path,
        rpc: &'a Path,
        outbound: Option<Script<'a>>,
    },
}

/// Everything the configuration is made of.
pub(crate) struct Config<'a> {
    pub(crate) user: Script<'a>,
    /// The bindings to serve, with their forms.
    pub(crate) bindings: &'a [(&'a BindingEntry, WorkerForm)],
    pub(crate) door: Door<'a>,
    /// Where plain HTTP goes.
    pub(crate) native: &'a Path,
    /// Where the shim speaks wire form.
    pub(crate) wire: &'a Path,
    /// Whether [`FETCHES`] go there, too.
    pub(crate) fetches: bool,
    /// Whether a binding needs the shim.
    pub(crate) shim: bool,
    /// The source of npm capnweb, when the shim or the door needs it.
    pub(crate) capnweb: Option<&'a str>,
}

impl Config<'_> {
    /// The text.
    pub(crate) fn to_text(&self) -> String {
        let outbound = match &self.door {
            Door::Callee { outbound, .. } => outbound.as_ref(),
            Door::Address(_) => None,
        };
        let exposed: Vec<String> = self
            .bindings
            .iter()
            .enumerate()
            .map(|(index, (binding, form))| exposed(index, binding, *form))
            .collect();
        let user = worker(&self.user, exposed, outbound.is_some() || self.fetches);
        let mut services = vec![
            fields(&[("name", text("user")), ("worker", user)]),
            fields(&[("name", text("internet")), ("network", internet())]),
        ];
        if let Some(outbound) = outbound {
            let worker = worker(outbound, Vec::new(), false);
            services.push(fields(&[("name", text("outbound")), ("worker", worker)]));
        } else if self.fetches {
            let external = external(self.native, Some(FETCHES));
            services.push(fields(&[("name", text("outbound")), ("external", external)]));
        }
        for (index, (binding, _)) in self.bindings.iter().enumerate() {
            services.push(fields(&[
                ("name", text(&native_service(index))),
                ("external", external(self.native, Some(&binding.name))),
            ]));
        }
        let mut extensions = Vec::new();
        if let (true, Some(capnweb)) = (self.shim, self.capnweb) {
            services.push(fields(&[
                ("name", text("wire")),
                ("external", external(self.wire, None)),
            ]));
            services.push(fields(&[("name", text("shim")), ("worker", shim(capnweb))]));
            let modules = [
                internal("cloudflare-internal:email", include_str!("../shim/email.js")),
                internal(DISPATCHER, include_str!("../shim/dispatcher.js")),
            ];
            extensions.push(fields(&[("modules", list(&modules))]));
        }
        let mut options = Vec::new();
        // The last socket is the one whose readiness is waited for.
        let mut sockets = Vec::new();
        match &self.door {
            Door::Address(address) => sockets.push(fields(&[
                ("name", text(ENTRY)),
                ("address", text(address)),
                ("http", "()".into()),
                ("service", text("user")),
            ])),
            Door::Callee {
                callee, fetch, rpc, ..
            } => {
                let target = designator("user", callee.entrypoint.as_deref(), callee.props.as_ref());
                let wrapped = callee_worker(self.capnweb.unwrap_or_default(), &target);
                services.push(fields(&[("name", text("callee")), ("worker", wrapped)]));
                sockets.push(fields(&[
                    ("name", text("rpc")),
                    ("address", unix(rpc)),
                    ("http", "()".into()),
                    ("service", text("callee")),
                ]));
                sockets.push(fields(&[
                    ("name", text(ENTRY)),
                    ("address", unix(fetch)),
                    ("http", "(style = proxy)".into()),
                    ("service", target),
                ]));
                let heap = text(&format!("--max-old-space-size={}", callee.heap_mb));
                options.push(("v8Flags", list(&[heap])));
            }
        }
        options.extend([
            ("services", list(&services)),
            ("sockets", list(&sockets)),
            ("extensions", list(&extensions)),
        ]);
        format!(
            "using Workerd = import \"/workerd/workerd.capnp\";\nconst config :Workerd.Config = {};\n",
            fields(&options)
        )
    }
}

/// A Worker of somebody's project: its vars, and `bindings`.
fn worker(script: &Script<'_>, bindings: Vec<String>, outbound: bool) -> String {
    let project = script.project;
    let mut all: Vec<String> = project
        .vars
        .iter()
        .map(|(name, value)| match value {
            Value::String(value) => fields(&[("name", text(name)), ("text", text(value))]),
            value => fields(&[("name", text(name)), ("json", text(&value.to_string()))]),
        })
        .collect();
    all.extend(bindings);
    let modules: Vec<String> = script.modules.iter().map(module).collect();
    let flags: Vec<String> = project
        .compatibility_flags
        .iter()
        .map(|flag| text(flag))
        .collect();
    let mut worker = vec![
        ("modules", list(&modules)),
        ("compatibilityDate", text(script.compatibility_date)),
        ("compatibilityFlags", list(&flags)),
        ("bindings", list(&all)),
    ];
    if outbound {
        worker.push(("globalOutbound", text("outbound")));
    }
    fields(&worker)
}

/// A service, an entrypoint of it, and what it is given as props.
fn designator(service: &str, entrypoint: Option<&str>, props: Option<&Value>) -> String {
    let mut parts = vec![("name", text(service))];
    parts.extend(entrypoint.map(|entrypoint| ("entrypoint", text(entrypoint))));
    parts.extend(props.map(|props| ("props", fields(&[("json", text(&props.to_string()))]))));
    fields(&parts)
}

/// The Worker that makes methods a Cap'n Web session.
fn callee_worker(capnweb: &str, target: &str) -> String {
    let modules = [
        fields(&[
            ("name", text("callee.js")),
            ("esModule", text(include_str!("../shim/callee.js"))),
        ]),
        fields(&[("name", text("capnweb")), ("esModule", text(capnweb))]),
    ];
    // Names and members of errors cross it.
    let flags = [text("enhanced_error_serialization")];
    let target = fields(&[("name", text("TARGET")), ("service", target.to_owned())]);
    fields(&[
        ("modules", list(&modules)),
        ("compatibilityDate", text("2025-01-01")),
        ("compatibilityFlags", list(&flags)),
        ("bindings", list(&[target])),
    ])
}

fn internal(name: &str, source: &str) -> String {
    fields(&[
        ("name", text(name)),
        ("esModule", text(source)),
        ("internal", "true".into()),
    ])
}

fn unix(socket: &Path) -> String {
    text(&format!("unix:{}", socket.display()))
}

/// One binding of the user's Worker.
fn exposed(index: usize, binding: &BindingEntry, form: WorkerForm) -> String {
    let name = ("name", text(&binding.name));
    let native = text(&native_service(index));
    match form {
        WorkerForm::Fetcher => fields(&[name, ("service", native)]),
        WorkerForm::Wrapped {
            module,
            fetcher,
            inner,
        } => {
            let mut bindings = vec![fields(&[("name", text(fetcher)), ("service", native)])];
            for (name, value) in inner {
                let value = match value {
                    InnerBinding::Text(value) => ("text", text(value)),
                    InnerBinding::Json(value) => ("json", text(value)),
                    InnerBinding::Entry(key) => {
                        let value = binding.entry.get(key).and_then(Value::as_str);
                        ("text", text(value.unwrap_or_default()))
                    }
                };
                bindings.push(fields(&[("name", text(name)), value]));
            }
            let wrapped = fields(&[("moduleName", text(module)), ("innerBindings", list(&bindings))]);
            fields(&[name, ("wrapped", wrapped)])
        }
        WorkerForm::WrappedRpc { module, fetcher } => {
            let inner = fields(&[("name", text(fetcher)), ("service", to_shim(binding))]);
            let wrapped = fields(&[("moduleName", text(module)), ("innerBindings", list(&[inner]))]);
            fields(&[name, ("wrapped", wrapped)])
        }
        WorkerForm::Dispatcher => {
            let props = serde_json::json!({ "binding": binding.name, "dispatcher": true });
            let fetcher = fields(&[
                ("name", text("fetcher")),
                ("service", designator("shim", None, Some(&props))),
            ]);
            let wrapped = fields(&[
                ("moduleName", text(DISPATCHER)),
                ("innerBindings", list(&[fetcher])),
            ]);
            fields(&[name, ("wrapped", wrapped)])
        }
        WorkerForm::Rpc | WorkerForm::Network => fields(&[name, ("service", to_shim(binding))]),
    }
}

fn to_shim(binding: &BindingEntry) -> String {
    designator(
        "shim",
        None,
        Some(&serde_json::json!({ "binding": binding.name })),
    )
}

fn shim(capnweb: &str) -> String {
    let modules = [
        fields(&[
            ("name", text("shim.js")),
            ("esModule", text(include_str!("../shim/shim.js"))),
        ]),
        fields(&[
            ("name", text("tunnel.js")),
            ("esModule", text(include_str!("../shim/tunnel.js"))),
        ]),
        fields(&[("name", text("capnweb")), ("esModule", text(capnweb))]),
    ];
    // `experimental` lets a Worker answer connect(); the other keeps names and members of errors that cross it.
    let flags = [text("experimental"), text("enhanced_error_serialization")];
    let line = fields(&[("name", text("LINE")), ("service", text("wire"))]);
    fields(&[
        ("modules", list(&modules)),
        ("compatibilityDate", text("2025-01-01")),
        ("compatibilityFlags", list(&flags)),
        ("bindings", list(&[line])),
    ])
}

fn native_service(index: usize) -> String {
    format!("binding:{index}")
}

/// Bytes to Rust. `style = proxy` puts the whole URL in the request line, so that scheme and host arrive, too.
fn external(socket: &Path, binding: Option<&str>) -> String {
    let mut options = vec![("style", "proxy".to_owned())];
    if let Some(binding) = binding {
        let header = fields(&[("name", text(MF_BINDING.as_str())), ("value", text(binding))]);
        options.push(("injectRequestHeaders", list(&[header])));
    }
    fields(&[("address", unix(socket)), ("http", fields(&options))])
}

/// The Worker's own fetch(): anywhere, the developer's machine included, as wrangler has it.
fn internet() -> String {
    fields(&[
        ("allow", list(&[text("public"), text("private")])),
        ("tlsOptions", fields(&[("trustBrowserCas", "true".into())])),
    ])
}

fn module(module: &Module) -> String {
    let body = match &module.body {
        ModuleBody::EsModule(source) => ("esModule", text(source)),
        ModuleBody::Text(source) => ("text", text(source)),
        ModuleBody::Json(source) => ("json", text(source)),
        ModuleBody::Wasm(bytes) => ("wasm", data(bytes)),
        ModuleBody::Data(bytes) => ("data", data(bytes)),
    };
    fields(&[("name", text(&module.name)), body])
}

fn fields(fields: &[(&str, String)]) -> String {
    let fields: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{name} = {value}"))
        .collect();
    format!("({})", fields.join(", "))
}

fn list(items: &[String]) -> String {
    format!("[{}]", items.join(",\n"))
}

/// A text literal. Quotes, backslashes and control characters are escaped; other UTF-8 stays as it is.
fn text(value: &str) -> String {
    let mut literal = String::with_capacity(value.len() + 2);
    literal.push('"');
    for character in value.chars() {
        match character {
            '"' => literal.push_str("\\\""),
            '\\' => literal.push_str("\\\\"),
            '\n' => literal.push_str("\\n"),
            '\0'..='\u{1f}' | '\u{7f}' => {
                let _ = write!(literal, "\\x{:02x}", u32::from(character));
            }
            other => literal.push(other),
        }
    }
    literal.push('"');
    literal
}

/// A data literal.
fn data(bytes: &[u8]) -> String {
    let mut literal = String::with_capacity(bytes.len() * 2 + 4);
    literal.push_str("0x\"");
    for byte in bytes {
        let _ = write!(literal, "{byte:02x}");
    }
    literal.push('"');
    literal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_cannot_be_left() {
        assert_eq!(text("a\"b\\c\nd\0é\u{7f}"), "\"a\\\"b\\\\c\\nd\\x00é\\x7f\"");
        assert_eq!(data(&[0, 255]), "0x\"00ff\"");
    }
}
