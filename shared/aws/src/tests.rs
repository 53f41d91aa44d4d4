//! Every codec: what is written reads back, and what is damaged is named.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use aws_sdk_dynamodb::types::AttributeValue;
use proptest::{collection, option, prelude::*};
use sallyport_core::{
    accounts::{Credential, Email, Epoch, FactorKind, FactorSummary, LoginRecord, Profile, Status},
    address::ClientAddress,
    clients::{Client, ClientSecretHash},
    clock::Timestamp,
    flags::{Block, BlockSubject, Flags, MOST_BLOCKS, Mode, ModeName, Reason},
    ids::{AccountKey, DeviceId, FactorId, OperationId, SessionId, UserId},
    mfa::{CodeHash, Factor, RecoveryCodes, SealedSeed},
    sessions::{Proofs, Session, UserSessions},
    store::StoreError,
    throttle::{Device, DeviceUse, Generation, MOST_DEVICES, Pool, PoolKey, PoolPolicy},
    tokens::Delivery,
};
use sallyport_operations::incidents::{
    Acknowledgement, AlarmRecord, AlarmState, Cause, Entry, EntryKind, Incident, IncidentId, Notice,
    NoticeKind, Resolution, Severity,
};

use crate::{
    identity::{
        accounts::{read_login_record, read_profile, write_login_record, write_profile},
        clients::{read_client, write_client},
        devices::{STRANGERS_SHUT, write_device},
        flags::{read_flags, write_flags},
        mfa::{read_factor, read_recovery_codes, write_factor, write_recovery_codes},
        sessions::{attribute, emptied_item, read_sessions, write_session},
        throttle::{read_pool, write_pool},
    },
    operations::incidents::{
        read_entry, read_incident, read_notice, write_entry, write_incident, write_notice,
    },
    platform::item::{Item, b, n},
    validate_item,
};

const HASH: &str = "$argon2id$v=19$m=64,t=2,p=1,keyid=AAE$c2FsdHNhbHRzYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn instant() -> impl Strategy<Value = Timestamp> {
    (0..9_999_999_999_999_u64).prop_map(Timestamp::from_millis)
}

fn email() -> impl Strategy<Value = Email> {
    "[a-z0-9._+]{1,20}@[a-z0-9]{1,10}\\.[a-z]{2,6}".prop_filter_map("an address", |text| text.parse().ok())
}

fn user() -> impl Strategy<Value = UserId> {
    any::<[u8; 16]>().prop_map(UserId::from_bytes)
}

fn factor_id() -> impl Strategy<Value = FactorId> {
    any::<[u8; 16]>().prop_map(FactorId::from_bytes)
}

prop_compose! {
    fn login_record()(
        email in email(),
        user in user(),
        with_password: bool,
        active: bool,
        verified: bool,
        epoch: u64,
        factors in collection::btree_map(any::<[u8; 16]>(), "\\PC{0,40}", 0..5),
        recovery_codes: bool,
    ) -> LoginRecord {
        LoginRecord {
            email,
            user,
            credential: if with_password { Credential::Password(HASH.parse().unwrap()) } else { Credential::None },
            status: if active { Status::Active } else { Status::Disabled },
            verified,
            epoch: Epoch(epoch),
            factors: factors
                .into_iter()
                .map(|(id, label)| FactorSummary { id: FactorId::from_bytes(id), kind: FactorKind::Totp, label })
                .collect(),
            recovery_codes,
        }
    }
}

prop_compose! {
    fn session()(
        ids: ([u8; 16], [u8; 16], [u8; 16]),
        counter: u32,
        times in (instant(), instant(), instant(), instant()),
        proven in (option::of(0..0x00ff_ffff_u64), option::of(0..0x00ff_ffff_u64), option::of(0..0x00ff_ffff_u64)),
        by_cookie: bool,
        address: std::net::IpAddr,
        agent in "\\PC{0,80}",
    ) -> Session {
        Session {
            id: SessionId::from_bytes(ids.0),
            counter,
            created_at: times.0,
            rotated_at: times.1,
            rotated_by: OperationId::from_bytes(ids.1),
            idle_until: times.2,
            absolute_until: times.3,
            proofs: {
                let at = |seconds: Option<u64>| seconds.map(|seconds| times.0 + Duration::from_secs(seconds));
                Proofs { password: at(proven.0), otp: at(proven.1), recovery_code: at(proven.2) }
            },
            delivery: if by_cookie { Delivery::Cookie } else { Delivery::Body },
            device: DeviceId::from_bytes(ids.2),
            address: ClientAddress::new(address),
            agent,
        }
    }
}

