//! The token files of cloudflared, so that a login made by either program serves both.
//!
//! Source: cloudflared 2026.8, `token/path.go`: `<app hostname>-<aud>-token`, `<auth domain>-org-token`, `.lock` and
//! `.url` beside them; files 0600, the folder 0700; `/` and `*` in a name become `-`.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bowline_access::UnixSeconds;

use crate::lock::with_suffix;
use crate::{ApplicationToken, Host};

/// Files in the folder that are looked at.
const MOST_FILES: usize = 4096;
/// A larger file holds no token.
const LARGEST: u64 = 64 * 1024;

/// cloudflared's folder, `~/.cloudflared`.
#[derive(Debug, Clone)]
pub struct TokenFiles(PathBuf);

/// An application, as far as files are named after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    /// Its hostname as configured, wildcards kept.
    pub hostname: String,
    /// Its audience tag.
    pub audience: String,
    /// The host where people sign in, whose keys sign for it.
    pub auth_domain: String,
}

impl TokenFiles {
    /// The files in `folder`, which need not exist yet.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// The application token of `application`.
    pub fn application_path(&self, application: &Application) -> PathBuf {
        self.named(&format!(
            "{}-{}-token",
            application.hostname, application.audience
        ))
    }

    /// The org token of a host where people sign in.
    pub fn org_path(&self, auth_domain: &str) -> PathBuf {
        self.named(&format!("{auth_domain}-org-token"))
    }

    fn named(&self, name: &str) -> PathBuf {
        self.0.join(name.replace(['/', '*'], "-"))
    }

    /// The stored login for a host that ends last, and its file. The files of an application for the host itself count,
    /// and of one for `*.` and its parent; a login for one path does not.
    pub fn find(&self, host: &Host, now: UnixSeconds) -> Option<(ApplicationToken, PathBuf)> {
        let wildcard = host
            .name()
            .split_once('.')
            .map(|(_, parent)| format!("-.{parent}"));
        let entries = fs::read_dir(&self.0).ok()?;
        entries
            .take(MOST_FILES)
            .filter_map(|entry| {
                let path = entry.ok()?.path();
                let stem = path.file_name()?.to_str()?.strip_suffix("-token")?.to_owned();
                let (application, audience) = stem.rsplit_once('-')?;
                // An org token buys application tokens; it is for the team's own host alone.
                let fits = audience != "org"
                    && (application == host.name() || Some(application) == wildcard.as_deref());
                let token = self.read(&path).filter(|_| fits)?;
                (token.is_for(audience) && token.expires_at() > now).then_some((token, path))
            })
            .max_by_key(|(token, _)| token.expires_at())
    }

    /// The token in a file; `None` when there is none or it is no token.
    pub fn read(&self, file: &Path) -> Option<ApplicationToken> {
        let metadata = fs::metadata(file).ok()?;
        if metadata.len() > LARGEST {
            return None;
        }
        ApplicationToken::parse(&fs::read_to_string(file).ok()?).ok()
    }

    /// Makes the folder, for its owner alone.
    pub fn prepare(&self) -> io::Result<()> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&self.0)
    }

    /// Stores a token, whole or not at all, for its owner alone.
    pub fn write(&self, file: &Path, token: &ApplicationToken) -> io::Result<()> {
        self.write_text(file, token.jwt().expose())
    }

    /// Where a second process finds the URL of a login under way.
    pub(crate) fn write_url(&self, file: &Path, url: &str) -> io::Result<UrlFile> {
        let path = with_suffix(file, ".url");
        self.write_text(&path, url)?;
        Ok(UrlFile(path))
    }

    fn write_text(&self, file: &Path, text: &str) -> io::Result<()> {
        self.prepare()?;
        // Made with mode 0600.
        let mut whole = tempfile::NamedTempFile::new_in(&self.0)?;
        whole.write_all(text.as_bytes())?;
        whole.as_file().sync_all()?;
        whole.persist(file).map_err(|error| error.error)?;
        Ok(())
    }
}

/// Removed when the login is over, however it ends.
#[derive(Debug)]
pub(crate) struct UrlFile(PathBuf);

impl Drop for UrlFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use base64::Engine;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;

    use super::*;

    fn token(audience: &str, expires_at: i64) -> ApplicationToken {
        let claims = format!(r#"{{"exp":{expires_at},"aud":["{audience}"]}}"#);
        ApplicationToken::parse(&format!("e30.{}.s3cret", BASE64_URL_SAFE_NO_PAD.encode(claims))).unwrap()
    }

    fn application(hostname: &str, audience: &str) -> Application {
        Application {
            hostname: hostname.into(),
            audience: audience.into(),
            auth_domain: "t.cloudflareaccess.com".into(),
        }
    }

    #[test]
    fn names_and_modes() {
        let folder = tempfile::tempdir().unwrap();
        let files = TokenFiles::new(folder.path().join(".cloudflared"));
        let path = files.application_path(&application("*.a.example/api", "aa11"));
        assert_eq!(path.file_name().unwrap(), "-.a.example-api-aa11-token");
        assert_eq!(
            files.org_path("t.cloudflareaccess.com").file_name().unwrap(),
            "t.cloudflareaccess.com-org-token"
        );
        files.write(&path, &token("aa11", 5)).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        // The bare text, as cloudflared writes and reads it.
        assert!(fs::read_to_string(&path).unwrap().ends_with(".s3cret"));
        let url = files.write_url(&path, "https://x/").unwrap();
        let beside = with_suffix(&path, ".url");
        assert_eq!(mode(&beside), 0o600);
        drop(url);
        assert!(!beside.exists());
    }

    #[test]
    fn the_login_of_a_host() {
        let folder = tempfile::tempdir().unwrap();
        let files = TokenFiles::new(folder.path());
        let host = |name: &str| Host::of(&format!("https://{name}/").parse().unwrap()).unwrap();
        let find = |name: &str| files.find(&host(name), 1000).map(|(token, _)| token.expires_at());
        assert_eq!(find("a.example"), None);
        for (hostname, named, audience, expires_at) in [
            ("a.example", "aa", "aa", 2000),
            ("a.example", "bb", "bb", 3000),
            ("a.example", "cc", "cc", 999),
            ("a.example", "dd", "another", 9000),
            ("*.b.example", "ee", "ee", 4000),
            ("c.example/path", "ff", "ff", 4000),
        ] {
            let path = files.application_path(&application(hostname, named));
            files.write(&path, &token(audience, expires_at)).unwrap();
        }
        fs::write(folder.path().join("a.example-99-token"), "no token").unwrap();
        files
            .write(&files.org_path("a.example"), &token("org", 9000))
            .unwrap();
        assert_eq!(find("A.example"), Some(3000));
        assert_eq!(find("x.b.example"), Some(4000));
        for none in ["b.example", "x.y.b.example", "c.example", "xa.example", "example"] {
            assert_eq!(find(none), None, "{none}");
        }
    }
}
