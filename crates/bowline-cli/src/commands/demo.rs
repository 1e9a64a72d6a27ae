//! `bowline demo`: the whole line on one machine, offline, checked and shown.

mod handbook;
mod hosts;
mod pictures;
mod project;
mod services;
mod versions;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bowline_access_store::AccessStore;
use bowline_binding::{collect, full};
use bowline_credentials::{CredentialState, Origin};
use bowline_gateway::{Gateway, GatewayOptions, Mode, now, serve};
use bowline_remote::{Remote, Router};
use bowline_workerd::{Output, OutputSink, Runner};
use clap::Args;
use http::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::commands::dev;
use crate::env_vars::{CLOUDFLARE_ACCESS_CLIENT_ID, CLOUDFLARE_ACCESS_CLIENT_SECRET, Env};
use crate::error::{CliError, Kind};
use crate::gate::local_team_domain;
use crate::{line, output, settings, signal};

/// One call of the Worker, whatever it does behind.
const CALL: Duration = Duration::from_secs(20);
/// What every explanation of a refusal says.
const REFUSED: &str = "Access refused";
/// Lines of workerd that are kept for the check of what it was told.
const LOG: usize = 256;
/// From a failed connect to the line in workerd's log.
const LOGGED: Duration = Duration::from_secs(5);
/// The longest answer of the example.
const ANSWER: usize = 1024 * 1024;

/// Show the main job in one go: a remote behind Access, a Worker in real workerd, every flow.
///
/// Everything runs on this machine. The remote keeps its data in a temporary folder, the service token exists in memory
/// only. Exits with 0 only if every check did what it should.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Stop after the checks instead of staying up for a browser.
    #[arg(long)]
    once: bool,
    /// Print one JSON document with all checks.
    #[arg(long)]
    json: bool,
    /// Show Workers AI too, on small models that run in this process and are fetched once.
    #[arg(long)]
    with_models: bool,
}

/// What the Worker's side sends along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Credentials {
    Valid,
    Nothing,
    Wrong,
}

impl Credentials {
    fn word(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Nothing => "none",
            Self::Wrong => "wrong",
        }
    }
}

/// A route of the example and what it shows.
struct Case {
    flow: &'static str,
    binding: &'static str,
    method: Method,
    path: &'static str,
    body: &'static str,
    /// What a good answer says.
    says: &'static str,
}

const CASES: [Case; 6] = [
    Case {
        flow: "fetch",
        binding: "DB",
        method: Method::POST,
        path: "/entries",
        body: r#"{"author":"Ada","message":"The knot holds."}"#,
        says: "The knot holds.",
    },
    Case {
        flow: "fetch",
        binding: "VEC",
        method: Method::GET,
        path: "/similar?text=knot",
        body: "",
        says: "The knot holds.",
    },
    Case {
        flow: "rpc",
        binding: "MAIL",
        method: Method::POST,
        path: "/notify",
        body: "",
        says: "\"builder\":",
    },
    Case {
        flow: "connect",
        binding: "VPC",
        method: Method::GET,
        path: "/tcp?line=ahoy",
        body: "",
        says: "\"received\":\"ahoy\"",
    },
    Case {
        flow: "fetch",
        binding: "VPC",
        method: Method::GET,
        path: "/vpc-http",
        body: "",
        says: hosts::GREETING,
    },
    Case {
        flow: "websocket",
        binding: "VPC",
        method: Method::GET,
        path: "/ws?line=ahoy",
        body: "",
        says: "\"received\":\"ahoy\"",
    },
];

/// One line of the result.
struct Check {
    case: &'static Case,
    credentials: Credentials,
    access: bool,
    ok: bool,
    /// Of the Worker's answer; where git is run, the one it ended with.
    status: u16,
    elapsed: Duration,
    detail: String,
}

impl Check {
    fn to_json(&self) -> Value {
        json!({
            "flow": self.case.flow,
            "binding": self.case.binding,
            "credentials": self.credentials.word(),
            "access": self.access,
            "ok": self.ok,
            "status": self.status,
            "elapsed_ms": (self.elapsed.as_secs_f64() * 1e6).round() / 1e3,
            "detail": self.detail,
        })
    }

    fn to_line(&self) -> String {
        let mark = if self.ok { "ok  " } else { "FAIL" };
        let detail: String = self.detail.chars().take(100).collect();
        let (flow, binding, elapsed) = (
            self.case.flow,
            self.case.binding,
            self.elapsed.as_secs_f64() * 1e3,
        );
        format!(
            "  {mark} {flow:<10} {binding:<6} {:<4} {elapsed:>7.1} ms  {detail}",
            self.status
        )
    }
}

