//! TLS towards the next hop: the system's roots and whatever extra authorities the user trusts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ClientConfig;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file of certificates cannot be used.
    #[error("read certificates from {}", .file.display())]
    Certificates {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// A file has no certificate in it.
    #[error("{} holds no certificate in PEM form", .0.display())]
    NoCertificate(PathBuf),
    /// The roots are unusable.
    #[error("set up TLS")]
    Rustls(#[from] rustls::Error),
}

/// A client configuration that speaks HTTP/1.1 only: upgrades need it.
pub fn client_config(extra: &[PathBuf]) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = Vec::new();
    for file in extra {
        roots.extend(certificates(file)?);
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = rustls_platform_verifier::Verifier::new_with_extra_roots(roots, Arc::clone(&provider))?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        // The platform's own verifier: "dangerous" is rustls's word for any verifier that is not its default.
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The certificates in a PEM file; at least one.
pub fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |source| TlsError::Certificates {
        file: file.to_owned(),
        source,
    };
    let found: Vec<_> = CertificateDer::pem_file_iter(file)
        .map_err(failed)?
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    if found.is_empty() {
        Err(TlsError::NoCertificate(file.to_owned()))
    } else {
        Ok(found)
    }
}
