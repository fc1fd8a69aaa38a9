//! Limits the open connections of each peer address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::Network;

/// Counts the open connections of each peer address.
#[derive(Clone, Debug)]
pub(in crate::http) struct AddressShares {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    most: usize,
    exempt: Vec<Network>,
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// A connection that is counted until it is dropped. Connections of exempt addresses are not counted.
#[derive(Debug)]
pub(in crate::http) struct CountedConnection {
    shares: AddressShares,
    address: Option<IpAddr>,
}

impl AddressShares {
    /// Allows `most` connections per address, and any number for loopback and `exempt` ones.
    pub(in crate::http) fn new(most: usize, exempt: Vec<Network>) -> Self {
        Self { inner: Arc::new(Inner { most, exempt, open: Mutex::default() }) }
    }

    /// Counts a connection from `peer`; `None` if the address has reached its limit.
    pub(in crate::http) fn count(&self, peer: IpAddr) -> Option<CountedConnection> {
        let peer = peer.to_canonical();
        let Inner { most, exempt, open } = &*self.inner;
        if peer.is_loopback() || exempt.iter().any(|network| network.contains(peer)) {
            return Some(CountedConnection { shares: self.clone(), address: None });
        }
        let address = client_network(peer);
        let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(address).or_insert(0);
        if *count >= *most {
            return None;
        }
        *count += 1;
        Some(CountedConnection { shares: self.clone(), address: Some(address) })
    }
}

impl Drop for CountedConnection {
    fn drop(&mut self) {
        let Some(address) = self.address else { return };
        let mut open = self.shares.inner.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&address);
            }
        }
    }
}

/// An IPv6 host usually has a whole /64 of addresses, so these count together.
fn client_network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::from(u64::MAX) << 64)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("a valid address")
    }

    #[test]
    fn an_address_has_a_limit_and_connections_are_released() {
        let shares = AddressShares::new(2, vec!["10.0.0.0/8".parse().expect("a valid network")]);
        let first = shares.count(ip("192.0.2.1")).expect("the first fits");
        let _second = shares.count(ip("::ffff:192.0.2.1")).expect("the second fits");
        assert!(shares.count(ip("192.0.2.1")).is_none());
        assert!(shares.count(ip("192.0.2.2")).is_some(), "another address has its own share");
        drop(first);
        let _again = shares.count(ip("192.0.2.1")).expect("one has closed");
        let _v6 = [1, 2].map(|host| shares.count(ip(&format!("2001:db8::{host}"))).expect("two fit"));
        assert!(shares.count(ip("2001:db8::ffff:3")).is_none(), "a /64 counts as one");
        let exempt: Vec<_> =
            (0..5).map(|_| (shares.count(ip("10.1.2.3")), shares.count(ip("127.0.0.1")))).collect();
        assert!(exempt.iter().all(|(proxy, loopback)| proxy.is_some() && loopback.is_some()));
        drop(exempt);
        assert_eq!(shares.inner.open.lock().expect("no panic").len(), 2);
    }
}
