//! `bowline access check`: what stands in front of a URL, and what to do about it.

use std::path::PathBuf;

use bowline_credentials::{
    Asked, CredentialState, Explanation, Host, Judgement, Refusal, Report, Sent, Step, Verdict, check,
    explain,
};
use clap::Args;
use http::{StatusCode, Uri};
use serde_json::{Value, json};

use crate::env_vars::Env;
use crate::error::{CliError, Kind};
use crate::{output, settings};

/// Show what stands in front of a URL, which credentials are found for it, and what refuses.
///
/// Asks with GET and with a WebSocket upgrade, first without credentials; what is found is sent only where Access stands,
/// or to a host that your settings name. Ends within half a minute. Secrets are never shown.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 requests and WebSockets pass, 4 Access refuses or needs credentials, \
                        5 something else refuses, WebSockets alone are refused, or nobody answers."
)]
pub(crate) struct CheckArgs {
    /// The URL.
    url: Uri,
    /// The project whose bowline.jsonc, .env and .dev.vars may hold credentials.
    #[arg(long, value_name = "DIR", default_value = ".")]
    project: PathBuf,
    /// Print one line of JSON.
    #[arg(long)]
    json: bool,
}

/// Prints the report; the exit code tells the verdict.
pub(crate) async fn run(args: CheckArgs, env: Env<'_>) -> Result<(), CliError> {
    let host = settings::host(&args.url)?;
    let found = settings::find(&host, &args.project, env)?;
    let (warnings, team_domain) = (found.warnings.clone(), found.team_domain.clone());
    let credentials = settings::renewing(&args.url, host.clone(), found, env)?;
    let now = jiff::Timestamp::now().as_second();
    let client = settings::http_client(env)?;
    let report = check(&client, &args.url, &credentials, team_domain.as_deref(), now).await;
    let state = credentials.state();
    let advice = advice(&report, &host, state);
    if args.json {
        output::result(&document(&args.url, &report, state, &warnings, &advice).to_string());
    } else {
        show(&args.url, &report, state, &warnings, &advice);
    }
    match report.verdict {
        Verdict::Open | Verdict::Admitted => Ok(()),
        Verdict::CredentialsNeeded => Err(CliError::message(Kind::Auth, advice.reason)),
        Verdict::Refused(refusal) if refusal.is_about_credentials() => {
            Err(CliError::message(Kind::Auth, advice.reason))
        }
        Verdict::Refused(_) | Verdict::Unreachable => Err(CliError::message(Kind::Remote, advice.reason)),
    }
}

/// The verdict in words.
fn advice(report: &Report, host: &Host, state: &CredentialState) -> Explanation {
    let say = |reason: String, next: &str| Explanation {
        reason,
        next: next.to_owned(),
    };
    let protected = report
        .resource
        .as_ref()
        .is_some_and(|resource| resource.protected);
    match report.verdict {
        Verdict::Open if report.application.is_ok() || protected => say(
            format!("Access stands in front of {host} and lets this URL pass without credentials"),
            "Nothing is to be done; whoever knows the URL gets in.",
        ),
        Verdict::Open => say(
            format!("nothing stands in front of {host}: requests pass without credentials"),
            "Nothing is to be done; whoever knows the URL gets in.",
        ),
        Verdict::Admitted => say(
            format!("Access lets requests to {host} pass with the credentials found"),
            "Nothing is to be done.",
        ),
        Verdict::Unreachable => {
            let why = report.steps.iter().find_map(|step| step.outcome.as_ref().err());
            say(
                format!(
                    "{host} does not answer: {}",
                    why.map_or("no reason given", String::as_str)
                ),
                "Check the host name, the network, and certificate authorities (SSL_CERT_FILE).",
            )
        }
        Verdict::Refused(_) | Verdict::CredentialsNeeded => match refusal(report) {
            Some((judgement, status)) => {
                let told = explain(&judgement, status, &host.to_string(), state);
                let who = match judgement.refusal {
                    Refusal::Firewall | Refusal::TunnelDown => format!("{host} cannot be reached"),
                    _ => format!("Access refuses at {host}"),
                };
                say(format!("{who}: {}", told.reason), &told.next)
            }
            None => say(format!("{host} refuses"), "The steps above show how."),
        },
    }
}

/// The answer that decided, with its judgement as the verdict sees it.
fn refusal(report: &Report) -> Option<(Judgement, StatusCode)> {
    let (mut judgement, status) = report.steps.iter().rev().find_map(|step| match &step.outcome {
        Ok((status, Some(judgement))) => Some((judgement.clone(), *status)),
        _ => None,
    })?;
    if let Verdict::Refused(refusal) = report.verdict {
        judgement.refusal = refusal;
    }
    Some((judgement, status))
}

