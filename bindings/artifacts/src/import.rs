//! Copies of other repositories: bounded in time and bytes, and from public hosts only.

use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use tokio::process::Command;

use crate::config::{Config, Limits};
use crate::error::{Code, Refusal};
use crate::git::{self, Git, GitError};
use crate::request::Source;

/// How long a host name may take to be resolved.
const RESOLVE: Duration = Duration::from_secs(10);
/// How often a growing copy is measured.
const MEASURE: Duration = Duration::from_millis(500);

/// The `git clone` for a source. Its host is resolved here and pinned, so that what was checked is what is dialled.
pub(crate) async fn command(
    git: &Git,
    config: &Config,
    source: &Source,
    folder: &Path,
) -> Result<Command, Refusal> {
    let host = source.url.host_str().unwrap_or_default().to_owned();
    let port = source.url.port_or_known_default().unwrap_or(443);
    let address = resolve(config, &host, port).await?;
    let mut command = git.command();
    for setting in [
        "protocol.allow=never",
        "protocol.https.allow=always",
        // The target of a redirect would be a host that nobody checked, and would get the credentials.
        "http.followRedirects=false",
        "http.lowSpeedLimit=1000",
        "http.lowSpeedTime=30",
        "credential.helper=",
        "fetch.fsckObjects=true",
    ] {
        command.args(["-c", setting]);
    }
    command.args([
        "-c",
        &format!("http.curloptResolve={host}:{port}:{}", shown(address)),
    ]);
    if let Some(file) = &config.import_ca {
        command
            .arg("-c")
            .arg(format!("http.sslCAInfo={}", file.display()));
    }
    if let Some(credentials) = &source.credentials {
        let encoded = base64::engine::general_purpose::STANDARD.encode(credentials);
        // By the environment, which only our own user can read; arguments are everybody's.
        command
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", "http.extraHeader")
            .env("GIT_CONFIG_VALUE_0", format!("Authorization: Basic {encoded}"));
    }
    command.args(["clone", "--quiet", "--bare", "--template="]);
    if let Some(branch) = &source.branch {
        command.args(["--single-branch", "--branch", branch]);
    }
    if let Some(depth) = source.depth {
        command.arg(format!("--depth={depth}"));
    }
    command.arg("--").arg(source.url.as_str()).arg(folder);
    Ok(command)
}

/// Runs a copy, which must end in time and stay within the size of a repository.
pub(crate) async fn copy(command: Command, folder: &Path, limits: &Limits) -> Result<(), GitError> {
    let folder = folder.to_owned();
    let most = limits.repo_bytes;
    let grown = async {
        loop {
            tokio::time::sleep(MEASURE).await;
            let folder = folder.clone();
            let size = tokio::task::spawn_blocking(move || git::size(&folder)).await;
            if size.is_ok_and(|size| size > most) {
                return;
            }
        }
    };
    tokio::select! {
        done = git::run(command, limits.copy) => done?,
        // Dropping the other future kills git.
        () = grown => return Err(GitError::TooLarge(most)),
    };
    let measured = folder.clone();
    match tokio::task::spawn_blocking(move || git::size(&measured)).await {
        Ok(size) if size > most => Err(GitError::TooLarge(most)),
        _ => Ok(()),
    }
}

