//! A client from the command line and the environment.

use anyhow::Context;
use bowline_client::{Client, CredentialState, Origin};

/// `URL BINDING`: the client of a remote or connection string, and the name of a binding.
pub(crate) fn from_command_line() -> anyhow::Result<(Client, String)> {
    const NAMES: (&str, &str) = ("CLOUDFLARE_ACCESS_CLIENT_ID", "CLOUDFLARE_ACCESS_CLIENT_SECRET");
    let mut arguments = std::env::args().skip(1);
    let usage = "say where the remote is and what the binding is called: URL BINDING";
    let (url, binding) = (arguments.next().context(usage)?, arguments.next().context(usage)?);
    let read = |name: &str| {
        let value = std::env::var(name).ok()?;
        Some((
            value,
            Origin::Environment {
                name: name.to_owned(),
            },
        ))
    };
    let credentials = CredentialState::from_pair(read(NAMES.0), read(NAMES.1), NAMES);
    Ok((Client::builder(url).credentials(credentials).build()?, binding))
}