prop_compose! {
    fn pool()(
        used: u32, total: u32, probes: u32, last in instant(), cleared: u64, version: u64,
        reserved in collection::btree_map(any::<[u8; 16]>(), instant(), 0..6),
    ) -> Pool {
        let reserved: BTreeMap<_, _> =
            reserved.into_iter().map(|(id, until)| (OperationId::from_bytes(id), until)).collect();
        Pool { used, total, probes, last, cleared, reserved, version }
    }
}

prop_compose! {
    fn device()(
        known in option::of(any::<u64>()), number: u32, counter: u32, pool in pool(), held: bool,
    ) -> Device {
        let generation = if number > 0 { Generation { number, counter } } else { Generation::default() };
        // Nothing is kept of a pool that holds nothing, and a version is never 0.
        let pool = if held { Pool { version: pool.version.max(1), ..pool } } else { Pool::default() };
        // One of which nothing is kept is none.
        let known = known.or((number == 0 && !held).then_some(1)).map(DeviceUse::from_stored);
        Device { known, generation, pool }
    }
}

prop_compose! {
    fn factor()(
        user in user(), id in factor_id(), label in "\\PC{0,64}", seed in collection::vec(any::<u8>(), 0..64),
        confirmed: bool, last_step in option::of(any::<u64>()), created_at in instant(),
        last_used_at in option::of(instant()),
    ) -> Factor {
        Factor { user, id, label, seed: SealedSeed::from_bytes(seed), confirmed, last_step, created_at, last_used_at }
    }
}

prop_compose! {
    fn flags()(
        version: u64,
        modes in collection::btree_map(0..6_usize, (entry(), option::of(any::<u32>())), 0..6),
        networks in collection::vec((any::<std::net::IpAddr>(), entry()), 0..20),
        accounts in collection::vec((any::<[u8; 16]>(), entry()), 0..20),
        keyring_from in option::of(instant()),
        recent in collection::vec(any::<[u8; 16]>(), 0..8),
    ) -> Flags {
        let names: Vec<_> = ModeName::all().collect();
        let modes = modes.into_iter().filter_map(|(index, ((reason, set_at, expires_at, by), factor))| {
            Some((*names.get(index)?, Mode { reason, set_at, expires_at, by, factor }))
        });
        let block = |(reason, set_at, expires_at, by)| Block { reason, set_at, expires_at, by };
        let networks = networks.into_iter().map(|(address, entry)| {
            (BlockSubject::address(ClientAddress::new(address)), block(entry))
        });
        let accounts = accounts.into_iter().map(|(account, entry)| {
            (BlockSubject::Account(AccountKey::from_bytes(account)), block(entry))
        });
        Flags {
            version,
            modes: modes.collect(),
            blocks: networks.chain(accounts).collect(),
            keyring_from,
            recent: recent.into_iter().map(OperationId::from_bytes).collect(),
        }
    }
}

fn entry() -> impl Strategy<Value = (Reason, Timestamp, Timestamp, String)> {
    let reason = "[a-z\u{e4}][ -~]{0,80}".prop_filter_map("a reason", |text| Reason::new(&text).ok());
    (reason, instant(), instant(), "\\PC{0,60}")
}

fn incident_id() -> impl Strategy<Value = IncidentId> {
    any::<[u8; 10]>().prop_map(IncidentId::from_bytes)
}

fn alarm_record() -> impl Strategy<Value = AlarmRecord> {
    let states = [AlarmState::Alarm, AlarmState::Ok, AlarmState::InsufficientData];
    let children = collection::vec("[a-z-]{1,20}", 0..4);
    (prop::sample::select(states.to_vec()), instant(), children)
        .prop_map(|(state, changed_at, children)| AlarmRecord { state, changed_at, children })
}