/// What an import's failure means to its caller. git's own words may name addresses and stay in the log.
pub(crate) fn explain(error: GitError) -> Refusal {
    tracing::info!(error.kind = "import", error = %error, "an import failed");
    let said = match &error {
        GitError::Failed { said, .. } => said.to_lowercase(),
        GitError::TooLarge(most) => {
            return Refusal::new(
                Code::MemoryLimit,
                format!("The remote repository is larger than {most} bytes."),
            );
        }
        GitError::Late(after) => {
            return Refusal::new(
                Code::UpstreamUnavailable,
                format!(
                    "The remote repository was not there within {} s.",
                    after.as_secs()
                ),
            );
        }
        GitError::Io(_) => return Refusal::internal("the repository could not be imported", error),
    };
    let any = |texts: &[&str]| texts.iter().any(|text| said.contains(text));
    let (code, message) = if any(&[
        "authentication failed",
        "could not read username",
        "error: 401",
        "error: 403",
    ]) {
        (
            Code::RemoteAuthRequired,
            "Authentication is required to access the remote repository.",
        )
    } else if said.contains("remote branch") && said.contains("not found") {
        (Code::NotFound, "Remote branch not found.")
    } else if any(&["not found", "error: 404"]) {
        (Code::NotFound, "Remote repository not found.")
    } else if any(&[
        "not valid: is this a git repository",
        "does not appear to be a git repository",
    ]) {
        (Code::InvalidUrl, "The URL does not point to a git repository.")
    } else {
        (
            Code::UpstreamUnavailable,
            "The upstream service is unavailable. Please retry.",
        )
    };
    Refusal::new(code, message)
}

/// The address to dial for a host. Private ones only for hosts that the configuration names: the far end stands in a
/// network that callers must not see through it.
async fn resolve(config: &Config, host: &str, port: u16) -> Result<IpAddr, Refusal> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let unavailable = || {
        Refusal::new(
            Code::UpstreamUnavailable,
            format!("The host {host} could not be resolved."),
        )
    };
    let addresses = tokio::time::timeout(RESOLVE, tokio::net::lookup_host((bare, port)))
        .await
        .map_err(|_| unavailable())?
        .map_err(|_| unavailable())?
        .map(|address| address.ip())
        .collect::<Vec<_>>();
    let named = [
        host.to_ascii_lowercase(),
        format!("{}:{port}", host.to_ascii_lowercase()),
    ];
    let allowed = config.import_hosts.iter().any(|host| named.contains(host));
    let first = *addresses.first().ok_or_else(unavailable)?;
    if allowed || addresses.iter().all(|address| is_public(*address)) {
        return Ok(first);
    }
    Err(Refusal::new(
        Code::InvalidUrl,
        format!(
            "Invalid source.url: {host} has a private address; `import_hosts` names the hosts that may have one."
        ),
    ))
}

fn shown(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

/// Whether an address is one of the internet's (IANA's special-purpose registries).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            !(a == 0
                || a == 10
                || a == 127
                || (a == 100 && (64..128).contains(&b))
                || (a == 169 && b == 254)
                || (a == 172 && (16..32).contains(&b))
                || (a == 192 && b == 168)
                || (a == 192 && b == 0 && (c == 0 || c == 2))
                || (a == 198 && (b == 18 || b == 19))
                || (a == 198 && b == 51 && c == 100)
                || (a == 203 && b == 0 && c == 113)
                || a >= 224)
        }
        IpAddr::V6(address) => {
            if let Some(v4) = address.to_ipv4_mapped() {
                return is_public(IpAddr::V4(v4));
            }
            let first = address.segments()[0];
            // 2000::/3 is what is handed out; documentation, 6to4 and Teredo lie inside it.
            (0x2000..0x4000).contains(&first)
                && first != 0x2002
                && !(first == 0x2001 && address.segments()[1] < 0x0200)
                && !(first == 0x2001 && address.segments()[1] == 0x0db8)
                && address != Ipv6Addr::UNSPECIFIED
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_public;

    #[test]
    fn private_addresses_are_told_apart() {
        for public in [
            "1.1.1.1",
            "192.0.1.1",
            "172.32.0.1",
            "2606:4700::1",
            "::ffff:8.8.8.8",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for private in [
            "127.0.0.1",
            "0.0.0.0",
            "10.1.2.3",
            "192.168.1.1",
            "172.16.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "::ffff:127.0.0.1",
            "2002:7f00:1::",
            "2001:db8::1",
            "64:ff9b::7f00:1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
    }
}
