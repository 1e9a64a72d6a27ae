//! Ten thousand wrong secrets.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::Result;
use bowline_e2e::access::Site;
use bowline_e2e::project::Credentials;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::json;

use super::{any_token, logged};

const ATTEMPTS: u32 = 10_000;
const HOST: &str = "app.example.com";

#[tokio::test]
async fn are_slowed_down_and_nobody_else_is() -> Result<()> {
    let site = Site::new(None).await?;
    site.application("app", HOST, &[any_token()], json!({})).await?;
    let (target, other) = (site.token("target").await?, site.token("other").await?);
    let gateway = site.gateway().await?;
    // The target's own client has got in before, from the very address that the guesser uses.
    assert_eq!(gateway.get(HOST, "/", &target).send().await?.status, 200);
    let guess = |number: u32| {
        let wrong = Credentials {
            id: target.id.clone(),
            secret: Some(format!("cfast_{number:048}")),
        };
        let guess = gateway
            .get(HOST, "/", &wrong)
            .from(Ipv4Addr::new(127, 0, 0, 9).into());
        async move { anyhow::Ok(guess.send().await?.status.as_u16()) }
    };
    let flood = async {
        let mut answers = stream::iter(0..ATTEMPTS).map(guess).buffer_unordered(32);
        let (mut refused, mut throttled) = (0u32, 0u32);
        while let Some(status) = answers.try_next().await? {
            match status {
                403 => refused += 1,
                429 => throttled += 1,
                other => panic!("a wrong secret was answered {other}"),
            }
        }
        anyhow::Ok((refused, throttled))
    };
    let beside = async {
        let (mut worst, mut done) = (Duration::ZERO, 0);
        loop {
            for (token, last) in [(&other, 2), (&target, 1)] {
                let start = Instant::now();
                let from = Ipv4Addr::new(127, 0, 0, last);
                let answer = gateway.get(HOST, "/", token).from(from.into()).send().await?;
                assert_eq!(answer.status, 200, "{}", answer.text());
                worst = worst.max(start.elapsed());
                done += 1;
            }
            if done >= 400 {
                return anyhow::Ok((worst, done));
            }
        }
    };
    let start = Instant::now();
    let ((refused, throttled), (worst, done)) = tokio::try_join!(flood, beside)?;
    println!(
        "{ATTEMPTS} wrong secrets in {:?}: {refused} compared, {throttled} throttled; {done} good requests beside, worst {worst:?}",
        start.elapsed()
    );
    // Ten at once, and one every six seconds after that.
    assert!(
        refused >= 10 && u64::from(refused) <= 11 + start.elapsed().as_secs() / 6,
        "{refused}"
    );
    assert!(worst < Duration::from_secs(2), "{worst:?}");
    // Throttled attempts are not written down one by one, and the attempt that was not is.
    logged(&site, usize::try_from(refused)?, |entry| {
        entry["reason"] == "wrong_secret"
    })
    .await?;
    logged(&site, 0, |entry| entry["reason"] == "throttled").await?;
    // A throttled client is told when to come back.
    let answer = gateway
        .get(
            HOST,
            "/",
            &Credentials {
                secret: Some("cfast_x".into()),
                ..target.clone()
            },
        )
        .from(Ipv4Addr::new(127, 0, 0, 9).into())
        .send()
        .await?;
    assert_eq!(answer.status, 429);
    let wait: u32 = answer.headers["retry-after"].to_str()?.parse()?;
    assert!((1..=60).contains(&wait), "{wait}");
    Ok(())
}
