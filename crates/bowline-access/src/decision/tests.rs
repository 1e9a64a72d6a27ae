//! Policies as a table (request × policies → decision), the refusal table, and properties.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    CLIENT_ID, CLIENT_SECRET, ENTROPY, Page, Presented, Refusal, RequestShape, RuleSet, ServiceToken, mint,
    refusal,
};

fn policy(action: &str, include: Value, more: Value) -> Arc<Policy> {
    let mut object = json!({"name": format!("{action} {include}"), "decision": action, "include": include});
    for (name, value) in more.as_object().unwrap() {
        object[name] = value.clone();
    }
    Arc::new(Policy::parse("p", &object).unwrap())
}

fn application(policies: Vec<Arc<Policy>>) -> Application {
    let mut application = Application::parse("a", "aud", &json!({"domain": "example.com"})).unwrap();
    application.policies = policies;
    application
}

fn token() -> ServiceToken {
    let mut token = mint("ci", &[7; ENTROPY], 1_000, "60s").unwrap().token;
    token.id = "t1".into();
    token
}

fn ada() -> Identity {
    Identity {
        email: "Ada@Example.com".into(),
        subject: "s".into(),
        nonce: "n".into(),
    }
}

fn judge(application: &Application, caller: &Caller<'_>, machines_only: bool) -> Result<String, Denial> {
    let groups = Groups::from([
        (
            "ops".to_owned(),
            RuleSet::parse(&json!({"include": [{"email_domain": {"domain": "example.com"}}, {"service_token": {"token_id": "t1"}}]}))
                .unwrap(),
        ),
        (
            "circle".to_owned(),
            RuleSet::parse(&json!({"include": [{"group": {"id": "circle"}}]})).unwrap(),
        ),
    ]);
    let terms = Terms {
        groups: &groups,
        machines_only,
    };
    match evaluate(application, caller, terms) {
        Decision::Allow(permit) => Ok(permit.identity().to_owned()),
        Decision::Deny(denial) => Err(denial),
    }
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Nobody,
    Machine,
    Ada,
    Certificate,
    Linked,
}

const EVERYBODY: [Who; 5] = [Who::Nobody, Who::Machine, Who::Ada, Who::Certificate, Who::Linked];

