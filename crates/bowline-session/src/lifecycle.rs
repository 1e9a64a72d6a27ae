//! When a session is made, renewed and changed: a state machine without clock, sockets or secrets.
//!
//! ```text
//!            done                expired, due, changed              done
//! Opening ─────────▶ Live ──────────────────────────▶ Renewing ─────────▶ Live
//!    │ failed          ▲                                │    ▲
//!    ▼                 └─ published all the while ──────┤    │ until
//!   Over                  unless the edge called        ▼    │
//!                         the token dead             Resting ┘
//! ```
//!
//! The caller feeds what happens with the `handle_*` methods, then takes every step from [`Lifecycle::poll_step`], and
//! comes back with [`Lifecycle::handle_timeout`] at [`Lifecycle::poll_timeout`]. There is one job under way or none, so
//! that any number of signals makes one renewal.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long things last.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// A session is renewed at this age, before its preview token ends. (wrangler renews at 50 minutes; a token is said to
    /// live for an hour.)
    pub renew_after: Duration,
    /// The pause after the first failure; it doubles with every further one.
    pub first_pause: Duration,
    /// The longest pause while the old token still works.
    pub longest_pause: Duration,
    /// The longest pause while requests wait.
    pub longest_pause_held: Duration,
    /// A token that the edge calls expired when it is younger than this is not renewed at once: something else is wrong,
    /// and every renewal is an upload.
    pub settled: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            renew_after: Duration::from_secs(50 * 60),
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(60),
            longest_pause_held: Duration::from_secs(4),
            settled: Duration::from_secs(60),
        }
    }
}

/// Work for the caller. One at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Job {
    /// A new session and an upload to it.
    Open,
    /// An upload to the session there is.
    Upload,
}

/// How the edge, or a product behind it, said that a session has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// The preview token is not known: no request passes with it any more.
    Dead,
    /// A product's own session is gone: the token works, and a new one helps.
    Stale,
}

/// Why a job failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The session token of an upload is not known any more.
    SessionEnded,
    /// Another attempt may succeed, but not before this has passed.
    Temporary(Duration),
    /// Another attempt will fail too, unless somebody changes something elsewhere.
    Lasting,
}

/// What the caller does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Start a job, with the bindings as they are now. Its end is told by [`Lifecycle::handle_done`] or
    /// [`Lifecycle::handle_failed`].
    Run(Job),
    /// What the job brought is what requests carry from now on.
    Publish {
        /// Its number, by which the edge's answers about it are told apart.
        generation: u64,
    },
    /// Requests wait.
    Withdraw,
    /// Somebody may want to know.
    Tell(Told),
}

/// News of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// It is ready for the first time.
    Ready,
    /// It was renewed or changed.
    Renewed {
        /// By which job.
        by: Job,
        /// After how many failures.
        failures: u32,
    },
    /// A job failed. Requests go on if the old token works.
    Failed {
        /// The next attempt comes after this.
        again_in: Duration,
        /// Whether requests wait.
        held: bool,
    },
    /// It could not be made in the first place. Nothing follows.
    GaveUp,
}

/// A session's life.
#[derive(Debug)]
pub struct Lifecycle {
    timing: Timing,
    state: State,
    /// The bindings changed since the job under way began.
    changed: bool,
    steps: VecDeque<Step>,
    random: u64,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Opening(Opening),
    Live(Live),
    Renewing(Renewing),
    Resting(Resting),
    Over,
}

/// The first job.
#[derive(Debug, Clone, Copy)]
struct Opening {
    attempts: u32,
}

/// A token that works, and nothing to do.
#[derive(Debug, Clone, Copy)]
struct Live {
    generation: u64,
    /// When its session was opened.
    opened: Instant,
    /// When it was published.
    since: Instant,
    /// How many tokens in a row were called expired before they had settled.
    hasty: u32,
}

/// A job under way.
#[derive(Debug, Clone, Copy)]
struct Renewing {
    old: Live,
    /// Requests wait: the old token is dead.
    held: bool,
    job: Job,
    failures: u32,
}

/// Between two attempts.
#[derive(Debug, Clone, Copy)]
struct Resting {
    next: Renewing,
    until: Instant,
    /// No sooner than this, whoever asks.
    not_before: Instant,
}

/// Sessions that end before their first upload are opened again this often.
const FIRST_ATTEMPTS: u32 = 3;

impl Lifecycle {
    /// A session to be opened; the first step says so. `seed` varies the pauses, so that many do not come back together.
    pub fn new(timing: Timing, seed: u64) -> Self {
        Self {
            timing,
            state: State::Opening(Opening { attempts: 1 }),
            changed: false,
            steps: VecDeque::from([Step::Run(Job::Open)]),
            random: seed | 1,
        }
    }

    /// The next thing to do.
    pub fn poll_step(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    /// When to call [`Lifecycle::handle_timeout`], unless something happens before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Live(live) => Some(live.opened + self.timing.renew_after),
            State::Resting(resting) => Some(resting.until),
            State::Opening(_) | State::Renewing(_) | State::Over => None,
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_none_or(|at| now < at) {
            return;
        }
        match self.state {
            State::Live(live) => self.run(live.renewing(Job::Open)),
            State::Resting(resting) => self.run(resting.next),
            State::Opening(_) | State::Renewing(_) | State::Over => {}
        }
    }

