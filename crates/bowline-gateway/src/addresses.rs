//! How many connections each address has open.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::throttle::network;

/// Counts connections by address, up to a cap: nobody fills the listener alone.
#[derive(Debug, Clone)]
pub(crate) struct Addresses {
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
    most: usize,
}

/// One connection, counted until dropped.
#[derive(Debug)]
pub(crate) struct Counted {
    of: Addresses,
    network: IpAddr,
}

impl Addresses {
    /// At most `most` connections of one address. Of IPv6 a whole network counts as one.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            open: Arc::default(),
            most,
        }
    }

    /// Counts one more, unless that is too many.
    pub(crate) fn take(&self, address: IpAddr) -> Option<Counted> {
        let network = network(address.to_canonical());
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(network).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Counted {
            of: self.clone(),
            network,
        })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut open = self.of.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_its_own_share() {
        let addresses = Addresses::new(2);
        let take = |text: &str| addresses.take(text.parse().unwrap());
        let (one, two) = (take("192.0.2.1").unwrap(), take("::ffff:192.0.2.1").unwrap());
        assert!(take("192.0.2.1").is_none());
        let others = (take("192.0.2.2").unwrap(), take("2001:db8::1").unwrap());
        let third = take("2001:db8::2").unwrap();
        assert!(take("2001:db8::3").is_none(), "one network");
        drop(one);
        assert!(take("192.0.2.1").is_some());
        drop((two, others, third));
        assert!(
            addresses.open.lock().unwrap().is_empty(),
            "nothing is left behind"
        );
    }
}