prop_compose! {
    fn incident()(
        id in incident_id(), cause in "[a-z-]{1,30}", severity in prop::sample::select(Severity::ALL.to_vec()),
        times in (instant(), instant(), instant(), instant()),
        acknowledged in option::of((instant(), "\\PC{1,20}")),
        resolved in option::of((instant(), "\\PC{1,20}", "\\PC{1,80}")),
        later in (option::of(instant()), option::of(instant()), option::of(instant()), option::of(instant())),
        escalation_level: u32, alarms in collection::btree_map("[a-z-]{1,20}", alarm_record(), 0..5),
        version: u64, operation: [u8; 16],
    ) -> Incident {
        Incident {
            id, cause: Cause::new(cause), severity, began_at: times.0, opened_at: times.1, waiting_since: times.2,
            acknowledged: acknowledged.map(|(at, by)| Acknowledgement { at, by }),
            resolved: resolved.map(|(at, by, summary)| Resolution { at, by, summary }),
            status_at: times.3, reminded_at: later.0, escalation_level, escalated_at: later.1, alarms,
            diagnosis_from: later.2, mitigated_for: later.3, version, operation: OperationId::from_bytes(operation),
        }
    }
}

proptest! {
    #[test]
    fn an_incident_reads_back(incident in incident()) {
        let item = write_incident(&incident);
        prop_assert_eq!(validate_item("ops", &item), Ok(()));
        prop_assert_eq!(read_incident(&item), Ok(incident));
    }

    #[test]
    fn a_damaged_incident_is_corrupt_and_named(incident in incident(), victim: prop::sample::Index, gone: bool) {
        let item = write_incident(&incident);
        let may_lack = [
            "pk", "sk", "acknowledged", "resolved", "reminded_at", "escalated_at", "diagnosis_from", "mitigated_for",
        ];
        let names: Vec<_> = item.keys().filter(|name| !may_lack.contains(&name.as_str())).cloned().collect();
        let name: &String = victim.get(&names);
        let outcome = read_incident(&damage(item, name, gone));
        prop_assert!(matches!(&outcome, Err(StoreError::Corrupt { table: "ops", problem, .. }) if problem.contains(name.as_str())), "{:?}", outcome);
    }

    #[test]
    fn an_entry_of_a_timeline_reads_back(
        incident in incident_id(), version in 0..100_000_000_u64, index: u8, at in instant(),
        kind in prop::sample::select(EntryKind::ALL.to_vec()), by in "\\PC{1,20}", text in "\\PC{0,80}",
    ) {
        let entry = Entry { incident, version, index, at, kind, by, text };
        let item = write_entry(&entry);
        prop_assert_eq!(validate_item("ops", &item), Ok(()));
        prop_assert_eq!(read_entry(&item), Ok(entry));
    }

    #[test]
    fn a_notice_reads_back(
        incident in incident_id(), version in 0..100_000_000_u64, at in instant(), due_at in instant(),
        kind in prop::sample::select(NoticeKind::ALL.to_vec()), text in "\\PC{0,80}", attempts: u32,
        claim in option::of(any::<[u8; 16]>()), sent in collection::btree_set("[a-z]{1,8}", 0..3),
    ) {
        let claim = claim.map(OperationId::from_bytes);
        let notice = Notice { incident, version, kind, at, text, due_at, attempts, claim, sent };
        let item = write_notice(&notice);
        prop_assert_eq!(validate_item("ops", &item), Ok(()));
        prop_assert_eq!(read_notice(&item), Ok(notice));
    }
}