fn with_caller<T>(who: Who, then: impl FnOnce(&Caller<'_>) -> T) -> T {
    let (token, ada) = (token(), ada());
    let certificate = Certificate {
        common_name: "robot".into(),
    };
    let mut caller = Caller {
        address: Some("203.0.113.9".parse().unwrap()),
        ..Caller::default()
    };
    match who {
        Who::Nobody => {}
        Who::Machine => caller.service_token = Some(token.usable(1_000).unwrap()),
        Who::Ada => caller.identity = Some(&ada),
        Who::Certificate => caller.certificate = Some(&certificate),
        Who::Linked => caller.linked_application = Some("front"),
    }
    then(&caller)
}

#[test]
fn request_by_policies() {
    use DenyReason::*;
    use Who::*;
    let everyone = || json!([{"everyone": {}}]);
    let any_token = || json!([{"any_valid_service_token": {}}]);
    type Row = (Vec<Arc<Policy>>, Who, Result<&'static str, DenyReason>);
    let rows: Vec<Row> = vec![
        (vec![], Nobody, Err(NoCredentials)),
        (vec![], Machine, Err(NotAuthorised)),
        // Service Auth.
        (
            vec![policy("non_identity", any_token(), json!({}))],
            Machine,
            Ok("client"),
        ),
        (
            vec![policy("non_identity", any_token(), json!({}))],
            Nobody,
            Err(NoCredentials),
        ),
        (
            vec![policy("non_identity", any_token(), json!({}))],
            Ada,
            Err(NotAuthorised),
        ),
        (
            vec![policy(
                "non_identity",
                json!([{"service_token": {"token_id": "t1"}}]),
                json!({}),
            )],
            Machine,
            Ok("client"),
        ),
        (
            vec![policy(
                "non_identity",
                json!([{"service_token": {"token_id": "t2"}}]),
                json!({}),
            )],
            Machine,
            Err(NotAuthorised),
        ),
        (
            vec![policy("non_identity", json!([{"certificate": {}}]), json!({}))],
            Certificate,
            Ok("robot"),
        ),
        (
            vec![policy(
                "non_identity",
                json!([{"common_name": {"common_name": "robot"}}]),
                json!({}),
            )],
            Certificate,
            Ok("robot"),
        ),
        (
            vec![policy(
                "non_identity",
                json!([{"common_name": {"common_name": "other"}}]),
                json!({}),
            )],
            Certificate,
            Err(NotAuthorised),
        ),
        (
            vec![policy(
                "non_identity",
                json!([{"linked_app_token": {"app_uid": "front"}}]),
                json!({}),
            )],
            Linked,
            Ok("machine"),
        ),
        (
            vec![policy(
                "non_identity",
                json!([{"linked_app_token": {"app_uid": "front"}}]),
                json!({}),
            )],
            Nobody,
            Err(NoCredentials),
        ),
        (
            vec![policy(
                "non_identity",
                json!([{"ip": {"ip": "203.0.113.0/24"}}]),
                json!({}),
            )],
            Nobody,
            Ok("machine"),
        ),
        (
            vec![policy(
                "non_identity",
                json!([{"ip": {"ip": "203.0.113.8"}}]),
                json!({}),
            )],
            Nobody,
            Err(NoCredentials),
        ),
        (
            vec![policy(
                "non_identity",
                json!([{"email": {"email": "ada@example.com"}}]),
                json!({}),
            )],
            Ada,
            Err(NotAuthorised),
        ),
        // Require and exclude.
        (
            vec![policy(
                "non_identity",
                any_token(),
                json!({"require": [{"ip": {"ip": "203.0.113.0/24"}}]}),
            )],
            Machine,
            Ok("client"),
        ),
        (
            vec![policy(
                "non_identity",
                any_token(),
                json!({"require": [{"ip": {"ip": "198.51.100.0/24"}}]}),
            )],
            Machine,
            Err(NotAuthorised),
        ),
        (
            vec![policy(
                "non_identity",
                any_token(),
                json!({"exclude": [{"service_token": {"token_id": "t1"}}]}),
            )],
            Machine,
            Err(NotAuthorised),
        ),
        // A token in an allow policy does not admit.
        (
            vec![policy("allow", any_token(), json!({}))],
            Machine,
            Err(NotAuthorised),
        ),
        (
            vec![policy("allow", everyone(), json!({}))],
            Machine,
            Err(NotAuthorised),
        ),
        // People.
        (
            vec![policy("allow", everyone(), json!({}))],
            Ada,
            Ok("Ada@Example.com"),
        ),
        (
            vec![policy("allow", everyone(), json!({}))],
            Nobody,
            Err(NoCredentials),
        ),
        (
            vec![policy(
                "allow",
                json!([{"email": {"email": "ada@example.com"}}]),
                json!({}),
            )],
            Ada,
            Ok("Ada@Example.com"),
        ),
        (
            vec![policy(
                "allow",
                json!([{"email_domain": {"domain": "@example.com"}}]),
                json!({}),
            )],
            Ada,
            Ok("Ada@Example.com"),
        ),
        (
            vec![policy(
                "allow",
                json!([{"email_domain": {"domain": "ample.com"}}]),
                json!({}),
            )],
            Ada,
            Err(NotAuthorised),
        ),
        (
            vec![policy("allow", json!([{"group": {"id": "ops"}}]), json!({}))],
            Ada,
            Ok("Ada@Example.com"),
        ),
        (
            vec![policy(
                "non_identity",
                json!([{"group": {"id": "ops"}}]),
                json!({}),
            )],
            Machine,
            Ok("client"),
        ),
        // Order: bypass and Service Auth before allow and deny, then as listed.
        (
            vec![
                policy("deny", everyone(), json!({})),
                policy("non_identity", any_token(), json!({})),
            ],
            Machine,
            Ok("client"),
        ),
        (
            vec![
                policy("deny", everyone(), json!({})),
                policy("bypass", everyone(), json!({})),
            ],
            Nobody,
            Ok("anonymous"),
        ),
        (
            vec![
                policy("deny", everyone(), json!({})),
                policy("allow", everyone(), json!({})),
            ],
            Ada,
            Err(Denied),
        ),
        (
            vec![
                policy("allow", everyone(), json!({})),
                policy("deny", everyone(), json!({})),
            ],
            Ada,
            Ok("Ada@Example.com"),
        ),
        // What cannot be judged admits nobody, and refuses where that is its action.
        (
            vec![policy(
                "non_identity",
                json!([{"geo": {"country_code": "NL"}}]),
                json!({}),
            )],
            Machine,
            Err(Unsupported),
        ),
        (
            vec![policy(
                "non_identity",
                json!([{"geo": {"country_code": "NL"}}, {"everyone": {}}]),
                json!({}),
            )],
            Machine,
            Ok("client"),
        ),
        (
            vec![policy(
                "non_identity",
                any_token(),
                json!({"require": [{"device_posture": {"integration_uid": "x"}}]}),
            )],
            Machine,
            Err(Unsupported),
        ),
        (
            vec![policy(
                "non_identity",
                any_token(),
                json!({"exclude": [{"geo": {"country_code": "NL"}}]}),
            )],
            Machine,
            Err(Unsupported),
        ),
        (
            vec![
                policy("deny", json!([{"geo": {"country_code": "NL"}}]), json!({})),
                policy("allow", everyone(), json!({})),
            ],
            Ada,
            Err(Unsupported),
        ),
        (
            vec![policy(
                "non_identity",
                json!([{"group": {"id": "circle"}}]),
                json!({}),
            )],
            Machine,
            Err(Unsupported),
        ),
        (
            vec![policy(
                "non_identity",
                json!([{"group": {"id": "gone"}}]),
                json!({}),
            )],
            Machine,
            Err(Unsupported),
        ),
    ];
    for (policies, who, expected) in rows {
        let names: Vec<_> = policies.iter().map(|policy| policy.name.to_string()).collect();
        let got = with_caller(who, |caller| judge(&application(policies), caller, false));
        let got = got.map(|who| {
            if who.ends_with(".access") {
                "client".to_owned()
            } else {
                who
            }
        });
        assert_eq!(
            got.as_deref().map_err(|denial| denial.reason),
            expected,
            "{who:?} by {names:?}"
        );
    }
}

#[test]
fn the_documented_order() {
    // Allow A, Block B, Service Auth C, Bypass D, Allow E is evaluated as C, D, A, B, E.
    let named = |name: &str, action: &str, ip: &str| {
        policy(action, json!([{"ip": {"ip": ip}}]), json!({"name": name}))
    };
    let (hit, miss) = ("203.0.113.9", "198.51.100.1");
    let order = [
        ("C", "non_identity"),
        ("D", "bypass"),
        ("A", "allow"),
        ("B", "deny"),
        ("E", "allow"),
    ];
    for first in 0..order.len() {
        let fits = |name: &str| {
            let at = order.iter().position(|(other, _)| *other == name).unwrap();
            if at >= first { hit } else { miss }
        };
        let application = application(vec![
            named("A", "allow", fits("A")),
            named("B", "deny", fits("B")),
            named("C", "non_identity", fits("C")),
            named("D", "bypass", fits("D")),
            named("E", "allow", fits("E")),
        ]);
        let groups = Groups::new();
        let terms = Terms {
            groups: &groups,
            machines_only: false,
        };
        let by = with_caller(Who::Ada, |caller| match evaluate(&application, caller, terms) {
            Decision::Allow(permit) => permit.policy().to_owned(),
            Decision::Deny(denial) => denial.policy.unwrap().to_string(),
        });
        assert_eq!(by, order[first].0);
    }
}

#[test]
fn sessions_last_as_the_policy_says_then_the_application() {
    let mut own = application(vec![policy(
        "allow",
        json!([{"everyone": {}}]),
        json!({"session_duration": "90s"}),
    )]);
    let groups = Groups::new();
    let session = |application: &Application| {
        with_caller(Who::Ada, |caller| {
            match evaluate(
                application,
                caller,
                Terms {
                    groups: &groups,
                    machines_only: false,
                },
            ) {
                Decision::Allow(permit) => permit.session().map(|session| session.as_secs()),
                Decision::Deny(denial) => panic!("{denial:?}"),
            }
        })
    };
    assert_eq!(session(&own), Some(90));
    own.policies = vec![policy("allow", json!([{"everyone": {}}]), json!({}))];
    assert_eq!(session(&own), Some(86_400));
    own.policies = vec![policy("bypass", json!([{"everyone": {}}]), json!({}))];
    assert_eq!(session(&own), None);
}

/// The main table of refusals: who asks how, for applications with Service Auth only and with an allow policy.
#[test]
fn refusal_table() {
    let service = || {
        policy(
            "non_identity",
            json!([{"service_token": {"token_id": "t1"}}]),
            json!({}),
        )
    };
    let only = application(vec![service()]);
    let allow = application(vec![
        service(),
        policy("allow", json!([{"email": {"email": "b@c"}}]), json!({})),
    ]);
    let with_401 = |mut application: Application| {
        application.service_auth_401_redirect = true;
        application
    };
    let (only_401, allow_401) = (with_401(only.clone()), with_401(allow.clone()));
    let (nobody, wrong, other) = (
        DenyReason::NoCredentials,
        DenyReason::WrongSecret,
        DenyReason::NotAuthorised,
    );
    let plain = RequestShape::default();
    let xhr = RequestShape { xhr: true, ..plain };
    let machine = RequestShape {
        service_token: true,
        ..plain
    };
    let preflight = RequestShape {
        preflight: true,
        ..plain
    };
    for (name, shape, reason, strict, expected) in [
        // (Service Auth only, with allow, Service Auth only + 401, with allow + 401)
        ("no credentials", plain, nobody, false, [403, 302, 401, 302]),
        ("no credentials, XHR", xhr, nobody, false, [403, 401, 401, 401]),
        ("wrong secret", machine, wrong, false, [403, 302, 401, 401]),
        ("valid and not named", machine, other, false, [403, 302, 401, 401]),
        (
            "preflight",
            preflight,
            DenyReason::Preflight,
            false,
            [403, 403, 403, 403],
        ),
        (
            "strict, no credentials",
            plain,
            nobody,
            true,
            [403, 302, 401, 302],
        ),
        ("strict, wrong secret", machine, wrong, true, [401, 401, 401, 401]),
        (
            "strict, half a pair",
            machine,
            DenyReason::HalfPair,
            true,
            [401, 401, 401, 401],
        ),
        (
            "strict, valid and not named",
            machine,
            other,
            true,
            [403, 403, 403, 403],
        ),
        (
            "person without a policy",
            plain,
            other,
            false,
            [403, 302, 401, 302],
        ),
        (
            "refused by a deny policy",
            plain,
            DenyReason::Denied,
            false,
            [403, 403, 401, 401],
        ),
    ] {
        let got = [&only, &allow, &only_401, &allow_401]
            .map(|application| refusal(application, &reason.into(), shape, strict).status);
        assert_eq!(got, expected, "{name}");
    }
    assert_eq!(
        refusal(&allow, &nobody.into(), xhr, false),
        Refusal {
            status: 401,
            page: Page::Unauthorized,
            challenge: true
        }
    );
    assert_eq!(
        refusal(&allow, &nobody.into(), plain, false),
        Refusal {
            status: 302,
            page: Page::Found,
            challenge: true
        }
    );
}

#[test]
fn shapes_of_requests() {
    let mut headers = HeaderMap::new();
    headers.insert("sec-fetch-mode", HeaderValue::from_static("cors"));
    assert_eq!(
        RequestShape::read(&Method::GET, &headers, false),
        RequestShape::default()
    );
    headers.insert("x-requested-with", HeaderValue::from_static("XMLHttpRequest"));
    assert!(RequestShape::read(&Method::GET, &headers, false).xhr);
    headers.insert("origin", HeaderValue::from_static("https://a"));
    headers.insert("access-control-request-method", HeaderValue::from_static("PUT"));
    assert!(RequestShape::read(&Method::OPTIONS, &headers, false).preflight);
    assert!(!RequestShape::read(&Method::GET, &headers, false).preflight);
}

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(
            http::HeaderName::try_from(*name).unwrap(),
            HeaderValue::from_str(value).unwrap(),
        );
    }
    headers
}

