//! What stands in front of a URL, found out by asking.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bowline_access::UnixSeconds;
use bytes::Bytes;
use http::header::{ACCEPT, CONNECTION, HeaderValue, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{Request, Uri};
use http_body_util::Empty;
use serde_json::Value;

use crate::application::discover;
use crate::http_client::HttpClient;
use crate::refusal::shorten;
use crate::{
    Application, Asked, CredentialState, Credentials, Exchange, Host, Judgement, Origin, PREFIX, Refusal,
    Sent, classify,
};

/// Each step ends after this, and all but the last two run at once.
const STEP: Duration = Duration::from_secs(10);
/// A document about a resource is small.
const LARGEST_DOCUMENT: usize = 64 * 1024;

/// What all steps say together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Requests pass without credentials.
    Open,
    /// Requests pass with the credentials that were found.
    Admitted,
    /// Something refuses.
    Refused(Refusal),
    /// Access stands there and no credentials were found to try.
    CredentialsNeeded,
    /// Nobody answers.
    Unreachable,
}

impl Verdict {
    /// The name in JSON.
    pub fn code(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Admitted => "admitted",
            Self::Refused(refusal) => refusal.code(),
            Self::CredentialsNeeded => "credentials_needed",
            Self::Unreachable => "unreachable",
        }
    }
}

/// One question and its answer.
#[derive(Debug, Clone)]
pub struct Step {
    /// What was asked.
    pub asked: Asked,
    /// What it carried.
    pub sent: Sent,
    /// The status and the judgement; or why there was no answer.
    pub outcome: Result<(http::StatusCode, Option<Judgement>), String>,
}

/// What the host says about the resource to clients without credentials.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resource {
    /// Whether it says that it is protected.
    pub protected: bool,
    /// The team's host.
    pub team_domain: Option<String>,
    /// The ways to authenticate that it names.
    pub methods: Vec<String>,
}

/// Everything that was found out.
#[derive(Debug, Clone)]
pub struct Report {
    /// All in one word.
    pub verdict: Verdict,
    /// In the order they were asked.
    pub steps: Vec<Step>,
    /// The application, if the host told it under a signature that holds; or why not.
    pub application: Result<Application, String>,
    /// The protected-resource document, if there is one.
    pub resource: Option<Resource>,
    /// Why the credentials that were found were not sent.
    pub withheld: Option<&'static str>,
}

/// Asks `url` without credentials and, where Access stands before it, with `credentials`. Ends within half a minute.
pub async fn check(
    client: &HttpClient,
    url: &Uri,
    credentials: &Credentials,
    team_domain: Option<&str>,
    now: UnixSeconds,
) -> Report {
    let nothing = Credentials::default();
    let (request, upgrade, application, resource) = tokio::join!(
        step(client, url, Asked::Request, &nothing),
        step(client, url, Asked::Upgrade, &nothing),
        discover(client, url, team_domain, now),
        resource(client, url),
    );
    let application = application.map_err(|error| error.to_string());
    let guarded = application.is_ok()
        || resource.as_ref().is_some_and(|resource| resource.protected)
        || [&request, &upgrade].iter().any(|step| by_access(step));
    let mut steps = vec![request, upgrade];
    let mut withheld = None;
    if credentials.state().sent() != Sent::Nothing {
        let belongs = Host::of(url).is_some_and(|host| credentials.may_go_to(&host));
        if !belongs {
            withheld = Some("they belong to another host");
        } else if !guarded && !is_explicit(credentials.state()) {
            // What no application consumes goes on to the origin in clear.
            withheld = Some("nothing says that Access stands there, and they would reach the origin itself");
        } else {
            for asked in [Asked::Request, Asked::Upgrade] {
                steps.push(step(client, url, asked, credentials).await);
            }
        }
    }
    Report {
        verdict: verdict(&steps, credentials.state()),
        steps,
        application,
        resource,
        withheld,
    }
}

