//! Policies: one action and the rules that say to whom it applies.
//!
//! Source: Cloudflare's page on Access policies. `include` is an OR, `require` an AND, `exclude` a NOT-any.

use std::cmp::{max, min};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use serde_json::{Map, Value};

use crate::shape::{list, object, required, text};
use crate::{Caller, ShapeError, go_duration};

/// What a policy does with those it applies to. The API spells it `decision`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Admits people who are logged in.
    Allow,
    /// Refuses.
    Deny,
    /// Admits machines: service tokens, certificates, addresses. The dashboard says "Service Auth".
    NonIdentity,
    /// Lets through unchecked: no assertion, no log entry.
    Bypass,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Allow, Self::Deny, Self::NonIdentity, Self::Bypass];

    /// As the API spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::NonIdentity => "non_identity",
            Self::Bypass => "bypass",
        }
    }

    /// Reads the API's spelling.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == text)
    }
}

/// One condition on the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// Anybody.
    Everyone,
    /// Any service token that is valid.
    AnyValidServiceToken,
    /// One service token, by its record id.
    ServiceToken(String),
    /// A session of another application, by that application's id.
    LinkedAppToken(String),
    /// Any client certificate that verified.
    Certificate,
    /// A client certificate with this common name.
    CommonName(String),
    /// An address or a network.
    Ip(IpNet),
    /// A person, lower case.
    Email(String),
    /// Everybody with an address in this domain, lower case.
    EmailDomain(String),
    /// Whoever fits an Access group, by its id.
    Group(String),
    /// A kind this gate cannot judge. It is kept, and never widens who may pass.
    Unknown(String),
}

impl Rule {
    /// Reads a rule object, which has exactly one member.
    pub fn parse(value: &Value) -> Result<Self, ShapeError> {
        let rule = object(value)?;
        let mut members = rule.iter();
        let (Some((kind, body)), None) = (members.next(), members.next()) else {
            return Err(ShapeError::new("", "a rule has exactly one member, its kind"));
        };
        let field = |name: &str| -> Result<String, ShapeError> {
            object(body)
                .and_then(|body| required(body, name))
                .map(str::to_owned)
                .map_err(|error| error.below(&format!("/{kind}")))
        };
        Ok(match kind.as_str() {
            "everyone" => Self::Everyone,
            "any_valid_service_token" => Self::AnyValidServiceToken,
            "service_token" => Self::ServiceToken(field("token_id")?),
            "linked_app_token" => Self::LinkedAppToken(field("app_uid")?),
            "certificate" => Self::Certificate,
            "common_name" => Self::CommonName(field("common_name")?),
            "ip" => {
                let text = field("ip")?;
                let net = text
                    .parse::<IpNet>()
                    .or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
                Self::Ip(net.map_err(|_| {
                    ShapeError::new("/ip/ip", format!("`{text}` is no address or CIDR range"))
                })?)
            }
            "email" => Self::Email(field("email")?.trim().to_lowercase()),
            "email_domain" => {
                Self::EmailDomain(field("domain")?.trim().trim_start_matches('@').to_lowercase())
            }
            "group" => Self::Group(field("id")?),
            unknown => Self::Unknown(unknown.to_owned()),
        })
    }

    fn holds(&self, caller: &Caller<'_>, groups: &Groups, depth: usize) -> Truth {
        match self {
            Self::Everyone => Truth::Yes,
            Self::AnyValidServiceToken => caller.service_token.is_some().into(),
            Self::ServiceToken(id) => caller
                .service_token
                .is_some_and(|token| token.record().id == *id)
                .into(),
            Self::LinkedAppToken(uid) => (caller.linked_application == Some(uid)).into(),
            Self::Certificate => caller.certificate.is_some().into(),
            Self::CommonName(name) => caller
                .certificate
                .is_some_and(|certificate| certificate.common_name == *name)
                .into(),
            Self::Ip(net) => caller
                .address
                .is_some_and(|address| net.contains(&address.to_canonical()))
                .into(),
            Self::Email(email) => caller
                .identity
                .is_some_and(|identity| identity.email.to_lowercase() == *email)
                .into(),
            Self::EmailDomain(domain) => caller
                .identity
                .and_then(|identity| identity.email.rsplit_once('@'))
                .is_some_and(|(_, of)| of.to_lowercase() == *domain)
                .into(),
            Self::Group(id) => match groups.get(id) {
                // A group may name groups. Nothing useful nests deeper, and a circle has no answer.
                Some(group) if depth < GROUP_DEPTH => group.holds(caller, groups, depth + 1),
                _ => Truth::Unknown,
            },
            Self::Unknown(_) => Truth::Unknown,
        }
    }

    /// Whether it is about a person.
    fn needs_identity(&self) -> bool {
        matches!(self, Self::Email(_) | Self::EmailDomain(_))
    }

    /// Whether it is about a machine's own credential, which only Service Auth policies admit.
    fn needs_service_auth(&self) -> bool {
        matches!(
            self,
            Self::AnyValidServiceToken | Self::ServiceToken(_) | Self::LinkedAppToken(_)
        )
    }
}