proptest! {
    #[test]
    fn flags_read_back(flags in flags()) {
        let item = write_flags(&flags);
        prop_assert_eq!(read_flags(&item), Ok(flags));
        prop_assert_eq!(validate_item("ops", &item), Ok(()));
    }

    #[test]
    fn damaged_flags_are_corrupt(flags in flags(), victim: prop::sample::Index, gone: bool) {
        let item = write_flags(&flags);
        let names: Vec<_> =
            item.keys().filter(|name| !["pk", "sk"].contains(&name.as_str())).cloned().collect();
        let name: &String = victim.get(&names);
        // No key need ever have been revoked.
        prop_assume!(!(gone && name == "keyring_from"));
        let outcome = read_flags(&damage(item, name, gone));
        prop_assert!(matches!(outcome, Err(StoreError::Corrupt { table: "ops", .. })), "{:?}", outcome);
    }

    #[test]
    fn a_login_record_reads_back(record in login_record()) {
        let item = write_login_record(&record);
        prop_assert_eq!(read_login_record(&record.email, &item), Ok(record));
        prop_assert_eq!(validate_item("users", &item), Ok(()));
    }

    #[test]
    fn a_profile_reads_back(
        user in user(), email in email(), created_at in instant(), enrolling in option::of(factor_id()),
    ) {
        let profile = Profile { user, email, created_at, enrolling };
        let item = write_profile(&profile);
        prop_assert_eq!(read_profile(user, &item), Ok(profile));
        prop_assert_eq!(validate_item("users", &item), Ok(()));
    }

    #[test]
    fn all_sessions_of_a_user_read_back(
        user in user(), epoch: u64, now in instant(), sessions in collection::vec(session(), 0..11),
    ) {
        let mut item = emptied_item(user, Epoch(epoch), now);
        for session in &sessions {
            item.insert(attribute(session.id), write_session(session));
        }
        let read = read_sessions(user, &item).unwrap();
        prop_assert_eq!(read.epoch, Epoch(epoch));
        prop_assert_eq!(read.sessions.len(), sessions.iter().map(|session| session.id).collect::<BTreeSet<_>>().len());
        for session in read.sessions {
            prop_assert!(sessions.contains(&session));
        }
        prop_assert_eq!(validate_item("sessions", &item), Ok(()));
    }

    #[test]
    fn devices_read_back_beside_sessions(
        user in user(), session in session(), devices in collection::btree_map(any::<[u8; 16]>(), device(), 0..13),
        shut: bool,
    ) {
        let devices: BTreeMap<_, _> =
            devices.into_iter().map(|(id, device)| (DeviceId::from_bytes(id).key(), device)).collect();
        let mut item = emptied_item(user, Epoch(1), Timestamp::from_seconds(1));
        item.insert(attribute(session.id), write_session(&session));
        for (key, device) in &devices {
            item.extend(write_device(*key, device));
        }
        if shut {
            item.insert(STRANGERS_SHUT.to_owned(), AttributeValue::Bool(true));
        }
        let held = UserSessions { epoch: Epoch(1), sessions: vec![session], devices, strangers_shut: shut };
        prop_assert_eq!(read_sessions(user, &item), Ok(held));
        prop_assert_eq!(validate_item("sessions", &item), Ok(()));
    }

    /// But for a reservation whose pool is gone, whatever is missing or of another type is corrupt.
    #[test]
    fn a_damaged_device_is_corrupt(device in device(), victim: prop::sample::Index, gone: bool) {
        let (user, key) = (UserId::from_bytes([7; 16]), DeviceId::from_bytes([8; 16]).key());
        let written = write_device(key, &device);
        let names: Vec<_> = written
            .keys()
            .filter(|name| !gone || !["d_", "g_", "n_", "r_"].iter().any(|free| name.starts_with(free)))
            .cloned()
            .collect();
        prop_assume!(!names.is_empty());
        let name: &String = victim.get(&names);
        let mut item = emptied_item(user, Epoch(1), Timestamp::from_seconds(1));
        item.extend(damage(written, name, gone));
        let outcome = read_sessions(user, &item);
        prop_assert!(matches!(outcome, Err(StoreError::Corrupt { table: "sessions", .. })), "{:?}", outcome);
    }

    #[test]
    fn a_pool_reads_back(pool in pool(), account: [u8; 16]) {
        let key = PoolKey::strangers(sallyport_core::ids::AccountKey::from_bytes(account));
        let item = write_pool(&key, &pool, &PoolPolicy::default());
        prop_assert_eq!(read_pool(&key.to_string(), &item), Ok(pool));
        prop_assert_eq!(validate_item("throttle", &item), Ok(()));
    }

    #[test]
    fn a_factor_reads_back(factor in factor()) {
        let item = write_factor(&factor);
        prop_assert_eq!(read_factor(factor.user, &item), Ok(factor));
        prop_assert_eq!(validate_item("users", &item), Ok(()));
    }

    #[test]
    fn recovery_codes_read_back(
        user in user(), left in collection::btree_set(any::<[u8; 32]>(), 0..11), issued_at in instant(),
    ) {
        let left = left.into_iter().map(CodeHash::from_bytes).collect();
        let codes = RecoveryCodes { user, left, issued_at };
        let item = write_recovery_codes(&codes);
        prop_assert_eq!(read_recovery_codes(user, &item), Ok(codes));
        prop_assert_eq!(validate_item("users", &item), Ok(()));
    }

    #[test]
    fn a_client_reads_back(id in "[a-z0-9-]{1,64}", secret: [u8; 32], created_at in instant()) {
        let client = Client { id, secret: ClientSecretHash::from_bytes(secret), created_at };
        let item = write_client(&client);
        prop_assert_eq!(read_client(&item), Ok(client));
        prop_assert_eq!(validate_item("ops", &item), Ok(()));
    }

    /// Whatever attribute is missing or of another type, the item is corrupt: never absent, never read as something else.
    #[test]
    fn a_damaged_login_record_is_corrupt_and_named(record in login_record(), victim: prop::sample::Index, gone: bool) {
        let item = write_login_record(&record);
        // The keys are the table's own, and without a password the account has none.
        let names: Vec<_> =
            item.keys().filter(|name| !["pk", "sk", "password"].contains(&name.as_str())).cloned().collect();
        let name: &String = victim.get(&names);
        let damaged = damage(item, name, gone);
        let outcome = read_login_record(&record.email, &damaged);
        prop_assert!(matches!(&outcome, Err(StoreError::Corrupt { table: "users", problem, .. }) if problem.contains(name.as_str())), "{:?}", outcome);
    }

    #[test]
    fn a_damaged_session_is_corrupt(session in session(), victim: prop::sample::Index, gone: bool) {
        let user = UserId::from_bytes([7; 16]);
        let mut item = emptied_item(user, Epoch(1), Timestamp::from_seconds(1));
        let AttributeValue::M(written) = write_session(&session) else { panic!("a session is a map") };
        let names: Vec<_> = written.keys().cloned().collect();
        let name: &String = victim.get(&names);
        // The release before writes none.
        prop_assume!(!gone || name != "w");
        let damaged = damage(written, name, gone);
        item.insert(attribute(session.id), AttributeValue::M(damaged));
        let outcome = read_sessions(user, &item);
        prop_assert!(matches!(outcome, Err(StoreError::Corrupt { table: "sessions", .. })), "{:?}", outcome);
    }
}

