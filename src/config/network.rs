//! Networks, as settings name them.

use std::net::IpAddr;
use std::str::FromStr;

/// The addresses that share a prefix, such as `10.0.0.0/8`; without a length, one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix_bits: u32,
}

impl Network {
    /// Whether `address` is one of them.
    pub fn contains(self, address: IpAddr) -> bool {
        let same = |left: u128, right: u128, bits: u32| {
            bits.checked_sub(self.prefix_bits).is_some_and(|rest| {
                left.checked_shr(rest).unwrap_or(0) == right.checked_shr(rest).unwrap_or(0)
            })
        };
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => same(own.to_bits().into(), other.to_bits().into(), 32),
            (IpAddr::V6(own), IpAddr::V6(other)) => same(own.to_bits(), other.to_bits(), 128),
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.trim().parse().map_err(|_| ())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = match prefix {
            Some(text) => text.trim().parse().map_err(|_| ())?,
            None => most,
        };
        if prefix_bits > most { Err(()) } else { Ok(Self { address, prefix_bits }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_contains_its_addresses() {
        let cases = [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.8", false),
            ("0.0.0.0/0", "192.0.2.8", true),
            ("::/0", "192.0.2.8", false),
            ("2001:db8::/32", "2001:db8:1::5", true),
            ("2001:db8::/32", "2001:db9::5", false),
        ];
        for (network, address, is_in) in cases {
            let network: Network = network.parse().expect("a valid network");
            assert_eq!(
                network.contains(address.parse().expect("a valid address")),
                is_in,
                "{network:?} {address}"
            );
        }
        for text in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.0/", "proxy.example"] {
            assert_eq!(text.parse::<Network>(), Err(()), "{text}");
        }
    }
}
