//! What depends on the time: with a clock that is moved by hand.

use std::sync::atomic::{AtomicI64, Ordering};

use bowline_binding::{empty, full};
use serde_json::json;

use super::*;

const HOST: &str = "app.example.com";
const DAY: i64 = 24 * 3600;
/// When everything begins.
const START: i64 = 1_700_000_000;

/// An origin that answers with the assertion it got.
struct Origin;

impl Guarded for Origin {
    const SESSIONS: bool = true;

    async fn call(&self, _: Permit, request: Request<Body>) -> Response<Body> {
        let assertion = request.headers().get(JWT_ASSERTION).cloned();
        let mut response = Response::new(full(""));
        if let Some(assertion) = assertion {
            response.headers_mut().insert(JWT_ASSERTION, assertion);
        }
        response
    }
}

async fn gateway(store: &AccessStore, clock: fn() -> UnixSeconds) -> Gateway {
    let options = GatewayOptions {
        mode: Mode::Guard,
        team_domain: "https://team.example".into(),
        clock,
        login: None,
    };
    Gateway::new(store.clone(), options).await.unwrap()
}

async fn send(gateway: &Gateway, headers: &[(&str, &str)]) -> Response<Body> {
    let mut request = Request::builder().uri("/").header("host", HOST);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let connection = Connection::new(Some([127, 0, 0, 1].into()));
    gateway
        .call(&Origin, &connection, request.body(empty()).unwrap())
        .await
}

fn assertion(response: &Response<Body>) -> String {
    response.headers()[JWT_ASSERTION].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn sessions_end_by_their_time_and_by_their_key() {
    static NOW: AtomicI64 = AtomicI64::new(START);
    fn clock() -> UnixSeconds {
        NOW.load(Ordering::Relaxed)
    }
    static BEHIND: AtomicI64 = AtomicI64::new(0);
    fn behind() -> UnixSeconds {
        clock() - BEHIND.load(Ordering::Relaxed)
    }
    let store = AccessStore::in_memory().await.unwrap();
    let application = json!({"name": "app", "domain": HOST, "session_duration": "720h"});
    let application = store.put_application(None, &application, START).await.unwrap();
    for (name, decision, rule) in [
        ("machines", "non_identity", json!({"any_valid_service_token": {}})),
        ("people", "allow", json!({"everyone": {}})),
    ] {
        let require = if decision == "allow" {
            json!([{"service_token": {"token_id": "none"}}])
        } else {
            json!([])
        };
        let policy = json!({"name": name, "decision": decision, "include": [rule], "require": require});
        store
            .put_policy(None, Some(&application.id), &policy, START)
            .await
            .unwrap();
    }
    let minted = store.create_token("machine", "8760h", START).await.unwrap();
    let gate = gateway(&store, clock).await;
    let id = minted.token.client_id.to_string();
    let pair = [
        ("cf-access-client-id", id.as_str()),
        ("cf-access-client-secret", minted.client_secret.expose()),
    ];
    let token = assertion(&send(&gate, &pair).await);
    let cookie = format!("CF_Authorization={token}");
    let replay = async |gate: &Gateway| send(gate, &[("cookie", &cookie)]).await;
    let response = replay(&gate).await;
    assert_eq!(response.status(), 200);
    assert_eq!(assertion(&response), token, "the session goes on as it is");

    // A gateway whose clock is behind takes what is at most a minute from its future.
    let other = gateway(&store, behind).await;
    for (seconds, status) in [(0, 200), (60, 200), (61, 302), (3_600, 302)] {
        BEHIND.store(seconds, Ordering::Relaxed);
        assert_eq!(replay(&other).await.status(), status, "{seconds} s behind");
    }

    // A new key signs from now on; the one before verifies for a week.
    NOW.store(START + DAY, Ordering::Relaxed);
    maintenance::rotate(&store, clock()).await.unwrap();
    let renewed = assertion(&send(&gate, &pair).await);
    assert_ne!(renewed.split('.').next(), token.split('.').next());
    for (seconds, status) in [(DAY, 200), (7 * DAY - 1, 200), (7 * DAY, 302)] {
        NOW.store(START + DAY + seconds, Ordering::Relaxed);
        assert_eq!(
            replay(&gate).await.status(),
            status,
            "{seconds} s after the rotation"
        );
    }
    // The new one lasts until its own end, to the second.
    for (seconds, status) in [(30 * DAY - 1, 200), (30 * DAY, 302)] {
        NOW.store(START + DAY + seconds, Ordering::Relaxed);
        let cookie = format!("CF_Authorization={renewed}");
        assert_eq!(
            send(&gate, &[("cookie", &cookie)]).await.status(),
            status,
            "{seconds} s"
        );
    }
    // An assertion is handed out again while enough of its time is left, and made anew in time.
    let again = assertion(&send(&gate, &pair).await);
    assert_ne!(again, renewed);
    assert_eq!(assertion(&send(&gate, &pair).await), again);
}

#[tokio::test]
async fn a_grace_and_a_token_end_to_the_second() {
    static NOW: AtomicI64 = AtomicI64::new(START);
    fn clock() -> UnixSeconds {
        NOW.load(Ordering::Relaxed)
    }
    let store = AccessStore::in_memory().await.unwrap();
    let application = json!({"name": "app", "domain": HOST});
    let application = store.put_application(None, &application, START).await.unwrap();
    let policy =
        json!({"name": "m", "decision": "non_identity", "include": [{"any_valid_service_token": {}}]});
    store
        .put_policy(None, Some(&application.id), &policy, START)
        .await
        .unwrap();
    let old = store.create_token("machine", "1000s", START).await.unwrap();
    let new = store
        .rotate_token(&old.token, Some(START + 100), START)
        .await
        .unwrap();
    let gate = gateway(&store, clock).await;
    let id = old.token.client_id.to_string();
    for (seconds, with_old, with_new) in [
        (0, 200, 200),
        (99, 200, 200),
        (100, 403, 200),
        (999, 403, 200),
        (1_000, 403, 403),
    ] {
        NOW.store(START + seconds, Ordering::Relaxed);
        for (secret, status) in [(&old.client_secret, with_old), (&new.client_secret, with_new)] {
            let pair = [
                ("cf-access-client-id", id.as_str()),
                ("cf-access-client-secret", secret.expose()),
            ];
            assert_eq!(send(&gate, &pair).await.status(), status, "{seconds} s");
        }
    }
}