/// How deep groups may name groups.
const GROUP_DEPTH: usize = 8;

/// Access groups by id.
pub type Groups = HashMap<String, RuleSet>;

/// A truth value that may not be known (Kleene's logic).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Truth {
    No,
    Unknown,
    Yes,
}

impl From<bool> for Truth {
    fn from(value: bool) -> Self {
        if value { Self::Yes } else { Self::No }
    }
}

/// The three lists of rules that policies and groups have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RuleSet {
    /// One of these must hold.
    pub include: Vec<Rule>,
    /// All of these must hold.
    pub require: Vec<Rule>,
    /// None of these may hold.
    pub exclude: Vec<Rule>,
}

impl RuleSet {
    /// Reads the three members of a policy or group; `include` needs an element.
    pub fn parse(value: &Value) -> Result<Self, ShapeError> {
        let object = object(value)?;
        let rules = Self {
            include: parse_rules(object, "include")?,
            require: parse_rules(object, "require")?,
            exclude: parse_rules(object, "exclude")?,
        };
        if rules.include.is_empty() {
            return Err(ShapeError::new("/include", "needs at least one rule"));
        }
        Ok(rules)
    }

    /// Every rule of the three lists.
    pub fn all(&self) -> impl Iterator<Item = &Rule> {
        self.include.iter().chain(&self.require).chain(&self.exclude)
    }

    /// The kinds of rules that cannot be judged here.
    pub fn unknown_kinds(&self) -> impl Iterator<Item = &str> {
        self.all().filter_map(|rule| match rule {
            Rule::Unknown(kind) => Some(kind.as_str()),
            _ => None,
        })
    }

    fn holds(&self, caller: &Caller<'_>, groups: &Groups, depth: usize) -> Truth {
        self.holds_with(|rule| rule.holds(caller, groups, depth))
    }

    fn holds_with(&self, rule: impl Fn(&Rule) -> Truth) -> Truth {
        let or = |rules: &[Rule]| {
            rules.iter().fold(Truth::No, |known, next| match known {
                Truth::Yes => Truth::Yes,
                _ => max(known, rule(next)),
            })
        };
        let included = or(&self.include);
        let required = self
            .require
            .iter()
            .fold(Truth::Yes, |known, next| min(known, rule(next)));
        let spared = match or(&self.exclude) {
            Truth::Yes => Truth::No,
            Truth::No => Truth::Yes,
            Truth::Unknown => Truth::Unknown,
        };
        min(min(included, required), spared)
    }
}

fn parse_rules(object: &Map<String, Value>, name: &str) -> Result<Vec<Rule>, ShapeError> {
    list(object, name)?
        .iter()
        .enumerate()
        .map(|(index, rule)| Rule::parse(rule).map_err(|error| error.below(&format!("/{name}/{index}"))))
        .collect()
}

/// A policy as evaluation needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Record id.
    pub id: String,
    /// The operator's name for it; shared with permits.
    pub name: Arc<str>,
    /// What it does.
    pub action: Action,
    /// To whom.
    pub rules: RuleSet,
    /// How long a session that it admits lasts.
    pub session_duration: Option<Duration>,
}

impl Policy {
    /// Reads an object of the API (`name`, `decision`, `include`, `require`, `exclude`, `session_duration`).
    pub fn parse(id: &str, value: &Value) -> Result<Self, ShapeError> {
        let members = object(value)?;
        let decision = required(members, "decision")?;
        let action = Action::parse(decision).ok_or_else(|| {
            ShapeError::new(
                "/decision",
                format!("`{decision}` is none of allow, deny, non_identity, bypass"),
            )
        })?;
        let rules = RuleSet::parse(value)?;
        if action == Action::Bypass && rules.all().any(Rule::needs_identity) {
            return Err(ShapeError::new(
                "/decision",
                "a bypass policy cannot use rules about people",
            ));
        }
        Ok(Self {
            id: id.to_owned(),
            name: required(members, "name")?.into(),
            action,
            rules,
            session_duration: session(members)?,
        })
    }

    /// Whether the policy applies to the caller.
    pub(crate) fn applies(&self, caller: &Caller<'_>, groups: &Groups) -> Truth {
        let judge = |rule: &Rule| match self.action {
            // A service token in an allow policy does not admit: its holder is sent to the login.
            Action::Allow if rule.needs_service_auth() => Truth::No,
            Action::NonIdentity | Action::Bypass if rule.needs_identity() => Truth::No,
            _ => rule.holds(caller, groups, 0),
        };
        match self.action {
            Action::Allow if caller.identity.is_none() => Truth::No,
            _ => self.rules.holds_with(judge),
        }
    }
}

/// The member `session_duration`.
pub(crate) fn session(members: &Map<String, Value>) -> Result<Option<Duration>, ShapeError> {
    let Some(text) = text(members, "session_duration")?.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let duration =
        go_duration(text).map_err(|error| ShapeError::new("/session_duration", error.to_string()))?;
    // A month, as the documentation bounds it.
    if duration > Duration::from_secs(31 * 24 * 3600) {
        return Err(ShapeError::new("/session_duration", "is longer than a month"));
    }
    Ok(Some(duration))
}
