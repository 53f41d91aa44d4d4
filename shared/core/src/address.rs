//! Where a request comes from, as limits count it.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// The caller's address as API Gateway saw it. Headers never enter here.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientAddress(IpAddr);

impl ClientAddress {
    /// An IPv4-mapped IPv6 address (`::ffff:192.0.2.1`) is the IPv4 address it maps.
    pub fn new(address: IpAddr) -> Self {
        Self(address.to_canonical())
    }

    /// Reads API Gateway's `sourceIp`.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse().ok().map(Self::new)
    }

    /// What a limit counts: an IPv4 address, or the /64 of an IPv6 address, since one subscriber holds a whole /64.
    pub fn bucket(&self) -> String {
        match self.0 {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                format!("{}/64", Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
        }
    }

    /// 4 or 16 bytes.
    pub fn octets(&self) -> Vec<u8> {
        match self.0 {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        }
    }

    /// Reads what [`ClientAddress::octets`] wrote.
    pub fn from_octets(octets: &[u8]) -> Option<Self> {
        let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
        v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from)).ok().map(Self::new)
    }

    /// The address of a caller that API Gateway did not name: all such callers share one budget.
    pub const fn unknown() -> Self {
        Self(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(text: &str) -> Option<String> {
        ClientAddress::parse(text).map(|address| address.bucket())
    }

    #[test]
    fn a_mapped_address_shares_the_budget_of_the_address_it_maps() {
        assert_eq!(bucket("::ffff:192.0.2.7").as_deref(), Some("192.0.2.7"));
    }

    #[test]
    fn addresses_of_one_v6_subscriber_share_a_budget() {
        assert_eq!(bucket("2001:db8:1:2::3").as_deref(), Some("2001:db8:1:2::/64"));
        assert_eq!(bucket("2001:db8:1:2:ffff::9"), bucket("2001:db8:1:2::3"));
        assert_ne!(bucket("2001:db8:1:3::3"), bucket("2001:db8:1:2::3"));
    }

    #[test]
    fn anything_else_is_no_address() {
        for text in ["", "unknown", "192.0.2.7, 10.0.0.1", "192.0.2.7:443", "[::1]"] {
            assert_eq!(bucket(text), None, "{text}");
        }
    }
}
