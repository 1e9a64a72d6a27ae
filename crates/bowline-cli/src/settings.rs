//! What the environment's variables mean.

use std::path::PathBuf;

use bowline_proxy::CredentialState;

use crate::env_vars::{
    CLOUDFLARE_ACCESS_CLIENT_ID as CLIENT_ID, CLOUDFLARE_ACCESS_CLIENT_SECRET as CLIENT_SECRET, Env,
    NODE_EXTRA_CA_CERTS, SSL_CERT_FILE,
};

/// The credentials to send.
pub(crate) fn credentials(env: Env<'_>) -> CredentialState {
    CredentialState::from_pair(env(CLIENT_ID), env(CLIENT_SECRET), (CLIENT_ID, CLIENT_SECRET))
}

/// What is wrong with half a pair of credentials, for the user.
pub(crate) fn half_pair(credentials: &CredentialState) -> Option<String> {
    match credentials {
        CredentialState::Half { set, missing } => Some(format!(
            "{set} is set but {missing} is not: a service token needs both, so none is sent. Set {missing} too."
        )),
        CredentialState::Nothing | CredentialState::Token(_) => None,
    }
}

/// Files of extra certificate authorities.
pub(crate) fn extra_authorities(env: Env<'_>) -> Vec<PathBuf> {
    [SSL_CERT_FILE, NODE_EXTRA_CA_CERTS]
        .iter()
        .filter_map(|name| env(name))
        .filter(|file| !file.is_empty())
        .map(PathBuf::from)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_pair_names_what_is_missing() {
        for (set, missing) in [(CLIENT_ID, CLIENT_SECRET), (CLIENT_SECRET, CLIENT_ID)] {
            let state = credentials(&|name| (name == set).then(|| "s3cret".to_owned()));
            let told = half_pair(&state).unwrap();
            assert!(
                told.starts_with(&format!("{set} is set but {missing} is not")),
                "{told}"
            );
            assert!(!told.contains("s3cret"));
        }
        assert!(half_pair(&credentials(&|_| None)).is_none());
        assert!(half_pair(&credentials(&|_| Some("x".into()))).is_none());
    }

    #[test]
    fn authorities_in_order_and_empty_is_none() {
        let both = |name: &str| {
            [SSL_CERT_FILE, NODE_EXTRA_CA_CERTS]
                .contains(&name)
                .then(|| format!("/{name}"))
        };
        assert_eq!(
            extra_authorities(&both),
            [
                PathBuf::from("/SSL_CERT_FILE"),
                PathBuf::from("/NODE_EXTRA_CA_CERTS")
            ]
        );
        assert!(extra_authorities(&|_| Some(String::new())).is_empty());
    }
}
