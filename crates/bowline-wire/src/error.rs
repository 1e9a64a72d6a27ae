//! What can be wrong with a request on the wire. Every variant names the part at fault.

/// A request that is not on the wire's terms. Answered with 400.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A header the flow needs is not there.
    #[error("header {0} is missing")]
    Missing(&'static str),
    /// A header that must be there once is there several times.
    #[error("header {0} is given more than once")]
    Repeated(&'static str),
    /// A header's value is not text.
    #[error("header {0} is not UTF-8 text")]
    NotText(&'static str),
    /// The query's binding name is not percent-encoded UTF-8, or is given twice.
    #[error("query parameter MF-Binding is malformed")]
    Query,
    /// `MF-Connect-Address` is not `host:port`.
    #[error("header MF-Connect-Address is not host:port")]
    Address,
    /// A wrapped header has no name or one that HTTP does not allow.
    #[error("header MF-Header-… wraps a name that is not a header name")]
    WrappedName,
}
