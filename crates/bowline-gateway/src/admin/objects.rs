//! Records as objects of the API.

use bowline_access::{ServiceToken, UnixSeconds};
use bowline_access_store::{ApplicationRecord, GroupRecord, PolicyRecord};
use serde_json::{Value, json};

/// A time as the API writes it (RFC 3339).
pub fn timestamp(seconds: UnixSeconds) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| "out of range".into(), |at| at.to_string())
}

/// A service token, without its secret.
pub fn token_object(token: &ServiceToken) -> Value {
    json!({
        "id": token.id,
        "name": token.name,
        "client_id": &*token.client_id,
        "enabled": token.enabled,
        "duration": token.duration,
        "created_at": timestamp(token.created_at),
        "updated_at": timestamp(token.updated_at),
        "expires_at": token.expires_at.map(timestamp),
        "last_seen_at": token.last_seen_at.map(timestamp),
        "client_secret_version": token.secret_version,
        "previous_client_secret_expires_at": token.previous.map(|previous| timestamp(previous.expires_at)),
    })
}

/// A policy; `precedence` where it is an application's.
pub fn policy_object(policy: &PolicyRecord, precedence: Option<i64>) -> Value {
    let mut object = policy.document.clone();
    object["id"] = policy.id.as_str().into();
    object["reusable"] = policy.application_id.is_none().into();
    object["created_at"] = timestamp(policy.created_at).into();
    object["updated_at"] = timestamp(policy.updated_at).into();
    if let Some(precedence) = precedence {
        object["precedence"] = precedence.into();
    }
    object
}

/// An application with its policies.
pub fn application_object(application: &ApplicationRecord) -> Value {
    let mut object = application.document.clone();
    object["id"] = application.id.as_str().into();
    object["uid"] = application.id.as_str().into();
    object["aud"] = application.aud.as_str().into();
    if object["type"].is_null() {
        object["type"] = "self_hosted".into();
    }
    if object["domain"].is_null() {
        object["domain"] = object["destinations"][0]["uri"].clone();
    }
    if object["session_duration"].is_null() {
        object["session_duration"] = "24h".into();
    }
    object["policies"] = application
        .policies
        .iter()
        .map(|(precedence, policy)| policy_object(policy, Some(*precedence)))
        .collect();
    object["created_at"] = timestamp(application.created_at).into();
    object["updated_at"] = timestamp(application.updated_at).into();
    object
}

/// A group.
pub(crate) fn group_object(group: &GroupRecord) -> Value {
    let mut object = group.document.clone();
    object["id"] = group.id.as_str().into();
    object["created_at"] = timestamp(group.created_at).into();
    object["updated_at"] = timestamp(group.updated_at).into();
    object
}
