//! Arguments of the methods, read from what the caller gave and checked.

use capnweb::Value;
use percent_encoding::percent_decode_str;
use url::Url;

use crate::config::is_component;
use crate::error::{Code, Refusal};
use crate::token::Scope;

/// Names are of unknown length at Cloudflare; a bound there must be.
const LONGEST_NAME: usize = 256;
const LONGEST_DESCRIPTION: usize = 16 * 1024;
const LONGEST_BRANCH: usize = 256;
/// Seconds that a token may live, and does when nothing is said.
const TTL: std::ops::RangeInclusive<i64> = 60..=31_536_000;
pub(crate) const DEFAULT_TTL: i64 = 86_400;

/// Options of `create`, `fork` and `import`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RepoOptions {
    pub(crate) description: Option<String>,
    pub(crate) read_only: bool,
    pub(crate) default_branch: Option<String>,
    pub(crate) default_branch_only: bool,
}

/// What `import` is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Import {
    pub(crate) source: Source,
    pub(crate) name: String,
    pub(crate) options: RepoOptions,
}

/// Where an import comes from.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Source {
    /// Without credentials, query and fragment.
    pub(crate) url: Url,
    /// `user:password`, when the URL had them.
    pub(crate) credentials: Option<String>,
    pub(crate) branch: Option<String>,
    pub(crate) depth: Option<u32>,
}

impl std::fmt::Debug for Source {
    // The credentials are a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source")
            .field("url", &self.url.as_str())
            .field("credentials", &self.credentials.is_some())
            .finish_non_exhaustive()
    }
}

/// A repository's name.
pub(crate) fn name(value: &Value) -> Result<String, Refusal> {
    value
        .as_str()
        .filter(|name| is_component(name, LONGEST_NAME))
        .map(str::to_owned)
        .ok_or_else(|| Refusal::new(Code::InvalidRepoName, "Invalid repo name."))
}

/// The options argument of `create` and `fork`.
pub(crate) fn options(value: &Value) -> Result<RepoOptions, Refusal> {
    if is_absent(value) {
        return Ok(RepoOptions::default());
    }
    if !matches!(value, Value::Object(_)) {
        return Err(Refusal::input("Artifacts repository options must be an object"));
    }
    let description = text(value, "description")?;
    if description
        .as_ref()
        .is_some_and(|text| text.len() > LONGEST_DESCRIPTION)
    {
        return Err(Refusal::input(format!(
            "description must have at most {LONGEST_DESCRIPTION} bytes"
        )));
    }
    Ok(RepoOptions {
        description,
        read_only: flag(value, "readOnly")?,
        default_branch: member(value, "setDefaultBranch").map(branch).transpose()?,
        default_branch_only: flag(value, "defaultBranchOnly")?,
    })
}

/// The argument of `import`.
pub(crate) fn import(value: &Value) -> Result<Import, Refusal> {
    let part = |key: &str| {
        member(value, key)
            .filter(|part| matches!(part, Value::Object(_)))
            .ok_or_else(|| {
                Refusal::input(format!(
                    "import() takes an object with `source` and `target`; `{key}` is missing"
                ))
            })
    };
    let (source, target) = (part("source")?, part("target")?);
    Ok(Import {
        name: name(member(target, "name").unwrap_or(&Value::Undefined))?,
        options: options(member(target, "opts").unwrap_or(&Value::Undefined))?,
        source: Source::read(source)?,
    })
}

impl Source {
    fn read(value: &Value) -> Result<Self, Refusal> {
        // The parser's own text could repeat the URL, password and all.
        let invalid =
            |problem: &str| Refusal::new(Code::InvalidUrl, format!("Invalid source.url: {problem}."));
        let mut url = member(value, "url")
            .and_then(|url| match url {
                Value::String(text) => Url::parse(text).ok(),
                Value::Url(text) => Url::parse(text).ok(),
                _ => None,
            })
            .ok_or_else(|| invalid("must be a valid URL"))?;
        if url.scheme() != "https" || !url.has_host() {
            return Err(invalid("must be an HTTPS URL"));
        }
        let credentials = match (url.username(), url.password()) {
            ("", None) => None,
            (user, password) => {
                let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
                let pair = format!("{}:{}", decode(user), decode(password.unwrap_or_default()));
                if pair.bytes().any(|byte| byte.is_ascii_control()) {
                    return Err(invalid("its credentials hold control characters"));
                }
                Some(pair)
            }
        };
        // None of these fails on a URL with a host.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.set_query(None);
        url.set_fragment(None);
        let depth = match member(value, "depth") {
            None => None,
            Some(depth) => Some(
                integer(depth, 1, i64::from(i32::MAX))
                    .and_then(|depth| u32::try_from(depth).ok())
                    .ok_or_else(|| Refusal::input("Invalid source.depth: must be a positive integer."))?,
            ),
        };
        Ok(Self {
            url,
            credentials,
            branch: member(value, "branch").map(branch).transpose()?,
            depth,
        })
    }
}