/// Runs the demo.
pub(crate) async fn run(args: DemoArgs, env: Env<'static>) -> Result<(), CliError> {
    handbook::prepare(args.with_models, env)?;
    let mut stop = std::pin::pin!(signal::stop());
    tokio::select! {
        shown = show(&args, env) => {
            let Some(stage) = shown? else { return Ok(()) };
            output::notice(&format!("\nThe Worker is up at {} (Ctrl-C ends it).", stage.runner.url()));
            if let Some(handbook) = &stage.beside {
                output::notice(&format!("The handbook is up at {}", handbook.runner.url()));
            }
            tokio::select! {
                error = stage.runner.wait() => return Err(CliError::new(Kind::Remote, error)),
                () = stop => stage.runner.stop().await,
            }
            Ok(())
        }
        () = &mut stop => Ok(()),
    }
}

/// A Worker with the remote it uses, and another one that stays up with it. Dropping it ends all.
struct Stage {
    runner: Runner,
    beside: Option<Box<Self>>,
    _remote: tokio_util::sync::DropGuard,
}

async fn show(args: &DemoArgs, env: Env<'static>) -> Result<Option<Stage>, CliError> {
    let internal = |error: anyhow::Error| CliError::new(Kind::Internal, error);
    let say = |text: &str| {
        if !args.json {
            output::notice(text);
        }
    };
    let folder = tempfile::Builder::new()
        .prefix("bowline-demo-")
        .tempdir()
        .map_err(|error| internal(error.into()))?;
    let private = hosts::start().await.map_err(|error| internal(error.into()))?;
    let project = project::unpack(folder.path(), &private)?;
    let router = Arc::new(crate::project::router(
        &project,
        |_| true,
        &folder.path().join("remote"),
        env,
    )?);

    let store = AccessStore::in_memory()
        .await
        .map_err(|error| internal(error.into()))?;
    let minted = store
        .create_token("demo", "24h", now())
        .await
        .map_err(|error| internal(error.into()))?;
    let secret = minted.client_secret.expose().to_owned();

    let mut checks: Vec<Check> = Vec::new();
    let mut kept = None;
    for (access, credentials) in [
        (true, Credentials::Valid),
        (true, Credentials::Nothing),
        (true, Credentials::Wrong),
        (false, Credentials::Nothing),
    ] {
        let heading = match (access, credentials) {
            (false, _) => "Access off, nothing sent:",
            (true, Credentials::Valid) => "Access on, a valid service token:",
            (true, Credentials::Nothing) => "Access on, no service token:",
            (true, Credentials::Wrong) => "Access on, a service token with a wrong secret:",
        };
        say(&format!("\n{heading}"));
        let mode = if access { Mode::Guard } else { Mode::Open };
        let (url, guard) = remote(store.clone(), mode, Arc::clone(&router))
            .await
            .map_err(internal)?;
        let origin = url.to_string();
        let pair = match credentials {
            Credentials::Valid => (Some(minted.token.client_id.to_string()), Some(secret.clone())),
            Credentials::Nothing => (None, None),
            Credentials::Wrong => (
                Some(minted.token.client_id.to_string()),
                Some("not-the-secret".to_owned()),
            ),
        };
        let names = (CLOUDFLARE_ACCESS_CLIENT_ID, CLOUDFLARE_ACCESS_CLIENT_SECRET);
        let given = |value: Option<String>| value.map(|value| (value, Origin::Given("this demo")));
        let state = CredentialState::from_pair(given(pair.0), given(pair.1), names);
        let to_send = bowline_credentials::Credentials::new(settings::host(&url)?, state)
            .map_err(settings::unsendable)?;
        let told = Arc::new(Mutex::new(None));
        let telling = Arc::clone(&told);
        let on_refusal = Box::new(move |text: &str| {
            *telling.lock().unwrap_or_else(PoisonError::into_inner) = Some(text.to_owned());
        });
        let proxy = line::quiet_proxy(url, to_send, env, Some(on_refusal))?;
        let (_, services) = line::place(&project, Some(&proxy), folder.path(), env)?;
        let (log, mut logged) = mpsc::channel(LOG);
        let keep: OutputSink = Arc::new(move |line| {
            let (Output::Out(line) | Output::Err(line)) = line;
            // A full log drops lines: nobody may hold workerd up.
            let _ = log.try_send(line.to_owned());
        });
        let runner = dev::start(project.clone(), services, 0, env, keep).await?;
        if credentials == Credentials::Valid {
            // The one that stays up is where git finds the repositories.
            router.mounted(origin.trim_end_matches('/'));
            let check = versions::written(folder.path(), &runner.url()).await;
            say(&check.to_line());
            checks.push(check);
        }
        for case in CASES.iter().chain(&services::CASES).chain(&pictures::CASES) {
            let check = check(case, credentials, access, &runner.url(), &mut logged).await;
            say(&check.to_line());
            checks.push(check);
        }
        let advice = told.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(advice) = advice {
            say("  What the developer is told, once:");
            advice.lines().for_each(|line| say(&format!("    {line}")));
        }
        let stage = Stage {
            runner,
            beside: None,
            _remote: guard,
        };
        if credentials == Credentials::Valid {
            kept = Some(stage);
        } else {
            stage.runner.stop().await;
        }
    }

    if let Some(kept) = &kept {
        say("\nThe guestbook's versions, cloned with git:");
        let check = versions::cloned(folder.path(), &kept.runner.url()).await;
        say(&check.to_line());
        checks.push(check);
    }
    let mut all: Vec<Value> = checks.iter().map(Check::to_json).collect();
    let mut failed = checks.iter().filter(|check| !check.ok).count();
    let mut left_out = Vec::new();
    if args.with_models {
        let token = (minted.token.client_id.to_string(), secret);
        let (calls, stage) = handbook::show(folder.path(), store, token, env, say).await?;
        failed += calls.iter().filter(|call| !call.ok()).count();
        all.extend(calls.iter().map(handbook::Call::to_json));
        if let Some(kept) = &mut kept {
            kept.beside = Some(Box::new(stage));
        }
    } else {
        let (text, reason) = handbook::left_out();
        say(&text);
        left_out.push(reason);
    }
    let count = all.len();
    if args.json {
        output::result(&json!({ "checks": all, "left_out": left_out, "ok": failed == 0 }).to_string());
    } else {
        output::result(&format!("\n{count} checks, {failed} failed"));
    }
    if failed > 0 {
        return Err(CliError::message(
            Kind::Internal,
            format!("{failed} checks did not do what they should"),
        ));
    }
    if args.once {
        if let Some(stage) = kept {
            stage.runner.stop().await;
        }
        return Ok(None);
    }
    // The data is needed as long as the Worker is up; the system cleans its temporary folder.
    let _ = folder.keep();
    Ok(kept)
}

