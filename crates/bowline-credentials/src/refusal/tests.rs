use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;

const PAGE: &str = "<title>Error \u{30fb} Cloudflare Access</title>";
const LOGIN: &str = "https://t.cloudflareaccess.com/cdn-cgi/access/login/h";

type Row<'a> = (u16, &'a [(&'a str, &'a str)], &'a str, [Option<Refusal>; 3]);

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| {
            (
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            )
        })
        .collect()
}

fn exchange(asked: Asked, sent: Sent, admitted: bool) -> Exchange {
    Exchange {
        asked,
        sent,
        passes_requests_only: admitted,
    }
}

fn judge(status: u16, pairs: &[(&str, &str)], body: &str, exchange: Exchange) -> Option<Judgement> {
    let (status, headers) = (StatusCode::from_u16(status).unwrap(), headers(pairs));
    let judgement = classify(status, &headers, body.as_bytes(), exchange);
    if !needs_body(status, &headers) && exchange.asked == Asked::Request {
        assert_eq!(
            classify(status, &headers, b"", exchange),
            judgement,
            "told from the head alone: {status} {headers:?}"
        );
    }
    judgement
}

fn meta(claims: &str) -> String {
    let payload = BASE64_URL_SAFE_NO_PAD.encode(claims);
    format!("{LOGIN}?kid=aud1&meta=e30.{payload}.c2ln&redirect_url=%2F")
}

