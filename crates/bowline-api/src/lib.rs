//! Cloudflare's API, as far as a preview session and a deployment need it.
//!
//! ```text
//! Credentials ──▶ Client ──▶ accounts, edge_preview, scripts ──▶ envelope ──▶ a result, or an ApiError with a next step
//! ```
//!
//! Every attempt has a deadline of 30 s, and [`retrying`] makes at most three of them, the way wrangler 4.164 does
//! (watched against a stand-in). What may be tried again is a property of the error ([`ApiError::retry`]), never of the
//! call.
//!
//! Not here: when to make a session and when to renew it (`bowline-session`), reading the environment and printing
//! (`bowline-cli`).

mod accounts;
mod body;
mod client;
mod codes;
mod credentials;
mod edge_preview;
mod error;
mod escape;
mod form;
mod retry;
mod scripts;
mod wrangler_login;

pub use accounts::{Account, accounts};
pub use client::{Client, ClientOptions, DEFAULT_BASE};
pub use credentials::{Credentials, Source};
pub use edge_preview::{EdgePreview, Exchange, Preview, UploadToken};
pub use error::{ApiError, ApiMessage, Cause};
pub use form::{Form, Module, ModuleKind};
pub use retry::{Retry, retrying};
pub use scripts::{deploy, hostname};
pub use wrangler_login::{LoginEndpoint, LoginError, WranglerLogin};
