//! Where a request comes from, as limits count it.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
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

/// A range of addresses by its prefix (CIDR: RFC 4632, RFC 4291 2.3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    first: IpAddr,
    length: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidNetwork {
    #[error("not a prefix such as 203.0.113.0/24 or 2001:db8::/32")]
    Malformed,
    /// A slip of the finger must not shut out a continent.
    #[error("too wide: at least /8 for IPv4 and /16 for IPv6")]
    TooWide,
    #[error("bits are set after the prefix: {0} starts there")]
    BitsAfterPrefix(Network),
}

impl Network {
    /// What an address stands for: itself, or the /64 of an IPv6 address, as with [`ClientAddress::bucket`].
    pub fn of(address: ClientAddress) -> Self {
        let length = if address.0.is_ipv4() { 32 } else { 64 };
        Self { first: masked(address.0, length), length }
    }

    /// The addresses that tend to be in one hand: the /24 of an IPv4 address, the /64 of an IPv6 address.
    pub fn around(address: ClientAddress) -> Self {
        let length = if address.0.is_ipv4() { 24 } else { 64 };
        Self { first: masked(address.0, length), length }
    }

    /// Whether one of the two holds the other.
    pub fn overlaps(&self, other: Self) -> bool {
        let shorter = self.length.min(other.length);
        self.first.is_ipv4() == other.first.is_ipv4()
            && masked(self.first, shorter) == masked(other.first, shorter)
    }

    pub fn contains(&self, address: ClientAddress) -> bool {
        address.0.is_ipv4() == self.first.is_ipv4() && masked(address.0, self.length) == self.first
    }
}

