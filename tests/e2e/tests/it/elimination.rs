//! The table of the original problem: which flow fails with which credentials.

use anyhow::Result;
use bowline_e2e::flow::{FLOWS, Flow, Outcome, Targets};
use bowline_e2e::project::{Access, Credentials, Project};
use bowline_e2e::upstream;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    Valid,
    Wrong,
    Half,
    None,
}

impl Sent {
    fn of(self, valid: &Credentials) -> Credentials {
        match self {
            Self::Valid => valid.clone(),
            Self::Wrong => Credentials {
                id: valid.id.clone(),
                secret: valid.secret.as_ref().map(|secret| secret.chars().rev().collect()),
            },
            Self::Half => Credentials {
                id: valid.id.clone(),
                secret: None,
            },
            Self::None => Credentials::default(),
        }
    }

    /// What the first line of a refusal says besides the binding and the host.
    fn reason(self) -> &'static str {
        match self {
            Self::Valid => "",
            Self::Wrong => "the service token was sent and not accepted",
            Self::Half => "CLOUDFLARE_ACCESS_CLIENT_SECRET is not set",
            Self::None => "no service token was sent",
        }
    }
}

async fn table(access: Access) -> Result<()> {
    let targets = Targets {
        tcp: upstream::tcp_echo().await?,
        http: upstream::http_echo().await?,
    };
    let project = Project::new(&[targets.tcp.to_string(), targets.http.to_string()])?;
    let valid = project.new_token("table").await?;
    let remote = project.serve(access).await?;
    for sent in [Sent::Valid, Sent::Wrong, Sent::Half, Sent::None] {
        let mut proxy = project.connect(remote.url(), &sent.of(&valid)).await?;
        for flow in FLOWS {
            let outcome = flow.call(proxy.url(), targets).await?;
            let case = format!("{flow:?}, credentials {sent:?}, Access {access:?}: {outcome:?}");
            if access == Access::Off || sent == Sent::Valid {
                assert_eq!(outcome, Outcome::Works, "{case}");
                continue;
            }
            let text = outcome.text();
            let binding = match flow {
                Flow::Fetch => "DB",
                Flow::Rpc => "MAIL",
                Flow::Connect | Flow::WebSocket => "VPC",
            };
            assert!(
                text.contains(&format!("bowline: Access refused binding \"{binding}\"")),
                "{case}"
            );
            assert!(
                text.lines()
                    .next()
                    .is_some_and(|line| line.contains(sent.reason())),
                "{case}"
            );
        }
        assert!(proxy.terminate().await?.success());
        let told = proxy.stderr.text();
        let warned = told.contains("CLOUDFLARE_ACCESS_CLIENT_SECRET");
        match (sent, access) {
            (Sent::Half, _) => assert!(warned, "half a pair is told at once: {told}"),
            (Sent::Valid, _) | (_, Access::Off) => assert!(!told.contains("refused"), "{told}"),
            _ => {}
        }
        if access == Access::On && sent != Sent::Valid {
            assert_eq!(
                told.matches("bowline: Access refused").count(),
                1,
                "told once, not per call: {told}"
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn with_access() -> Result<()> {
    table(Access::On).await
}

#[tokio::test]
async fn without_access() -> Result<()> {
    table(Access::Off).await
}