#[test]
fn a_token_by_its_state() {
    let minted = mint("ci", &[7; ENTROPY], 1_000, "60s").unwrap();
    let secret = minted.client_secret.expose().to_owned();
    let disabled = ServiceToken {
        enabled: false,
        ..minted.token.clone()
    };
    let forever = mint("ci", &[7; ENTROPY], 1_000, "forever").unwrap().token;
    let outcome = |token: &ServiceToken, secret: &str, now| token.authenticate(secret.as_bytes(), now).err();
    assert_eq!(outcome(&minted.token, &secret, 1_059), None);
    assert_eq!(outcome(&minted.token, &secret, 1_060), Some(DenyReason::Expired));
    assert_eq!(outcome(&forever, &secret, i64::MAX), None);
    assert_eq!(outcome(&disabled, &secret, 1_000), Some(DenyReason::Disabled));
    assert_eq!(outcome(&disabled, "wrong", 1_000), Some(DenyReason::WrongSecret));

    // Rotation: both secrets in the time of grace, then the new one alone.
    let rotated = minted
        .token
        .rotate(&[9; crate::SECRET_ENTROPY], 1_010, Some(1_020));
    let new = rotated.client_secret.expose().to_owned();
    assert_ne!(new, secret);
    assert_eq!(rotated.token.secret_version, 2);
    assert_eq!(outcome(&rotated.token, &secret, 1_019), None);
    assert_eq!(
        outcome(&rotated.token, &secret, 1_020),
        Some(DenyReason::WrongSecret)
    );
    assert_eq!(outcome(&rotated.token, &new, 1_050), None);
    let by_old = rotated
        .token
        .authenticate(secret.as_bytes(), 1_015)
        .unwrap()
        .presented();
    assert!(rotated.token.still_accepts(by_old, 1_019) && !rotated.token.still_accepts(by_old, 1_020));
    let at_once = minted
        .token
        .rotate(&[9; crate::SECRET_ENTROPY], 1_010, None)
        .token;
    assert_eq!(outcome(&at_once, &secret, 1_010), Some(DenyReason::WrongSecret));
}

