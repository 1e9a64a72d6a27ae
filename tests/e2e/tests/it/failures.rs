//! Something really dies, or is really taken away, in mid-run: each gives the error it should, and nothing hangs.

use anyhow::Result;
use bowline_e2e::flow::{self, FLOWS, Flow, Outcome, Targets};
use bowline_e2e::peers::{Driver, Miniflare};
use bowline_e2e::program;
use bowline_e2e::project::{Access, Credentials, Project};
use bowline_e2e::upstream;
use bowline_e2e::worker::TestWorker;
use http::Uri;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

async fn targets() -> Result<Targets> {
    Ok(Targets {
        tcp: upstream::tcp_echo().await?,
        http: upstream::http_echo().await?,
    })
}

fn project(targets: Targets) -> Result<Project> {
    Project::new(&[targets.tcp.to_string(), targets.http.to_string()])
}

#[tokio::test]
async fn a_killed_remote_fails_every_flow_and_comes_back() -> Result<()> {
    let targets = targets().await?;
    let project = project(targets)?;
    let mut remote = project.serve(Access::Off).await?;
    let url = remote.url().to_owned();
    let authority = url
        .parse::<Uri>()?
        .authority()
        .map(ToString::to_string)
        .unwrap_or_default();
    let proxy = project.connect(&url, &Credentials::default()).await?;
    let mut worker = Driver::start(Miniflare::V5, proxy.url()).await?;
    worker
        .ok(
            "d1.exec",
            json!({"sql": "CREATE TABLE kept (n INTEGER); INSERT INTO kept VALUES (7)"}),
        )
        .await?;

    let mut tunnel = flow::connect(proxy.url(), "VPC", &targets.tcp.to_string())
        .upgrade()
        .await?
        .socket()?;
    assert_eq!(
        flow::echo(&mut tunnel, Message::binary(&b"held"[..])).await?,
        Outcome::Works
    );
    let mut session = flow::rpc(proxy.url(), "MAIL").upgrade().await?.socket()?;

    remote.kill().await?;
    // What was open ends, at once and not cleanly.
    for socket in [&mut tunnel, &mut session] {
        match flow::next(socket).await {
            Err(error) => assert!(!format!("{error:#}").contains("in time"), "{error:#}"),
            Ok(Message::Close(Some(frame))) => assert_ne!(u16::from(frame.code), 1000),
            Ok(other) => panic!("a dead remote sent {other:?}"),
        }
    }
    // What is called says where it ended.
    for flow in FLOWS {
        let outcome = flow.call(proxy.url(), targets).await?;
        assert!(outcome.text().contains(&authority), "{flow:?}: {outcome:?}");
        assert!(outcome.text().contains("connecting to"), "{flow:?}: {outcome:?}");
    }
    let error = worker.error("d1.all", json!({"sql": "SELECT 1"})).await?;
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|text| text.contains(&authority)),
        "{error}"
    );
    let message =
        json!({"message": {"from": "from@example.com", "to": "to@example.com", "subject": "s", "text": "t"}});
    let error = worker.error("mail.builder", message).await?;
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|text| text.contains(&authority)),
        "{error}"
    );
    worker
        .error(
            "vpc.connect",
            json!({"address": targets.tcp.to_string(), "text": "x"}),
        )
        .await?;

    // Another one at the same address, on the same state: the proxy needs no restart, and nothing was lost.
    let _remote = project.serve_on(&authority, Access::Off).await?;
    for flow in FLOWS {
        assert_eq!(flow.call(proxy.url(), targets).await?, Outcome::Works, "{flow:?}");
    }
    assert_eq!(
        worker
            .ok("d1.first", json!({"sql": "SELECT n FROM kept", "column": "n"}))
            .await?,
        7
    );
    worker.stop().await
}