/// The address with nothing set after the first `length` bits.
fn masked(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(length.into())).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask))
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(length.into())).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
        }
    }
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let (address, length) = text.split_once('/').ok_or(InvalidNetwork::Malformed)?;
        let address: IpAddr = address.parse().map_err(|_| InvalidNetwork::Malformed)?;
        // `parse` alone takes "+8" and "08".
        let plain = length.bytes().all(|byte| byte.is_ascii_digit())
            && !(length.len() > 1 && length.starts_with('0'));
        let length: u8 = length.parse().ok().filter(|_| plain).ok_or(InvalidNetwork::Malformed)?;
        // Callers from a mapped prefix are seen by the IPv4 addresses that it maps.
        let (first, length) = match address {
            IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() && (96..=128).contains(&length) => {
                (address.to_canonical(), length.saturating_sub(96))
            }
            other => (other, length),
        };
        let (least, most) = if first.is_ipv4() { (8, 32) } else { (16, 128) };
        if length > most {
            return Err(InvalidNetwork::Malformed);
        }
        if length < least {
            return Err(InvalidNetwork::TooWide);
        }
        let network = Self { first: masked(first, length), length };
        if network.first == first { Ok(network) } else { Err(InvalidNetwork::BitsAfterPrefix(network)) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.length)
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn network(text: &str) -> Result<Network, InvalidNetwork> {
        text.parse()
    }

    /// Bit by bit, as no computer would do it.
    fn shares_prefix(one: IpAddr, other: IpAddr, length: u8) -> bool {
        let bits = |address: IpAddr| -> Vec<bool> {
            let octets = match address {
                IpAddr::V4(address) => address.octets().to_vec(),
                IpAddr::V6(address) => address.octets().to_vec(),
            };
            octets.iter().flat_map(|octet| (0..8).rev().map(move |bit| octet >> bit & 1 == 1)).collect()
        };
        let (one, other) = (bits(one), bits(other));
        one.len() == other.len() && one.iter().zip(&other).take(length.into()).all(|(a, b)| a == b)
    }

    /// Pairs that share more than random ones would.
    fn pair() -> impl Strategy<Value = (IpAddr, IpAddr)> {
        let v4 = (any::<u32>(), any::<u32>(), 0..=32_u32).prop_map(|(one, noise, shared)| {
            let other = one ^ noise.checked_shr(shared).unwrap_or(0);
            (IpAddr::V4(Ipv4Addr::from_bits(one)), IpAddr::V4(Ipv4Addr::from_bits(other)))
        });
        let v6 = (any::<u128>(), any::<u128>(), 0..=128_u32).prop_map(|(one, noise, shared)| {
            let other = one ^ noise.checked_shr(shared).unwrap_or(0);
            (IpAddr::V6(Ipv6Addr::from_bits(one)), IpAddr::V6(Ipv6Addr::from_bits(other)))
        });
        prop_oneof![v4, v6]
    }

    proptest! {
        #[test]
        fn a_prefix_holds_what_shares_its_bits_and_nothing_else((one, other) in pair(), length in 8..=128_u8) {
            let length = if one.is_ipv4() { length.min(32) } else { length.max(16) };
            let network = Network { first: masked(one, length), length };
            let mapped = |address: IpAddr| address.is_ipv6() && address.to_canonical().is_ipv4();
            prop_assume!(!mapped(one) && !mapped(other));
            prop_assert!(network.contains(ClientAddress::new(one)));
            prop_assert_eq!(network.contains(ClientAddress::new(other)), shares_prefix(one, other, length));
            prop_assert_eq!(network.to_string().parse::<Network>(), Ok(network));
        }

        #[test]
        fn an_address_is_blocked_with_what_shares_its_budget((one, other) in pair()) {
            let (one, other) = (ClientAddress::new(one), ClientAddress::new(other));
            prop_assert_eq!(Network::of(one).contains(other), one.bucket() == other.bucket());
        }

        #[test]
        fn networks_overlap_where_one_holds_the_other((one, other) in pair(), long in 8..=64_u8, short in 8..=64_u8) {
            let network = |address: IpAddr, length: u8| {
                let length = if address.is_ipv4() { length.min(32) } else { length.max(16) };
                Network { first: masked(address, length), length }
            };
            let (one, other) = (network(one, long), network(other, short));
            let holds = |outer: Network, inner: Network| {
                outer.length <= inner.length && shares_prefix(outer.first, inner.first, outer.length)
            };
            prop_assert_eq!(one.overlaps(other), holds(one, other) || holds(other, one));
            prop_assert_eq!(one.overlaps(other), other.overlaps(one));
        }

        #[test]
        fn the_network_around_an_address_holds_what_it_is_blocked_with((one, other) in pair()) {
            let (one, other) = (ClientAddress::new(one), ClientAddress::new(other));
            let around = Network::around(one);
            prop_assert!(around.contains(one));
            prop_assert!(!Network::of(one).contains(other) || around.contains(other));
            prop_assert_eq!(around.contains(other), around == Network::around(other));
        }

        #[test]
        fn no_text_makes_a_prefix_panic(text in "\\PC{0,50}|[0-9a-f:.]{1,40}/[0-9]{1,4}") {
            let _parsed = text.parse::<Network>();
        }
    }

    #[test]
    fn a_mapped_prefix_is_the_prefix_it_maps() {
        assert_eq!(network("::ffff:203.0.113.0/120"), network("203.0.113.0/24"));
        assert_eq!(network("::ffff:10.0.0.0/100"), Err(InvalidNetwork::TooWide));
    }

    #[test]
    fn a_prefix_that_is_no_prefix_says_what_is_wrong() {
        for text in [
            "",
            "/",
            "1.2.3.4",
            "1.2.3.4/",
            "1.2.3.4/33",
            "1.2.3.4/+8",
            "1.2.3.4/08",
            "1.2.3.4/8/8",
            "::/129",
            "a/8",
        ] {
            assert_eq!(network(text), Err(InvalidNetwork::Malformed), "{text}");
        }
        for text in ["0.0.0.0/0", "0.0.0.0/7", "::/0", "2000::/15"] {
            assert_eq!(network(text), Err(InvalidNetwork::TooWide), "{text}");
        }
        let wrong = network("203.0.113.9/24").err().map(|error| error.to_string());
        assert_eq!(wrong.as_deref(), Some("bits are set after the prefix: 203.0.113.0/24 starts there"));
    }

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
