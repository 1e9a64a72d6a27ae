//! Settings of the organisation, one for all gateways that share a store.

use bowline_access::{AudienceShape, ShapeError};
use serde_json::{Map, Value, json};

use crate::database::{Row, Statement};
use crate::store::unreadable;
use crate::{AccessStore, StoreError};

/// What happens to service tokens that nobody uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inactivity {
    /// Days without use, 30 to 365.
    pub threshold_days: i64,
    /// Delete them; otherwise they are disabled.
    pub delete: bool,
}

/// The organisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Organization {
    /// The team domain as a URL (`https://team.example`) or host; `None` leaves it to each gateway's own default.
    pub auth_domain: Option<String>,
    /// Strict service token authentication.
    pub strict: bool,
    /// Whether a host that no application stands in front of is refused. Cloudflare's default is to let it pass; a gateway
    /// that was set up to guard refuses.
    pub deny_unmatched: bool,
    /// How the audience of a machine's token is written.
    pub machine_audience: AudienceShape,
    /// Days between key rotations; the documented default is six weeks.
    pub key_rotation_days: i64,
    /// Cleaning up unused tokens.
    pub inactivity: Option<Inactivity>,
    /// Members of the API that mean nothing here, kept.
    rest: Map<String, Value>,
}

impl Default for Organization {
    fn default() -> Self {
        Self {
            auth_domain: None,
            strict: false,
            deny_unmatched: true,
            machine_audience: AudienceShape::default(),
            key_rotation_days: 42,
            inactivity: None,
            rest: Map::new(),
        }
    }
}

impl Organization {
    /// The organisation with the members of `change` (an object of the API) instead of its own.
    pub fn changed(&self, change: &Value) -> Result<Self, ShapeError> {
        let members = change
            .as_object()
            .ok_or_else(|| ShapeError::new("", "must be an object"))?;
        let mut new = self.clone();
        for (name, value) in members {
            let at = |problem: &str| ShapeError::new(format!("/{name}"), problem);
            let flag = || value.as_bool().ok_or_else(|| at("must be true or false"));
            match name.as_str() {
                "auth_domain" => {
                    new.auth_domain = match value {
                        Value::Null => None,
                        Value::String(text) if !text.is_empty() => Some(text.clone()),
                        _ => return Err(at("must be a host or URL")),
                    };
                }
                "strict_service_token_auth" => new.strict = flag()?,
                "deny_unmatched_requests" => new.deny_unmatched = flag()?,
                "service_token_audience" => {
                    new.machine_audience = match value.as_str() {
                        Some("text") => AudienceShape::Text,
                        Some("list") => AudienceShape::List,
                        _ => return Err(at("must be `text` or `list`")),
                    };
                }
                "key_rotation_interval_days" => {
                    new.key_rotation_days = whole(value, 21, 365).ok_or_else(|| at("must be 21 to 365"))?;
                }
                "service_token_inactivity" => new.inactivity = inactivity(value)?,
                _ => {
                    new.rest.insert(name.clone(), value.clone());
                }
            }
        }
        Ok(new)
    }

    /// As an object of the API.
    pub fn to_json(&self) -> Value {
        let mut object = self.rest.clone();
        object.insert("auth_domain".into(), json!(self.auth_domain));
        object.insert("strict_service_token_auth".into(), self.strict.into());
        object.insert("deny_unmatched_requests".into(), self.deny_unmatched.into());
        let audience = match self.machine_audience {
            AudienceShape::Text => "text",
            AudienceShape::List => "list",
        };
        object.insert("service_token_audience".into(), audience.into());
        object.insert("key_rotation_interval_days".into(), self.key_rotation_days.into());
        if let Some(inactivity) = self.inactivity {
            let action = if inactivity.delete { "delete" } else { "disable" };
            object.insert(
                "service_token_inactivity".into(),
                json!({"enabled": true, "inactivity_threshold_days": inactivity.threshold_days, "action": action}),
            );
        }
        object.into()
    }
}

fn whole(value: &Value, least: i64, most: i64) -> Option<i64> {
    // SDKs in JavaScript write whole numbers as they like.
    let number = value
        .as_i64()
        .or_else(|| value.as_f64().map(|number| number as i64))?;
    (least..=most).contains(&number).then_some(number)
}

fn inactivity(value: &Value) -> Result<Option<Inactivity>, ShapeError> {
    if value.is_null() || value["enabled"] == json!(false) {
        return Ok(None);
    }
    let at =
        |name: &str, problem: &str| ShapeError::new(format!("/service_token_inactivity/{name}"), problem);
    Ok(Some(Inactivity {
        threshold_days: whole(&value["inactivity_threshold_days"], 30, 365)
            .ok_or_else(|| at("inactivity_threshold_days", "must be 30 to 365"))?,
        delete: match value["action"].as_str() {
            Some("delete") => true,
            Some("disable") => false,
            _ => return Err(at("action", "must be `disable` or `delete`")),
        },
    }))
}

impl AccessStore {
    /// The organisation's settings.
    pub async fn organization(&self) -> Result<Organization, StoreError> {
        read(self.query(Statement::new(LIST, Vec::new())).await?)
    }

    /// Changes settings; `change` is an object of the API.
    pub async fn change_organization(&self, change: &Value) -> Result<Organization, StoreError> {
        let new = self.organization().await?.changed(change)?;
        let write = Statement::new(
            "INSERT INTO setting (name, value) VALUES ('organization', $1) \
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            vec![new.to_json().to_string().into()],
        );
        self.change(vec![write]).await?;
        Ok(new)
    }
}

pub(crate) const LIST: &str = "SELECT value FROM setting WHERE name = 'organization'";

pub(crate) fn read(rows: Vec<Row>) -> Result<Organization, StoreError> {
    const WHAT: &str = "the organisation's settings";
    let Some(mut row) = rows.into_iter().next() else {
        return Ok(Organization::default());
    };
    let record = |source: Box<dyn std::error::Error + Send + Sync>| StoreError::Record {
        what: WHAT.into(),
        source,
    };
    let text = row.text().map_err(unreadable(WHAT))?;
    let value: Value = serde_json::from_str(&text).map_err(|error| record(error.into()))?;
    Organization::default()
        .changed(&value)
        .map_err(|error| record(error.into()))
}