/// The scope argument of `createToken`.
pub(crate) fn scope(value: &Value) -> Result<Scope, Refusal> {
    if is_absent(value) {
        return Ok(Scope::Write);
    }
    value
        .as_str()
        .and_then(Scope::parse)
        .ok_or_else(|| Refusal::input("Artifacts token scope must be read or write"))
}

/// The lifetime argument of `createToken`, in seconds.
pub(crate) fn ttl(value: &Value) -> Result<i64, Refusal> {
    if is_absent(value) {
        return Ok(DEFAULT_TTL);
    }
    integer(value, *TTL.start(), *TTL.end()).ok_or_else(|| {
        Refusal::new(
            Code::InvalidTtl,
            format!(
                "Invalid TTL: must be between {} and {} seconds.",
                TTL.start(),
                TTL.end()
            ),
        )
    })
}

/// The hash argument of the object reads.
pub(crate) fn hash(value: &Value) -> Result<gix_hash::ObjectId, Refusal> {
    value
        .as_str()
        .and_then(crate::objects::parse_hash)
        .ok_or_else(|| Refusal::input("Invalid hash: expected a 40-character SHA-1 hex hash."))
}

/// The argument of `readFile`: ref and path. A path that leads nowhere by its form is `None`.
pub(crate) fn file(value: &Value) -> Result<(String, Option<Vec<String>>, String), Refusal> {
    let required = |key: &str| {
        text(value, key)?
            .filter(|text| !text.is_empty())
            .ok_or_else(|| Refusal::input(format!("Invalid {key}: {key} required.")))
    };
    let (reference, path) = (required("ref")?, required("path")?);
    let parts: Vec<String> = path
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .map(str::to_owned)
        .collect();
    let leads = !parts.is_empty() && !parts.iter().any(|part| part == "..");
    Ok((reference, leads.then_some(parts), path))
}

/// The argument of `log`: ref, limit (at most 1000) and offset.
pub(crate) fn log(value: &Value) -> Result<(String, usize, usize), Refusal> {
    if !is_absent(value) && !matches!(value, Value::Object(_)) {
        return Err(Refusal::input("Artifacts log options must be an object"));
    }
    let number = |key: &str, least: i64, default: i64| match member(value, key) {
        None => Ok(default),
        Some(number) => integer(number, least, i64::MAX).ok_or_else(|| {
            let kind = if least == 0 { "non-negative" } else { "positive" };
            Refusal::input(format!("Invalid {key}: must be a {kind} integer."))
        }),
    };
    let limit = number("limit", 1, 50)?.min(1000);
    let offset = number("offset", 0, 0)?;
    Ok((
        text(value, "ref")?.unwrap_or_else(|| "HEAD".to_owned()),
        usize::try_from(limit).unwrap_or(1000),
        usize::try_from(offset).unwrap_or(usize::MAX),
    ))
}

/// The argument of `list`: limit and cursor.
pub(crate) fn list(value: &Value) -> Result<(i64, Option<String>), Refusal> {
    if !is_absent(value) && !matches!(value, Value::Object(_)) {
        return Err(Refusal::input("Artifacts list options must be an object"));
    }
    let limit = match member(value, "limit") {
        None => 50,
        Some(limit) => integer(limit, 1, 200)
            .ok_or_else(|| Refusal::input("Invalid limit: must be between 1 and 200."))?,
    };
    Ok((limit, text(value, "cursor")?))
}

/// A branch's name, of which git's rules hold.
fn branch(value: &Value) -> Result<String, Refusal> {
    value
        .as_str()
        .filter(|name| {
            !name.is_empty()
                && name.len() <= LONGEST_BRANCH
                && !name.starts_with('-')
                && *name != "HEAD"
                && gix_ref::FullName::try_from(format!("refs/heads/{name}")).is_ok()
        })
        .map(str::to_owned)
        .ok_or_else(|| Refusal::input("Artifacts branch name is invalid"))
}

fn is_absent(value: &Value) -> bool {
    matches!(value, Value::Undefined | Value::Null)
}

