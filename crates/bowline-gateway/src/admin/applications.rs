//! `apps`, `policies` and `groups`.

use http::{Method, StatusCode};
use serde_json::json;

use crate::admin::envelope::{Failure, Success};
use crate::admin::objects::{application_object, group_object, policy_object};
use crate::admin::{Admin, Call};
use crate::now;

impl Admin {
    pub(super) async fn applications(&self, call: &Call, rest: &[&str]) -> Option<Result<Success, Failure>> {
        Some(match (&call.method, rest) {
            (&Method::GET, []) => self.list_applications(call).await,
            (&Method::POST, []) => self.put_application(call, None).await,
            (&Method::GET, [id]) => self.application(id).await,
            (&Method::PUT, [id]) => self.put_application(call, Some(id)).await,
            (&Method::DELETE, [id]) => self.delete_application(id).await,
            (&Method::POST, [id, "revoke_tokens"]) => self.revoke_tokens(id).await,
            (_, [id, "policies", rest @ ..]) => return self.policies(call, Some(id), rest).await,
            _ => return None,
        })
    }

    async fn list_applications(&self, call: &Call) -> Result<Success, Failure> {
        let all = self.0.store().applications().await?;
        let wanted = all.iter().filter(|application| {
            call.query
                .wants(application.document["name"].as_str().unwrap_or_default())
                && call.query.get("aud").is_none_or(|aud| aud == application.aud)
                && call
                    .query
                    .get("domain")
                    .is_none_or(|domain| application.document["domain"] == domain)
        });
        Ok(Success::list(
            wanted.map(application_object).collect(),
            &call.query,
        ))
    }

    async fn application(&self, id: &str) -> Result<Success, Failure> {
        let application = self.0.store().application(id).await?;
        Ok(Success::of(application_object(&application)))
    }

    async fn put_application(&self, call: &Call, id: Option<&str>) -> Result<Success, Failure> {
        let application = self.0.store().put_application(id, &call.body, now()).await?;
        let status = if id.is_some() {
            StatusCode::OK
        } else {
            StatusCode::CREATED
        };
        Ok(Success::of(application_object(&application)).with_status(status))
    }

    async fn delete_application(&self, id: &str) -> Result<Success, Failure> {
        let application = self.0.store().delete_application(id).await?;
        // Observed: deleting an application answers 202.
        Ok(Success::of(json!({"id": application.id})).with_status(StatusCode::ACCEPTED))
    }

    async fn revoke_tokens(&self, id: &str) -> Result<Success, Failure> {
        let application = self.0.store().application(id).await?;
        self.0
            .store()
            .revoke(&format!("app:{}", application.aud), now())
            .await?;
        Ok(Success::of(json!({})).with_status(StatusCode::ACCEPTED))
    }

    /// The policies of one application, or the reusable ones.
    pub(super) async fn policies(
        &self,
        call: &Call,
        application: Option<&str>,
        rest: &[&str],
    ) -> Option<Result<Success, Failure>> {
        Some(match (&call.method, rest) {
            (&Method::GET, []) => self.list_policies(call, application).await,
            (&Method::POST, []) => self.put_policy(call, application, None).await,
            (&Method::GET, [id]) => self.policy(application, id).await,
            (&Method::PUT, [id]) => self.put_policy(call, application, Some(id)).await,
            (&Method::DELETE, [id]) => self.delete_policy(application, id).await,
            _ => return None,
        })
    }

    async fn list_policies(&self, call: &Call, application: Option<&str>) -> Result<Success, Failure> {
        let objects = match application {
            Some(id) => {
                let application = self.0.store().application(id).await?;
                let policies = application.policies.iter();
                policies
                    .map(|(precedence, policy)| policy_object(policy, Some(*precedence)))
                    .collect()
            }
            None => {
                let all = self.0.store().policies(None).await?;
                all.iter()
                    .filter(|policy| policy.application_id.is_none())
                    .map(|policy| policy_object(policy, None))
                    .collect()
            }
        };
        Ok(Success::list(objects, &call.query))
    }

    async fn policy(&self, application: Option<&str>, id: &str) -> Result<Success, Failure> {
        let found = match application {
            Some(application) => {
                let application = self.0.store().application(application).await?;
                let mut policies = application.policies.into_iter();
                policies
                    .find(|(_, policy)| policy.id == id)
                    .map(|(precedence, policy)| policy_object(&policy, Some(precedence)))
            }
            None => {
                let mut all = self.0.store().policies(None).await?.into_iter();
                all.find(|policy| policy.id == id && policy.application_id.is_none())
                    .map(|policy| policy_object(&policy, None))
            }
        };
        found
            .map(Success::of)
            .ok_or_else(|| Failure::new(StatusCode::NOT_FOUND, format!("there is no policy {id} here")))
    }

    async fn put_policy(
        &self,
        call: &Call,
        application: Option<&str>,
        id: Option<&str>,
    ) -> Result<Success, Failure> {
        if let Some(id) = id {
            self.policy(application, id).await?;
        }
        let policy = self
            .0
            .store()
            .put_policy(id, application, &call.body, now())
            .await?;
        let status = if id.is_some() {
            StatusCode::OK
        } else {
            StatusCode::CREATED
        };
        Ok(self.policy(application, &policy.id).await?.with_status(status))
    }

    async fn delete_policy(&self, application: Option<&str>, id: &str) -> Result<Success, Failure> {
        self.policy(application, id).await?;
        let policy = self.0.store().delete_policy(id).await?;
        Ok(Success::of(json!({"id": policy.id})).with_status(StatusCode::ACCEPTED))
    }

    pub(super) async fn groups(&self, call: &Call, rest: &[&str]) -> Option<Result<Success, Failure>> {
        Some(match (&call.method, rest) {
            (&Method::GET, []) => self.list_groups(call).await,
            (&Method::POST, []) => self.put_group(call, None).await,
            (&Method::GET, [id]) => self.group(id).await,
            (&Method::PUT, [id]) => self.put_group(call, Some(id)).await,
            (&Method::DELETE, [id]) => self.delete_group(id).await,
            _ => return None,
        })
    }

    async fn list_groups(&self, call: &Call) -> Result<Success, Failure> {
        let all = self.0.store().groups().await?;
        let wanted = all.iter().filter(|group| {
            call.query
                .wants(group.document["name"].as_str().unwrap_or_default())
        });
        Ok(Success::list(wanted.map(group_object).collect(), &call.query))
    }

    async fn group(&self, id: &str) -> Result<Success, Failure> {
        let all = self.0.store().groups().await?;
        all.iter()
            .find(|group| group.id == id)
            .map(|group| Success::of(group_object(group)))
            .ok_or_else(|| Failure::new(StatusCode::NOT_FOUND, format!("there is no group {id}")))
    }

    async fn put_group(&self, call: &Call, id: Option<&str>) -> Result<Success, Failure> {
        let group = self.0.store().put_group(id, &call.body, now()).await?;
        let status = if id.is_some() {
            StatusCode::OK
        } else {
            StatusCode::CREATED
        };
        Ok(Success::of(group_object(&group)).with_status(status))
    }

    async fn delete_group(&self, id: &str) -> Result<Success, Failure> {
        self.0.store().delete_group(id).await?;
        Ok(Success::of(json!({"id": id})).with_status(StatusCode::ACCEPTED))
    }
}
