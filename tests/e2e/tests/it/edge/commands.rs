//! `bowline edge run` itself: what the command finds, and what becomes of its end.

use std::time::Duration;

use anyhow::Result;
use bowline_e2e::program;
use bowline_e2e::project::Project;

const RUN: Duration = Duration::from_secs(60);

async fn shell(project: &Project, script: &str) -> Result<(Option<i32>, String, String)> {
    let mut command = project.bowline(&["edge", "run", "--", "sh", "-c", script])?;
    command.env("HTTPS_PROXY", "http://127.0.0.1:1");
    let output = program::run(command, RUN).await?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((output.status.code(), text(&output.stdout), text(&output.stderr)))
}

#[tokio::test]
async fn ends_as_its_command_does() -> Result<()> {
    let project = Project::new(&[])?;
    for (script, code) in [
        ("exit 0", 0),
        ("exit 7", 7),
        ("kill -TERM $$", 143),
        ("kill -KILL $$", 137),
    ] {
        assert_eq!(shell(&project, script).await?.0, Some(code), "{script}");
    }
    let command = project.bowline(&["edge", "run", "--", "no-such-program"])?;
    let output = program::run(command, RUN).await?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("no-such-program"), "{said}");
    Ok(())
}

/// What it leaves behind would keep this test waiting for the end of the output.
#[tokio::test]
async fn ends_what_its_command_leaves_behind() -> Result<()> {
    let project = Project::new(&[])?;
    let script = "sleep 600 & echo $!; (trap '' TERM; sleep 600; sleep 600) & echo $!; exit 7";
    let (code, said, _) = shell(&project, script).await?;
    assert_eq!(code, Some(7), "{said}");
    let left: Vec<&str> = said.lines().collect();
    assert_eq!(left.len(), 2, "{said}");
    for pid in left {
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        assert_eq!(String::from_utf8_lossy(&command), "", "{pid} still runs");
    }
    Ok(())
}

#[tokio::test]
async fn has_loopback_and_nothing_else() -> Result<()> {
    let project = Project::new(&[])?;
    let before = std::fs::read_to_string("/etc/hosts")?;
    let script = "cat /proc/net/dev | grep -c : ; grep -c e2e.bowline.workers.dev /etc/hosts; echo ${HTTPS_PROXY:-none}; \
                  cat /proc/net/route | wc -l; id -u";
    let (code, said, _) = shell(&project, script).await?;
    let user = program::run(tokio::process::Command::new("id"), RUN).await?;
    assert!(!user.stdout.is_empty());
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[..4], ["1", "1", "none", "1"], "{said}");
    assert_eq!(code, Some(0));
    assert_eq!(std::fs::read_to_string("/etc/hosts")?, before);
    Ok(())
}

#[tokio::test]
async fn needs_no_root() -> Result<()> {
    let project = Project::new(&[])?;
    let folder = tempfile::tempdir()?;
    // The program may lie where others cannot read.
    let copy = folder.path().join("bowline");
    std::fs::copy(program::bowline()?, &copy)?;
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(folder.path(), open)?;
    let mut command = program::cleared(std::path::Path::new("setpriv"));
    command
        .args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--no-new-privs",
        ])
        .arg(&copy)
        .args([
            "edge",
            "run",
            "--worker",
            "e2e",
            "--",
            "sh",
            "-c",
            "id -u; grep -c e2e.bowline /etc/hosts",
        ])
        .current_dir(folder.path())
        .env("HOME", project.folder());
    let output = program::run(command, RUN).await?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "65534\n1\n", "{said}");
    Ok(())
}

#[tokio::test]
async fn says_what_to_do_where_namespaces_are_not_allowed() -> Result<()> {
    let project = Project::new(&[])?;
    let folder = tempfile::tempdir()?;
    let copy = folder.path().join("bowline");
    std::fs::copy(program::bowline()?, &copy)?;
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(folder.path(), open)?;
    // Inside a user namespace of its own no further one may be made: a machine that forbids them, in small.
    let script = "echo 0 > /proc/sys/user/max_user_namespaces; exec setpriv --bounding-set=-all --inh-caps=-all --no-new-privs \"$0\" \
                  edge run --worker e2e -- true";
    let mut command = program::cleared(std::path::Path::new("unshare"));
    command
        .args(["--user", "--map-root-user", "sh", "-c", script])
        .arg(&copy)
        .current_dir(folder.path())
        .env("HOME", project.folder());
    let output = program::run(command, RUN).await?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("does not allow a private user namespace"), "{said}");
    assert!(said.contains("run `bowline edge` beside the command"), "{said}");
    Ok(())
}

#[tokio::test]
async fn bad_flags_are_told() -> Result<()> {
    let project = Project::new(&[])?;
    for (flags, says) in [
        (["--fault", "edge:code=1"], "is not a fault"),
        (["--access", "sometimes"], "service-auth, login and off"),
        (["--control", "0.0.0.0:0"], "not a loopback address"),
        (["--config", "/nowhere"], "/nowhere"),
    ] {
        let command = project.bowline(&[&["edge", "run"][..], &flags, &["--", "true"]].concat())?;
        let output = program::run(command, RUN).await?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{flags:?}: {said}");
        assert!(said.contains(says), "{flags:?}: {said}");
    }
    Ok(())
}
