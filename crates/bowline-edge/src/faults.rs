//! Misbehaviour on demand.
//!
//! One fault is a text `STEP:ACTION[*TIMES]`, the same on the command line and at the control interface:
//! `upload:code=10049*1`, `session:status=503*2`, `edge:delay=200`.

use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The most faults at a time.
const MOST: usize = 64;
/// The longest delay. Clients give up long before.
const LONGEST_DELAY: Duration = Duration::from_secs(600);

/// Where a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Any call of the API.
    Api,
    /// The session token.
    Session,
    /// The exchange of the session token.
    Exchange,
    /// The account's subdomain.
    Subdomain,
    /// The upload.
    Upload,
    /// A request to the edge, before Access.
    Edge,
}

const STEPS: [(&str, Step); 6] = [
    ("api", Step::Api),
    ("session", Step::Session),
    ("exchange", Step::Exchange),
    ("subdomain", Step::Subdomain),
    ("upload", Step::Upload),
    ("edge", Step::Edge),
];

/// What happens instead of, or before, the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// The answer comes later.
    Delay(Duration),
    /// No answer comes.
    Hang,
    /// The connection is cut.
    Reset,
    /// An HTML page with status 200.
    Html,
    /// A bare status; with it, how many seconds to wait.
    Status(u16, Option<u32>),
    /// An error of the API, with a status of its own or the one that goes with the code.
    Code(u32, Option<u16>),
    /// `error code: 1031`: a product's own session is gone.
    Gone,
    /// The answer of an edge that does not know the preview token.
    Unknown,
}

/// A fault was not written as one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a fault: write STEP:ACTION[*TIMES], STEP one of api, session, exchange, subdomain, upload, edge, ACTION one of \
     hang, reset, html, delay=MILLISECONDS, status=N, status=N/RETRY_AFTER_SECONDS, code=N, code=N/STATUS (not edge), gone and unknown (edge only)"
)]
pub struct FaultError(String);

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    at: Step,
    action: Action,
    /// How often it still strikes; `None` is always.
    left: Option<u32>,
}

impl FromStr for Fault {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        let wrong = || FaultError(text.chars().take(100).collect());
        let (step, rest) = text.trim().split_once(':').ok_or_else(wrong)?;
        let (rest, left) = match rest.split_once('*') {
            Some((rest, times)) => (rest, Some(times.parse().map_err(|_| wrong())?)),
            None => (rest, None),
        };
        let (_, at) = *STEPS.iter().find(|(name, _)| *name == step).ok_or_else(wrong)?;
        let (word, value) = rest
            .split_once('=')
            .map_or((rest, None), |(word, value)| (word, Some(value)));
        let number = |text: &str| text.parse::<u32>().map_err(|_| wrong());
        let action = match (word, value) {
            ("hang", None) => Action::Hang,
            ("reset", None) => Action::Reset,
            ("html", None) => Action::Html,
            ("gone", None) if at == Step::Edge => Action::Gone,
            ("unknown", None) if at == Step::Edge => Action::Unknown,
            ("delay", Some(value)) => {
                Action::Delay(Duration::from_millis(number(value)?.into()).min(LONGEST_DELAY))
            }
            ("code", Some(value)) if at != Step::Edge => {
                let (code, status) = match value.split_once('/') {
                    Some((code, status)) => (code, Some(http_status(status).ok_or_else(wrong)?)),
                    None => (value, None),
                };
                Action::Code(number(code)?, status)
            }
            ("status", Some(value)) => {
                let (status, wait) = match value.split_once('/') {
                    Some((status, wait)) => (status, Some(number(wait)?)),
                    None => (value, None),
                };
                Action::Status(http_status(status).ok_or_else(wrong)?, wait)
            }
            _ => return Err(wrong()),
        };
        Ok(Self { at, action, left })
    }
}