    /// An answer said that a token has ended. Told of a token that is not the current one, it is old news.
    pub fn handle_expired(&mut self, generation: u64, expiry: Expiry, now: Instant) {
        let dead = expiry == Expiry::Dead;
        match self.state {
            State::Live(live) if live.generation == generation => {
                let settled = now.saturating_duration_since(live.since) >= self.timing.settled;
                let hasty = if settled { 0 } else { live.hasty + 1 };
                let old = Live { hasty, ..live };
                let next = Renewing {
                    held: dead,
                    ..old.renewing(Job::Open)
                };
                if dead {
                    self.steps.push_back(Step::Withdraw);
                }
                // The first one in a row may be an edge that forgot; a second one is no accident.
                if hasty < 2 {
                    self.run(next);
                } else {
                    let until = now + self.pause(hasty - 1, dead);
                    self.rest(next, until, until);
                }
            }
            State::Renewing(mut renewing) if renewing.old.generation == generation && dead => {
                self.hold(&mut renewing);
                self.state = State::Renewing(renewing);
            }
            State::Resting(mut resting) if resting.next.old.generation == generation && dead => {
                if !resting.next.held {
                    // Nobody waited for the next attempt so far.
                    resting.until = resting.until.min(now).max(resting.not_before);
                }
                self.hold(&mut resting.next);
                self.state = State::Resting(resting);
                self.handle_timeout(now);
            }
            _ => {}
        }
    }

    /// The bindings are others now.
    pub fn handle_changed(&mut self, now: Instant) {
        match self.state {
            State::Live(live) => self.run(live.renewing(Job::Upload)),
            State::Opening(_) | State::Renewing(_) => self.changed = true,
            State::Resting(mut resting) => {
                // What failed may have been their fault.
                resting.until = now.max(resting.not_before);
                self.state = State::Resting(resting);
                self.handle_timeout(now);
            }
            State::Over => {}
        }
    }

    /// The job under way has succeeded.
    pub fn handle_done(&mut self, now: Instant) {
        let live = match self.state {
            State::Opening(_) => {
                self.steps.push_back(Step::Publish { generation: 1 });
                self.steps.push_back(Step::Tell(Told::Ready));
                Live {
                    generation: 1,
                    opened: now,
                    since: now,
                    hasty: 0,
                }
            }
            State::Renewing(renewing) => {
                let generation = renewing.old.generation + 1;
                self.steps.push_back(Step::Publish { generation });
                self.steps.push_back(Step::Tell(Told::Renewed {
                    by: renewing.job,
                    failures: renewing.failures,
                }));
                renewing.done(generation, now)
            }
            State::Live(_) | State::Resting(_) | State::Over => return,
        };
        self.state = State::Live(live);
        if std::mem::take(&mut self.changed) {
            self.run(live.renewing(Job::Upload));
        }
    }

    /// The job under way has failed.
    pub fn handle_failed(&mut self, fault: Fault, now: Instant) {
        match self.state {
            State::Opening(Opening { attempts }) => {
                if fault == Fault::SessionEnded && attempts < FIRST_ATTEMPTS {
                    self.state = State::Opening(Opening {
                        attempts: attempts + 1,
                    });
                    self.steps.push_back(Step::Run(Job::Open));
                } else {
                    self.state = State::Over;
                    self.steps.push_back(Step::Tell(Told::GaveUp));
                }
            }
            State::Renewing(renewing) if fault == Fault::SessionEnded && renewing.job == Job::Upload => {
                self.run(Renewing {
                    job: Job::Open,
                    ..renewing
                });
            }
            State::Renewing(renewing) => {
                let next = Renewing {
                    failures: renewing.failures.saturating_add(1),
                    ..renewing
                };
                let (pause, least) = match fault {
                    Fault::Lasting => (self.timing.longest_pause, self.timing.first_pause),
                    Fault::SessionEnded => (self.pause(next.failures, next.held), self.timing.first_pause),
                    Fault::Temporary(least) => {
                        let least = least.max(self.timing.first_pause / 2);
                        (self.pause(next.failures, next.held).max(least), least)
                    }
                };
                // They changed meanwhile: the next attempt has them, and need not wait for what failed without.
                let pause = if std::mem::take(&mut self.changed) {
                    least
                } else {
                    pause
                };
                self.steps.push_back(Step::Tell(Told::Failed {
                    again_in: pause,
                    held: next.held,
                }));
                self.rest(next, now + pause, now + least);
            }
            State::Live(_) | State::Resting(_) | State::Over => {}
        }
    }

    fn run(&mut self, renewing: Renewing) {
        self.changed = false;
        self.state = State::Renewing(renewing);
        self.steps.push_back(Step::Run(renewing.job));
    }

    fn rest(&mut self, next: Renewing, until: Instant, not_before: Instant) {
        self.state = State::Resting(Resting {
            next,
            until,
            not_before,
        });
    }

    fn hold(&mut self, renewing: &mut Renewing) {
        if !std::mem::replace(&mut renewing.held, true) {
            self.steps.push_back(Step::Withdraw);
        }
    }

    /// The pause after `failures` in a row, varied by a quarter.
    fn pause(&mut self, failures: u32, held: bool) -> Duration {
        let longest = if held {
            self.timing.longest_pause_held
        } else {
            self.timing.longest_pause
        };
        let doubled = 1u32 << failures.saturating_sub(1).min(16);
        let pause = self.timing.first_pause.saturating_mul(doubled).min(longest);
        // xorshift: quality does not matter here, being reproducible does.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let part = u32::try_from(self.random % 256).unwrap_or(0);
        pause - pause / 4 / 256 * part
    }
}

impl Live {
    fn renewing(self, job: Job) -> Renewing {
        Renewing {
            old: self,
            held: false,
            job,
            failures: 0,
        }
    }
}

impl Renewing {
    fn done(self, generation: u64, now: Instant) -> Live {
        Live {
            generation,
            opened: match self.job {
                Job::Open => now,
                // The session is as old as it was.
                Job::Upload => self.old.opened,
            },
            since: now,
            hasty: self.old.hasty,
        }
    }
}

#[cfg(test)]
mod tests;
