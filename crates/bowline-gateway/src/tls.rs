//! TLS at the listener, and who the client is by its certificate.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bowline_access::Certificate;
use bowline_upstream::certificates;
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use x509_cert::der::asn1::{ObjectIdentifier, PrintableStringRef, Utf8StringRef};
use x509_cert::der::{Decode, Tag, Tagged};

use crate::connection::Verified;

/// The attribute `commonName` (RFC 5280, appendix A).
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// What a listener needs for TLS.
#[derive(Debug, Clone)]
pub struct TlsSettings {
    /// The certificate and those that lead to its authority, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// The authorities of client certificates, PEM. Clients without a certificate connect all the same: policies decide
    /// who needs one. One that does not verify ends the handshake.
    pub client_authorities: Option<PathBuf>,
}

/// TLS cannot be set up. Every text names the file.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file of certificates cannot be read.
    #[error(transparent)]
    Certificates(#[from] bowline_upstream::TlsError),
    /// A file holds no key.
    #[error("read a key from {}", .file.display())]
    Key {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// The certificate, its key or the authorities cannot be used.
    #[error("use {}", .file.display())]
    Unusable {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Accepts connections over TLS. Cheap to clone.
#[derive(Clone)]
pub struct Tls(pub(crate) TlsAcceptor);

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    /// Reads the files.
    pub fn new(settings: &TlsSettings) -> Result<Self, TlsError> {
        let unusable = |file: &Path| {
            let file = file.to_owned();
            move |source: Box<dyn std::error::Error + Send + Sync>| TlsError::Unusable { file, source }
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(&settings.certificate)(error.into()))?;
        let builder = match &settings.client_authorities {
            None => builder.with_no_client_auth(),
            Some(file) => {
                let mut roots = RootCertStore::empty();
                for authority in certificates(file)? {
                    roots
                        .add(authority)
                        .map_err(|error| unusable(file)(error.into()))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                    .allow_unauthenticated()
                    .build()
                    .map_err(|error| unusable(file)(error.into()))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let key = PrivateKeyDer::from_pem_file(&settings.key).map_err(|source| TlsError::Key {
            file: settings.key.clone(),
            source,
        })?;
        let mut config = builder
            .with_single_cert(certificates(&settings.certificate)?, key)
            .map_err(|error| unusable(&settings.certificate)(error.into()))?;
        // Upgrades need it, and HTTP/2 has no reason phrases.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }
}

impl From<Arc<rustls::ServerConfig>> for Tls {
    /// As configured by the caller, ALPN included: HTTP/1.1 is all that is spoken.
    fn from(config: Arc<rustls::ServerConfig>) -> Self {
        Self(TlsAcceptor::from(config))
    }
}

/// Who a client is by its certificate, which the handshake has verified. A certificate without a common name, or with one
/// in another alphabet than ASCII and UTF-8, is nobody's in particular.
pub(crate) fn verified(certificates: Option<&[CertificateDer<'_>]>) -> Option<Verified> {
    let certificate = x509_cert::Certificate::from_der(certificates?.first()?).ok()?;
    let certificate = certificate.tbs_certificate;
    let common_name = certificate
        .subject
        .0
        .iter()
        .flat_map(|relative| relative.0.iter())
        // The most specific is the last.
        .filter(|attribute| attribute.oid == COMMON_NAME)
        .filter_map(|attribute| {
            let value = &attribute.value;
            let text = match value.tag() {
                Tag::Utf8String => value.decode_as::<Utf8StringRef<'_>>().ok()?.as_str().to_owned(),
                Tag::PrintableString => value
                    .decode_as::<PrintableStringRef<'_>>()
                    .ok()?
                    .as_str()
                    .to_owned(),
                _ => return None,
            };
            Some(text)
        })
        .next_back()
        .unwrap_or_default();
    let until = certificate.validity.not_after.to_unix_duration().as_secs();
    Some(Verified {
        certificate: Certificate { common_name },
        until: i64::try_from(until).unwrap_or(i64::MAX),
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    #[test]
    fn who_a_certificate_is_about() {
        let key = KeyPair::generate().unwrap();
        let of = |name: Option<&str>| {
            let mut parameters = CertificateParams::default();
            parameters.distinguished_name = rcgen::DistinguishedName::new();
            parameters.distinguished_name.push(DnType::OrganizationName, "o");
            if let Some(name) = name {
                parameters.distinguished_name.push(DnType::CommonName, name);
            }
            parameters.not_after = rcgen::date_time_ymd(2030, 1, 2);
            let certificate = parameters.self_signed(&key).unwrap();
            verified(Some(&[certificate.der().clone()])).unwrap()
        };
        let ada = of(Some("ädä.example"));
        assert_eq!(
            (ada.certificate.common_name.as_str(), ada.until),
            ("ädä.example", 1_893_542_400)
        );
        assert_eq!(of(None).certificate.common_name, "");
        assert!(verified(None).is_none());
        assert!(verified(Some(&[CertificateDer::from(vec![1, 2, 3])])).is_none());
    }
}