#[test]
fn what_is_refused_by_answer_and_credential() {
    use Refusal::{Firewall, LoginRequired, TokenNotAuthorised, TokenRejected, TunnelDown, WebSocketRefused};
    let recognised = meta(r#"{"service_token_status":true}"#);
    let unrecognised = meta(r#"{"service_token_status":false}"#);
    let (aud, resource) = (
        ("cf-access-aud", "x"),
        (
            "www-authenticate",
            "Bearer resource_metadata=\"https://h/.well-known/cloudflare-access-protected-resource/\"",
        ),
    );
    let challenge = ("www-authenticate", "Cloudflare-Access resource_metadata=\"x\"");
    #[rustfmt::skip]
    // status, headers, body; then the verdict when nothing, a service token, an application token was sent.
    let table: &[Row<'_>] = &[
        (403, &[], PAGE, [Some(LoginRequired), Some(TokenNotAuthorised), Some(TokenNotAuthorised)]),
        (403, &[aud], "", [Some(LoginRequired), Some(TokenNotAuthorised), Some(TokenNotAuthorised)]),
        (403, &[("cf-access-domain", "h")], "", [Some(LoginRequired), Some(TokenNotAuthorised), Some(TokenNotAuthorised)]),
        (403, &[("cf-access-error", "1")], "", [Some(LoginRequired), Some(TokenNotAuthorised), Some(TokenNotAuthorised)]),
        (401, &[], PAGE, [Some(LoginRequired), Some(TokenRejected), Some(LoginRequired)]),
        (401, &[challenge], "", [Some(LoginRequired), Some(TokenRejected), Some(LoginRequired)]),
        (401, &[resource], "", [Some(LoginRequired), Some(TokenRejected), Some(LoginRequired)]),
        (302, &[("location", LOGIN)], "", [Some(LoginRequired), Some(TokenRejected), Some(LoginRequired)]),
        (302, &[("location", &unrecognised)], "", [Some(LoginRequired), Some(TokenRejected), Some(LoginRequired)]),
        (302, &[("location", &recognised)], "", [Some(LoginRequired), Some(TokenNotAuthorised), Some(LoginRequired)]),
        (307, &[("location", "/cdn-cgi/access/login/h")], "", [Some(LoginRequired), Some(TokenRejected), Some(LoginRequired)]),
        (302, &[("location", "https://T.CloudflareAccess.com:443/x")], "", [Some(LoginRequired), Some(TokenRejected), Some(LoginRequired)]),
        (302, &[("location", "//t.cloudflareaccess.com/x")], "", [Some(LoginRequired), Some(TokenRejected), Some(LoginRequired)]),
        (302, &[("location", "https://example.com/cdn-cgi/access/login/h")], "", [Some(LoginRequired), Some(TokenRejected), Some(LoginRequired)]),
        // What only looks like it.
        (403, &[("cf-mitigated", "challenge"), aud], PAGE, [Some(Firewall); 3]),
        (503, &[("cf-mitigated", "challenge")], "", [Some(Firewall); 3]),
        (403, &[], "error code: 1010", [Some(Firewall); 3]),
        (530, &[], "error code: 1033", [Some(TunnelDown); 3]),
        (530, &[], "<span>Error</span><span>1033</span>", [Some(TunnelDown); 3]),
        (530, &[], "error code: 1016", [None; 3]),
        // The remote's own answers.
        (403, &[], "you may not", [None; 3]),
        (403, &[], "", [None; 3]),
        (401, &[("www-authenticate", "Bearer")], "", [None; 3]),
        (200, &[aud], PAGE, [None; 3]),
        (404, &[], PAGE, [None; 3]),
        (500, &[aud], PAGE, [None; 3]),
        (302, &[("location", "https://example.com/?x=.cloudflareaccess.com")], "", [None; 3]),
        (302, &[("location", "https://cloudflareaccess.com.example.com/")], "", [None; 3]),
        (302, &[("location", "https://notcloudflareaccess.com/")], "", [None; 3]),
        (302, &[("location", "https://t.cloudflareaccess.com@example.com/")], "", [None; 3]),
        (302, &[("location", "https://exa mple/")], "", [None; 3]),
        (302, &[], "", [None; 3]),
    ];
    for (status, headers, body, expected) in table {
        for (sent, expected) in [Sent::Nothing, Sent::ServiceToken, Sent::ApplicationToken]
            .into_iter()
            .zip(expected)
        {
            for asked in [Asked::Request, Asked::Upgrade, Asked::Session] {
                let got = judge(*status, headers, body, exchange(asked, sent, false));
                assert_eq!(
                    got.map(|judgement| judgement.refusal),
                    *expected,
                    "{status} {headers:?} {body} {sent:?} {asked:?}"
                );
            }
        }
    }

    // What passes as a request and not as an upgrade.
    for (asked, headers, expected) in [
        (Asked::Upgrade, &[aud][..], Some(WebSocketRefused)),
        (Asked::Session, &[aud], Some(WebSocketRefused)),
        (Asked::Session, &[], Some(WebSocketRefused)),
        (Asked::Upgrade, &[], None),
        (Asked::Request, &[], None),
        (Asked::Request, &[aud], Some(TokenNotAuthorised)),
    ] {
        let got = judge(403, headers, "", exchange(asked, Sent::ServiceToken, true));
        assert_eq!(
            got.map(|judgement| judgement.refusal),
            expected,
            "{asked:?} {headers:?}"
        );
    }
}

#[test]
fn a_redirect_tells_about_the_application() {
    let location = meta(r#"{"type":"meta","hostname":"app.example.com","service_token_status":false}"#);
    let judgement = judge(
        302,
        &[("location", &location), ("cf-ray", "8f\u{9}00-TXL")],
        "",
        exchange(Asked::Request, Sent::Nothing, false),
    );
    assert_eq!(
        judgement.unwrap().evidence,
        Evidence {
            marks: vec!["redirect to a login page"],
            audience: Some("aud1".into()),
            application: Some("app.example.com".into()),
            team_domain: Some("t.cloudflareaccess.com".into()),
            service_token_status: Some(false),
            ray: Some("8f00-TXL".into()),
        }
    );
    for nonsense in ["meta=", "meta=a.b", "meta=a.!!!.c", "meta=a.W10.c", "meta=é"] {
        let location = format!("{LOGIN}?{nonsense}");
        let got = judge(
            302,
            &[("location", &location)],
            "",
            exchange(Asked::Request, Sent::Nothing, false),
        );
        assert_eq!(got.unwrap().evidence.service_token_status, None, "{nonsense}");
    }
}

proptest! {
    /// Whatever a peer answers, judging it ends, shows nothing a terminal would act on, and never takes an answer for
    /// Access's that has none of its marks.
    #[test]
    fn any_answer(
        status in 100u16..1000,
        names in proptest::collection::vec("(location|cf-access-aud|cf-access-domain|www-authenticate|cf-mitigated|cf-ray|x-own)", 0..4),
        value in proptest::collection::vec(any::<u8>().prop_filter("a header's", |byte| *byte == 9 || (32..=255).contains(byte) && *byte != 127), 0..80),
        body in proptest::collection::vec(any::<u8>(), 0..200),
        asked in prop_oneof![Just(Asked::Request), Just(Asked::Upgrade), Just(Asked::Session)],
        sent in prop_oneof![Just(Sent::Nothing), Just(Sent::ServiceToken), Just(Sent::ApplicationToken)],
        admitted: bool,
    ) {
        let mut headers = HeaderMap::new();
        for name in &names {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_bytes(&value).unwrap());
        }
        let status = StatusCode::from_u16(status).unwrap();
        let judgement = classify(status, &headers, &body, exchange(asked, sent, admitted));
        if let Some(judgement) = judgement {
            prop_assert!(!judgement.evidence.marks.is_empty());
            for text in [&judgement.evidence.audience, &judgement.evidence.application, &judgement.evidence.ray].into_iter().flatten() {
                prop_assert!(text.chars().count() <= 256 && !text.chars().any(char::is_control));
            }
            prop_assert!(judgement.refusal != Refusal::WebSocketRefused || (asked != Asked::Request && admitted));
        }
        // A success is never a refusal.
        if status.is_success() || status.is_informational() {
            prop_assert_eq!(classify(status, &headers, PAGE.as_bytes(), exchange(asked, sent, admitted)), None);
        }
    }

    /// A login redirect with any tail is one, on every host of a team.
    #[test]
    fn any_login(team in "[a-z0-9]{1,20}", tail in "[ -~]{0,60}") {
        let location = format!("https://{team}.cloudflareaccess.com/{tail}");
        let got = judge(302, &[("location", &location)], "", exchange(Asked::Session, Sent::Nothing, false));
        prop_assert_eq!(got.map(|judgement| judgement.refusal), Some(Refusal::LoginRequired));
    }
}
