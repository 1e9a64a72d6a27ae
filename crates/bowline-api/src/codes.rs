//! The API's numbered errors that have a meaning of their own here.
//!
//! Source: wrangler 4.164 (which codes it treats apart, watched), and the API's own messages for them.

/// Credentials are missing or malformed; not accepted; not of a kind this call takes.
pub(crate) const AUTHENTICATION: [u64; 3] = [9106, 10000, 10405];
/// The account has no workers.dev subdomain yet. One can be registered by a call.
pub(crate) const NO_SUBDOMAIN: u64 = 10007;
/// The session token of an upload is unknown or has ended.
pub(crate) const SESSION_EXPIRED: u64 = 10049;
/// The account has no workers.dev subdomain, and this call does not go without.
pub(crate) const SUBDOMAIN_REQUIRED: u64 = 10063;

/// What a code means, and what to do about it.
pub(crate) fn explain(code: u64) -> Option<(&'static str, &'static str)> {
    Some(match code {
        9106 => (
            "the credentials are missing or malformed",
            "set CLOUDFLARE_API_TOKEN to an API token as it was shown when it was made, or CLOUDFLARE_API_KEY together \
             with CLOUDFLARE_EMAIL, or run `wrangler login`",
        ),
        10000 => (
            "the credentials were not accepted, or may not do this on this account",
            "check that the API token is active, belongs to this account and has the permission Workers Scripts: Edit; \
             CLOUDFLARE_ACCOUNT_ID chooses another account",
        ),
        10405 => (
            "this way of authenticating is not allowed for this call",
            "use an API token in CLOUDFLARE_API_TOKEN",
        ),
        NO_SUBDOMAIN => (
            "the account has no workers.dev subdomain, and none could be registered",
            "register one in the dashboard, under Workers & Pages",
        ),
        SESSION_EXPIRED => (
            "the preview session has ended",
            "nothing to do: a new one is made",
        ),
        SUBDOMAIN_REQUIRED => (
            "the account has no workers.dev subdomain",
            "register one in the dashboard, under Workers & Pages, and start again",
        ),
        10021 => (
            "the upload was not accepted as a Worker",
            "check the bindings of the wrangler configuration that are remote: the message names what is wrong",
        ),
        _ => return None,
    })
}