/// A status that ends an exchange.
fn http_status(text: &str) -> Option<u16> {
    text.parse().ok().filter(|status| (200..600).contains(status))
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let step = STEPS.iter().find(|(_, step)| *step == self.at);
        write!(f, "{}:", step.map_or("", |(name, _)| name))?;
        match self.action {
            Action::Delay(delay) => write!(f, "delay={}", delay.as_millis())?,
            Action::Hang => f.write_str("hang")?,
            Action::Reset => f.write_str("reset")?,
            Action::Html => f.write_str("html")?,
            Action::Status(status, None) => write!(f, "status={status}")?,
            Action::Status(status, Some(wait)) => write!(f, "status={status}/{wait}")?,
            Action::Code(code, None) => write!(f, "code={code}")?,
            Action::Code(code, Some(status)) => write!(f, "code={code}/{status}")?,
            Action::Gone => f.write_str("gone")?,
            Action::Unknown => f.write_str("unknown")?,
        }
        match self.left {
            Some(left) => write!(f, "*{left}"),
            None => Ok(()),
        }
    }
}

/// What is in the way of one request: delays first, then at most one thing that replaces the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Strike {
    pub(crate) delay: Duration,
    pub(crate) action: Option<Action>,
}

/// The faults in force.
#[derive(Debug, Default)]
pub struct Faults(Mutex<Vec<Fault>>);

impl Faults {
    /// Replaces them all; those beyond the first 64 are left out.
    pub fn set(&self, mut faults: Vec<Fault>) {
        faults.truncate(MOST);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = faults;
    }

    /// Those that still strike.
    pub(crate) fn list(&self) -> Vec<String> {
        let faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        faults.iter().map(ToString::to_string).collect()
    }

    /// What strikes a request at `step`, counted down.
    pub(crate) fn strike(&self, step: Step) -> Strike {
        let mut faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut strike = Strike::default();
        for fault in faults.iter_mut() {
            let here = fault.at == step || fault.at == Step::Api && step != Step::Edge;
            if !here || fault.left == Some(0) {
                continue;
            }
            match (fault.action, strike.action) {
                (Action::Delay(delay), _) => strike.delay += delay,
                (action, None) => strike.action = Some(action),
                (_, Some(_)) => continue,
            }
            fault.left = fault.left.map(|left| left - 1);
        }
        faults.retain(|fault| fault.left != Some(0));
        strike
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Action, Fault, Faults, Step, Strike};

    #[test]
    fn written_as_read() {
        for text in [
            "api:hang",
            "session:status=503*2",
            "subdomain:code=10007*1",
            "upload:code=10013/500*1",
            "upload:status=429/2",
            "exchange:html",
            "edge:delay=200",
            "edge:gone*1",
            "edge:unknown",
            "edge:reset*3",
        ] {
            assert_eq!(text.parse::<Fault>().unwrap().to_string(), text);
        }
        for bad in [
            "",
            "api",
            "api:",
            "api:hang=1",
            "nowhere:hang",
            "edge:code=1",
            "api:gone",
            "api:status=99",
            "api:status=600",
            "api:delay",
            "api:delay=x",
            "api:hang*x",
            "api:code=1*2*3",
            "api:code=1/99",
        ] {
            assert!(bad.parse::<Fault>().is_err(), "{bad}");
        }
    }

    #[test]
    fn counted_and_combined() {
        let faults = Faults::default();
        faults.set(
            ["api:delay=5", "upload:code=10049*1", "upload:hang*1"]
                .map(|text| text.parse().unwrap())
                .into(),
        );
        let delay = Duration::from_millis(5);
        let struck = |action| Strike { delay, action };
        assert_eq!(faults.strike(Step::Edge), Strike::default());
        assert_eq!(
            faults.strike(Step::Upload),
            struck(Some(Action::Code(10049, None)))
        );
        assert_eq!(faults.strike(Step::Upload), struck(Some(Action::Hang)));
        assert_eq!(faults.strike(Step::Upload), struck(None));
        assert_eq!(faults.list(), ["api:delay=5"]);
    }
}
