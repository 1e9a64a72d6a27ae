//! `service_tokens`.

use bowline_access::{Minted, ServiceToken, ShapeError, UnixSeconds};
use bowline_access_store::{StoreError, TokenChange};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::admin::envelope::{Failure, Success};
use crate::admin::objects::token_object;
use crate::admin::{Admin, Call};
use crate::now;

/// One year, documented.
const DURATION: &str = "8760h";

impl Admin {
    pub(super) async fn tokens(&self, call: &Call, rest: &[&str]) -> Option<Result<Success, Failure>> {
        Some(match (&call.method, rest) {
            (&Method::GET, []) => self.list_tokens(call).await,
            (&Method::POST, []) => self.create_token(call).await,
            (&Method::GET, [id]) => self
                .token(id)
                .await
                .map(|token| Success::of(token_object(&token))),
            (&Method::PUT, [id]) => self.update_token(call, id).await,
            (&Method::DELETE, [id]) => self.delete_token(id).await,
            (&Method::POST, [id, "rotate"]) => self.rotate_token(call, id).await,
            (&Method::POST, [id, "refresh"]) => self.refresh_token(id).await,
            _ => return None,
        })
    }

    async fn token(&self, id: &str) -> Result<ServiceToken, Failure> {
        let tokens = self.0.store().tokens().await?;
        tokens
            .into_iter()
            .find(|token| token.id == id)
            .ok_or_else(|| Failure::new(StatusCode::NOT_FOUND, format!("there is no service token {id}")))
    }

    async fn list_tokens(&self, call: &Call) -> Result<Success, Failure> {
        let tokens = self.0.store().tokens().await?;
        let wanted = tokens.iter().filter(|token| call.query.wants(&token.name));
        Ok(Success::list(wanted.map(token_object).collect(), &call.query))
    }

    async fn create_token(&self, call: &Call) -> Result<Success, Failure> {
        let name = call.body["name"]
            .as_str()
            .filter(|name| !name.trim().is_empty())
            .ok_or_else(|| ShapeError::new("/name", "is required"))?;
        let duration = text(&call.body, "duration")?.unwrap_or(DURATION);
        let minted = self.0.store().create_token(name, duration, now()).await?;
        Ok(with_secret(&minted))
    }

    async fn update_token(&self, call: &Call, id: &str) -> Result<Success, Failure> {
        let (token, at) = (self.token(id).await?, now());
        let until = time(&call.body)?;
        let change = TokenChange {
            name: text(&call.body, "name")?.map(str::to_owned),
            duration: text(&call.body, "duration")?.map(str::to_owned),
            enabled: call.body["enabled"].as_bool(),
            previous_expires_at: until,
        };
        let changed = self.0.store().update_token(&token, change, at).await?;
        // A raised version is a rotation (documented).
        let version = call.body["client_secret_version"]
            .as_f64()
            .map(|version| version as i64);
        if version.is_some_and(|version| version > changed.secret_version) {
            return Ok(with_secret(
                &self.0.store().rotate_token(&changed, until, at).await?,
            ));
        }
        Ok(Success::of(token_object(&changed)))
    }

    async fn delete_token(&self, id: &str) -> Result<Success, Failure> {
        let token = self.token(id).await?;
        self.0.store().delete_token(&token).await?;
        Ok(Success::of(token_object(&token)))
    }

    async fn rotate_token(&self, call: &Call, id: &str) -> Result<Success, Failure> {
        let token = self.token(id).await?;
        let minted = self
            .0
            .store()
            .rotate_token(&token, time(&call.body)?, now())
            .await?;
        Ok(with_secret(&minted))
    }

    async fn refresh_token(&self, id: &str) -> Result<Success, Failure> {
        let token = self.token(id).await?;
        let refreshed: Result<ServiceToken, StoreError> = self.0.store().refresh_token(&token, now()).await;
        Ok(Success::of(token_object(&refreshed?)))
    }
}

/// The one answer that shows a secret.
fn with_secret(minted: &Minted) -> Success {
    let mut object = token_object(&minted.token);
    object["client_secret"] = json!(minted.client_secret.expose());
    Success::of(object)
}

fn text<'a>(body: &'a Value, name: &str) -> Result<Option<&'a str>, ShapeError> {
    match &body[name] {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        _ => Err(ShapeError::new(format!("/{name}"), "must be a string")),
    }
}

/// `previous_client_secret_expires_at`.
fn time(body: &Value) -> Result<Option<UnixSeconds>, ShapeError> {
    const NAME: &str = "previous_client_secret_expires_at";
    let Some(text) = text(body, NAME)? else {
        return Ok(None);
    };
    let at: jiff::Timestamp = text
        .parse()
        .map_err(|_| ShapeError::new(format!("/{NAME}"), "must be a time as RFC 3339 writes it"))?;
    Ok(Some(at.as_second()))
}
