//! What the gate adds to a request with a service token, warm: everything from the request's head to the call of whoever
//! stands behind, on a store in a file as `bowline access gateway` has it. Prints one JSON object.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use bowline_access::{Permit, ServiceToken};
use bowline_access_store::AccessStore;
use bowline_binding::{Body, empty};
use bowline_gateway::{Connection, Gateway, GatewayOptions, Guarded, Mode, now};
use http::{Request, Response};
use serde_json::json;

const ROUNDS: usize = 31;
const CALLS: u32 = 2_000;
/// Applications and tokens beside the ones that are asked for.
const OTHERS: usize = 20;

/// Answers at once.
struct Nothing<const SESSIONS: bool>;

impl<const SESSIONS: bool> Guarded for Nothing<SESSIONS> {
    const SESSIONS: bool = SESSIONS;

    async fn call(&self, _: Permit, _: Request<Body>) -> Response<Body> {
        Response::new(empty())
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let rows = runtime.block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let store = AccessStore::open(folder.path()).await.unwrap();
        let mut credentials = None;
        for number in 0..=OTHERS {
            let minted = store.create_token(&format!("t{number}"), "8760h", now()).await.unwrap();
            let application = json!({"name": format!("a{number}"), "domain": format!("h{number}.example.com")});
            let application = store.put_application(None, &application, now()).await.unwrap();
            let policy = json!({
                "name": "machines", "decision": "non_identity", "include": [{"service_token": {"token_id": minted.token.id}}],
            });
            store.put_policy(None, Some(&application.id), &policy, now()).await.unwrap();
            credentials = Some((format!("h{number}.example.com"), minted));
        }
        let (host, minted) = credentials.unwrap();
        let request = || {
            Request::builder()
                .uri("/api/items?page=1")
                .header("host", &host)
                .header("user-agent", "bench")
                .header("accept", "*/*")
                .header("cf-access-client-id", &*minted.token.client_id)
                .header("cf-access-client-secret", minted.client_secret.expose())
                .body(empty())
                .unwrap()
        };
        let gateway = |mode| {
            let options = GatewayOptions {
                mode,
                team_domain: "https://team.example".into(),
                clock: now,
                login: None,
            };
            Gateway::new(store.clone(), options)
        };
        let guard = gateway(Mode::Guard).await.unwrap();
        let connection = Connection::new(Some([127, 0, 0, 1].into()));
        let mut origin = Vec::new();
        let mut bindings = Vec::new();
        for _ in 0..ROUNDS {
            origin.push(round(&guard, &Nothing::<true>, &connection, &request).await);
            bindings.push(round(&guard, &Nothing::<false>, &connection, &request).await);
        }
        let [first, last] = compares(&minted.token, minted.client_secret.expose());
        [
            ("origin", median(origin)),
            ("bindings", median(bindings)),
            ("wrong_first", median(first)),
            ("wrong_last", median(last)),
        ]
    });
    let rows: serde_json::Map<_, _> = rows
        .into_iter()
        .map(|(name, took)| (name.to_owned(), json!(took.as_nanos() as f64 / 1e3)))
        .collect();
    println!("{}", serde_json::Value::from(rows));
}

/// The time a compare of secrets takes that differ in their first character, and in their last.
fn compares(token: &ServiceToken, secret: &str) -> [Vec<Duration>; 2] {
    let changed = |at: usize| {
        let mut bytes = secret.as_bytes().to_vec();
        bytes[at] ^= 1;
        bytes
    };
    let wrong = [changed(0), changed(secret.len() - 1)];
    let mut took = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (secret, took) in wrong.iter().zip(&mut took) {
            let start = Instant::now();
            for _ in 0..CALLS * 10 {
                assert!(black_box(token).authenticate(black_box(secret), 0).is_err());
            }
            took.push(start.elapsed() / (CALLS * 10));
        }
    }
    took
}

/// The time of one call; making the requests is not part of it.
async fn round<G: Guarded>(
    gateway: &Gateway,
    guarded: &G,
    connection: &Connection,
    request: impl Fn() -> Request<Body>,
) -> Duration {
    let requests: Vec<_> = (0..CALLS).map(|_| request()).collect();
    let start = Instant::now();
    for request in requests {
        let response = gateway.call(guarded, connection, request).await;
        assert_eq!(response.status(), 200);
    }
    start.elapsed() / CALLS
}

fn median(mut sample: Vec<Duration>) -> Duration {
    sample.sort_unstable();
    sample[sample.len() / 2]
}
