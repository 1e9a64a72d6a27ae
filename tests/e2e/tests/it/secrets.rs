//! Secrets appear in no output, no answer, no file: everything that was written is searched for them.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use bowline_e2e::flow::{FLOWS, Targets};
use bowline_e2e::program;
use bowline_e2e::project::{Access, Credentials, Project};
use bowline_e2e::upstream;

/// Every file below a folder, with its bytes.
pub(crate) fn files(folder: &Path, found: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files(&path, found)?;
        } else if path.is_file() {
            found.push((path.display().to_string(), std::fs::read(&path)?));
        }
    }
    Ok(())
}

pub(crate) fn contains(bytes: &[u8], secret: &str) -> bool {
    bytes
        .windows(secret.len())
        .any(|window| window == secret.as_bytes())
}

#[tokio::test]
async fn they_are_written_nowhere() -> Result<()> {
    let targets = Targets {
        tcp: upstream::tcp_echo().await?,
        http: upstream::http_echo().await?,
    };
    let mut project = Project::new(&[targets.tcp.to_string(), targets.http.to_string()])?;
    project.log = Some("trace");
    let valid = project.new_token("secret-keeper").await?;
    let wrong = Credentials {
        id: valid.id.clone(),
        secret: Some("wrong-".to_owned() + &"5e".repeat(29)),
    };
    let secrets: Vec<String> = [&valid, &wrong]
        .iter()
        .filter_map(|pair| pair.secret.clone())
        .collect();

    let mut remote = project.serve(Access::On).await?;
    let mut written: Vec<(String, Vec<u8>)> = Vec::new();
    for (name, credentials) in [
        ("valid", &valid),
        ("wrong", &wrong),
        ("none", &Credentials::default()),
    ] {
        let mut proxy = project.connect(remote.url(), credentials).await?;
        for flow in FLOWS {
            let outcome = flow.call(proxy.url(), targets).await?;
            written.push((format!("{name}: {flow:?}"), outcome.text().as_bytes().to_vec()));
        }
        let mut dev = project.dev(remote.url(), credentials).await?;
        for program in [&mut proxy, &mut dev] {
            program.terminate().await?;
            written.push((format!("{name}: ready"), program.ready.to_string().into_bytes()));
            written.push((format!("{name}: stdout"), program.stdout.text().into_bytes()));
            written.push((format!("{name}: stderr"), program.stderr.text().into_bytes()));
        }
    }
    remote.terminate().await?;
    written.push(("serve: stderr".into(), remote.stderr.text().into_bytes()));
    written.push((
        "token list".into(),
        project.token(&["list"]).await?.to_string().into_bytes(),
    ));
    // The log says enough for the search to mean something.
    assert!(
        remote.stderr.text().contains("binding.name"),
        "{}",
        remote.stderr.text()
    );

    // Where a command cannot start, a secret on its way to it is not echoed either.
    let mut broken = project.bowline(&["connect", "--json", "--remote", "http://127.0.0.1:1/"])?;
    let unsendable = format!("{}\n\u{1}", secrets[0]);
    broken
        .env("CLOUDFLARE_ACCESS_CLIENT_ID", "id")
        .env("CLOUDFLARE_ACCESS_CLIENT_SECRET", &unsendable);
    let output = program::run(broken, Duration::from_secs(20)).await?;
    assert!(!output.status.success());
    written.push(("unsendable".into(), [output.stdout, output.stderr].concat()));

    files(&project.folder(), &mut written)?;
    for (place, bytes) in &written {
        for secret in &secrets {
            assert!(!contains(bytes, secret), "a secret is in {place}");
        }
    }
    Ok(())
}
