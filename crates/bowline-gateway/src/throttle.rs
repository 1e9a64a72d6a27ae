//! Failed attempts, slowed down without getting in anybody else's way.
//!
//! Failures fill buckets: one for an address and client id together, one for an address, one for a client id. A full bucket
//! means that further attempts are refused unlooked-at. Whoever got in with a client id from an address within the last
//! hour is exempt there: a colleague with an old secret, or somebody guessing from elsewhere, locks nobody out.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use bowline_access::UnixSeconds;

/// Failures of one address with one client id before it has to wait, and seconds until it may try once more.
const PAIR: Limit = Limit { burst: 10, refill: 6 };
/// The same for one address with any client id: an office may share it.
const ADDRESS: Limit = Limit {
    burst: 100,
    refill: 1,
};
/// The same for one client id from anywhere.
const CLIENT: Limit = Limit {
    burst: 100,
    refill: 1,
};
/// How long an address that got in is exempt.
const EXEMPT: i64 = 3600;
/// Buckets, and exemptions, that are kept.
const KEPT: usize = 20_000;

struct Limit {
    burst: i64,
    refill: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Pair(IpAddr, String),
    Address(IpAddr),
    Client(String),
}

impl Key {
    fn limit(&self) -> &'static Limit {
        match self {
            Self::Pair(..) => &PAIR,
            Self::Address(_) => &ADDRESS,
            Self::Client(_) => &CLIENT,
        }
    }
}

/// The buckets.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    /// When each bucket will be empty again: a full one lies `burst * refill` seconds ahead (a leaky bucket as a clock).
    buckets: Mutex<Table<Key>>,
    /// How many buckets there are, so that nobody locks anything while there are none.
    count: AtomicUsize,
    known: Mutex<Table<(IpAddr, String)>>,
}

/// Times by what they are about, and when those that are over were last looked for: at most once a second, or each entry of
/// a full table would cost a walk through it.
#[derive(Debug)]
struct Table<K> {
    at: HashMap<K, UnixSeconds>,
    swept: UnixSeconds,
}

impl<K> Default for Table<K> {
    fn default() -> Self {
        Self {
            at: HashMap::new(),
            swept: UnixSeconds::MIN,
        }
    }
}

impl<K: Eq + std::hash::Hash> Table<K> {
    /// Whether there is room for one more, once what is not to be kept has gone.
    fn has_room(&mut self, now: UnixSeconds, keep: impl Fn(UnixSeconds) -> bool) -> bool {
        if self.at.len() >= KEPT && self.swept != now {
            self.swept = now;
            self.at.retain(|_, at| keep(*at));
        }
        self.at.len() < KEPT
    }
}

impl Throttle {
    /// Whether an attempt is to be refused unlooked-at; if so, for how many seconds.
    pub(crate) fn refuses(&self, address: Option<IpAddr>, client_id: &str, now: UnixSeconds) -> Option<i64> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let address = address.map(network)?;
        let wait = {
            let buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
            keys(address, client_id)
                .iter()
                .filter_map(|key| {
                    let Limit { burst, refill } = key.limit();
                    let over = buckets.at.get(key)? - now - (burst - 1) * refill;
                    (over > 0).then_some(over)
                })
                .max()?
        };
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let exempt = known
            .at
            .get(&(address, client_id.to_owned()))
            .is_some_and(|at| now - at < EXEMPT);
        (!exempt).then_some(wait)
    }

    /// Notes a failure.
    pub(crate) fn failed(&self, address: Option<IpAddr>, client_id: &str, now: UnixSeconds) {
        let Some(address) = address.map(network) else {
            return;
        };
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        for key in keys(address, client_id) {
            // A table full of live buckets is an attack in itself; the ones that are there go on working.
            if !buckets.has_room(now, |empty_at| empty_at > now) && !buckets.at.contains_key(&key) {
                continue;
            }
            let Limit { burst, refill } = key.limit();
            let empty_at = buckets.at.entry(key).or_insert(now);
            *empty_at = ((*empty_at).max(now) + refill).min(now + burst * refill);
        }
        self.count.store(buckets.at.len(), Ordering::Relaxed);
    }

    /// Notes that an address got in with a client id.
    pub(crate) fn succeeded(&self, address: Option<IpAddr>, client_id: &str, now: UnixSeconds) {
        let Some(address) = address.map(network) else {
            return;
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.has_room(now, |at| now - at < EXEMPT) {
            return;
        }
        known.at.insert((address, client_id.to_owned()), now);
    }
}

/// Whoever has one IPv6 address has its whole /64.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

fn keys(address: IpAddr, client_id: &str) -> [Key; 3] {
    // A client id comes from the peer and is kept for a while.
    let client_id: String = client_id.chars().take(64).collect();
    [
        Key::Pair(address, client_id.clone()),
        Key::Address(address),
        Key::Client(client_id),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(last: u8) -> Option<IpAddr> {
        Some([192, 0, 2, last].into())
    }

    #[test]
    fn failures_wait_and_others_do_not() {
        let throttle = Throttle::default();
        throttle.succeeded(at(2), "a", 1_000);
        for _ in 0..9 {
            throttle.failed(at(1), "a", 1_000);
            assert_eq!(throttle.refuses(at(1), "a", 1_000), None);
        }
        throttle.failed(at(1), "a", 1_000);
        assert_eq!(throttle.refuses(at(1), "a", 1_000), Some(6));
        assert_eq!(throttle.refuses(at(1), "a", 1_006), None);
        // Other client ids at the address, and the client id from elsewhere, are not concerned.
        assert_eq!(throttle.refuses(at(1), "b", 1_000), None);
        assert_eq!(throttle.refuses(at(3), "a", 1_000), None);
        // Somebody who guesses from many addresses fills the client id's bucket; who is known gets in all the same.
        for other in 10..120 {
            throttle.failed(at(other), "a", 1_000);
        }
        assert!(throttle.refuses(at(200), "a", 1_000).is_some());
        assert_eq!(throttle.refuses(at(2), "a", 1_000), None);
        assert!(
            throttle.refuses(at(2), "a", 1_000 + EXEMPT).is_none(),
            "empty by then"
        );
        // A bucket never gets deeper than full.
        for _ in 0..10_000 {
            throttle.failed(at(1), "a", 1_000);
        }
        assert_eq!(throttle.refuses(at(1), "a", 1_000), Some(6));
    }

    #[test]
    fn memory_is_bounded() {
        let throttle = Throttle::default();
        for number in 0..3 * KEPT {
            throttle.failed(at(1), &format!("client {number}"), 1_000);
            throttle.succeeded(at(1), &format!("client {number}"), 1_000);
        }
        assert!(throttle.buckets.lock().unwrap().at.len() <= KEPT);
        assert!(throttle.known.lock().unwrap().at.len() <= KEPT);
    }

    #[test]
    fn a_network_counts_as_one() {
        let throttle = Throttle::default();
        for host in 0..10u16 {
            throttle.failed(
                Some(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, host).into()),
                "a",
                0,
            );
        }
        let other = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 9, 9, 9, 9);
        assert!(throttle.refuses(Some(other.into()), "a", 0).is_some());
    }
}