#[test]
fn what_is_presented() {
    let custom = http::header::AUTHORIZATION;
    let read = |pairs: &[(&str, &str)], custom| match Presented::read(&headers(pairs), custom) {
        Presented::Pair { client_id, secret } => format!("{client_id}/{}", String::from_utf8_lossy(&secret)),
        Presented::Nothing => "nothing".into(),
        Presented::Half { missing } => format!("no {missing}"),
        Presented::Malformed => "malformed".into(),
    };
    let (id, secret) = (
        ("cf-access-client-id", "  i "),
        ("cf-access-client-secret", "s  "),
    );
    let single = (
        "authorization",
        r#"{"cf-access-client-id": "i", "cf-access-client-secret": " s "}"#,
    );
    assert_eq!(read(&[id, secret], None), "i/s");
    assert_eq!(read(&[id], None), "no CF-Access-Client-Secret");
    assert_eq!(read(&[secret], None), "no CF-Access-Client-Id");
    assert_eq!(
        read(&[id, ("cf-access-client-secret", " ")], None),
        "no CF-Access-Client-Secret"
    );
    assert_eq!(read(&[id, secret, secret], None), "malformed");
    assert_eq!(read(&[], None), "nothing");
    assert_eq!(read(&[single], None), "nothing");
    assert_eq!(read(&[single], Some(&custom)), "i/s");
    assert_eq!(read(&[id, secret], Some(&custom)), "i/s");
    assert_eq!(read(&[single, id, secret], Some(&custom)), "malformed");
    assert_eq!(read(&[single, single], Some(&custom)), "malformed");
    for (value, expected) in [
        (
            r#"{"CF-Access-Client-Id":"i","CF-Access-Client-Secret":"s"}"#,
            "malformed",
        ),
        (r#"{"cf-access-client-id":"i"}"#, "malformed"),
        (
            r#"{"cf-access-client-id":"i","cf-access-client-id":"i","cf-access-client-secret":"s"}"#,
            "malformed",
        ),
        (
            r#"{"cf-access-client-id":"\u0069","cf-access-client-secret":"\u0073"}"#,
            "i/s",
        ),
        ("Bearer abc", "nothing"),
    ] {
        assert_eq!(
            read(&[("authorization", value)], Some(&custom)),
            expected,
            "{value}"
        );
    }
}

#[test]
fn shapes_and_silence() {
    let minted = mint("ci", &[0xab; ENTROPY], 0, "forever").unwrap();
    assert_eq!(&*minted.token.client_id, format!("{}.access", "ab".repeat(16)));
    assert_eq!(minted.token.id, "abababab-abab-4bab-abab-abababababab");
    let secret = minted.client_secret.expose().to_owned();
    assert_eq!((secret.len(), &secret[..6]), (54, "cfast_"));
    let mut both = headers(&[("cf-access-client-id", "id")]);
    both.append(CLIENT_SECRET, HeaderValue::from_str(&secret).unwrap());
    assert!(both.contains_key(CLIENT_ID));
    let shown = format!("{minted:?} {:?}", Presented::read(&both, None));
    assert!(!shown.contains(&secret[6..20]), "{shown}");
}

#[test]
fn credentials_are_stripped() {
    let all = [
        ("cf-access-client-id", "id"),
        ("cf-access-client-secret", "secret"),
        ("cf-access-jwt-assertion", "spoofed"),
        ("cf-access-authenticated-user-email", "spoofed"),
        ("cookie", "a=1; CF_Authorization=x;b=2"),
        ("cookie", "CF_AppSession=y; CF_Binding=z"),
        ("mf-header-cookie", "theirs"),
        ("authorization", "Bearer theirs"),
        ("cf-workers-preview-token", "p"),
    ];
    let names = |headers: &HeaderMap| headers.keys().map(|name| name.to_string()).collect::<Vec<_>>();
    let mut for_binding = headers(&all);
    crate::strip_credentials(&mut for_binding);
    assert_eq!(names(&for_binding), ["mf-header-cookie"]);
    let mut for_origin = headers(&all);
    crate::strip_access(&mut for_origin, Some(&http::header::AUTHORIZATION));
    assert_eq!(for_origin["cookie"], "a=1; b=2");
    assert_eq!(for_origin["authorization"], "Bearer theirs");
    assert!(
        !names(&for_origin)
            .iter()
            .any(|name| name.starts_with("cf-access"))
    );
    let mut single = headers(&[
        ("authorization", "{\"cf-access-client-id\":1}"),
        ("cookie", "CF_Authorization=x"),
    ]);
    crate::strip_access(&mut single, Some(&http::header::AUTHORIZATION));
    assert!(single.is_empty());
}

fn any_rule() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({"everyone": {}})),
        Just(json!({"any_valid_service_token": {}})),
        Just(json!({"service_token": {"token_id": "t1"}})),
        Just(json!({"service_token": {"token_id": "t2"}})),
        Just(json!({"linked_app_token": {"app_uid": "front"}})),
        Just(json!({"certificate": {}})),
        Just(json!({"common_name": {"common_name": "robot"}})),
        Just(json!({"ip": {"ip": "203.0.113.0/24"}})),
        Just(json!({"ip": {"ip": "10.0.0.0/8"}})),
        Just(json!({"group": {"id": "ops"}})),
        Just(json!({"geo": {"country_code": "NL"}})),
    ]
}

