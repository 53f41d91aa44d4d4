//! An address or a prefix, wherever a command takes the source of requests.

use std::{fmt, str::FromStr};

use sallyport_core::address::{ClientAddress, InvalidNetwork, Network};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AddressOrNetwork {
    Address(ClientAddress),
    Network(Network),
}

impl AddressOrNetwork {
    /// What limits and blocks count it as: an IPv6 address stands for its /64.
    pub(crate) fn network(self) -> Network {
        match self {
            Self::Address(address) => Network::of(address),
            Self::Network(network) => network,
        }
    }
}

impl FromStr for AddressOrNetwork {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match ClientAddress::parse(text) {
            Some(address) => Ok(Self::Address(address)),
            None if text.contains('/') => {
                text.parse().map(Self::Network).map_err(|error: InvalidNetwork| error.to_string())
            }
            None => Err("not an IP address or a prefix".to_owned()),
        }
    }
}

impl fmt::Display for AddressOrNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Network(network) => network.fmt(f),
        }
    }
}
