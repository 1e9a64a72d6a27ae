use proptest::prelude::*;

use super::*;

/// A session and its simulated hour glass: jobs take `latency` and end as `api` says.
struct Rig {
    lifecycle: Lifecycle,
    start: Instant,
    now: Instant,
    running: Option<(Job, Instant)>,
    latency: Duration,
    published: Option<u64>,
    opened: usize,
    uploads: usize,
    told: Vec<Told>,
}

impl Rig {
    fn new() -> Self {
        let start = Instant::now();
        let mut rig = Self {
            lifecycle: Lifecycle::new(Timing::default(), 7),
            start,
            now: start,
            running: None,
            latency: Duration::from_millis(400),
            published: None,
            opened: 0,
            uploads: 0,
            told: Vec::new(),
        };
        rig.drain();
        rig
    }

    fn ready() -> Self {
        let mut rig = Self::new();
        rig.end(Ok(()));
        assert_eq!((rig.published, rig.opened, rig.uploads), (Some(1), 1, 1));
        assert_eq!(rig.told, [Told::Ready]);
        rig
    }

    fn drain(&mut self) {
        while let Some(step) = self.lifecycle.poll_step() {
            match step {
                Step::Run(job) => {
                    assert!(self.running.is_none(), "two jobs at once");
                    self.opened += usize::from(job == Job::Open);
                    self.uploads += 1;
                    self.running = Some((job, self.now + self.latency));
                }
                Step::Publish { generation } => self.published = Some(generation),
                Step::Withdraw => {
                    assert!(self.published.is_some(), "withdrawn twice");
                    self.published = None;
                }
                Step::Tell(told) => self.told.push(told),
            }
        }
    }

    /// The job under way ends.
    fn end(&mut self, how: Result<(), Fault>) {
        let (_, at) = self.running.take().expect("a job is under way");
        self.now = self.now.max(at);
        match how {
            Ok(()) => self.lifecycle.handle_done(self.now),
            Err(fault) => self.lifecycle.handle_failed(fault, self.now),
        }
        self.drain();
    }

    /// Goes to the next timer.
    fn jump(&mut self) {
        self.now = self.lifecycle.poll_timeout().expect("a timer is set");
        self.lifecycle.handle_timeout(self.now);
        self.drain();
    }

    fn expired(&mut self, generation: u64, expiry: Expiry) {
        self.lifecycle.handle_expired(generation, expiry, self.now);
        self.drain();
    }

    fn changed(&mut self) {
        self.lifecycle.handle_changed(self.now);
        self.drain();
    }

    fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.lifecycle.handle_timeout(self.now);
        self.drain();
    }

    fn job(&self) -> Option<Job> {
        self.running.map(|(job, _)| job)
    }
}

const TEMPORARY: Fault = Fault::Temporary(Duration::ZERO);

#[test]
fn a_day_of_renewals_without_a_gap() {
    let mut rig = Rig::ready();
    let mut ages = Vec::new();
    while rig.now < rig.start + Duration::from_secs(24 * 3600) {
        let before = rig.now;
        rig.jump();
        ages.push((rig.now - before).as_secs());
        assert_eq!(rig.job(), Some(Job::Open));
        assert!(
            rig.published.is_some(),
            "the old token is used until the new one works"
        );
        rig.end(Ok(()));
    }
    assert!(ages.iter().all(|age| (2999..=3000).contains(age)), "{ages:?}");
    assert_eq!(rig.opened, 1 + ages.len());
    assert!((28..=29).contains(&ages.len()), "{}", ages.len());
}

#[test]
fn five_failures_are_one_renewal() {
    let mut rig = Rig::ready();
    rig.wait(600);
    for _ in 0..5 {
        rig.expired(1, Expiry::Dead);
    }
    assert_eq!((rig.published, rig.opened), (None, 2));
    rig.end(Ok(()));
    assert_eq!(rig.published, Some(2));
    // Answers that were on their way when the token changed.
    for _ in 0..5 {
        rig.expired(1, Expiry::Dead);
    }
    assert_eq!((rig.published, rig.opened, rig.job()), (Some(2), 2, None));
}

