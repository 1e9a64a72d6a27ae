//! Applications, policies and groups: kept as the API objects that were written, so that members nobody judges here come
//! back as they went in. Everything that is judged is checked before it is stored.

use std::collections::HashMap;
use std::sync::Arc;

use bowline_access::{Application, Policy, RuleSet, ShapeError, UnixSeconds, hex, uuid_v4};
use serde_json::{Map, Value, json};

use crate::database::{ColumnError, Row, Statement};
use crate::store::{random, unreadable};
use crate::{AccessStore, StoreError};

pub(crate) const LIST_APPLICATIONS: &str =
    "SELECT id, aud, document, created_at, updated_at FROM application ORDER BY created_at, id";
pub(crate) const LIST_POLICIES: &str =
    "SELECT id, application_id, document, created_at, updated_at FROM policy ORDER BY created_at, id";
pub(crate) const LIST_LINKS: &str = "SELECT application_id, policy_id, precedence FROM application_policy ORDER BY application_id, precedence, policy_id";
pub(crate) const LIST_GROUPS: &str =
    "SELECT id, document, created_at, updated_at FROM access_group ORDER BY created_at, id";

/// A policy as it is stored.
#[derive(Debug, Clone)]
pub struct PolicyRecord {
    /// Record id.
    pub id: String,
    /// The application it belongs to; `None` for a reusable one.
    pub application_id: Option<String>,
    /// The object of the API, without what is told here.
    pub document: Value,
    /// When it was made.
    pub created_at: UnixSeconds,
    /// When it was last changed.
    pub updated_at: UnixSeconds,
}

/// An application as it is stored, with its policies in order of precedence.
#[derive(Debug, Clone)]
pub struct ApplicationRecord {
    /// Record id.
    pub id: String,
    /// Audience tag.
    pub aud: String,
    /// The object of the API, without what is told here.
    pub document: Value,
    /// Its policies, each with its precedence.
    pub policies: Vec<(i64, PolicyRecord)>,
    /// When it was made.
    pub created_at: UnixSeconds,
    /// When it was last changed.
    pub updated_at: UnixSeconds,
}

/// A group as it is stored.
#[derive(Debug, Clone)]
pub struct GroupRecord {
    /// Record id.
    pub id: String,
    /// The object of the API, without what is told here.
    pub document: Value,
    /// When it was made.
    pub created_at: UnixSeconds,
    /// When it was last changed.
    pub updated_at: UnixSeconds,
}

impl PolicyRecord {
    /// The policy as evaluation needs it.
    pub fn parse(&self) -> Result<Policy, ShapeError> {
        Policy::parse(&self.id, &self.document)
    }
}

impl ApplicationRecord {
    /// The application as evaluation needs it, with its policies.
    pub fn parse(&self) -> Result<Application, ShapeError> {
        let mut application = Application::parse(&self.id, &self.aud, &self.document)?;
        application.policies = self
            .policies
            .iter()
            .map(|(_, policy)| policy.parse().map(Arc::new))
            .collect::<Result<_, _>>()?;
        Ok(application)
    }
}

impl AccessStore {
    /// All applications, oldest first.
    pub async fn applications(&self) -> Result<Vec<ApplicationRecord>, StoreError> {
        let answers = self.read(&[LIST_APPLICATIONS, LIST_POLICIES, LIST_LINKS]).await?;
        let [applications, policies, links] = answers;
        assemble(applications, policies, links)
    }

    /// The application whose id, audience tag or name is `which`.
    pub async fn application(&self, which: &str) -> Result<ApplicationRecord, StoreError> {
        let mut found: Vec<_> = self
            .applications()
            .await?
            .into_iter()
            .filter(|application| {
                application.id == which || application.aud == which || application.document["name"] == which
            })
            .collect();
        match (found.pop(), found.is_empty()) {
            (Some(application), true) => Ok(application),
            (Some(_), false) => Err(StoreError::Conflict(format!(
                "more than one application is called `{which}`; use its id"
            ))),
            (None, _) => Err(StoreError::NotFound(format!(
                "no application has the id, audience tag or name `{which}`"
            ))),
        }
    }