fn damage(mut item: Item, name: &str, gone: bool) -> Item {
    if gone {
        item.remove(name);
    } else {
        item.insert(name.to_owned(), AttributeValue::Null(true));
    }
    item
}

#[test]
fn a_format_that_this_release_does_not_know_is_refused() {
    let user = UserId::from_bytes([7; 16]);
    let mut item = emptied_item(user, Epoch(1), Timestamp::from_seconds(1));
    item.insert("v".to_owned(), n(2));
    assert!(
        matches!(read_sessions(user, &item), Err(StoreError::Corrupt { problem, .. }) if problem.contains("format 2"))
    );
}

#[test]
fn what_a_newer_release_sets_is_left_out_and_the_rest_is_read() {
    let mode = Mode {
        reason: Reason::new("drill").unwrap(),
        set_at: Timestamp::from_seconds(1),
        expires_at: Timestamp::from_seconds(2),
        by: "operator".to_owned(),
        factor: None,
    };
    let flags = Flags { modes: BTreeMap::from([(ModeName::Maintenance, mode)]), ..Flags::default() };
    let mut item = write_flags(&flags);
    for (attribute, name) in [("modes", "read_only"), ("blocks", "country#xx")] {
        let Some(AttributeValue::M(map)) = item.get_mut(attribute) else { panic!("a map") };
        map.insert(name.to_owned(), AttributeValue::M(HashMap::new()));
    }
    assert_eq!(read_flags(&item), Ok(flags));
}

/// Every function reads them all every few seconds.
#[test]
fn as_many_flags_as_there_can_be_stay_under_a_hundred_kilobytes() {
    let reason = Reason::new(&"r".repeat(Reason::MOST_BYTES)).unwrap();
    let (set_at, expires_at) =
        (Timestamp::from_millis(1_999_999_999_999), Timestamp::from_millis(1_999_999_999_999));
    let by = "b".repeat(140);
    let mode = Mode { reason: reason.clone(), set_at, expires_at, by: by.clone(), factor: Some(100) };
    let block = |number: usize| {
        let network = format!("1111:2222:3333:4444:5555:6666:7777:{:x}/128", 0x1000 + number);
        let block = Block { reason: reason.clone(), set_at, expires_at, by: by.clone() };
        (BlockSubject::Network(network.parse().unwrap()), block)
    };
    let flags = Flags {
        version: u64::MAX,
        modes: ModeName::all().map(|name| (name, mode.clone())).collect(),
        blocks: (0..MOST_BLOCKS).map(block).collect(),
        keyring_from: Some(set_at),
        recent: vec![OperationId::from_bytes([1; 16]); 8],
    };
    let size = size_of(&write_flags(&flags));
    assert!(size < 100 * 1024, "{size} bytes");
}