#[test]
fn a_products_session_is_renewed_while_requests_go_on() {
    let mut rig = Rig::ready();
    rig.wait(600);
    rig.expired(1, Expiry::Stale);
    assert_eq!((rig.published, rig.job()), (Some(1), Some(Job::Open)));
    // The edge then says worse.
    rig.expired(1, Expiry::Dead);
    assert_eq!((rig.published, rig.opened), (None, 2));
    rig.end(Ok(()));
    assert_eq!(rig.published, Some(2));
}

#[test]
fn an_edge_that_never_knows_its_tokens_is_not_flooded() {
    let mut rig = Rig::ready();
    for generation in 1..200 {
        rig.expired(generation, Expiry::Dead);
        if rig.job().is_none() {
            rig.jump();
        }
        rig.end(Ok(()));
    }
    let per_minute = rig.opened as f64 / (rig.now - rig.start).as_secs_f64() * 60.0;
    assert!(per_minute < 20.0, "{per_minute} uploads a minute");
    // Once it does, the next expiry is one like any other.
    rig.wait(120);
    rig.expired(200, Expiry::Dead);
    assert_eq!(rig.job(), Some(Job::Open));
}

#[test]
fn an_outage_is_waited_for_and_ends() {
    let mut rig = Rig::ready();
    rig.jump();
    let down = rig.now;
    let mut attempts = 0;
    while rig.now < down + Duration::from_secs(8 * 3600) {
        rig.end(Err(TEMPORARY));
        attempts += 1;
        assert_eq!(rig.published, Some(1), "the old token goes on");
        rig.jump();
    }
    assert!((480..700).contains(&attempts), "{attempts}");
    rig.end(Ok(()));
    assert_eq!(rig.published, Some(2));
    let Some(Told::Renewed {
        by: Job::Open,
        failures,
    }) = rig.told.last()
    else {
        panic!("{:?}", rig.told.last());
    };
    assert_eq!(*failures, attempts);
}

#[test]
fn whoever_waits_is_not_kept_waiting_by_long_pauses() {
    let mut rig = Rig::ready();
    rig.jump();
    for _ in 0..10 {
        rig.end(Err(TEMPORARY));
        rig.jump();
    }
    rig.end(Err(TEMPORARY));
    rig.wait(2);
    assert_eq!(rig.job(), None, "a long pause");
    rig.expired(1, Expiry::Dead);
    assert_eq!(
        (rig.published, rig.job()),
        (None, Some(Job::Open)),
        "the next attempt comes at once"
    );
    for _ in 0..10 {
        rig.end(Err(TEMPORARY));
        let before = rig.now;
        rig.jump();
        assert!(rig.now - before <= Duration::from_secs(4));
    }
    rig.end(Ok(()));
    assert_eq!(rig.published, Some(2));
}

#[test]
fn retry_after_is_obeyed_whoever_asks() {
    let mut rig = Rig::ready();
    rig.jump();
    rig.end(Err(Fault::Temporary(Duration::from_secs(90))));
    rig.wait(2);
    rig.expired(1, Expiry::Dead);
    rig.changed();
    assert_eq!(rig.job(), None);
    rig.wait(87);
    assert_eq!(rig.job(), None);
    rig.wait(1);
    assert_eq!(rig.job(), Some(Job::Open));
}

#[test]
fn changed_bindings_are_uploaded_to_the_same_session() {
    let mut rig = Rig::ready();
    rig.wait(600);
    rig.changed();
    assert_eq!((rig.published, rig.job()), (Some(1), Some(Job::Upload)));
    // Twice more while the upload is under way: one more upload.
    rig.changed();
    rig.changed();
    rig.end(Ok(()));
    assert_eq!((rig.published, rig.job()), (Some(2), Some(Job::Upload)));
    rig.end(Ok(()));
    assert_eq!(
        (rig.published, rig.job(), rig.opened, rig.uploads),
        (Some(3), None, 1, 3)
    );
    // The session is as old as it was.
    assert_eq!(
        rig.lifecycle.poll_timeout(),
        Some(rig.start + rig.latency + Duration::from_secs(3000))
    );
}