    /// Makes an application from an object of the API, or replaces the one with this id.
    pub async fn put_application(
        &self,
        replace: Option<&str>,
        object: &Value,
        now: UnixSeconds,
    ) -> Result<ApplicationRecord, StoreError> {
        let old = match replace {
            Some(id) => Some(self.application(id).await?),
            None => None,
        };
        let (id, aud) = match &old {
            Some(old) => (old.id.clone(), old.aud.clone()),
            None => (uuid_v4(&random::<16>()?), hex(&random::<32>()?)),
        };
        let mut document = members(object)?;
        let listed = document.remove("policies").filter(|listed| !listed.is_null());
        let document = Value::Object(document);
        let application = Application::parse(&id, &aud, &document)?;
        let mut statements = vec![Statement::new(
            "INSERT INTO application (id, aud, document, created_at, updated_at) VALUES ($1, $2, $3, $4, $4) \
             ON CONFLICT (id) DO UPDATE SET document = excluded.document, updated_at = excluded.updated_at",
            vec![
                id.as_str().into(),
                aud.into(),
                with_name(document, &application.name).to_string().into(),
                now.into(),
            ],
        )];
        if let Some(listed) = listed {
            self.link(&id, old.as_ref(), &listed, now, &mut statements)
                .await?;
        }
        self.change(statements).await?;
        self.application(&id).await
    }

    /// The statements that give application `id` exactly the listed policies: ids, objects with an id, or whole policies.
    async fn link(
        &self,
        id: &str,
        old: Option<&ApplicationRecord>,
        listed: &Value,
        now: UnixSeconds,
        statements: &mut Vec<Statement>,
    ) -> Result<(), StoreError> {
        let listed = listed
            .as_array()
            .ok_or_else(|| ShapeError::new("/policies", "must be a list"))?;
        let known = self.policies(None).await?;
        statements.push(Statement::new(
            "DELETE FROM application_policy WHERE application_id = $1",
            vec![id.into()],
        ));
        let mut kept = Vec::new();
        for (index, entry) in listed.iter().enumerate() {
            let at = format!("/policies/{index}");
            let named = entry.as_str().or_else(|| entry["id"].as_str());
            let precedence = whole(&entry["precedence"]).unwrap_or(index as i64 + 1);
            let policy_id = match named {
                Some(named) => {
                    let found = known.iter().find(|policy| {
                        policy.id == named && policy.application_id.as_deref().is_none_or(|owner| owner == id)
                    });
                    let Some(found) = found else {
                        return Err(ShapeError::new(at, format!("there is no policy {named}")).into());
                    };
                    found.id.clone()
                }
                None => uuid_v4(&random::<16>()?),
            };
            // A whole policy with the id of one of the application's own replaces it.
            let whole_policy = entry["decision"].is_string();
            let own = known
                .iter()
                .any(|policy| policy.id == policy_id && policy.application_id.is_some());
            if named.is_none() || whole_policy && own {
                let document = policy_document(entry)?;
                Policy::parse(&policy_id, &document).map_err(|error| error.below(&at))?;
                statements.push(upsert_policy(&policy_id, Some(id), &document, now));
            }
            statements.push(link_policy(id, &policy_id, precedence));
            kept.push(policy_id);
        }
        for (_, policy) in old.map(|old| old.policies.as_slice()).unwrap_or_default() {
            if policy.application_id.is_some() && !kept.contains(&policy.id) {
                statements.push(Statement::new(
                    "DELETE FROM policy WHERE id = $1",
                    vec![policy.id.as_str().into()],
                ));
            }
        }
        Ok(())
    }

    /// Deletes an application with its own policies; reusable ones stay.
    pub async fn delete_application(&self, which: &str) -> Result<ApplicationRecord, StoreError> {
        let application = self.application(which).await?;
        self.change(
            [
                "DELETE FROM application_policy WHERE application_id = $1",
                "DELETE FROM policy WHERE application_id = $1",
                "DELETE FROM application WHERE id = $1",
            ]
            .into_iter()
            .map(|sql| Statement::new(sql, vec![application.id.as_str().into()]))
            .collect(),
        )
        .await?;
        Ok(application)
    }

