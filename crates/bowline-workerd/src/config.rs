//! workerd's configuration in Cap'n Proto's text form.

use std::fmt::Write;
use std::path::Path;

use bowline_config::{BindingEntry, Project};
use bowline_wire::header::MF_BINDING;
use serde_json::Value;

use crate::modules::{Module, ModuleBody};
use bowline_binding::{InnerBinding, WorkerForm};

/// The one socket workerd listens at for browsers.
pub(crate) const ENTRY: &str = "entry";

/// Everything the configuration is made of.
pub(crate) struct Config<'a> {
    pub(crate) project: &'a Project,
    pub(crate) modules: &'a [Module],
    /// The bindings to serve, with their forms.
    pub(crate) bindings: &'a [(&'a BindingEntry, WorkerForm)],
    pub(crate) compatibility_date: &'a str,
    /// `host:port`; port 0 lets the system choose.
    pub(crate) listen: &'a str,
    /// Where plain HTTP goes.
    pub(crate) native: &'a Path,
    /// Where the shim speaks wire form.
    pub(crate) wire: &'a Path,
    /// The source of npm capnweb, when a binding needs the shim.
    pub(crate) capnweb: Option<&'a str>,
}

impl Config<'_> {
    /// The text.
    pub(crate) fn to_text(&self) -> String {
        let mut services = vec![
            fields(&[("name", text("user")), ("worker", self.user())]),
            fields(&[("name", text("internet")), ("network", internet())]),
        ];
        for (index, (binding, _)) in self.bindings.iter().enumerate() {
            services.push(fields(&[
                ("name", text(&native_service(index))),
                ("external", external(self.native, Some(&binding.name))),
            ]));
        }
        let mut extensions = Vec::new();
        if let Some(capnweb) = self.capnweb {
            services.push(fields(&[
                ("name", text("wire")),
                ("external", external(self.wire, None)),
            ]));
            services.push(fields(&[("name", text("shim")), ("worker", shim(capnweb))]));
            let module = fields(&[
                ("name", text("cloudflare-internal:email")),
                ("esModule", text(include_str!("../shim/email.js"))),
                ("internal", "true".into()),
            ]);
            extensions.push(fields(&[("modules", list(&[module]))]));
        }
        let socket = fields(&[
            ("name", text(ENTRY)),
            ("address", text(self.listen)),
            ("http", "()".into()),
            ("service", text("user")),
        ]);
        format!(
            "using Workerd = import \"/workerd/workerd.capnp\";\nconst config :Workerd.Config = {};\n",
            fields(&[
                ("services", list(&services)),
                ("sockets", list(&[socket])),
                ("extensions", list(&extensions)),
            ])
        )
    }

    fn user(&self) -> String {
        let mut bindings: Vec<String> = self
            .project
            .vars
            .iter()
            .map(|(name, value)| match value {
                Value::String(value) => fields(&[("name", text(name)), ("text", text(value))]),
                value => fields(&[("name", text(name)), ("json", text(&value.to_string()))]),
            })
            .collect();
        for (index, (binding, form)) in self.bindings.iter().enumerate() {
            bindings.push(exposed(index, binding, *form));
        }
        let modules: Vec<String> = self.modules.iter().map(module).collect();
        let flags: Vec<String> = self
            .project
            .compatibility_flags
            .iter()
            .map(|flag| text(flag))
            .collect();
        fields(&[
            ("modules", list(&modules)),
            ("compatibilityDate", text(self.compatibility_date)),
            ("compatibilityFlags", list(&flags)),
            ("bindings", list(&bindings)),
        ])
    }
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
        WorkerForm::Rpc | WorkerForm::Network => fields(&[name, ("service", to_shim(binding))]),
    }
}

fn to_shim(binding: &BindingEntry) -> String {
    let props = serde_json::json!({ "binding": binding.name }).to_string();
    fields(&[
        ("name", text("shim")),
        ("props", fields(&[("json", text(&props))])),
    ])
}

fn shim(capnweb: &str) -> String {
    let modules = [
        fields(&[
            ("name", text("shim.js")),
            ("esModule", text(include_str!("../shim/shim.js"))),
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
    fields(&[
        ("address", text(&format!("unix:{}", socket.display()))),
        ("http", fields(&options)),
    ])
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