/// Serves the router behind the gate on a free port until the guard is dropped.
async fn remote(
    store: AccessStore,
    mode: Mode,
    router: Arc<Router>,
) -> anyhow::Result<(http::Uri, tokio_util::sync::DropGuard)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let url = format!("http://{address}/").parse()?;
    let options = GatewayOptions {
        mode,
        team_domain: local_team_domain("http", address),
        clock: now,
        login: None,
    };
    let gateway = Gateway::new(store, options).await?;
    let stop = CancellationToken::new();
    tokio::spawn(serve(listener, Remote::new(gateway, router), stop.clone()));
    Ok((url, stop.drop_guard()))
}

/// Makes one call and judges it: a good answer where the caller may pass, an explained refusal where not.
async fn check(
    case: &'static Case,
    credentials: Credentials,
    access: bool,
    worker: &str,
    logged: &mut mpsc::Receiver<String>,
) -> Check {
    let started = Instant::now();
    let answer = match tokio::time::timeout(CALL, call(case, worker)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => (0, format!("the Worker did not answer: {error}")),
        Err(_) => (0, format!("no answer within {} s", CALL.as_secs())),
    };
    let (status, text) = answer;
    let may_pass = !access || credentials == Credentials::Valid;
    let (ok, detail) = if may_pass {
        (status == 200 && text.contains(case.says), text)
    } else if case.flow == "connect" {
        // workerd shows user code that the stream failed and not why, so the reason stands in its log.
        let told = explained(logged).await;
        (status == 502 && told.is_some(), told.unwrap_or(text))
    } else {
        let told = error_line(&text).unwrap_or(text);
        let refusal = format!("{REFUSED} binding \"{}\"", case.binding);
        (status == 502 && told.contains(&refusal), told)
    };
    Check {
        case,
        credentials,
        access,
        ok,
        status,
        elapsed: started.elapsed(),
        detail,
    }
}

/// The line of workerd's log that explains a refusal.
async fn explained(logged: &mut mpsc::Receiver<String>) -> Option<String> {
    let find = async {
        loop {
            match logged.recv().await {
                Some(line) if line.contains(REFUSED) => return Some(line),
                Some(_) => {}
                None => return None,
            }
        }
    };
    tokio::time::timeout(LOGGED, find).await.ok().flatten()
}

/// The first line of the error that user code caught.
fn error_line(text: &str) -> Option<String> {
    let value: Value = serde_json::from_str(text).ok()?;
    value["error"].as_str()?.lines().next().map(str::to_owned)
}

async fn call(case: &Case, worker: &str) -> anyhow::Result<(u16, String)> {
    let address: SocketAddr = worker
        .trim_start_matches("http://")
        .trim_end_matches('/')
        .parse()?;
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::builder()
        .method(case.method.clone())
        .uri(case.path)
        .header("Host", address.to_string())
        .body(full(case.body))?;
    let response = sender.send_request(request).await?;
    let status = response.status().as_u16();
    let body = collect(response.into_body(), ANSWER).await?;
    connection.abort();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}
