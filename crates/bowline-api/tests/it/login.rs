//! wrangler's login: used, renewed, and kept as wrangler keeps it.

use bowline_api::{Client, Credentials, LoginEndpoint, WranglerLogin, accounts};
use serde_json::json;

use crate::server::{Answer, Server, good};

const TOKEN_CALL: &str = "POST /oauth2/token";
const LIST: &str = "GET /client/v4/accounts?page=1";

struct Login {
    server: Server,
    folder: tempfile::TempDir,
}

impl Login {
    async fn new(file: &str) -> Self {
        let server = Server::start().await;
        server.on(LIST, [good(json!([{"id": "a"}]))]);
        server.on("GET /client/v4/memberships?page=1", [good(json!([]))]);
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("default.toml"), file).unwrap();
        Self { server, folder }
    }

    fn client(&self) -> Client {
        let endpoint = LoginEndpoint {
            token_url: format!("{}/oauth2/token", self.server.origin),
            client_id: "wrangler".into(),
        };
        let file = self.folder.path().join("default.toml");
        let login = WranglerLogin::new(file, endpoint, Client::connections(Vec::new()));
        self.server.client_as(Credentials::login(login))
    }

    fn file(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("default.toml")).unwrap()
    }
}

fn stored(ends: &str) -> String {
    format!(
        "oauth_token = \"old-t0ken\"\nexpiration_time = \"{ends}\"\nrefresh_token = \"refresh-1\"\nother = 1\n"
    )
}

#[tokio::test]
async fn a_login_is_used_as_it_is_while_it_lasts() {
    let login = Login::new(&stored("2999-01-01T00:00:00.000Z")).await;
    accounts(&login.client()).await.unwrap();
    assert_eq!(
        login.server.seen()[0].headers["authorization"],
        "Bearer old-t0ken"
    );
    assert_eq!(login.server.calls().len(), 2);
}

#[tokio::test]
async fn one_that_has_ended_is_renewed_once_and_kept() {
    for ends in ["2001-01-01T00:00:00.000Z", "no date"] {
        let login = Login::new(&stored(ends)).await;
        let answer = json!({"access_token": "new-t0ken", "expires_in": 3600, "refresh_token": "refresh-2", "scope": "a b"});
        login
            .server
            .on(TOKEN_CALL, [Answer::With(200, "", answer.to_string())]);
        let client = login.client();
        accounts(&client).await.unwrap();
        accounts(&client).await.unwrap();
        let seen = login.server.seen();
        assert_eq!(seen.iter().filter(|seen| seen.call == TOKEN_CALL).count(), 1);
        assert_eq!(
            seen[0].body,
            "grant_type=refresh_token&refresh_token=refresh-1&client_id=wrangler"
        );
        assert_eq!(seen[1].headers["authorization"], "Bearer new-t0ken");
        let kept: toml::Table = login.file().parse().unwrap();
        assert_eq!(kept["oauth_token"].as_str(), Some("new-t0ken"));
        assert_eq!(kept["refresh_token"].as_str(), Some("refresh-2"));
        assert_eq!(kept["scopes"].as_array().unwrap().len(), 2);
        assert_eq!(kept["other"].as_integer(), Some(1), "what is not ours stays");
    }
}

#[tokio::test]
async fn a_refusal_says_what_to_do_and_shows_no_token() {
    let ended = stored("2001-01-01T00:00:00.000Z");
    let without = ended.replace("refresh_token", "refreshless");
    let refusal = Answer::With(400, "", r#"{"error": "invalid_grant"}"#.into());
    for (file, answer, says) in [
        (ended.as_str(), refusal, "invalid_grant"),
        (
            ended.as_str(),
            Answer::With(400, "", r#"{"error": {"x": "old-t0ken"}}"#.into()),
            "was not renewed",
        ),
        (&without, Answer::Reset, "cannot be renewed"),
        ("oauth_token = \"old-t0ken", Answer::Reset, "is not TOML"),
        ("a = 1", Answer::Reset, "no `oauth_token`"),
    ] {
        let login = Login::new(file).await;
        login.server.on(TOKEN_CALL, [answer]);
        let error = accounts(&login.client()).await.unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(text.contains(says), "{text}");
        assert!(
            !text.contains("old-t0ken") && !text.contains("refresh-1"),
            "{text}"
        );
        assert!(error.advice().unwrap().contains("wrangler login"));
        assert_eq!(login.file(), file, "nothing is written");
    }
}

#[tokio::test]
async fn wrangler_may_have_been_faster() {
    let login = Login::new(&stored("2001-01-01T00:00:00.000Z")).await;
    login.server.on(
        TOKEN_CALL,
        [Answer::With(400, "", r#"{"error": "invalid_grant"}"#.into())],
    );
    let client = login.client();
    accounts(&client).await.unwrap_err();
    // It was: the refresh token had been spent, and what it brought is in the file.
    std::fs::write(
        login.folder.path().join("default.toml"),
        stored("2999-01-01T00:00:00.000Z"),
    )
    .unwrap();
    accounts(&client).await.unwrap();
}
