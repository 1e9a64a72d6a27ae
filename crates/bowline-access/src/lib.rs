//! Access: applications, policies, service tokens, what a request presents, and the decision.
//!
//! Pure: no clock (the time is an argument), no store (records are arguments), no randomness (the bytes are an argument).
//! [`evaluate`] is the only way to a [`Permit`] for a request from outside, and what stands behind the gate takes one by
//! value, so a path to a binding or an origin that nobody checked does not compile.
//!
//! ```text
//! host, path ─▶ most_specific ─▶ Application ─┐
//! headers ───▶ Presented::read ─▶ ServiceToken::authenticate ─┐
//!            └▶ presented_sessions ─▶ Session::parse ─────────┼─▶ Caller
//! connection ─▶ address, certificate ─────────────────────────┘     │
//!                                   evaluate ◀──────────────────────┘
//!                                      ├─▶ Decision::Allow(Permit) ─▶ claims ─▶ origin or router
//!                                      └─▶ Decision::Deny(Denial) ──▶ refusal
//! ```
//!
//! Source of outside facts: Cloudflare's documentation of Access; where a page is silent, the item says so.

mod application;
mod application_token;
mod decision;
mod destination;
mod duration;
mod identity;
mod policy;
mod presented;
mod refusal;
mod service_token;
mod shape;

pub use application::{Application, CookieShape, Cors, SameSite};
pub use application_token::{AudienceShape, ClaimError, Issue, Session, Subject, claims};
pub use decision::{Admitted, Caller, Certificate, Decision, Denial, DenyReason, Permit, Terms, evaluate};
pub use destination::{AmbiguousPath, Destination, RequestPath, Specificity, most_specific};
pub use duration::{DurationError, go_duration, parse_duration};
pub use identity::Identity;
pub use policy::{Action, Groups, Policy, Rule, RuleSet};
pub use presented::{
    ACCESS_TOKEN, CLIENT_ID, CLIENT_SECRET, JWT_ASSERTION, Presented, SESSION_COOKIE, USER_EMAIL,
    presented_sessions, strip_access, strip_credentials,
};
pub use refusal::{Page, Refusal, RequestShape, is_preflight, refusal, wants_json};
pub use service_token::{
    Authenticated, ENTROPY, Minted, PreviousSecret, SECRET_ENTROPY, SecretHash, ServiceToken, UnixSeconds,
    hex, mint, uuid_v4,
};
pub use shape::ShapeError;
