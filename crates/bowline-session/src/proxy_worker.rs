//! The proxy Worker: its text, and the form it is uploaded in.

use bowline_api::{Form, Module, ModuleKind};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::RemoteBinding;

/// `worker/proxy-worker.js` with npm capnweb, in one module. Made by `cargo xtask bundle`.
const BUNDLE: &str = include_str!("../worker/bundle.js");
const MAIN: &str = "proxy-worker.js";
/// What the Worker was written against. (The date is that of upstream's proxy Worker.)
const COMPATIBILITY_DATE: &str = "2025-04-28";
/// Own members of errors survive the way out of a binding.
const COMPATIBILITY_FLAGS: [&str; 1] = ["enhanced_error_serialization"];

/// What a deployed proxy Worker asks of a request: a token that Access signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessGate {
    /// The team domain as a URL, which tokens name as their issuer: `https://TEAM.cloudflareaccess.com`.
    pub issuer: String,
    /// Where its keys are. By default below the team domain.
    pub certificates: String,
    /// The audience tags of the applications whose tokens may pass.
    pub audiences: Vec<String>,
}

impl AccessGate {
    /// The gate of one application of a team: its domain, with or without a scheme, and the application's audience tag.
    pub fn new(team_domain: &str, audience: &str) -> Self {
        let domain = team_domain.trim_end_matches('/');
        let issuer = if domain.contains("://") {
            domain.to_owned()
        } else {
            format!("https://{domain}")
        };
        Self {
            certificates: format!("{issuer}/cdn-cgi/access/certs"),
            issuer,
            audiences: vec![audience.to_owned()],
        }
    }
}

/// The Worker's source for these bindings. No two are the same, so that an upload that differs in its bindings alone is
/// never answered from an earlier one.
pub fn source(bindings: &[RemoteBinding], access: Option<&AccessGate>) -> String {
    let types: Map<String, Value> = bindings
        .iter()
        .map(|binding| (binding.name.clone(), binding.type_name.into()))
        .collect();
    let mut settings = json!({ "types": types });
    if let Some(gate) = access {
        settings["access"] = json!({
            "issuer": gate.issuer, "certificates": gate.certificates, "audiences": gate.audiences,
        });
    }
    format!("// {}\nconst SETTINGS = {settings};\n{BUNDLE}", Uuid::new_v4())
}

/// The upload of a preview (without `access`), or of a Worker that stays.
pub fn form(bindings: &[RemoteBinding], access: Option<&AccessGate>) -> Form {
    let entries: Vec<&Value> = bindings.iter().map(|binding| &binding.upload).collect();
    Form {
        metadata: json!({
            "main_module": MAIN,
            "bindings": entries,
            "compatibility_date": COMPATIBILITY_DATE,
            "compatibility_flags": COMPATIBILITY_FLAGS,
            "keep_bindings": ["plain_text", "json", "secret_text", "secret_key"],
            "logpush": false,
        }),
        modules: vec![Module {
            name: MAIN.to_owned(),
            kind: ModuleKind::EsModule,
            body: Bytes::from(source(bindings, access)),
        }],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_uploads_are_the_same() {
        let (one, two) = (form(&[], None), form(&[], None));
        assert_eq!(one.metadata, two.metadata);
        let lines = |form: &Form| String::from_utf8(form.modules[0].body.to_vec()).unwrap();
        let (one, two) = (lines(&one), lines(&two));
        assert_ne!(one.lines().next(), two.lines().next());
        assert_eq!(one.lines().nth(1), Some(r#"const SETTINGS = {"types":{}};"#));
        assert_eq!(one.split_once('\n').unwrap().1, two.split_once('\n').unwrap().1);
    }

    #[test]
    fn a_gate_of_a_team() {
        let gate = AccessGate::new("team.cloudflareaccess.com", "aud");
        assert_eq!(gate, AccessGate::new("https://team.cloudflareaccess.com/", "aud"));
        assert_eq!(
            gate.certificates,
            "https://team.cloudflareaccess.com/cdn-cgi/access/certs"
        );
    }
}
