//! What unmodified wrangler makes of each mode: its probe takes a 302 to Access for Access and a 403 for nothing.

use anyhow::Result;
use bowline_e2e::edge::{CLIENT_ID, CLIENT_SECRET, Edge, Mode, Seen};
use bowline_e2e::wrangler_access;

const PAIR: [(&str, &str); 2] = [
    ("CLOUDFLARE_ACCESS_CLIENT_ID", CLIENT_ID),
    ("CLOUDFLARE_ACCESS_CLIENT_SECRET", CLIENT_SECRET),
];
/// Where wrangler's probe has to be sent for it to see Access.
const LOGIN: &str = "https://team.cloudflareaccess.com";

/// The requests for a token.
fn renewals(seen: &[Seen]) -> Vec<&Seen> {
    seen.iter()
        .filter(|(_, line, _)| line == "POST /oauth2/token")
        .collect()
}

#[tokio::test]
async fn wrangler_access_headers_where_its_probe_sees_access() -> Result<()> {
    let edge = Edge::start(Mode::Login, true).await?;
    edge.set_login(LOGIN);
    let said = wrangler_access::renew(&edge.domain(), &edge.ca(), &PAIR).await?;
    let seen = edge.take_seen();
    // The probe goes without credentials, the request with both headers.
    assert!(!seen[0].2.contains_key("cf-access-client-id"), "{said}");
    let renewals = renewals(&seen);
    assert!(!renewals.is_empty(), "{said}");
    assert_eq!(renewals[0].2["cf-access-client-id"], CLIENT_ID);
    assert_eq!(renewals[0].2["cf-access-client-secret"], CLIENT_SECRET);

    // Half a pair is told by name, and without a terminal the domain and both variables are.
    let said = wrangler_access::renew(&edge.domain(), &edge.ca(), &PAIR[..1]).await?;
    assert!(
        said.contains("Only CLOUDFLARE_ACCESS_CLIENT_ID was found"),
        "{said}"
    );
    let said = wrangler_access::renew(&edge.domain(), &edge.ca(), &[]).await?;
    assert!(
        said.contains(&format!(
            "The domain \"{}\" is behind Cloudflare Access",
            edge.domain()
        )),
        "{said}"
    );
    edge.take_seen();

    // Its own variable becomes a cookie.
    wrangler_access::renew(
        &edge.domain(),
        &edge.ca(),
        &[("WRANGLER_CF_AUTHORIZATION_TOKEN", "a.b.c")],
    )
    .await?;
    let seen = edge.take_seen();
    let renewal = seen.iter().find(|(_, line, _)| line == "POST /oauth2/token");
    assert_eq!(
        renewal.map(|(_, _, headers)| headers["cookie"].as_bytes()),
        Some(&b"CF_Authorization=a.b.c"[..])
    );
    Ok(())
}

#[tokio::test]
async fn wrangler_access_probe_is_blind_to_a_403() -> Result<()> {
    for mode in [Mode::ServiceAuthOnly, Mode::Strict] {
        let edge = Edge::start(mode, true).await?;
        let said = wrangler_access::renew(&edge.domain(), &edge.ca(), &PAIR).await?;
        let seen = edge.take_seen();
        let renewals = renewals(&seen);
        assert!(!renewals.is_empty(), "{said}");
        assert!(
            renewals
                .iter()
                .all(|(_, _, headers)| !headers.contains_key("cf-access-client-id")),
            "{mode:?}: {said}"
        );
    }
    let edge = Edge::start(Mode::Open, true).await?;
    let said = wrangler_access::renew(&edge.domain(), &edge.ca(), &[]).await?;
    assert_eq!(renewals(&edge.take_seen()).len(), 1, "{said}");
    Ok(())
}