/// The release before stamps one time for all methods. What it wrote, alone or over what this one wrote, is never read as a
/// proof that is younger than it was: `k` is a day after the sign-in, `w` an hour.
#[test]
fn a_session_that_the_release_before_stamped_proves_no_more_than_it_must() {
    let created = Timestamp::from_millis(1_900_000_000_123);
    let (hour, day) = (created + Duration::from_secs(3600), created + Duration::from_secs(86_400));
    let user = UserId::from_bytes([7; 16]);
    let (pwd, otp, recovery) = (1_u8, 2, 4);
    let none = Proofs::default();
    for (methods, w, expected) in [
        (pwd, None, Proofs { password: Some(day), ..none }),
        (pwd, Some(vec![1, 0, 14, 16]), Proofs { password: Some(day), ..none }),
        (pwd, Some(vec![8]), Proofs { password: Some(day), ..none }),
        (pwd | otp, None, Proofs { password: Some(created), otp: Some(created), ..none }),
        (pwd | otp, Some(vec![1, 0, 14, 16]), Proofs { password: Some(hour), otp: Some(created), ..none }),
        (pwd | otp, Some(vec![2, 0, 14, 16]), Proofs { password: Some(created), otp: Some(hour), ..none }),
        (
            pwd | otp | recovery,
            Some(vec![2, 0, 14, 16]),
            Proofs { password: Some(created), otp: Some(hour), recovery_code: Some(created) },
        ),
    ] {
        let session = Session {
            id: SessionId::from_bytes([1; 16]),
            counter: 3,
            created_at: created,
            rotated_at: created,
            rotated_by: OperationId::from_bytes([2; 16]),
            idle_until: day,
            absolute_until: day,
            proofs: none,
            delivery: Delivery::Body,
            device: DeviceId::from_bytes([3; 16]),
            address: ClientAddress::unknown(),
            agent: String::new(),
        };
        let AttributeValue::M(mut stored) = write_session(&session) else { panic!("no map") };
        stored.insert("k".to_owned(), n(day.millis()));
        stored.insert("m".to_owned(), n(methods));
        if let Some(w) = w.clone() {
            stored.insert("w".to_owned(), b(w));
        }
        let mut item = emptied_item(user, Epoch(0), created);
        item.insert(attribute(session.id), AttributeValue::M(stored));
        let read = read_sessions(user, &item).unwrap();
        assert_eq!(read.sessions[0].proofs, expected, "{methods} {w:?}");
    }
}

#[test]
fn ten_sessions_and_all_known_devices_fit_into_two_write_units() {
    let user = UserId::from_bytes([7; 16]);
    let mut item = emptied_item(user, Epoch(1), Timestamp::from_seconds(1_900_000_000));
    for index in 0..10_u8 {
        let at = Timestamp::from_millis(1_900_000_000_123);
        let later = Some(at + Duration::from_secs(60));
        let session = Session {
            id: SessionId::from_bytes([index; 16]),
            counter: 4_000_000_000,
            created_at: at,
            rotated_at: at,
            rotated_by: OperationId::from_bytes([index; 16]),
            idle_until: at,
            absolute_until: at,
            proofs: Proofs { password: later, otp: later, recovery_code: later },
            delivery: Delivery::Cookie,
            device: DeviceId::from_bytes([index; 16]),
            address: ClientAddress::new("2001:db8:1111:2222:3333:4444:5555:6666".parse().unwrap()),
            agent: "a".repeat(Session::AGENT),
        };
        item.insert(attribute(session.id), write_session(&session));
    }
    // Those of the sessions and two more, none of whose pools hold anything.
    for index in 0..u8::try_from(MOST_DEVICES).unwrap() {
        let known = Some(DeviceUse::first(Timestamp::from_millis(1_900_000_000_123)));
        let written =
            write_device(DeviceId::from_bytes([index; 16]).key(), &Device { known, ..Device::default() });
        assert!(size_of(&written) <= 24, "a device takes {} bytes", size_of(&written));
        item.extend(written);
    }
    let size = size_of(&item);
    assert!(size <= 2048, "{size} bytes");
}

/// The size that DynamoDB bills (developer guide, "Item sizes and formats").
fn size_of(item: &HashMap<String, AttributeValue>) -> usize {
    item.iter().map(|(name, value)| name.len() + value_size(value)).sum()
}

fn value_size(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::S(text) => text.len(),
        // Two digits a byte, and one byte more.
        AttributeValue::N(number) => number.len().div_ceil(2) + 1,
        AttributeValue::B(bytes) => bytes.as_ref().len(),
        AttributeValue::M(map) => 3 + map.len() + size_of(map),
        _ => 1,
    }
}
