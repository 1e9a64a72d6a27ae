//! The window of a stream that we send.
//!
//! The algorithm is that of npm capnweb 0.12.0 (`FlowController`): the window follows bandwidth times round-trip time, as
//! BBR's does. Any finite window interoperates.

/// Characters in flight before the first measurement.
const START: f64 = 256.0 * 1024.0;
const LEAST: f64 = 64.0 * 1024.0;
const MOST: f64 = 1024.0 * 1024.0 * 1024.0;
/// How much the window may outgrow the measured bandwidth, at first and later.
const STARTUP_GROWTH: f64 = 2.0;
const STEADY_GROWTH: f64 = 1.25;
/// A round whose window grew by less than this counts towards the end of startup.
const STALLED_GROWTH: f64 = 1.25;
const STALLED_ROUNDS: u32 = 3;
/// The least a full window may shrink to.
const DECAY: f64 = 0.9;

/// What was true when a message was sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    pub(super) size: f64,
    /// It closes or aborts the stream.
    pub(super) ends: bool,
    at: f64,
    delivered: f64,
    last_ack: Option<f64>,
    window: f64,
    full: bool,
}

/// Sizes are in UTF-16 units of JSON text, times in milliseconds.
#[derive(Debug)]
pub(super) struct Flow {
    window: f64,
    in_flight: f64,
    delivered: f64,
    last_ack: Option<f64>,
    /// Time and delivered size of the first acknowledgement.
    first_ack: Option<(f64, f64)>,
    min_rtt: f64,
    startup: bool,
    round_start: f64,
    round_window: f64,
    stalled_rounds: u32,
}

impl Default for Flow {
    fn default() -> Self {
        Self {
            window: START,
            in_flight: 0.0,
            delivered: 0.0,
            last_ack: None,
            first_ack: None,
            min_rtt: f64::INFINITY,
            startup: true,
            round_start: 0.0,
            round_window: START,
            stalled_rounds: 0,
        }
    }
}

impl Flow {
    pub(super) fn has_room(&self) -> bool {
        self.in_flight < self.window
    }

    pub(super) fn is_empty(&self) -> bool {
        self.in_flight <= 0.0
    }

    pub(super) fn send(&mut self, size: usize, now: f64) -> Sent {
        let size = size as f64;
        self.in_flight += size;
        Sent {
            size,
            ends: false,
            at: now,
            delivered: self.delivered,
            last_ack: self.last_ack,
            window: self.window,
            full: !self.has_room(),
        }
    }

    /// A write that failed gives its bytes back and tells nothing else.
    pub(super) fn failed(&mut self, sent: Sent) {
        self.in_flight -= sent.size;
    }

    pub(super) fn acknowledged(&mut self, sent: Sent, now: f64) {
        self.delivered += sent.size;
        self.in_flight -= sent.size;
        self.min_rtt = self.min_rtt.min(now - sent.at);
        self.last_ack = Some(now);
        let Some((first_at, first_delivered)) = self.first_ack else {
            self.first_ack = Some((now, self.delivered));
            return;
        };
        let (since, base) = match sent.last_ack {
            Some(at) => (at, sent.delivered),
            None => (first_at, first_delivered),
        };
        let elapsed = now - since;
        let growth = if self.startup {
            STARTUP_GROWTH
        } else {
            STEADY_GROWTH
        };
        // A clock that stood still measures nothing.
        if elapsed > 0.0 && self.min_rtt > 0.0 {
            let bandwidth = (self.delivered - base) / elapsed;
            let wanted = (bandwidth * self.min_rtt * growth).min(sent.window * growth);
            let least = if sent.full {
                sent.window * DECAY
            } else {
                self.window
            };
            self.window = wanted.max(least).clamp(LEAST, MOST);
        }
        if self.startup && sent.at >= self.round_start {
            if self.window > self.round_window * STALLED_GROWTH {
                self.stalled_rounds = 0;
            } else {
                self.stalled_rounds += 1;
                self.startup = self.stalled_rounds < STALLED_ROUNDS;
            }
            self.round_start = now;
            self.round_window = self.window;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends as fast as the window allows over a line of `bandwidth` characters a millisecond and `rtt` milliseconds.
    fn run(bandwidth: f64, rtt: f64, messages: usize) -> Flow {
        let mut flow = Flow::default();
        let mut now = 0.0;
        let mut free_at = 0.0_f64;
        let mut queue = std::collections::VecDeque::new();
        for _ in 0..messages {
            while !flow.has_room() {
                let (at, sent) = queue.pop_front().unwrap();
                now = f64::max(now, at);
                flow.acknowledged(sent, now);
            }
            let sent = flow.send(16_384, now);
            free_at = free_at.max(now) + 16_384.0 / bandwidth;
            queue.push_back((free_at + rtt, sent));
        }
        flow
    }

    #[test]
    fn the_window_finds_the_product_of_bandwidth_and_delay() {
        // 10 MB/s and 100 ms: 1 MB fills the line.
        let window = run(10_000.0, 100.0, 5_000).window;
        assert!((900_000.0..4_000_000.0).contains(&window), "{window}");
        let window = run(100.0, 1.0, 2_000).window;
        assert!((LEAST..=START).contains(&window), "{window}");
    }

    #[test]
    fn a_clock_that_stands_still_does_no_harm() {
        let mut flow = Flow::default();
        for _ in 0..100 {
            let sent = flow.send(1000, 5.0);
            flow.acknowledged(sent, 5.0);
        }
        assert!(flow.window.is_finite() && flow.window >= LEAST && flow.in_flight == 0.0);
    }
}
