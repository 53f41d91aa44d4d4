//! Who got in during an attack: sign-ins from addresses, networks and devices that failed often.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
};

use sallyport_core::{
    address::{ClientAddress, Network},
    audit::EventKind,
    clock::Timestamp,
};

/// Failures after which a sign-in from the same address or device is suspicious. The owner of an account is locked by then.
const OFTEN: u64 = 5;
/// The same for a network, which may be an office.
const OFTEN_IN_A_NETWORK: u64 = 10;
/// Of a hundred failures, those that make a network a source of the attack. Others are people who mistype.
const SOURCE_PERCENT: u64 = 10;
/// Of a hundred failures, those that the sources must make together. Fewer are an attack from everywhere.
const TOGETHER_PERCENT: u64 = 50;

/// Failures of one network: a /24, a /64, or the one address of it that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetworkFailures {
    pub network: Network,
    pub failures: u64,
    /// Addresses of it that failed.
    pub addresses: u64,
}

/// Where failures came from.
#[derive(Debug, Clone, Default)]
pub struct FailureSources {
    addresses: HashMap<ClientAddress, u64>,
    networks: BTreeMap<Network, NetworkFailures>,
    devices: HashMap<String, u64>,
    total: u64,
}

impl FailureSources {
    /// Counts failures by address and by device. A device is one that the account knows.
    pub fn new(
        addresses: impl IntoIterator<Item = (ClientAddress, u64)>,
        devices: impl IntoIterator<Item = (String, u64)>,
    ) -> Self {
        let mut sources = Self { devices: devices.into_iter().collect(), ..Self::default() };
        for (address, failures) in addresses {
            sources.total = sources.total.saturating_add(failures);
            let count = sources.addresses.entry(address).or_default();
            let new = *count == 0;
            *count = count.saturating_add(failures);
            let around = Network::around(address);
            let entry = sources.networks.entry(around).or_insert(NetworkFailures {
                network: Network::of(address),
                failures: 0,
                addresses: 0,
            });
            entry.failures = entry.failures.saturating_add(failures);
            if new {
                entry.addresses = entry.addresses.saturating_add(1);
            }
            if entry.addresses > 1 {
                entry.network = around;
            }
        }
        sources
    }

    /// Whether any sign-in could be suspicious.
    pub fn failed_often(&self) -> bool {
        let often = |failures: &u64| *failures >= OFTEN;
        self.addresses.values().any(often)
            || self.devices.values().any(often)
            || self.networks.values().any(|network| network.failures >= OFTEN_IN_A_NETWORK)
    }

    /// Failures of all addresses.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The networks, those with the most failures first.
    pub fn networks(&self) -> Vec<NetworkFailures> {
        let mut networks: Vec<_> = self.networks.values().copied().collect();
        networks.sort_by_key(|network| (Reverse(network.failures), network.network));
        networks
    }

    /// The networks that the attack comes from: each makes a tenth of the failures or more, all of them half or more. None
    /// where it comes from everywhere.
    pub fn concentrated(&self) -> Vec<NetworkFailures> {
        let share =
            |failures: u64, percent: u64| failures.saturating_mul(100) >= self.total.saturating_mul(percent);
        let mut sources = self.networks();
        sources.retain(|network| {
            network.failures >= OFTEN_IN_A_NETWORK && share(network.failures, SOURCE_PERCENT)
        });
        let together = sources.iter().map(|network| network.failures).sum();
        if share(together, TOGETHER_PERCENT) { sources } else { Vec::new() }
    }

    /// Why a sign-in from there is suspicious, if it is: the narrowest source that failed often.
    pub fn suspicion(&self, address: ClientAddress, device: Option<&str>) -> Option<Suspicion> {
        let often = |failures: Option<&u64>, least| failures.copied().filter(|count| *count >= least);
        if let Some(failures) = device.and_then(|device| often(self.devices.get(device), OFTEN)) {
            return Some(Suspicion { source: Source::Device, failures });
        }
        if let Some(failures) = often(self.addresses.get(&address), OFTEN) {
            return Some(Suspicion { source: Source::Address, failures });
        }
        let around = self.networks.get(&Network::around(address))?;
        let failures = often(Some(&around.failures), OFTEN_IN_A_NETWORK)?;
        Some(Suspicion { source: Source::Network(Network::around(address)), failures })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The address itself.
    Address,
    Network(Network),
    /// The known device that signed in, from whatever address.
    Device,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suspicion {
    pub source: Source,
    pub failures: u64,
}

/// A right password, code or both, as the log has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignIn {
    pub at: Timestamp,
    pub kind: EventKind,
    /// As the log names the account: `USER#usr_…`.
    pub subject: String,
    pub address: ClientAddress,
    /// A device that the account knows.
    pub device: Option<String>,
    pub request_id: String,
}

impl SignIn {
    /// Events that say that a password or a factor was right.
    pub const KINDS: [EventKind; 3] =
        [EventKind::SignedIn, EventKind::PasswordAccepted, EventKind::Reauthenticated];
}

/// A sign-in that may be the attacker's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entered {
    pub sign_in: SignIn,
    pub suspicion: Suspicion,
}