fn member<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    value.member(key).filter(|value| !is_absent(value))
}

fn text(value: &Value, key: &str) -> Result<Option<String>, Refusal> {
    match member(value, key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.to_string())),
        Some(_) => Err(Refusal::input(format!("Invalid {key}: must be a string."))),
    }
}

fn flag(value: &Value, key: &str) -> Result<bool, Refusal> {
    match member(value, key) {
        None => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => Err(Refusal::input(format!("Artifacts {key} must be a boolean"))),
    }
}

/// A whole number in a range.
fn integer(value: &Value, least: i64, most: i64) -> Option<i64> {
    let number = value.as_f64().filter(|number| number.fract() == 0.0)?;
    // Beyond 2^53 a double names no one integer.
    (number.abs() <= 9_007_199_254_740_992.0)
        .then_some(number as i64)
        .filter(|number| (least..=most).contains(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(members: &[(&str, Value)]) -> Value {
        Value::object(members.iter().cloned())
    }

    #[test]
    fn names_that_could_be_paths_are_refused() {
        for good in ["a", "A1", "a.b_c-d", "9", "a..b", "x.git"] {
            assert_eq!(name(&good.into()).unwrap(), good);
        }
        for bad in [
            "",
            ".",
            "..",
            "../a",
            "a/b",
            "a\\b",
            ".git",
            "-a",
            "_a",
            "a b",
            "a\0",
            "a\n",
            "é",
            "a%2Fb",
            "a?b",
            &"a".repeat(257),
        ] {
            assert_eq!(
                name(&bad.into()).unwrap_err().code,
                Code::InvalidRepoName,
                "{bad:?}"
            );
        }
        assert!(name(&Value::Undefined).is_err() && name(&Value::Number(1.0)).is_err());
    }

    #[test]
    fn branches_follow_gits_rules() {
        for bad in [
            "", "-x", "a..b", "a b", "a~1", "x.lock", "/a", "a/", "@{", "HEAD", "a\u{7f}", "a:b",
        ] {
            assert!(
                options(&object(&[("setDefaultBranch", bad.into())])).is_err(),
                "{bad:?}"
            );
        }
        let read = options(&object(&[
            ("setDefaultBranch", "feature/x".into()),
            ("readOnly", true.into()),
        ]))
        .unwrap();
        assert_eq!(read.default_branch.as_deref(), Some("feature/x"));
        assert!(read.read_only && !read.default_branch_only);
    }

    #[test]
    fn a_sources_credentials_leave_its_url() {
        let import = |url: &str| {
            import(&object(&[
                (
                    "source",
                    object(&[("url", url.into()), ("depth", Value::Number(2.0))]),
                ),
                ("target", object(&[("name", "x".into())])),
            ]))
        };
        let read = import("https://us%40er:p%2Bw@host/a.git?q=1#f").unwrap().source;
        assert_eq!(read.url.as_str(), "https://host/a.git");
        assert_eq!(read.credentials.as_deref(), Some("us@er:p+w"));
        assert!(!format!("{read:?}").contains("p+w"));
        for bad in [
            "",
            "http://h/a",
            "git://h/a",
            "file:///etc",
            "ext::sh -c id",
            "ssh://h/a",
            "https://u:a%0Ab@h/",
        ] {
            let refusal = import(bad).unwrap_err();
            assert_eq!(refusal.code, Code::InvalidUrl, "{bad}");
        }
    }

    #[test]
    fn numbers() {
        assert_eq!(ttl(&Value::Undefined).unwrap(), DEFAULT_TTL);
        for bad in [59.0, 31_536_001.0, 60.5, f64::NAN, f64::INFINITY, -60.0] {
            assert_eq!(ttl(&Value::Number(bad)).unwrap_err().code, Code::InvalidTtl);
        }
        assert_eq!(log(&object(&[("limit", Value::Number(5000.0))])).unwrap().1, 1000);
        assert!(log(&object(&[("limit", Value::Number(0.0))])).is_err());
        assert!(list(&object(&[("limit", Value::Number(201.0))])).is_err());
        let (reference, path, _) =
            file(&object(&[("ref", "main".into()), ("path", "./a//b".into())])).unwrap();
        assert_eq!(
            (reference.as_str(), path.unwrap().join("/").as_str()),
            ("main", "a/b")
        );
        for nowhere in ["..", "a/../b", "/"] {
            let read = file(&object(&[("ref", "main".into()), ("path", nowhere.into())])).unwrap();
            assert_eq!(read.1, None, "{nowhere}");
        }
    }
}
