//! From entries of a wrangler configuration to entries of an upload.
//!
//! Source: the forms that unmodified wrangler 4.164 uploads (watched for most types), and its table of which bindings are
//! remote. Types that are never remote (variables, Durable Objects, workflows, rate limits …) have no row.

use serde_json::{Map, Value, json};

/// When a binding of a type is remote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Remote {
    /// It has no other place.
    Always,
    /// When its entry says `remote: true`.
    Asked,
}

/// One type of binding.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The type in an upload.
    pub type_name: &'static str,
    /// Where a wrangler configuration lists it. A dot leads into an object.
    pub wrangler_key: &'static str,
    /// The member of an entry that names it.
    pub name_key: &'static str,
    remote: Remote,
    /// Whether the proxy Worker gets a plain fetcher, which speaks what the developer's workerd speaks.
    raw: bool,
    /// The member that stands in for the first of `members` while developing.
    preview: Option<&'static str>,
    /// Members: in the configuration, in the upload, and whether there has to be one.
    members: &'static [(&'static str, &'static str, bool)],
}

/// A binding to be uploaded.
#[derive(Debug, Clone, PartialEq)]
pub struct RemoteBinding {
    /// Its name.
    pub name: String,
    /// Its type.
    pub type_name: &'static str,
    /// Its entry in an upload.
    pub upload: Value,
}

/// An entry that cannot be uploaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("binding `{name}` ({type_name}) needs `{member}` to be remote")]
pub struct BindingError {
    name: String,
    type_name: &'static str,
    member: &'static str,
}

const MUST: bool = true;
const MAY: bool = false;

const fn row(
    type_name: &'static str,
    wrangler_key: &'static str,
    remote: Remote,
    raw: bool,
    members: &'static [(&'static str, &'static str, bool)],
) -> Row {
    Row {
        type_name,
        wrangler_key,
        name_key: "binding",
        remote,
        raw,
        preview: None,
        members,
    }
}

/// A type whose resource may have another in its place while developing, as `wrangler dev` has it.
const fn previewed(row: Row, preview: &'static str) -> Row {
    Row {
        preview: Some(preview),
        ..row
    }
}

/// Every type, in the order they are uploaded in.
pub static ROWS: &[Row] = &{
    use Remote::{Always, Asked};
    const RAW: bool = true;
    const WRAPPED: bool = false;
    [
        previewed(
            row(
                "kv_namespace",
                "kv_namespaces",
                Asked,
                RAW,
                &[("id", "namespace_id", MUST)],
            ),
            "preview_id",
        ),
        previewed(
            row(
                "r2_bucket",
                "r2_buckets",
                Asked,
                RAW,
                &[
                    ("bucket_name", "bucket_name", MUST),
                    ("jurisdiction", "jurisdiction", MAY),
                ],
            ),
            "preview_bucket_name",
        ),
        previewed(
            row(
                "d1",
                "d1_databases",
                Asked,
                RAW,
                &[
                    ("database_id", "id", MUST),
                    ("database_internal_env", "internalEnv", MAY),
                ],
            ),
            "preview_database_id",
        ),
        row(
            "queue",
            "queues.producers",
            Asked,
            RAW,
            &[
                ("queue", "queue_name", MUST),
                ("delivery_delay", "delivery_delay", MAY),
            ],
        ),
        row(
            "vectorize",
            "vectorize",
            Asked,
            RAW,
            &[("index_name", "index_name", MUST)],
        ),
        row("ai", "ai", Always, RAW, &[("staging", "staging", MAY)]),
        row("images", "images", Asked, RAW, &[]),
        row("browser", "browser", Asked, RAW, &[]),
        row(
            "service",
            "services",
            Asked,
            WRAPPED,
            &[
                ("service", "service", MUST),
                ("environment", "environment", MAY),
                ("entrypoint", "entrypoint", MAY),
                ("props", "props", MAY),
                ("cross_account_grant", "cross_account_grant", MAY),
            ],
        ),
        row(
            "dispatch_namespace",
            "dispatch_namespaces",
            Asked,
            WRAPPED,
            &[("namespace", "namespace", MUST)],
        ),
        Row {
            name_key: "name",
            ..row(
                "send_email",
                "send_email",
                Asked,
                WRAPPED,
                &[
                    ("destination_address", "destination_address", MAY),
                    (
                        "allowed_destination_addresses",
                        "allowed_destination_addresses",
                        MAY,
                    ),
                    ("allowed_sender_addresses", "allowed_sender_addresses", MAY),
                ],
            )
        },
        row(
            "vpc_service",
            "vpc_services",
            Always,
            WRAPPED,
            &[("service_id", "service_id", MUST)],
        ),
        row(
            "vpc_network",
            "vpc_networks",
            Always,
            WRAPPED,
            &[("tunnel_id", "tunnel_id", MAY), ("network_id", "network_id", MAY)],
        ),
        row(
            "mtls_certificate",
            "mtls_certificates",
            Asked,
            WRAPPED,
            &[("certificate_id", "certificate_id", MUST)],
        ),
        row(
            "artifacts",
            "artifacts",
            Asked,
            WRAPPED,
            &[("namespace", "namespace", MUST)],
        ),
        row(
            "agent_memory",
            "agent_memory",
            Always,
            WRAPPED,
            &[("namespace", "namespace", MUST)],
        ),
        row(
            "ai_search",
            "ai_search",
            Always,
            WRAPPED,
            &[("instance_name", "instance_name", MUST)],
        ),
        row(
            "ai_search_namespace",
            "ai_search_namespaces",
            Always,
            WRAPPED,
            &[("namespace", "namespace", MUST)],
        ),
        row("hyperdrive", "hyperdrive", Asked, WRAPPED, &[("id", "id", MUST)]),
        row(
            "flagship",
            "flagship",
            Asked,
            WRAPPED,
            &[("app_id", "app_id", MUST)],
        ),
        row(
            "analytics_engine",
            "analytics_engine_datasets",
            Asked,
            WRAPPED,
            &[("dataset", "dataset", MAY)],
        ),
        row(
            "pipelines",
            "pipelines",
            Asked,
            WRAPPED,
            &[("stream", "stream", MAY), ("pipeline", "pipeline", MAY)],
        ),
        row("k2", "k2", Always, WRAPPED, &[("stream", "stream", MUST)]),
        row("stream", "stream", Asked, WRAPPED, &[]),
        row("media", "media", Always, WRAPPED, &[]),
        row("analytics", "analytics", Always, WRAPPED, &[]),
    ]
};

