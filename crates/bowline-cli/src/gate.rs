//! What commands that open a gate share: the listener, the gateway, the REST API beside it.

use std::net::SocketAddr;

use bowline_access_store::AccessStore;
use std::path::PathBuf;

use bowline_gateway::{
    Admin, CONNECTIONS_OF_ONE, DevelopmentLogin, Gateway, GatewayOptions, Login, Mode, OidcLogin,
    OidcSettings, Service, Tls, TlsSettings, now, serve,
};
use bowline_secret::Secret;
use clap::Args;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::env_vars::{self, Env};
use crate::error::{CliError, Kind};
use crate::{output, settings};

/// How a gate presents itself.
#[derive(Debug, Args)]
pub(crate) struct GateArgs {
    /// The team domain as a URL: the issuer of tokens, and where logins and keys are. By default a local name of this
    /// listener, unless the organisation's settings name one.
    #[arg(long, value_name = "URL")]
    team_domain: Option<String>,
    /// Where to serve the REST API of Access, which needs a token of `bowline access api-token create`. Loopback only.
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<SocketAddr>,
    /// For development only: let people log in by any e-mail address, with a one-time code that is printed here. Loopback
    /// only.
    #[arg(long)]
    development_login: bool,
    /// Let people log in at this OpenID Connect provider. It has to know the URL `TEAM_DOMAIN/cdn-cgi/access/callback`.
    #[arg(
        long,
        value_name = "ISSUER",
        requires = "oidc_client_id",
        conflicts_with = "development_login"
    )]
    oidc_issuer: Option<String>,
    /// The client id that the provider knows the gateway by. Its secret is in BOWLINE_ACCESS_OIDC_CLIENT_SECRET.
    #[arg(long, value_name = "ID", requires = "oidc_issuer")]
    oidc_client_id: Option<String>,
    /// Speak TLS, with this certificate (PEM, with those that lead to its authority).
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// The key of that certificate (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// The authorities of client certificates (PEM), for policies with the rules `certificate` and `common_name`.
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    client_authorities: Option<PathBuf>,
    /// Connections that one address may have at a time; more are closed. A proxy in front is one address.
    #[arg(long, value_name = "COUNT", default_value_t = CONNECTIONS_OF_ONE)]
    connections_per_address: usize,
}

impl GateArgs {
    /// TLS, if it is asked for.
    fn tls(&self) -> Result<Option<Tls>, CliError> {
        let (Some(certificate), Some(key)) = (&self.tls_certificate, &self.tls_key) else {
            return Ok(None);
        };
        let settings = TlsSettings {
            certificate: certificate.clone(),
            key: key.clone(),
            client_authorities: self.client_authorities.clone(),
        };
        Tls::new(&settings)
            .map(Some)
            .map_err(|error| CliError::new(Kind::User, error))
    }

    /// How people log in, if they can.
    fn login(&self, env: Env<'_>) -> Result<Option<Login>, CliError> {
        if let (Some(issuer), Some(client_id)) = (&self.oidc_issuer, &self.oidc_client_id) {
            let login = OidcLogin::new(OidcSettings {
                issuer: issuer.clone(),
                client_id: client_id.clone(),
                client_secret: env(env_vars::BOWLINE_ACCESS_OIDC_CLIENT_SECRET).map(Secret::new),
                authorities: settings::extra_authorities(env),
            });
            let login = login.map_err(|error| CliError::new(Kind::User, error))?;
            return Ok(Some(Login::Oidc(login.into())));
        }
        Ok(self.development_login.then(|| {
            Login::Development(DevelopmentLogin::new(|email, code| {
                output::notice(&format!("DEVELOPMENT LOGIN: the code of {email} is {code}"));
            }))
        }))
    }
}

/// An open gate that does not answer yet.
pub(crate) struct Listening {
    pub(crate) gateway: Gateway,
    tls: Option<Tls>,
    connections_per_address: usize,
    listener: TcpListener,
    address: SocketAddr,
    admin: Option<(TcpListener, SocketAddr)>,
}

/// The local team domain of a listener. It contains the words by which clients recognise Access, and resolves to this
/// machine.
pub(crate) fn local_team_domain(scheme: &str, address: SocketAddr) -> String {
    format!(
        "{scheme}://bowline.cloudflareaccess.com.localhost:{}",
        address.port()
    )
}