/// The suspicious ones of these sign-ins, newest first.
pub fn entered(sources: &FailureSources, sign_ins: impl IntoIterator<Item = SignIn>) -> Vec<Entered> {
    let suspicious = |sign_in: SignIn| {
        let suspicion = sources.suspicion(sign_in.address, sign_in.device.as_deref())?;
        Some(Entered { sign_in, suspicion })
    };
    let mut found: Vec<_> = sign_ins.into_iter().filter_map(suspicious).collect();
    found.sort_by(|one, other| {
        let key = |entered: &Entered| (entered.sign_in.at, entered.sign_in.request_id.clone());
        key(other).cmp(&key(one))
    });
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    fn address(text: &str) -> ClientAddress {
        ClientAddress::parse(text).unwrap()
    }

    fn sources(addresses: &[(&str, u64)]) -> FailureSources {
        FailureSources::new(addresses.iter().map(|(text, failures)| (address(text), *failures)), [])
    }

    fn why(sources: &FailureSources, from: &str, device: Option<&str>) -> Option<String> {
        let suspicion = sources.suspicion(address(from), device)?;
        Some(format!("{:?} {}", suspicion.source, suspicion.failures))
    }

    #[test]
    fn a_sign_in_is_suspicious_where_many_failed() {
        let addresses = [
            ("203.0.113.1", 5),
            ("203.0.113.2", 4),
            ("203.0.113.3", 1),
            ("198.51.100.1", 4),
            ("2001:db8::1", 9),
            ("2001:db8::2", 1),
        ];
        let addresses = addresses.map(|(text, failures)| (address(text), failures));
        let sources = FailureSources::new(addresses, [("dev_a".to_owned(), 5), ("dev_b".to_owned(), 4)]);
        for (from, device, expected) in [
            ("203.0.113.1", None, Some("Address 5")),
            ("203.0.113.2", None, Some("Network(203.0.113.0/24) 10")),
            ("203.0.113.200", None, Some("Network(203.0.113.0/24) 10")),
            ("203.0.112.1", None, None),
            ("198.51.100.1", None, None),
            ("2001:db8::1", None, Some("Address 9")),
            ("2001:db8::ffff", None, Some("Network(2001:db8::/64) 10")),
            ("2001:db8:0:1::1", None, None),
            ("192.0.2.1", Some("dev_a"), Some("Device 5")),
            ("192.0.2.1", Some("dev_b"), None),
            ("203.0.113.1", Some("dev_b"), Some("Address 5")),
        ] {
            assert_eq!(why(&sources, from, device).as_deref(), expected, "{from} {device:?}");
        }
    }

    #[test]
    fn what_got_in_is_listed_newest_first() {
        let sources = sources(&[("203.0.113.1", 400)]);
        let sign_in = |at, from: &str| SignIn {
            at: Timestamp::from_seconds(at),
            kind: EventKind::SignedIn,
            subject: String::new(),
            address: address(from),
            device: None,
            request_id: String::new(),
        };
        let found = entered(
            &sources,
            [sign_in(1, "203.0.113.9"), sign_in(2, "192.0.2.1"), sign_in(3, "203.0.113.1")],
        );
        let at: Vec<_> = found.iter().map(|entered| entered.sign_in.at.seconds()).collect();
        assert_eq!(at, [3, 1]);
    }

    #[test]
    fn networks_are_blocked_where_few_of_them_make_the_attack() {
        let shown = |addresses: &[(&str, u64)]| {
            let few = sources(addresses).concentrated();
            few.iter().map(|network| network.network.to_string()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(shown(&[]), "");
        // Too few to be an attack.
        assert_eq!(shown(&[("203.0.113.1", 9)]), "");
        assert_eq!(shown(&[("203.0.113.1", 10)]), "203.0.113.1/32");
        assert_eq!(shown(&[("203.0.113.1", 40), ("203.0.113.2", 40), ("192.0.2.1", 8)]), "203.0.113.0/24");
        assert_eq!(
            shown(&[("203.0.113.1", 50), ("192.0.2.1", 30), ("192.0.2.2", 20)]),
            "192.0.2.0/24 203.0.113.1/32"
        );
        // Whoever mistypes beside an attack is not blocked with it.
        let people: Vec<_> = (0..9).map(|n| format!("10.0.{n}.1")).collect();
        let with_people: Vec<_> =
            people.iter().map(|text| (text.as_str(), 6)).chain([("203.0.113.1", 120)]).collect();
        assert_eq!(shown(&with_people), "203.0.113.1/32");
        let everywhere: Vec<_> = (0..20).map(|n| format!("10.0.{n}.1")).collect();
        let everywhere: Vec<_> = everywhere.iter().map(|text| (text.as_str(), 10)).collect();
        assert_eq!(shown(&everywhere), "");
    }

    proptest! {
        #[test]
        fn every_failure_belongs_to_one_network(
            failures in prop::collection::vec((any::<u16>(), 1..100_u64), 0..50)
        ) {
            let from = |n: u16| address(&format!("10.1.{}.{}", n >> 8, n & 255));
            let sources = FailureSources::new(failures.iter().map(|(n, count)| (from(*n), *count)), []);
            let sum: u64 = sources.networks().iter().map(|network| network.failures).sum();
            prop_assert_eq!(sum, sources.total());
            let mut addresses: Vec<_> = failures.iter().map(|(n, _)| *n).collect();
            addresses.sort_unstable();
            addresses.dedup();
            let counted: u64 = sources.networks().iter().map(|network| network.addresses).sum();
            prop_assert_eq!(usize::try_from(counted).unwrap(), addresses.len());
            for network in sources.networks() {
                prop_assert!(addresses.iter().any(|n| network.network.contains(from(*n))));
            }
        }
    }
}
