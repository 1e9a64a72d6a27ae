use std::fs;
use std::os::unix::fs::PermissionsExt;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use tempfile::TempDir;

use super::*;
use crate::token_files::Application;

const HOST: &str = "https://a.example/";

struct World {
    folder: TempDir,
    env: Vec<(&'static str, String)>,
}

impl World {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            env: Vec::new(),
        }
    }

    fn set(&mut self, name: &'static str, value: &str) {
        self.env.push((name, value.into()));
    }

    fn write(&self, name: &str, text: &str) {
        let file = self.folder.path().join(name);
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn store(&self, audience: &str) {
        let files = TokenFiles::new(self.folder.path().join("cloudflared"));
        let application = Application {
            hostname: "a.example".into(),
            audience: audience.into(),
            auth_domain: "t.cloudflareaccess.com".into(),
        };
        files
            .write(&files.application_path(&application), &token(audience))
            .unwrap();
    }

    fn find(&self, url: &str) -> Found {
        let env = |name: &str| {
            self.env
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value.clone())
        };
        let sources = Sources {
            env: &env,
            project: Some(self.folder.path().to_owned()),
            user_settings: Some(self.folder.path().join("user.jsonc")),
            token_files: Some(TokenFiles::new(self.folder.path().join("cloudflared"))),
        };
        sources.find(&Host::of(&url.parse().unwrap()).unwrap()).unwrap()
    }

    /// What was found, in a word, and its origins.
    fn told(&self, url: &str) -> (String, String) {
        let found = self.find(url);
        assert!(!format!("{found:?}").contains("s3cret"));
        let folder = self.folder.path().display().to_string();
        let (what, from) = match found.state {
            CredentialState::Nothing => ("nothing".to_owned(), String::new()),
            CredentialState::Half { missing, .. } => ("half".to_owned(), missing),
            CredentialState::Token(token) => {
                let from: Vec<_> = token.origins().iter().map(ToString::to_string).collect();
                (token.client_id().to_owned(), from.join(" + "))
            }
            CredentialState::Login(_, origin) => ("login".to_owned(), origin.to_string()),
        };
        (what, from.replace(&folder, "."))
    }
}

fn jwt(audience: &str) -> String {
    let claims = format!(r#"{{"exp":99999999999,"aud":["{audience}"]}}"#);
    format!("e30.{}.s3cret", BASE64_URL_SAFE_NO_PAD.encode(claims))
}

fn token(audience: &str) -> ApplicationToken {
    ApplicationToken::parse(&jwt(audience)).unwrap()
}

fn told(what: &str, from: &str) -> (String, String) {
    (what.to_owned(), from.to_owned())
}

/// Each step adds a source that comes before all that are there.
#[test]
fn the_order() {
    let mut world = World::new();
    assert_eq!(world.told(HOST), told("nothing", ""));
    world.store("aa");
    assert_eq!(
        world.told(HOST),
        told("login", "the login stored in ./cloudflared/a.example-aa-token")
    );
    assert_eq!(world.told("https://b.example/"), told("nothing", ""));
    world.write(
        ".dev.vars",
        "CLOUDFLARE_ACCESS_CLIENT_ID=vars\nCLOUDFLARE_ACCESS_CLIENT_SECRET=s3cret\n",
    );
    assert_eq!(
        world.told(HOST),
        told(
            "vars",
            "CLOUDFLARE_ACCESS_CLIENT_ID in ./.dev.vars + CLOUDFLARE_ACCESS_CLIENT_SECRET in ./.dev.vars"
        )
    );
    world.write(".env", "CLOUDFLARE_ACCESS_CLIENT_ID=dotenv\n");
    assert_eq!(
        world.told(HOST),
        told(
            "dotenv",
            "CLOUDFLARE_ACCESS_CLIENT_ID in ./.env + CLOUDFLARE_ACCESS_CLIENT_SECRET in ./.dev.vars"
        )
    );
    world.set("CLOUDFLARE_ACCESS_CLIENT_ID", " env ");
    world.set("CLOUDFLARE_ACCESS_CLIENT_SECRET", "s3cret");
    assert_eq!(
        world.told(HOST),
        told(
            "env",
            "CLOUDFLARE_ACCESS_CLIENT_ID in the environment + CLOUDFLARE_ACCESS_CLIENT_SECRET in the environment"
        )
    );
    world.write("user.jsonc", r#"{"hosts": {"a.example": {"client_id": "user", "client_secret": "s3cret", "team_domain": "login.example"}}}"#);
    assert_eq!(world.told(HOST), told("user", "\"a.example\" in ./user.jsonc"));
    world.write(
        "bowline.jsonc",
        r#"{"access": {"hosts": {"a.example": {"client_id": "project", "client_secret": "s3cret"}}}}"#,
    );
    assert_eq!(
        world.told(HOST),
        told("project", "\"a.example\" in ./bowline.jsonc")
    );
    assert_eq!(world.find(HOST).team_domain.as_deref(), Some("login.example"));
    assert_eq!(world.told("https://b.example/").0, "env");
}

#[test]
fn half_a_pair_is_told_and_skipped() {
    for (set, missing) in [(PAIR.0, PAIR.1), (PAIR.1, PAIR.0)] {
        let mut world = World::new();
        world.set(set, "s3cret");
        let found = world.find(HOST);
        assert!(
            found.warnings[0].starts_with(&format!("{set} is set but {missing} is not")),
            "{:?}",
            found.warnings
        );
        assert_eq!(world.told(HOST), told("half", missing));
        world.store("aa");
        assert_eq!(world.told(HOST).0, "login");
        assert_eq!(world.find(HOST).warnings.len(), 1);
    }
    let mut both_empty = World::new();
    both_empty.set(PAIR.0, "");
    both_empty.set(PAIR.1, " ");
    assert_eq!(both_empty.told(HOST).0, "nothing");
}

#[test]
fn a_previous_secret_and_wranglers_own_token() {
    let mut world = World::new();
    world.set(AUTH_TOKEN, &jwt("aa"));
    assert_eq!(world.told(HOST).0, "nothing", "it is for one host only");
    assert_eq!(
        world.told("https://dash.cloudflare.com/"),
        told("login", "WRANGLER_CF_AUTHORIZATION_TOKEN in the environment")
    );
    world.set(AUTH_DOMAIN, "a.example");
    assert_eq!(world.told(HOST).0, "login");
    assert_eq!(world.told("https://dash.cloudflare.com/").0, "nothing");
    let mut broken = World::new();
    broken.set(AUTH_TOKEN, "s3cret");
    assert_eq!(
        broken.find("https://dash.cloudflare.com/").warnings,
        ["WRANGLER_CF_AUTHORIZATION_TOKEN in the environment is not used: it is no JSON web token"]
    );

    let mut world = World::new();
    for name in [PAIR.0, PAIR.1, PREVIOUS_SECRET] {
        world.set(name, "s3cret");
    }
    let CredentialState::Token(token) = world.find(HOST).state else {
        panic!("a pair is a token")
    };
    assert!(token.has_previous());
}