impl Row {
    /// The row of a type.
    pub fn of(type_name: &str) -> Option<&'static Self> {
        ROWS.iter().find(|row| row.type_name == type_name)
    }

    /// Whether an entry is of a binding that is served remotely.
    pub fn is_remote(&self, entry: &Value) -> bool {
        match self.remote {
            Remote::Always => entry["remote"] != false,
            Remote::Asked => entry["remote"] == true,
        }
    }

    /// The upload of the binding `name` with this entry.
    pub fn upload(&self, name: &str, entry: &Value) -> Result<RemoteBinding, BindingError> {
        let missing = |member| BindingError {
            name: name.to_owned(),
            type_name: self.type_name,
            member,
        };
        let mut upload = Map::new();
        upload.insert("name".into(), name.into());
        upload.insert("type".into(), self.type_name.into());
        for (index, (from, to, must)) in self.members.iter().enumerate() {
            let preview = self
                .preview
                .filter(|_| index == 0)
                .and_then(|name| entry.get(name));
            match preview.or_else(|| entry.get(from)) {
                Some(value) => {
                    upload.insert((*to).into(), value.clone());
                }
                None if *must => return Err(missing(from)),
                None => {}
            }
        }
        if let Some(outbound) = entry.get("outbound") {
            upload.insert("outbound".into(), outbound_of(outbound));
        }
        if self.raw {
            upload.insert("raw".into(), true.into());
        }
        Ok(RemoteBinding {
            name: name.to_owned(),
            type_name: self.type_name,
            upload: upload.into(),
        })
    }
}

/// `{service, environment?, parameters?}` as an upload has it.
fn outbound_of(outbound: &Value) -> Value {
    let mut worker = json!({ "service": outbound["service"] });
    if let Some(environment) = outbound.get("environment") {
        worker["environment"] = environment.clone();
    }
    let names = outbound["parameters"].as_array().map_or(&[][..], Vec::as_slice);
    let parameters: Vec<Value> = names.iter().map(|name| json!({ "name": name })).collect();
    json!({ "worker": worker, "params": parameters })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_as_wrangler_uploads_them() {
        let cases = [
            (
                "kv_namespace",
                json!({"binding": "B", "id": "k", "remote": true}),
                json!({"name": "B", "type": "kv_namespace", "namespace_id": "k", "raw": true}),
            ),
            (
                "d1",
                json!({"binding": "B", "database_name": "n", "database_id": "d"}),
                json!({"name": "B", "type": "d1", "id": "d", "raw": true}),
            ),
            (
                "d1",
                json!({"binding": "B", "database_id": "d", "preview_database_id": "p"}),
                json!({"name": "B", "type": "d1", "id": "p", "raw": true}),
            ),
            (
                "ai",
                json!({"binding": "B"}),
                json!({"name": "B", "type": "ai", "raw": true}),
            ),
            (
                "service",
                json!({"binding": "B", "service": "s", "entrypoint": "E", "props": {"a": 1}, "remote": true}),
                json!({"name": "B", "type": "service", "service": "s", "entrypoint": "E", "props": {"a": 1}}),
            ),
            (
                "dispatch_namespace",
                json!({"namespace": "n", "outbound": {"service": "o", "parameters": ["p", "q"]}}),
                json!({"name": "B", "type": "dispatch_namespace", "namespace": "n",
                    "outbound": {"worker": {"service": "o"}, "params": [{"name": "p"}, {"name": "q"}]}}),
            ),
            (
                "vpc_network",
                json!({"network_id": "n"}),
                json!({"name": "B", "type": "vpc_network", "network_id": "n"}),
            ),
        ];
        for (type_name, entry, upload) in cases {
            let row = Row::of(type_name).unwrap();
            assert_eq!(row.upload("B", &entry).unwrap().upload, upload);
        }
        let error = Row::of("vectorize").unwrap().upload("B", &json!({})).unwrap_err();
        assert_eq!(
            error.to_string(),
            "binding `B` (vectorize) needs `index_name` to be remote"
        );
    }

    #[test]
    fn what_is_remote() {
        let (yes, no, silent) = (json!({"remote": true}), json!({"remote": false}), json!({}));
        for (type_name, when_silent) in [("ai", true), ("k2", true), ("d1", false), ("service", false)] {
            let row = Row::of(type_name).unwrap();
            assert!(row.is_remote(&yes) && !row.is_remote(&no), "{type_name}");
            assert_eq!(row.is_remote(&silent), when_silent, "{type_name}");
        }
    }
}
