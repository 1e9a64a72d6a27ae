use std::sync::Mutex as StdMutex;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bowline_secret::Secret;
use futures_util::future::join_all;

use super::*;

fn host() -> Host {
    Host::of(&"https://a.example/".parse().unwrap()).unwrap()
}

fn given() -> Vec<Origin> {
    vec![Origin::Given("the test")]
}

fn header(sending: &Sending, name: &str) -> String {
    let mut headers = HeaderMap::new();
    sending.add_to(&mut headers);
    assert!(
        headers
            .values()
            .all(|value| !format!("{value:?}").contains("s3cret"))
    );
    headers
        .get(name)
        .map_or_else(String::new, |value| value.to_str().unwrap().to_owned())
}

fn secrets(previous: Option<&str>) -> Credentials {
    let token = ServiceToken::new("id.access", Secret::new("s3cret-new"), given())
        .with_previous(previous.map(Secret::new));
    Credentials::new(host(), CredentialState::Token(token)).unwrap()
}

#[test]
fn pairs() {
    const NAMES: (&str, &str) = ("THE_ID", "THE_SECRET");
    let value = |text: &str| Some((text.to_owned(), Origin::Given("the test")));
    let pair = |id: &str, secret: &str| CredentialState::from_pair(value(id), value(secret), NAMES);
    assert!(matches!(
        CredentialState::from_pair(None, None, NAMES),
        CredentialState::Nothing
    ));
    assert!(matches!(pair(" ", ""), CredentialState::Nothing));
    for (state, expected) in [
        (pair("a", ""), ("THE_ID", "THE_SECRET")),
        (pair("", "b"), ("THE_SECRET", "THE_ID")),
    ] {
        let CredentialState::Half { set, missing, .. } = state else {
            panic!("half a pair is one")
        };
        assert_eq!((set.as_str(), missing.as_str()), expected);
    }
    let CredentialState::Token(token) = pair(" id.access\n", " s3cret ") else {
        panic!("a pair is a token")
    };
    assert_eq!((token.client_id(), token.origins().len()), ("id.access", 1));
}

#[tokio::test]
async fn the_pair_and_the_single_header() {
    let sending = secrets(None).ready().await;
    assert_eq!(header(&sending, "cf-access-client-id"), "id.access");
    assert_eq!(header(&sending, "cf-access-client-secret"), "s3cret-new");
    let token = ServiceToken::new("id.access", Secret::new("s3cret"), given())
        .in_header(Some(http::header::AUTHORIZATION));
    let single = Credentials::new(host(), CredentialState::Token(token)).unwrap();
    let single = single.ready().await;
    assert_eq!(
        header(&single, "authorization"),
        r#"{"cf-access-client-id":"id.access","cf-access-client-secret":"s3cret"}"#
    );
    assert_eq!(header(&single, "cf-access-client-id"), "");
    let broken = ServiceToken::new("id.access", Secret::new("a\u{1}b"), given());
    assert!(Credentials::new(host(), CredentialState::Token(broken)).is_err());
}

#[test]
fn bound_to_one_host() {
    let other = |url: &str| Host::of(&url.parse().unwrap()).unwrap();
    let credentials = secrets(None);
    assert!(credentials.may_go_to(&host()));
    for foreign in [
        "https://b.example/",
        "http://a.example/",
        "https://a.example:8443/",
        "https://x.a.example/",
    ] {
        assert!(!credentials.may_go_to(&other(foreign)), "{foreign}");
    }
    assert!(Credentials::default().may_go_to(&other("https://b.example/")));
    assert!(!format!("{credentials:?}").contains("s3cret"));
}

#[tokio::test]
async fn the_other_secret_is_tried_once() {
    let secret = |sending: &Sending| header(sending, "cf-access-client-secret");
    let credentials = secrets(Some("s3cret-old"));
    let first = credentials.ready().await;
    assert_eq!(secret(&first), "s3cret-new");
    assert!(
        credentials
            .after_refusal(&first, Refusal::Firewall)
            .await
            .is_none()
    );
    let second = credentials
        .after_refusal(&first, Refusal::TokenRejected)
        .await
        .unwrap();
    assert_eq!(secret(&second), "s3cret-old");
    // A call that was under way when the first one found out.
    let late = credentials
        .after_refusal(&first, Refusal::TokenRejected)
        .await
        .unwrap();
    assert_eq!(secret(&late), "s3cret-old");
    assert_eq!(
        secret(&credentials.ready().await),
        "s3cret-old",
        "kept for later calls"
    );
    // Neither works: no third attempt, and later calls try the newer one alone.
    assert!(
        credentials
            .after_refusal(&second, Refusal::TokenRejected)
            .await
            .is_none()
    );
    let again = credentials.ready().await;
    assert_eq!(secret(&again), "s3cret-new");
    assert!(
        credentials
            .after_refusal(&again, Refusal::TokenRejected)
            .await
            .is_none()
    );

    // The previous one passes, until its grace is over.
    let credentials = secrets(Some("s3cret-old"));
    let first = credentials.ready().await;
    let second = credentials
        .after_refusal(&first, Refusal::LoginRequired)
        .await
        .unwrap();
    credentials.admitted();
    let third = credentials
        .after_refusal(&second, Refusal::TokenNotAuthorised)
        .await
        .unwrap();
    assert_eq!(secret(&third), "s3cret-new");

    let single = secrets(None);
    let sending = single.ready().await;
    assert!(
        single
            .after_refusal(&sending, Refusal::TokenRejected)
            .await
            .is_none()
    );
}