/// Whether the user named this very host in a settings file, or signed in to it.
fn is_explicit(state: &CredentialState) -> bool {
    let origins: &[Origin] = match state {
        CredentialState::Token(token) => token.origins(),
        CredentialState::Login(_, origin) => std::slice::from_ref(origin),
        CredentialState::Nothing | CredentialState::Half { .. } => &[],
    };
    origins
        .iter()
        .any(|origin| matches!(origin, Origin::Settings { .. } | Origin::TokenFile { .. }))
}

fn by_access(step: &Step) -> bool {
    matches!(&step.outcome, Ok((_, Some(judgement))) if judgement.refusal.is_about_credentials())
}

/// The last word of those who asked: with credentials if any were sent, requests before upgrades.
fn verdict(steps: &[Step], state: &CredentialState) -> Verdict {
    let with = steps.iter().any(|step| step.sent != Sent::Nothing);
    let passes = |step: &Step| matches!(&step.outcome, Ok((_, None)));
    // What was found makes no difference where nothing is asked for.
    let open = steps.iter().filter(|step| step.sent == Sent::Nothing).all(passes);
    let mut asked = steps.iter().filter(|step| (step.sent != Sent::Nothing) == with);
    let (Some(request), Some(upgrade)) = (asked.next(), asked.next()) else {
        return Verdict::Unreachable;
    };
    match (&request.outcome, &upgrade.outcome) {
        (Err(_), _) => Verdict::Unreachable,
        (Ok((_, Some(judgement))), _) if judgement.refusal == Refusal::LoginRequired => match state {
            CredentialState::Nothing | CredentialState::Half { .. } => Verdict::CredentialsNeeded,
            _ => Verdict::Refused(Refusal::LoginRequired),
        },
        (Ok((_, Some(judgement))), _) => Verdict::Refused(judgement.refusal),
        (Ok(_), Ok((_, Some(judgement)))) => Verdict::Refused(match judgement.refusal {
            // Requests pass, so it is not the credentials.
            refusal if refusal.is_about_credentials() => Refusal::WebSocketRefused,
            refusal => refusal,
        }),
        (Ok(_), _) if with && !open => Verdict::Admitted,
        (Ok(_), _) => Verdict::Open,
    }
}

async fn step(client: &HttpClient, url: &Uri, asked: Asked, credentials: &Credentials) -> Step {
    let sending = credentials.ready().await;
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = url.clone();
    let headers = request.headers_mut();
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    if asked != Asked::Request {
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        let key = BASE64_STANDARD.encode(rand::random::<[u8; 16]>());
        if let Ok(key) = HeaderValue::from_str(&key) {
            headers.insert(SEC_WEBSOCKET_KEY, key);
        }
    }
    sending.add_to(headers);
    let exchange = Exchange {
        asked,
        sent: sending.sent(),
        passes_requests_only: credentials.passes_requests_only(),
    };
    let outcome = match client.send(request, PREFIX, STEP).await {
        Ok(answer) => {
            let judgement = classify(answer.status, &answer.headers, &answer.body, exchange);
            if judgement.is_none() && !answer.status.is_server_error() {
                credentials.admitted();
            }
            Ok((answer.status, judgement))
        }
        Err(error) => Err(with_causes(&error)),
    };
    Step {
        asked,
        sent: sending.sent(),
        outcome,
    }
}

async fn resource(client: &HttpClient, url: &Uri) -> Option<Resource> {
    let target = format!("/.well-known/cloudflare-access-protected-resource{}", url.path());
    let at = Uri::builder()
        .scheme(url.scheme()?.clone())
        .authority(url.authority()?.clone())
        .path_and_query(target)
        .build()
        .ok()?;
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = at;
    let answer = client.send(request, LARGEST_DOCUMENT, STEP).await.ok()?;
    if !answer.status.is_success() {
        return None;
    }
    let document: Value = serde_json::from_slice(&answer.body).ok()?;
    let protected = document.get("protected")?.as_bool()?;
    let methods = document.get("authentication_methods").and_then(Value::as_array);
    Some(Resource {
        protected,
        team_domain: document.get("team_domain").and_then(Value::as_str).map(shorten),
        methods: methods
            .into_iter()
            .flatten()
            .filter_map(|method| Some(shorten(method.get("name")?.as_str()?)))
            .take(8)
            .collect(),
    })
}

/// An error and what is behind it, in one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
