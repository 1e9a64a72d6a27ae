//! People, as a login made them known.

/// A logged-in person. E-mail rules judge it; who fills it in is the login's business.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The verified address.
    pub email: String,
    /// Stable per address: a UUID.
    pub subject: String,
    /// Ties the tokens of one login together, for revocation.
    pub nonce: String,
}