const START: i64 = 1_000_000;

fn jwt(expires_at: i64, serial: usize) -> ApplicationToken {
    let claims = format!(
        r#"{{"iat":{},"exp":{expires_at},"aud":"a","n":{serial}}}"#,
        expires_at - 3600
    );
    ApplicationToken::parse(&format!("e30.{}.s3cret", BASE64_URL_SAFE_NO_PAD.encode(claims))).unwrap()
}

/// Takes two seconds for a token that lasts an hour, or fails.
struct Renewal {
    calls: StdMutex<usize>,
    works: AtomicBool,
    clock: Clock,
}

impl Renew for Renewal {
    fn renew<'a>(&'a self, _: &'a ApplicationToken) -> BoxFuture<'a, Result<ApplicationToken, RenewError>> {
        Box::pin(async {
            let serial = {
                let mut calls = self.calls.lock().unwrap();
                *calls += 1;
                *calls
            };
            tokio::time::sleep(Duration::from_secs(2)).await;
            if self.works.load(Ordering::Relaxed) {
                Ok(jwt((self.clock)() + 3600, serial))
            } else {
                Err(RenewError("the org token has ended".into()))
            }
        })
    }
}

fn login(expires_in: i64) -> (Credentials, Arc<Renewal>) {
    let started = Instant::now();
    let clock: Clock = Arc::new(move || START + i64::try_from(started.elapsed().as_secs()).unwrap());
    let renewal = Arc::new(Renewal {
        calls: StdMutex::new(0),
        works: AtomicBool::new(true),
        clock: Arc::clone(&clock),
    });
    let state = CredentialState::Login(jwt(START + expires_in, 0), Origin::Given("the test"));
    let credentials =
        Credentials::renewing(host(), state, Some(Arc::clone(&renewal) as Arc<dyn Renew>), clock).unwrap();
    (credentials, renewal)
}

fn token(sending: &Sending) -> String {
    let mut headers = HeaderMap::new();
    sending.add_to(&mut headers);
    headers["cf-access-token"].to_str().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_login_is_renewed_ahead_of_its_end_and_nobody_waits() {
    let (credentials, renewal) = login(3600);
    let first = token(&credentials.ready().await);
    tokio::time::sleep(Duration::from_secs(3299)).await;
    assert_eq!(token(&credentials.ready().await), first);
    assert_eq!(*renewal.calls.lock().unwrap(), 0, "not before its time");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = Instant::now();
    let all = join_all((0..50).map(|_| credentials.ready())).await;
    assert!(all.iter().all(|sending| token(sending) == first));
    assert_eq!(
        before.elapsed(),
        Duration::ZERO,
        "nobody waits for a token that still works"
    );
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_ne!(token(&credentials.ready().await), first);
    assert_eq!(*renewal.calls.lock().unwrap(), 1, "one flight");
}

#[tokio::test(start_paused = true)]
async fn an_ended_login_is_renewed_once_for_all_who_wait() {
    let (credentials, renewal) = login(-10);
    let before = Instant::now();
    let all = join_all((0..50).map(|_| credentials.ready())).await;
    assert_eq!(before.elapsed(), Duration::from_secs(2));
    assert_eq!(*renewal.calls.lock().unwrap(), 1);
    assert!(all.iter().all(|sending| token(sending) == token(&all[0])));
}

#[tokio::test(start_paused = true)]
async fn a_failed_renewal_fails_for_all_and_is_not_repeated_at_once() {
    let (credentials, renewal) = login(-10);
    renewal.works.store(false, Ordering::Relaxed);
    let before = Instant::now();
    join_all((0..50).map(|_| credentials.ready())).await;
    credentials.ready().await;
    assert_eq!(*renewal.calls.lock().unwrap(), 1);
    assert_eq!(
        before.elapsed(),
        Duration::from_secs(2),
        "nobody waits a second time"
    );
    renewal.works.store(true, Ordering::Relaxed);
    tokio::time::sleep(PAUSE).await;
    let ended = token(&credentials.ready().await);
    assert_eq!(*renewal.calls.lock().unwrap(), 2);
    assert_eq!(token(&credentials.ready().await), ended);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_goes_away_takes_nothing_along() {
    let (credentials, renewal) = login(-10);
    let first = tokio::time::timeout(Duration::from_secs(1), credentials.ready()).await;
    assert!(first.is_err());
    credentials.ready().await;
    assert_eq!(*renewal.calls.lock().unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_refused_login_is_renewed_once() {
    let (credentials, renewal) = login(3600);
    let refused = credentials.ready().await;
    let all = join_all((0..9).map(|_| credentials.after_refusal(&refused, Refusal::LoginRequired))).await;
    assert_eq!(*renewal.calls.lock().unwrap(), 1);
    assert!(
        all.iter()
            .flatten()
            .all(|sending| token(sending) != token(&refused))
    );
    assert_eq!(all.iter().flatten().count(), 9);
}