    /// The policies: an application's own and linked ones in order, or all there are.
    pub async fn policies(&self, application: Option<&str>) -> Result<Vec<PolicyRecord>, StoreError> {
        if let Some(application) = application {
            let application = self.application(application).await?;
            return Ok(application
                .policies
                .into_iter()
                .map(|(_, policy)| policy)
                .collect());
        }
        let [rows] = self.read(&[LIST_POLICIES]).await?;
        rows.into_iter()
            .map(|row| read_policy(row).map_err(unreadable("a policy")))
            .collect()
    }

    /// The policy whose id or name is `which`.
    pub async fn policy(&self, which: &str) -> Result<PolicyRecord, StoreError> {
        let mut found: Vec<_> = self
            .policies(None)
            .await?
            .into_iter()
            .filter(|policy| policy.id == which || policy.document["name"] == which)
            .collect();
        match (found.pop(), found.is_empty()) {
            (Some(policy), true) => Ok(policy),
            (Some(_), false) => Err(StoreError::Conflict(format!(
                "more than one policy is called `{which}`; use its id"
            ))),
            (None, _) => Err(StoreError::NotFound(format!(
                "no policy has the id or name `{which}`"
            ))),
        }
    }

    /// Makes a policy from an object of the API, or replaces the one with the id `replace`. It is `application`'s own, or
    /// reusable.
    pub async fn put_policy(
        &self,
        replace: Option<&str>,
        application: Option<&str>,
        object: &Value,
        now: UnixSeconds,
    ) -> Result<PolicyRecord, StoreError> {
        let application = match application {
            Some(which) => Some(self.application(which).await?),
            None => None,
        };
        let id = match replace {
            Some(which) => self.policy(which).await?.id,
            None => uuid_v4(&random::<16>()?),
        };
        let document = policy_document(object)?;
        Policy::parse(&id, &document)?;
        let owner = application.as_ref().map(|application| application.id.as_str());
        let mut statements = vec![upsert_policy(&id, owner, &document, now)];
        if let Some(application) = &application {
            let linked = application.policies.iter().find(|(_, policy)| policy.id == id);
            let next = application
                .policies
                .last()
                .map_or(1, |(precedence, _)| precedence + 1);
            let precedence = whole(&object["precedence"])
                .or(linked.map(|(precedence, _)| *precedence))
                .unwrap_or(next);
            statements.push(link_policy(&application.id, &id, precedence));
        }
        self.change(statements).await?;
        self.policy(&id).await
    }

    /// Deletes a policy. A reusable one that applications use stays.
    pub async fn delete_policy(&self, which: &str) -> Result<PolicyRecord, StoreError> {
        let policy = self.policy(which).await?;
        let used: Vec<String> = self
            .applications()
            .await?
            .into_iter()
            .filter(|application| {
                Some(&application.id) != policy.application_id.as_ref()
                    && application.policies.iter().any(|(_, used)| used.id == policy.id)
            })
            .map(|application| application.id)
            .collect();
        if !used.is_empty() {
            return Err(StoreError::Conflict(format!(
                "policy {} is used by application {}",
                policy.id,
                used.join(", ")
            )));
        }
        self.change(
            [
                "DELETE FROM application_policy WHERE policy_id = $1",
                "DELETE FROM policy WHERE id = $1",
            ]
            .into_iter()
            .map(|sql| Statement::new(sql, vec![policy.id.as_str().into()]))
            .collect(),
        )
        .await?;
        Ok(policy)
    }

    /// All groups, oldest first.
    pub async fn groups(&self) -> Result<Vec<GroupRecord>, StoreError> {
        let [rows] = self.read(&[LIST_GROUPS]).await?;
        rows.into_iter()
            .map(|row| read_group(row).map_err(unreadable("a group")))
            .collect()
    }