#[tokio::test]
async fn a_token_disabled_in_mid_run_is_refused_from_then_on() -> Result<()> {
    let targets = targets().await?;
    let project = project(targets)?;
    let remote = project.serve(Access::On).await?;
    let token = project.new_token("short-lived").await?;
    let other = project.new_token("other").await?;
    let proxy = project.connect(remote.url(), &token).await?;
    let beside = project.connect(remote.url(), &other).await?;
    for flow in FLOWS {
        assert_eq!(flow.call(proxy.url(), targets).await?, Outcome::Works, "{flow:?}");
    }
    project.token(&["disable", "short-lived"]).await?;
    for flow in FLOWS {
        let outcome = flow.call(proxy.url(), targets).await?;
        assert!(
            outcome
                .text()
                .contains("the service token was sent and not accepted"),
            "{flow:?}: {outcome:?}"
        );
        assert_eq!(
            flow.call(beside.url(), targets).await?,
            Outcome::Works,
            "{flow:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_killed_workerd_ends_dev_with_a_reason() -> Result<()> {
    let targets = targets().await?;
    let project = project(targets)?;
    let remote = project.serve(Access::Off).await?;
    let mut dev = project.dev(remote.url(), &Credentials::default()).await?;
    dev.ok("d1.all", json!({"sql": "SELECT 1"})).await?;
    let id = dev.id().expect("it runs");
    let workerd = dev.ready["workerd_pid"].as_u64().expect("it names workerd");
    let workerd = u32::try_from(workerd)?;
    program::signal("KILL", workerd).await?;
    let status = dev.ended().await?;
    assert_eq!(status.code(), Some(5), "{}", dev.stderr.text());
    let said = dev.stderr.text();
    assert!(
        said.contains("workerd") && said.contains("signal"),
        "{id}: {said}"
    );
    Ok(())
}

#[tokio::test]
async fn a_killed_dev_takes_workerd_with_it() -> Result<()> {
    let project = project(targets().await?)?;
    let remote = project.serve(Access::Off).await?;
    let mut dev = project.dev(remote.url(), &Credentials::default()).await?;
    let workerd = dev.ready["workerd_pid"].as_u64().expect("it names workerd");
    assert!(program::running(u32::try_from(workerd)?));
    dev.kill().await?;
    program::gone(u32::try_from(workerd)?).await
}

#[tokio::test]
async fn a_workerd_killed_under_miniflare_ends_the_call_and_leaves_the_line_as_it_was() -> Result<()> {
    let targets = targets().await?;
    let project = project(targets)?;
    let remote = project.serve(Access::Off).await?;
    let proxy = project.connect(remote.url(), &Credentials::default()).await?;
    let mut worker = Driver::start(Miniflare::V5, proxy.url()).await?;
    worker.ok("d1.all", json!({"sql": "SELECT 1"})).await?;
    worker.kill_workerd().await?;
    worker.error("d1.all", json!({"sql": "SELECT 1"})).await?;
    for flow in FLOWS {
        assert_eq!(flow.call(proxy.url(), targets).await?, Outcome::Works, "{flow:?}");
    }
    worker.stop().await
}

#[tokio::test]
async fn commands_stop_cleanly_and_do_not_start_wrongly() -> Result<()> {
    let project = project(targets().await?)?;
    let mut remote = project.serve(Access::On).await?;
    let mut proxy = project.connect(remote.url(), &Credentials::default()).await?;
    assert!(proxy.terminate().await?.success());
    let mut proxy = project.connect(remote.url(), &Credentials::default()).await?;
    program::signal("INT", proxy.id().expect("it runs")).await?;
    assert!(proxy.ended().await?.success());
    assert_eq!(proxy.stdout.text(), "", "one line of JSON and no more");
    // The address is taken.
    let authority = remote
        .url()
        .parse::<Uri>()?
        .authority()
        .map(ToString::to_string)
        .unwrap_or_default();
    for arguments in [
        &[
            "connect",
            "--json",
            "--remote",
            remote.url(),
            "--listen",
            &authority,
        ][..],
        &["connect", "--json", "--remote", "ftp://remote.example/"],
        &["serve", "--json", "--listen", &authority],
        &["serve", "--json", "--listen", "0.0.0.0:0", "--access", "off"],
        &["dev", "nowhere", "--json"],
    ] {
        let output = program::run(project.bowline(arguments)?, bowline_e2e::client::DEADLINE).await?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{arguments:?}");
        assert!(
            said.contains("error") && output.stdout.is_empty(),
            "{arguments:?}: {said}"
        );
    }
    assert!(remote.terminate().await?.success());
    Ok(())
}

#[tokio::test]
async fn an_open_tunnel_does_not_hold_up_a_stop() -> Result<()> {
    let targets = targets().await?;
    let project = project(targets)?;
    let mut remote = project.serve(Access::Off).await?;
    let mut proxy = project.connect(remote.url(), &Credentials::default()).await?;
    let mut tunnel = flow::connect(proxy.url(), "VPC", &targets.tcp.to_string())
        .upgrade()
        .await?
        .socket()?;
    assert_eq!(
        flow::echo(&mut tunnel, Message::binary(&b"held"[..])).await?,
        Outcome::Works
    );
    assert_eq!(Flow::Fetch.call(proxy.url(), targets).await?, Outcome::Works);
    assert!(proxy.terminate().await?.success());
    assert!(remote.terminate().await?.success());
    Ok(())
}
