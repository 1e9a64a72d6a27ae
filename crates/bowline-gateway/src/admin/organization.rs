//! `organizations` and `keys`.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::admin::envelope::{Failure, Success};
use crate::admin::objects::timestamp;
use crate::admin::{Admin, Call};
use crate::{maintenance, now};

const DAY: i64 = 24 * 3600;

impl Admin {
    pub(super) async fn organization(&self, call: &Call) -> Option<Result<Success, Failure>> {
        let changed = match call.method {
            Method::GET => self.0.store().organization().await,
            // The documentation says PATCH, the SDKs PUT; both change the members that are there.
            Method::PUT | Method::PATCH => self.0.store().change_organization(&call.body).await,
            _ => return None,
        };
        Some(match changed {
            Ok(organization) => {
                let mut object = organization.to_json();
                if object["auth_domain"].is_null() {
                    object["auth_domain"] = self.0.0.options.team_domain.as_str().into();
                }
                Ok(Success::of(object))
            }
            Err(error) => Err(error.into()),
        })
    }

    pub(super) async fn keys(&self, call: &Call, rest: &[&str]) -> Option<Result<Success, Failure>> {
        Some(match (&call.method, rest) {
            (&Method::GET, []) => self.key_state().await,
            (&Method::PUT, []) => self.configure_keys(call).await,
            (&Method::POST, ["rotate"]) => self.rotate_keys().await,
            _ => return None,
        })
    }

    async fn key_state(&self) -> Result<Success, Failure> {
        let organization = self.0.store().organization().await?;
        let newest = self.0.store().signing_keys().await?.into_iter().next();
        let newest =
            newest.ok_or_else(|| Failure::new(StatusCode::NOT_FOUND, "there is no signing key yet"))?;
        let next = newest.created_at + organization.key_rotation_days * DAY;
        let days = (next - now()).max(0) as f64 / DAY as f64;
        Ok(Success::of(json!({
            "key_rotation_interval_days": organization.key_rotation_days,
            "days_until_next_rotation": days.ceil() as i64,
            "last_key_rotation_at": timestamp(newest.created_at),
        })))
    }

    async fn configure_keys(&self, call: &Call) -> Result<Success, Failure> {
        let days = match &call.body["key_rotation_interval_days"] {
            Value::Null => {
                return Err(
                    bowline_access::ShapeError::new("/key_rotation_interval_days", "is required").into(),
                );
            }
            days => days,
        };
        let change = json!({ "key_rotation_interval_days": days });
        self.0.store().change_organization(&change).await?;
        self.key_state().await
    }

    async fn rotate_keys(&self) -> Result<Success, Failure> {
        maintenance::rotate(self.0.store(), now()).await?;
        self.key_state().await
    }
}
