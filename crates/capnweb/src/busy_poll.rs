//! Looking for the next message for a moment before the thread sleeps.
//!
//! Waking a sleeping thread takes as long as several small calls, and part of it is the sender's: whoever sends to a thread
//! that is awake is done sooner. Where messages come one after the other, as between two programs of one machine, the
//! next one is there before the thread could have gone to sleep and come back.
//!
//! Looking gives way: it is done by [`yield_now`](tokio::task::yield_now), so everything else the runtime has to do goes
//! first, and only a thread with nothing to do looks at all. Whether it pays is learned: a peer that is slow, far away or
//! quiet is looked for in one pause of 64.

use std::pin::pin;
use std::task::Context;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use tokio::runtime::{Handle, RuntimeFlavor};

/// How long it is looked for: who is sent fewer than 10 000 messages a second sleeps.
const PATIENCE: Duration = Duration::from_micros(100);
/// Pauses that are slept through at most before it is tried again.
const MOST_SKIPPED: u32 = 63;

/// Pauses that a session has to have before it is found out whether looking can pay: that takes as long as a short one.
const FIRST_SKIPPED: u32 = 8;

/// Of one session.
#[derive(Debug)]
pub(crate) struct BusyPoll {
    /// Not known yet, before the first look.
    can_pay: Option<bool>,
    now: Now,
    /// Pauses to sleep through before the next try.
    skip: u32,
    /// How many the last try in vain made us skip; 0 after one that was not.
    skipped: u32,
}

#[derive(Debug, Clone, Copy)]
enum Now {
    Busy,
    Looking { since: Instant },
    Asleep,
}

impl BusyPoll {
    pub(crate) fn new() -> Self {
        Self {
            can_pay: None,
            now: Now::Busy,
            skip: FIRST_SKIPPED,
            skipped: 0,
        }
    }

    /// There is nothing to do. The task is polled again soon if it should look again.
    pub(crate) fn pause(&mut self, cx: &mut Context<'_>) {
        if self.can_pay != Some(false)
            && self.looks(Instant::now())
            && *self.can_pay.get_or_insert_with(can_pay)
        {
            // Its first poll has the runtime wake this task, after all others and a look at the sockets.
            let _ = pin!(tokio::task::yield_now()).poll(cx);
        }
    }

    /// There is something to do.
    pub(crate) fn end_pause(&mut self) {
        if let Now::Looking { .. } = self.now {
            self.skipped = 0;
        }
        self.now = Now::Busy;
    }

    fn looks(&mut self, now: Instant) -> bool {
        self.now = match self.now {
            Now::Busy if self.skip == 0 => Now::Looking { since: now },
            Now::Busy => {
                self.skip -= 1;
                Now::Asleep
            }
            Now::Looking { since } if now.duration_since(since) < PATIENCE => return true,
            Now::Looking { .. } => {
                self.skipped = (2 * self.skipped + 1).min(MOST_SKIPPED);
                self.skip = self.skipped;
                Now::Asleep
            }
            Now::Asleep => return false,
        };
        matches!(self.now, Now::Looking { .. })
    }
}

fn can_pay() -> bool {
    // With workers, each time a task gives way another of them is woken to look for work, which costs more than is gained.
    let alone =
        Handle::try_current().is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::CurrentThread);
    // On one core, looking keeps the peer from sending.
    alone && available_parallelism().is_ok_and(|cores| cores.get() > 1)
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use super::*;

    /// Which of these pauses were looked through, if each lasts as long as given.
    fn looked(poll: &mut BusyPoll, pauses: impl IntoIterator<Item = Duration>) -> Vec<bool> {
        let mut now = Instant::now();
        let pauses = pauses.into_iter().map(|pause| {
            let begun = poll.looks(now);
            now += pause;
            let goes_on = poll.looks(now);
            assert_eq!(goes_on, begun && pause < PATIENCE);
            poll.end_pause();
            begun
        });
        pauses.collect()
    }

    const SHORT: Duration = Duration::from_micros(20);
    const LONG: Duration = Duration::from_micros(110);

    #[test]
    fn a_busy_line_is_looked_at_always() {
        let mut poll = BusyPoll::new();
        let looked = looked(&mut poll, [SHORT; 200]);
        assert!(looked.iter().skip(FIRST_SKIPPED as usize).all(|looked| *looked));
    }

    #[test]
    fn a_slow_line_is_looked_at_ever_more_seldom_and_at_last_once_in_64_pauses() {
        let mut poll = BusyPoll::new();
        let looked = looked(&mut poll, [LONG; 400]);
        let tries: Vec<usize> = (0..looked.len()).filter(|at| looked[*at]).collect();
        assert_eq!(tries, [8, 10, 14, 22, 38, 70, 134, 198, 262, 326, 390]);
    }

    #[test]
    fn a_line_that_becomes_busy_is_looked_at_again() {
        let mut poll = BusyPoll::new();
        looked(&mut poll, [LONG; 400]);
        let looked = looked(&mut poll, [SHORT; 100]);
        let first = looked.iter().position(|looked| *looked).unwrap();
        assert!(first < 64 && looked[first..].iter().all(|looked| *looked));
    }

    #[tokio::test]
    async fn a_pause_comes_back_by_itself_until_it_sleeps() {
        if !can_pay() {
            // There is one core.
            return;
        }
        let mut poll = BusyPoll::new();
        poll.skip = 0;
        // A task of its own, which the deadline does not poll.
        let pause = tokio::spawn(std::future::poll_fn(move |cx| {
            poll.pause(cx);
            match poll.now {
                Now::Asleep => Poll::Ready(()),
                _ => Poll::Pending,
            }
        }));
        let ended = tokio::time::timeout(Duration::from_secs(20), pause).await;
        ended.expect("it was polled again").unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn workers_do_not_look() {
        assert!(!can_pay());
    }
}