    /// Makes a group from an object of the API, or replaces the one with the id `replace`.
    pub async fn put_group(
        &self,
        replace: Option<&str>,
        object: &Value,
        now: UnixSeconds,
    ) -> Result<GroupRecord, StoreError> {
        let known = self.groups().await?;
        let id = match replace {
            Some(id) if known.iter().any(|group| group.id == id) => id.to_owned(),
            Some(id) => return Err(StoreError::NotFound(format!("there is no group {id}"))),
            None => uuid_v4(&random::<16>()?),
        };
        let document = Value::Object(members(object)?);
        RuleSet::parse(&document)?;
        if document["name"].as_str().is_none_or(str::is_empty) {
            return Err(ShapeError::new("/name", "is required").into());
        }
        let write = Statement::new(
            "INSERT INTO access_group (id, document, created_at, updated_at) VALUES ($1, $2, $3, $3) \
             ON CONFLICT (id) DO UPDATE SET document = excluded.document, updated_at = excluded.updated_at",
            vec![id.as_str().into(), document.to_string().into(), now.into()],
        );
        self.change(vec![write]).await?;
        let groups = self.groups().await?;
        groups
            .into_iter()
            .find(|group| group.id == id)
            .ok_or_else(|| StoreError::NotFound(format!("there is no group {id}")))
    }

    /// Deletes a group. Policies that name it cannot be judged by it any more, so it admits nobody.
    pub async fn delete_group(&self, id: &str) -> Result<(), StoreError> {
        let delete = Statement::new(
            "DELETE FROM access_group WHERE id = $1 RETURNING id",
            vec![id.into()],
        );
        if self.change(vec![delete]).await?.is_empty() {
            return Err(StoreError::NotFound(format!("there is no group {id}")));
        }
        Ok(())
    }

    /// A new store guards everything it is asked about with "any valid service token".
    pub(crate) async fn seed(&self) -> Result<(), StoreError> {
        let seeded = "SELECT name FROM setting WHERE name = 'seeded'";
        if !self.query(Statement::new(seeded, Vec::new())).await?.is_empty() {
            return Ok(());
        }
        let (application, policy) = (uuid_v4(&random::<16>()?), uuid_v4(&random::<16>()?));
        let document = json!({"name": "everything", "type": "self_hosted", "domain": "*"}).to_string();
        let rules = json!({
            "name": "any valid service token", "decision": "non_identity",
            "include": [{"any_valid_service_token": {}}], "require": [], "exclude": [],
        });
        self.change(vec![
            Statement::new(
                "INSERT INTO application (id, aud, document, created_at, updated_at) SELECT $1, $2, $3, 0, 0 \
                 WHERE NOT EXISTS (SELECT 1 FROM setting WHERE name = 'seeded')",
                vec![application.as_str().into(), hex(&random::<32>()?).into(), document.into()],
            ),
            Statement::new(
                "INSERT INTO policy (id, application_id, document, created_at, updated_at) SELECT $1, $2, $3, 0, 0 \
                 WHERE EXISTS (SELECT 1 FROM application WHERE id = $2)",
                vec![policy.as_str().into(), application.as_str().into(), rules.to_string().into()],
            ),
            Statement::new(
                "INSERT INTO application_policy (application_id, policy_id, precedence) SELECT $1, $2, 1 \
                 WHERE EXISTS (SELECT 1 FROM policy WHERE id = $2)",
                vec![application.into(), policy.into()],
            ),
            Statement::new(
                "INSERT INTO setting (name, value) VALUES ('seeded', '1') ON CONFLICT (name) DO NOTHING",
                Vec::new(),
            ),
        ])
        .await?;
        Ok(())
    }