fn scheme(tls: Option<&Tls>) -> &'static str {
    if tls.is_some() { "https" } else { "http" }
}

/// Opens the listeners and the gateway.
pub(crate) async fn listen(
    address: SocketAddr,
    args: &GateArgs,
    store: AccessStore,
    mode: Mode,
    env: Env<'_>,
) -> Result<Listening, CliError> {
    if let Some(admin) = args.admin_listen.filter(|admin| !admin.ip().is_loopback()) {
        return Err(CliError::message(
            Kind::User,
            format!("refusing to serve the REST API on {admin}: it changes who may pass"),
        )
        .hint("listen on 127.0.0.1, and put TLS in front where others need it"));
    }
    if args.development_login && !address.ip().is_loopback() {
        return Err(CliError::message(
            Kind::User,
            format!("refusing the development login on {address}: whoever sees this terminal can log in as anybody"),
        )
        .hint("listen on 127.0.0.1, or leave `--development-login` out"));
    }
    if args.connections_per_address == 0 {
        let text = "with no connection per address nobody could connect";
        return Err(CliError::message(Kind::User, text).hint("give `--connections-per-address` 1 or more"));
    }
    let (tls, login) = (args.tls()?, args.login(env)?);
    let (listener, address) = bind(address).await?;
    let admin = match args.admin_listen {
        Some(admin) => Some(bind(admin).await?),
        None => None,
    };
    let team_domain = match &args.team_domain {
        Some(url) if url.starts_with("http://") || url.starts_with("https://") => {
            url.trim_end_matches('/').to_owned()
        }
        Some(host) => format!("https://{host}"),
        None => local_team_domain(scheme(tls.as_ref()), address),
    };
    let options = GatewayOptions {
        mode,
        team_domain,
        clock: now,
        login,
    };
    let gateway = Gateway::new(store, options)
        .await
        .map_err(|error| CliError::new(Kind::Internal, error))?;
    Ok(Listening {
        gateway,
        tls,
        connections_per_address: args.connections_per_address,
        listener,
        address,
        admin,
    })
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), CliError> {
    let listener = TcpListener::bind(address).await.map_err(|error| {
        CliError::new(
            Kind::User,
            anyhow::Error::new(error).context(format!("listen on {address}")),
        )
    })?;
    let address = listener
        .local_addr()
        .map_err(|error| CliError::new(Kind::Internal, error))?;
    Ok((listener, address))
}

impl Listening {
    /// Where it listens: `http://127.0.0.1:8787/`.
    pub(crate) fn url(&self) -> String {
        format!("{}://{}/", scheme(self.tls.as_ref()), self.address)
    }

    /// Says where it listens; `lines` are for people.
    pub(crate) fn announce(&self, json: bool, lines: &[String]) {
        let url = self.url();
        let admin = self
            .admin
            .as_ref()
            .map(|(_, address)| format!("http://{address}/client/v4"));
        if json {
            let mut document = json!({"ready": true, "url": url});
            if let Some(admin) = admin {
                document["admin_url"] = Value::String(admin);
            }
            output::result(&document.to_string());
        } else {
            output::result(&url);
            lines.iter().for_each(|line| output::notice(line));
            if let Some(admin) = admin {
                output::notice(&format!("  REST API at {admin}"));
            }
        }
    }

    /// Serves until `stop`.
    pub(crate) async fn serve(
        self,
        service: impl Service,
        stop: impl Future<Output = ()>,
    ) -> Result<(), CliError> {
        let shutdown = CancellationToken::new();
        let listening = bowline_gateway::Listening {
            listener: self.listener,
            tls: self.tls,
            of_one_address: self.connections_per_address,
        };
        let api = Admin::new(self.gateway);
        let admin = async {
            match self.admin {
                Some((listener, _)) => serve(listener, api, shutdown.clone()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            served = serve(listening, service, shutdown.clone()) => served,
            served = admin => served,
            () = stop => { shutdown.cancel(); Ok(()) }
        }
        .map_err(|error| CliError::new(Kind::Internal, error))
    }
}