#[test]
fn an_expired_session_token_makes_a_new_session() {
    let mut rig = Rig::ready();
    rig.changed();
    rig.end(Err(Fault::SessionEnded));
    assert_eq!((rig.published, rig.job()), (Some(1), Some(Job::Open)));
    rig.end(Ok(()));
    assert_eq!((rig.published, rig.opened), (Some(2), 2));
    assert!(!rig.told.iter().any(|told| matches!(told, Told::Failed { .. })));
}

#[test]
fn a_change_that_fails_goes_on_with_the_old_token() {
    let mut rig = Rig::ready();
    rig.changed();
    rig.end(Err(Fault::Lasting));
    assert_eq!(rig.published, Some(1));
    assert!(matches!(rig.told.last(), Some(Told::Failed { held: false, .. })));
    // Mended by the next change.
    rig.wait(2);
    rig.changed();
    assert_eq!(rig.job(), Some(Job::Upload));
    rig.end(Ok(()));
    assert_eq!(rig.published, Some(2));
}

#[test]
fn the_first_failure_ends_it() {
    let mut rig = Rig::new();
    rig.end(Err(TEMPORARY));
    assert_eq!((rig.told.as_slice(), rig.job()), (&[Told::GaveUp][..], None));
    assert_eq!(rig.lifecycle.poll_timeout(), None);
    // But for a session that ended before its upload, which is nobody's fault.
    let mut rig = Rig::new();
    rig.end(Err(Fault::SessionEnded));
    rig.end(Err(Fault::SessionEnded));
    rig.end(Ok(()));
    assert_eq!((rig.published, rig.opened), (Some(1), 3));
    let mut rig = Rig::new();
    for _ in 0..3 {
        rig.end(Err(Fault::SessionEnded));
    }
    assert_eq!(rig.told, [Told::GaveUp]);
}

#[derive(Debug, Clone)]
enum Happens {
    Wait(u16),
    Expired { behind: u64, dead: bool },
    Changed,
    End(Option<Fault>),
}

fn happens() -> impl Strategy<Value = Happens> {
    let fault = prop_oneof![
        Just(Fault::SessionEnded),
        Just(Fault::Lasting),
        (0u64..90).prop_map(|seconds| Fault::Temporary(Duration::from_secs(seconds))),
    ];
    prop_oneof![
        (0u16..4000).prop_map(Happens::Wait),
        (0u64..3, any::<bool>()).prop_map(|(behind, dead)| Happens::Expired { behind, dead }),
        Just(Happens::Changed),
        Just(Happens::End(None)),
        fault.prop_map(|fault| Happens::End(Some(fault))),
    ]
}

proptest! {
    /// Whatever comes in whatever order: never two jobs, never a step back, and once the API works, a token within minutes
    /// that no later than its age of 50 minutes is being renewed.
    #[test]
    fn it_always_recovers(story in prop::collection::vec(happens(), 0..60)) {
        let mut rig = Rig::ready();
        let mut newest = 1;
        for event in story {
            match event {
                Happens::Wait(seconds) => rig.wait(seconds.into()),
                Happens::Expired { behind, dead } => {
                    let expiry = if dead { Expiry::Dead } else { Expiry::Stale };
                    rig.expired(newest - behind.min(newest - 1), expiry);
                }
                Happens::Changed => rig.changed(),
                Happens::End(fault) if rig.running.is_some() => rig.end(fault.map_or(Ok(()), Err)),
                Happens::End(_) => {}
            }
            if let Some(generation) = rig.published {
                prop_assert!(generation >= newest);
                newest = generation;
            }
            prop_assert!(rig.running.is_some() || rig.lifecycle.poll_timeout().is_some(), "nothing will ever happen");
        }
        let working = rig.now;
        for _ in 0..4 {
            if rig.running.is_some() {
                rig.end(Ok(()));
            } else if rig.published.is_none() {
                rig.jump();
            }
        }
        prop_assert!(rig.published.is_some());
        prop_assert!(rig.now - working <= Duration::from_secs(200), "{:?}", rig.now - working);
    }
}