fn any_policy() -> impl Strategy<Value = Value> {
    let rules = |least| prop::collection::vec(any_rule(), least..4);
    let action = prop::sample::select(Action::ALL.as_slice());
    (action, rules(1), rules(0), rules(0)).prop_map(|(action, include, require, exclude)| {
        json!({
            "name": "p", "decision": action.as_str(),
            "include": include, "require": require, "exclude": exclude,
        })
    })
}

fn parsed(policies: &[Value]) -> Application {
    application(
        policies
            .iter()
            .map(|policy| Arc::new(Policy::parse("p", policy).unwrap()))
            .collect(),
    )
}

/// Every rule of an unknown kind replaced.
fn instead_of_unknown(policies: &[Value], rule: &Value) -> Vec<Value> {
    let text = serde_json::to_string(policies).unwrap();
    let geo = serde_json::to_string(&json!({"geo": {"country_code": "NL"}})).unwrap();
    serde_json::from_str(&text.replace(&geo, &rule.to_string())).unwrap()
}

proptest! {
    /// A rule that cannot be judged never lets anybody in who would not get in whatever the rule said.
    #[test]
    fn the_unknown_never_widens(policies in prop::collection::vec(any_policy(), 0..4), who in prop::sample::select(EVERYBODY.as_slice())) {
        let admitted = with_caller(who, |caller| judge(&parsed(&policies), caller, false).is_ok());
        if admitted {
            for rule in [json!({"everyone": {}}), json!({"ip": {"ip": "192.0.2.1"}})] {
                let known = instead_of_unknown(&policies, &rule);
                prop_assert!(with_caller(who, |caller| judge(&parsed(&known), caller, false).is_ok()));
            }
        }
    }

    /// More `require` and more `exclude` never admit more; policies that deny never admit.
    #[test]
    fn conditions_only_narrow(policies in prop::collection::vec(any_policy(), 0..4), rule in any_rule(), who in prop::sample::select(EVERYBODY.as_slice())) {
        let admitting: Vec<Value> = policies.iter().filter(|policy| policy["decision"] != "deny").cloned().collect();
        for list in ["require", "exclude"] {
            let narrowed: Vec<Value> = admitting.iter().cloned().map(|mut policy| {
                policy[list].as_array_mut().unwrap().push(rule.clone());
                policy
            }).collect();
            let before = with_caller(who, |caller| judge(&parsed(&admitting), caller, false).is_ok());
            let after = with_caller(who, |caller| judge(&parsed(&narrowed), caller, false).is_ok());
            prop_assert!(before || !after);
        }
        let denying: Vec<Value> = policies.iter().cloned().map(|mut policy| { policy["decision"] = json!("deny"); policy }).collect();
        prop_assert!(with_caller(who, |caller| judge(&parsed(&denying), caller, false).is_err()));
    }

    /// Under strict authentication nobody gets in by an allow policy, and whoever gets in would have without it.
    #[test]
    fn strict_only_narrows(policies in prop::collection::vec(any_policy(), 0..4), who in prop::sample::select(EVERYBODY.as_slice())) {
        let without_allow: Vec<Value> = policies.iter().filter(|policy| policy["decision"] != "allow").cloned().collect();
        let strict = with_caller(who, |caller| judge(&parsed(&policies), caller, true).is_ok());
        let plain = with_caller(who, |caller| judge(&parsed(&policies), caller, false).is_ok());
        prop_assert!(plain || !strict);
        prop_assert_eq!(strict, with_caller(who, |caller| judge(&parsed(&without_allow), caller, false).is_ok()));
    }
}
