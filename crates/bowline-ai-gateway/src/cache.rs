//! Answers that are given again.

use http::HeaderMap;
use http::header::AUTHORIZATION;
use sha2::{Digest, Sha256};

use crate::Step;

/// Larger answers are not kept.
pub(crate) const LARGEST: usize = 4 << 20;

/// What an answer is kept under.
pub(crate) type Key = [u8; 32];

/// The key of a step's answer: the caller's own, or everything the answer depends on. Callers with different
/// credentials never share an answer, not even under a key they chose.
pub(crate) fn key(step: &Step, own: Option<&str>, audience: &[u8]) -> Key {
    let mut hash = Sha256::new();
    let mut add = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    add(audience);
    for value in credentials(&step.headers) {
        add(value);
    }
    match own {
        Some(own) => add(own.as_bytes()),
        None => {
            add(b"");
            add(step.provider.as_bytes());
            add(step.endpoint.as_bytes());
            add(step.query.to_string().as_bytes());
        }
    }
    hash.finalize().into()
}

/// The headers by which callers are told apart.
fn credentials(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let names = [AUTHORIZATION.as_str(), "x-api-key", "api-key", "x-goog-api-key"];
    names
        .into_iter()
        .filter_map(|name| headers.get(name))
        .map(http::HeaderValue::as_bytes)
}

/// A kept answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) status: u16,
    pub(crate) content_type: Option<Vec<u8>>,
    pub(crate) body: Vec<u8>,
}