    /// Several queries that see one state.
    pub(crate) async fn read<const N: usize>(
        &self,
        queries: &[&'static str; N],
    ) -> Result<[Vec<Row>; N], StoreError> {
        let statements = queries
            .iter()
            .map(|sql| Statement::new(sql, Vec::new()))
            .collect();
        let answers = self.database.transact(crate::Purpose::Read, statements).await?;
        answers.try_into().map_err(|_| StoreError::TimedOut(0))
    }
}

fn upsert_policy(id: &str, application: Option<&str>, document: &Value, now: UnixSeconds) -> Statement {
    Statement::new(
        "INSERT INTO policy (id, application_id, document, created_at, updated_at) VALUES ($1, $2, $3, $4, $4) \
         ON CONFLICT (id) DO UPDATE SET document = excluded.document, updated_at = excluded.updated_at",
        vec![
            id.into(),
            application.map(str::to_owned).into(),
            document.to_string().into(),
            now.into(),
        ],
    )
}

fn link_policy(application: &str, policy: &str, precedence: i64) -> Statement {
    Statement::new(
        "INSERT INTO application_policy (application_id, policy_id, precedence) VALUES ($1, $2, $3) \
         ON CONFLICT (application_id, policy_id) DO UPDATE SET precedence = excluded.precedence",
        vec![application.into(), policy.into(), precedence.into()],
    )
}

/// An object's members without those that are told apart from the document.
fn members(object: &Value) -> Result<Map<String, Value>, ShapeError> {
    let mut members = object
        .as_object()
        .cloned()
        .ok_or_else(|| ShapeError::new("", "must be an object"))?;
    for name in [
        "id",
        "uid",
        "aud",
        "created_at",
        "updated_at",
        "precedence",
        "reusable",
        "app_count",
    ] {
        members.remove(name);
    }
    Ok(members)
}

fn policy_document(object: &Value) -> Result<Value, ShapeError> {
    let mut members = members(object)?;
    for list in ["include", "require", "exclude"] {
        if members.get(list).is_none_or(Value::is_null) {
            members.insert(list.to_owned(), json!([]));
        }
    }
    Ok(members.into())
}

fn with_name(mut document: Value, name: &str) -> Value {
    document["name"] = name.into();
    document
}

fn whole(value: &Value) -> Option<i64> {
    value
        .as_i64()
        .or_else(|| value.as_f64().map(|number| number as i64))
}

fn read_policy(mut row: Row) -> Result<PolicyRecord, ColumnError> {
    Ok(PolicyRecord {
        id: row.text()?,
        application_id: row.maybe_text()?,
        document: document(&row.text()?),
        created_at: row.integer()?,
        updated_at: row.integer()?,
    })
}

pub(crate) fn read_group(mut row: Row) -> Result<GroupRecord, ColumnError> {
    Ok(GroupRecord {
        id: row.text()?,
        document: document(&row.text()?),
        created_at: row.integer()?,
        updated_at: row.integer()?,
    })
}

/// What is no JSON has no members, and fails where it is parsed.
fn document(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

/// Applications with their policies.
pub(crate) fn assemble(
    applications: Vec<Row>,
    policies: Vec<Row>,
    links: Vec<Row>,
) -> Result<Vec<ApplicationRecord>, StoreError> {
    let policies: HashMap<String, PolicyRecord> = policies
        .into_iter()
        .map(|row| read_policy(row).map(|policy| (policy.id.clone(), policy)))
        .collect::<Result<_, _>>()
        .map_err(unreadable("a policy"))?;
    let mut by_application: HashMap<String, Vec<(i64, PolicyRecord)>> = HashMap::new();
    for mut row in links {
        let link = (|| Ok::<_, ColumnError>((row.text()?, row.text()?, row.integer()?)))();
        let (application, policy, precedence) = link.map_err(unreadable("a link of a policy"))?;
        if let Some(policy) = policies.get(&policy) {
            by_application
                .entry(application)
                .or_default()
                .push((precedence, policy.clone()));
        }
    }
    applications
        .into_iter()
        .map(|mut row| {
            let id = row.text()?;
            Ok(ApplicationRecord {
                policies: by_application.remove(&id).unwrap_or_default(),
                id,
                aud: row.text()?,
                document: document(&row.text()?),
                created_at: row.integer()?,
                updated_at: row.integer()?,
            })
        })
        .map(|record| record.map_err(unreadable("an application")))
        .collect()
}
