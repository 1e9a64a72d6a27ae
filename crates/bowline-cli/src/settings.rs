//! What the environment says. It is read through a function, so that tests never touch the process's own.

use std::path::PathBuf;

use bowline_proxy::CredentialState;

/// A service token's client id, sent to the remote (the name is wrangler's).
pub const CLIENT_ID: &str = "CLOUDFLARE_ACCESS_CLIENT_ID";
/// A service token's client secret, sent to the remote (the name is wrangler's).
pub const CLIENT_SECRET: &str = "CLOUDFLARE_ACCESS_CLIENT_SECRET";
/// A file of certificate authorities to trust (the name is OpenSSL's).
pub const SSL_CERT_FILE: &str = "SSL_CERT_FILE";
/// A file of certificate authorities to trust besides (the name is Node's).
pub const NODE_EXTRA_CA_CERTS: &str = "NODE_EXTRA_CA_CERTS";

/// Reads one environment variable.
pub type Env<'a> = &'a (dyn Fn(&str) -> Option<String> + Sync);

/// The credentials to send.
pub fn credentials(env: Env<'_>) -> CredentialState {
    CredentialState::from_pair(env(CLIENT_ID), env(CLIENT_SECRET), (CLIENT_ID, CLIENT_SECRET))
}

/// What is wrong with half a pair of credentials, for the user.
pub fn half_pair(credentials: &CredentialState) -> Option<String> {
    match credentials {
        CredentialState::Half { set, missing } => Some(format!(
            "{set} is set but {missing} is not: a service token needs both, so none is sent. Set {missing} too."
        )),
        CredentialState::Nothing | CredentialState::Token(_) => None,
    }
}

/// Files of extra certificate authorities.
pub fn extra_authorities(env: Env<'_>) -> Vec<PathBuf> {
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
