//! Access in front of the edge: the gate of `bowline-gateway`, in one of the forms it has at Cloudflare.

use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use bowline_access_store::AccessStore;
use bowline_gateway::{Gateway, GatewayOptions, Mode, now};
use bowline_secret::Secret;
use serde_json::json;

use crate::deployed::TeamDomain;
use crate::stand::StandError;

/// The organisation's team domain. It does not exist; clients go by the words in it.
const TEAM_DOMAIN: &str = "https://bowline.cloudflareaccess.com";
pub(crate) const TEAM_HOST: &str = "bowline.cloudflareaccess.com";
/// The application that a new store has for every host.
const APPLICATION: &str = "everything";
/// The policy by which people could log in.
const LOGIN: &str = "people";

/// Who may pass, and what the others see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessMode {
    /// A valid service token; others get a page with status 403.
    ServiceAuth,
    /// A valid service token; whoever shows none is sent to a login (302).
    Login,
    /// Everybody.
    Off,
}

const MODES: [(&str, AccessMode); 3] = [
    ("service-auth", AccessMode::ServiceAuth),
    ("login", AccessMode::Login),
    ("off", AccessMode::Off),
];

impl FromStr for AccessMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = MODES.iter().find(|(name, _)| *name == text.trim());
        found
            .map(|(_, mode)| *mode)
            .ok_or_else(|| "the modes of Access are service-auth, login and off".to_owned())
    }
}

impl fmt::Display for AccessMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = MODES.iter().find(|(_, mode)| mode == self);
        f.write_str(name.map_or("", |(name, _)| name))
    }
}

/// A service token that passes.
#[derive(Debug, Clone)]
pub struct AccessPair {
    /// The client id.
    pub client_id: String,
    /// The client secret.
    pub client_secret: Secret,
}

/// The gate.
#[derive(Debug)]
pub(crate) struct Access {
    guard: Gateway,
    open: Gateway,
    mode: Mutex<AccessMode>,
    /// One change at a time.
    changing: tokio::sync::Mutex<()>,
}

impl Access {
    /// A gate with one service token, which exists in memory only.
    pub(crate) async fn new(mode: AccessMode) -> Result<(Self, AccessPair), StandError> {
        let store = AccessStore::in_memory().await?;
        let minted = store.create_token("edge", "8760h", now()).await?;
        let gateway = |mode| {
            let options = GatewayOptions {
                mode,
                team_domain: TEAM_DOMAIN.to_owned(),
                clock: now,
                login: None,
            };
            Gateway::new(store.clone(), options)
        };
        let access = Self {
            guard: gateway(Mode::Guard).await?,
            open: gateway(Mode::Open).await?,
            mode: Mutex::new(AccessMode::ServiceAuth),
            changing: tokio::sync::Mutex::default(),
        };
        access.set(mode).await?;
        let pair = AccessPair {
            client_id: minted.token.client_id.to_string(),
            client_secret: minted.client_secret,
        };
        Ok((access, pair))
    }

    pub(crate) fn mode(&self) -> AccessMode {
        *self.mode.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The gate in force.
    pub(crate) fn gateway(&self) -> &Gateway {
        match self.mode() {
            AccessMode::Off => &self.open,
            AccessMode::ServiceAuth | AccessMode::Login => &self.guard,
        }
    }

    /// The team domain, whatever the mode.
    pub(crate) fn team_domain(&self) -> TeamDomain {
        TeamDomain(self.guard.clone())
    }

    /// Changes it for the next request.
    pub(crate) async fn set(&self, mode: AccessMode) -> Result<(), StandError> {
        let _one = self.changing.lock().await;
        let store = self.guard.store();
        let policies = store.policies(Some(APPLICATION)).await?;
        let login = policies.iter().find(|policy| policy.document["name"] == LOGIN);
        match (mode, login) {
            (AccessMode::Login, None) => {
                let policy = json!({"name": LOGIN, "decision": "allow", "include": [{"everyone": {}}]});
                store.put_policy(None, Some(APPLICATION), &policy, now()).await?;
            }
            (AccessMode::ServiceAuth, Some(policy)) => {
                store.delete_policy(&policy.id).await?;
            }
            _ => {}
        }
        *self.mode.lock().unwrap_or_else(PoisonError::into_inner) = mode;
        Ok(())
    }
}
