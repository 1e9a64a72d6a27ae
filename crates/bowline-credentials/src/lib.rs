//! Getting through Cloudflare Access, from a client's side.
//!
//! ```text
//! settings, environment, .env, token files ──▶ Sources::find ──▶ Credentials ──▶ headers of each request
//! login in a browser ──▶ token files (shared with cloudflared)        ▲
//! each answer ──▶ classify ──▶ Refusal ──▶ explain                    └ renewed, or the other secret tried
//! ```
//!
//! [`Credentials`] belong to one [`Host`]: whoever sends asks [`Credentials::may_go_to`] first and follows no redirect
//! with them. There is no cookie jar.
//!
//! Not here: judging credentials (`bowline-access`), reading the environment and printing (`bowline-cli`).

mod application;
mod application_token;
mod check;
mod credentials;
mod env_file;
mod exchange;
mod explain;
mod host;
mod http_client;
mod lock;
mod login;
mod origin;
mod prepared;
mod preview_tokens;
mod refusal;
mod service_token;
mod settings;
mod sources;
mod token_files;

pub use application::{DiscoveryError, discover};
pub use application_token::{ApplicationToken, TokenError};
pub use check::{Report, Resource, Step, Verdict, check};
pub use credentials::{BoxFuture, Clock, CredentialState, Credentials, Renew, RenewError, Sending};
pub use exchange::ExchangeError;
pub use explain::{Explanation, explain};
pub use host::Host;
pub use http_client::{HttpClient, HttpError};
pub use login::{By, FEDRAMP_TRANSFER, LoggedIn, LoginError, LoginOptions, TRANSFER};
pub use origin::Origin;
pub use preview_tokens::{Expired, NoPreview, PreviewToken, PreviewTokenSource, PreviewTokens};
pub use refusal::{Asked, Evidence, Exchange, Judgement, PREFIX, Refusal, Sent, classify, needs_body};
pub use service_token::ServiceToken;
pub use settings::SettingsError;
pub use sources::{AUTH_DOMAIN, AUTH_TOKEN, Env, Found, PAIR, PREVIOUS_SECRET, Sources};
pub use token_files::{Application, TokenFiles};
