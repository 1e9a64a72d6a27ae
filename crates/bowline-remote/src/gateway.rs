//! The gate: reads what a request presents, asks `bowline-access`, and takes the credentials away.

use std::sync::Arc;

use bowline_access::{
    Decision, DenyReason, Gate, Permit, Presented, UnixSeconds, evaluate, strip_credentials,
};
use http::HeaderMap;

use crate::{TokenStore, TokenStoreError};

/// Access in front of one router.
#[derive(Debug, Clone)]
pub struct Gateway {
    gate: Gate,
    tokens: Arc<TokenStore>,
    clock: fn() -> UnixSeconds,
}

/// Why a request did not get a permit.
#[derive(Debug)]
pub enum Refused {
    /// Access says no.
    Denied(DenyReason),
    /// Access cannot say: its state is unreadable. Nobody passes then.
    Unavailable(TokenStoreError),
}

impl Gateway {
    /// A gate over `tokens`.
    pub fn new(gate: Gate, tokens: Arc<TokenStore>) -> Self {
        Self {
            gate,
            tokens,
            clock: || jiff::Timestamp::now().as_second(),
        }
    }

    /// Whether everybody passes.
    pub fn is_open(&self) -> bool {
        self.gate == Gate::Open
    }

    /// Judges a request and strips its credentials, whatever the outcome: nothing after this point can see them.
    pub fn admit(&self, headers: &mut HeaderMap) -> Result<Permit, Refused> {
        let decision = {
            let presented = Presented::read(headers);
            let token = match (self.gate, presented.client_id()) {
                (Gate::ServiceTokens, Some(id)) => self.tokens.find(id).map_err(Refused::Unavailable)?,
                _ => None,
            };
            evaluate(self.gate, presented, token.as_ref(), (self.clock)())
        };
        strip_credentials(headers);
        match decision {
            Decision::Allow(permit) => Ok(permit),
            Decision::Deny(reason) => Err(Refused::Denied(reason)),
        }
    }
}