fn step_name(step: &Step) -> &'static str {
    match (step.asked, step.sent) {
        (Asked::Request, Sent::Nothing) => "request",
        (_, Sent::Nothing) => "websocket",
        (Asked::Request, _) => "request with credentials",
        (_, _) => "websocket with credentials",
    }
}

/// What the credentials are and where they came from, never what they say.
fn credentials(state: &CredentialState) -> (&'static str, Vec<String>) {
    match state {
        CredentialState::Nothing => ("nothing", Vec::new()),
        CredentialState::Half { origin, .. } => ("half a service token", vec![origin.to_string()]),
        CredentialState::Token(token) => (
            "service token",
            token.origins().iter().map(ToString::to_string).collect(),
        ),
        CredentialState::Login(_, origin) => ("login", vec![origin.to_string()]),
    }
}

fn document(
    url: &Uri,
    report: &Report,
    state: &CredentialState,
    warnings: &[String],
    advice: &Explanation,
) -> Value {
    let steps: Vec<Value> = report
        .steps
        .iter()
        .map(|step| {
            let mut row = json!({"step": step_name(step)});
            match &step.outcome {
                Err(error) => row["error"] = error.as_str().into(),
                Ok((status, judgement)) => {
                    row["status"] = status.as_u16().into();
                    if let Some(judgement) = judgement {
                        row["refusal"] = judgement.refusal.code().into();
                        row["evidence"] = evidence(judgement);
                    }
                }
            }
            row
        })
        .collect();
    let application = match &report.application {
        Ok(application) => json!({
            "hostname": application.hostname,
            "audience": application.audience,
            "auth_domain": application.auth_domain,
        }),
        Err(problem) => json!({"problem": problem}),
    };
    let (kind, origins) = credentials(state);
    let (missing, previous, expires_at) = match state {
        CredentialState::Half { missing, .. } => (Some(missing), false, None),
        CredentialState::Token(token) => (None, token.has_previous(), None),
        CredentialState::Login(token, _) => {
            (None, false, Some(bowline_gateway::timestamp(token.expires_at())))
        }
        CredentialState::Nothing => (None, false, None),
    };
    json!({
        "url": url.to_string(),
        "verdict": report.verdict.code(),
        "reason": advice.reason,
        "next": advice.next,
        "credentials": {
            "kind": kind.replace(' ', "_"), "origins": origins, "missing": missing, "two_secrets": previous,
            "expires_at": expires_at, "withheld": report.withheld,
        },
        "steps": steps,
        "application": application,
        "resource": report.resource.as_ref().map(|resource| json!({
            "protected": resource.protected,
            "team_domain": resource.team_domain,
            "methods": resource.methods,
        })),
        "warnings": warnings,
    })
}

fn evidence(judgement: &Judgement) -> Value {
    let evidence = &judgement.evidence;
    json!({
        "marks": evidence.marks,
        "audience": evidence.audience,
        "application": evidence.application,
        "team_domain": evidence.team_domain,
        "service_token_status": evidence.service_token_status,
        "ray": evidence.ray,
    })
}

fn show(url: &Uri, report: &Report, state: &CredentialState, warnings: &[String], advice: &Explanation) {
    output::result(&format!("{url}"));
    for step in &report.steps {
        let outcome = match &step.outcome {
            Err(error) => format!("no answer: {error}"),
            Ok((status, None)) => format!("{} passes", status.as_u16()),
            Ok((status, Some(judgement))) => format!(
                "{} {} ({})",
                status.as_u16(),
                judgement.refusal.code(),
                judgement.evidence.marks.join(", ")
            ),
        };
        output::result(&format!("  {:<28}{outcome}", step_name(step)));
    }
    let application = match &report.application {
        Ok(application) => format!("{} ({})", application.hostname, application.auth_domain),
        Err(problem) => problem.clone(),
    };
    output::result(&format!("  {:<28}{application}", "application"));
    if let Some(resource) = &report.resource {
        let methods = resource.methods.join(", ");
        output::result(&format!(
            "  {:<28}protected: {}, by {} {methods}",
            "resource",
            resource.protected,
            resource.team_domain.as_deref().unwrap_or("?"),
        ));
    }
    let (kind, origins) = credentials(state);
    let from = if origins.is_empty() {
        String::new()
    } else {
        format!(": {}", origins.join(" and "))
    };
    output::result(&format!("  {:<28}{kind}{from}", "credentials"));
    if let Some(why) = report.withheld {
        output::result(&format!("  {:<28}not sent: {why}", ""));
    }
    for warning in warnings {
        output::result(&format!("  {:<28}{warning}", "warning"));
    }
    output::result(&format!("{}: {}", report.verdict.code(), advice.reason));
    output::result(&advice.next);
}
