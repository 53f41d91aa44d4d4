#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{sync::Mutex, time::Duration};

use proptest::prelude::*;

use super::*;
use crate::{
    accounts::Email,
    address::ClientAddress,
    audit::{EventKind, Origin, SecurityEvent},
    checks::Component,
    clock::Timestamp,
    ids::{AccountKey, OperationId},
    store::{StoreError, StoreResult},
    testing::interleaving::finish,
    throttle::{AddressLimit, PoolPolicy},
};

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
const HOUR: Duration = Duration::from_secs(3600);

/// What befalls a write.
#[derive(Clone, Copy)]
enum Fate {
    /// Somebody else was first.
    Overtaken,
    /// Applied, and the writer never hears of it.
    ReplyLost,
}

#[derive(Default)]
struct Stored {
    flags: Flags,
    events: Vec<SecurityEvent>,
    fates: Vec<Fate>,
}

#[derive(Default)]
struct Memory(Mutex<Stored>);

impl Memory {
    fn with(fates: &[Fate]) -> Self {
        Self(Mutex::new(Stored { fates: fates.to_vec(), ..Stored::default() }))
    }

    fn flags(&self) -> Flags {
        self.0.lock().unwrap().flags.clone()
    }

    fn kinds(&self) -> Vec<EventKind> {
        self.0.lock().unwrap().events.iter().map(|event| event.kind).collect()
    }
}

impl ReadFlags for Memory {
    async fn flags(&self) -> StoreResult<Flags> {
        Ok(Self::flags(self))
    }
}

impl ChangeFlags for Memory {
    async fn change_flags(&self, seen: u64, after: &Flags, event: &SecurityEvent) -> StoreResult<bool> {
        let mut stored = self.0.lock().unwrap();
        let fate = stored.fates.pop();
        if matches!(fate, Some(Fate::Overtaken)) {
            stored.flags.version += 1;
            stored.flags.recent = vec![operation(200)];
        }
        if stored.flags.version != seen {
            return Ok(false);
        }
        stored.flags = after.clone();
        stored.events.push(event.clone());
        match fate {
            Some(Fate::ReplyLost) => {
                Err(StoreError::Unavailable { operation: "change flags", reason: "no answer".to_owned() })
            }
            _ => Ok(true),
        }
    }
}

fn operation(number: u8) -> OperationId {
    OperationId::from_bytes([number; 16])
}

fn reason(text: &str) -> Reason {
    Reason::new(text).unwrap()
}

fn by() -> Origin {
    Origin::operator("grace@desk")
}

fn mode(name: ModeName) -> NewMode {
    NewMode::new(name, NOW + HOUR, reason("drill"))
}

fn set(memory: &Memory, number: u8, new: NewMode) -> Result<Flags, FlagsError> {
    finish(set_mode(memory, NOW, operation(number), new, &by()))
}

fn add(memory: &Memory, number: u8, subject: BlockSubject, lasts: Duration) -> Result<Flags, FlagsError> {
    let new = NewBlock::new(subject, NOW + lasts, reason("stuffing"));
    finish(add_block(memory, NOW, operation(number), new, &by()))
}

fn address(text: &str) -> ClientAddress {
    ClientAddress::parse(text).unwrap()
}

fn network(text: &str) -> BlockSubject {
    BlockSubject::Network(text.parse().unwrap())
}

fn account() -> AccountKey {
    "ada@example.com".parse::<Email>().unwrap().account_key()
}

const ALL: Gate = Gate { needs: &Component::ALL };
const NOTHING: Gate = Gate { needs: &[] };

#[test]
fn a_mode_holds_until_it_expires_or_is_cleared() {
    let memory = Memory::default();
    let flags = set(&memory, 1, mode(ModeName::Maintenance)).unwrap();
    let here = address("192.0.2.1");
    let wait = Duration::from_secs(300);
    assert_eq!(flags.admit(&NOTHING, here, NOW), Err(Refusal::Maintenance { retry_after: wait }));
    let late = (NOW + HOUR).minus(Duration::from_millis(1));
    let rest = Refusal::Maintenance { retry_after: Duration::from_millis(1) };
    assert_eq!(flags.admit(&NOTHING, here, late), Err(rest));
    assert_eq!(flags.admit(&NOTHING, here, NOW + HOUR), Ok(()));
    let cleared = finish(clear_mode(&memory, NOW, operation(2), ModeName::Maintenance, &by())).unwrap();
    assert_eq!(cleared.admit(&NOTHING, here, NOW), Ok(()));
    assert_eq!(memory.kinds(), [EventKind::ModeSet, EventKind::ModeCleared]);
}

#[test]
fn what_is_set_twice_is_refused_unless_it_is_to_replace() {
    let memory = Memory::default();
    set(&memory, 1, mode(ModeName::Emergency)).unwrap();
    assert!(matches!(set(&memory, 2, mode(ModeName::Emergency)), Err(FlagsError::ModeSet(..))));
    let harder = mode(ModeName::Emergency).factor(10).replacing(true);
    assert_eq!(set(&memory, 3, harder).unwrap().emergency(NOW), Some(Emergency { factor: 10 }));
    let subject = network("203.0.113.0/24");
    add(&memory, 4, subject, HOUR).unwrap();
    assert!(matches!(add(&memory, 5, subject, HOUR), Err(FlagsError::BlockSet(..))));
    let remove = |number| finish(remove_block(&memory, NOW, operation(number), subject, &by()));
    remove(6).unwrap();
    assert_eq!(remove(7), Err(FlagsError::BlockNotSet(subject)));
}

#[test]
fn an_expired_mode_is_not_set_and_leaves_with_the_next_change() {
    let memory = Memory::default();
    set(&memory, 1, mode(ModeName::Maintenance)).unwrap();
    let later = NOW + HOUR;
    let clear = finish(clear_mode(&memory, later, operation(2), ModeName::Maintenance, &by()));
    assert_eq!(clear, Err(FlagsError::ModeNotSet(ModeName::Maintenance)));
    let new = NewMode::new(ModeName::Emergency, later + HOUR, reason("again"));
    let flags = finish(set_mode(&memory, later, operation(3), new, &by())).unwrap();
    assert_eq!(flags.modes.keys().copied().collect::<Vec<_>>(), [ModeName::Emergency]);
}

#[test]
fn a_change_whose_reply_was_lost_takes_effect_once() {
    let memory = Memory::with(&[Fate::ReplyLost]);
    assert!(matches!(set(&memory, 1, mode(ModeName::Emergency)), Err(FlagsError::Store(_))));
    // Others go on meanwhile; the one that repeats is not told that it is set already.
    set(&memory, 2, mode(ModeName::Maintenance)).unwrap();
    set(&memory, 1, mode(ModeName::Emergency)).unwrap();
    assert_eq!(memory.kinds(), [EventKind::ModeSet, EventKind::ModeSet]);
}

#[test]
fn changes_at_once_all_land() {
    let memory = Memory::with(&[Fate::Overtaken, Fate::Overtaken, Fate::Overtaken]);
    let flags = set(&memory, 1, mode(ModeName::Emergency)).unwrap();
    assert_eq!((flags.version, flags.recent.last()), (4, Some(&operation(1))));
    let busy = Memory::with(&[Fate::Overtaken; 20]);
    assert!(matches!(set(&busy, 1, mode(ModeName::Emergency)), Err(FlagsError::Store(_))));
    assert_eq!(busy.kinds(), []);
}

#[test]
fn an_end_or_a_factor_out_of_range_changes_nothing() {
    let memory = Memory::default();
    for end in [NOW, NOW.minus(HOUR), NOW + LONGEST_MODE + Duration::from_millis(1)] {
        let new = NewMode::new(ModeName::Maintenance, end, reason("drill"));
        assert_eq!(set(&memory, 1, new), Err(FlagsError::InvalidEnd { longest: LONGEST_MODE }));
    }
    for new in [
        mode(ModeName::Emergency).factor(1),
        mode(ModeName::Emergency).factor(MOST_FACTOR + 1),
        mode(ModeName::Maintenance).factor(4),
    ] {
        assert_eq!(set(&memory, 1, new), Err(FlagsError::InvalidFactor));
    }
    assert_eq!(memory.flags(), Flags::default());
    for text in ["", "  ", "a\nb", "a\u{1b}[31mb", "a\u{202e}b", "a\u{feff}b", "a\u{a0}b", &"ä".repeat(101)]
    {
        assert_eq!(Reason::new(text), Err(InvalidReason), "{text:?}");
    }
}

#[test]
fn there_is_room_for_so_many_blocks_and_expired_ones_make_room() {
    let memory = Memory::default();
    let subject = |number: usize| network(&format!("10.0.{}.{}/32", number / 256, number % 256));
    for number in 0..MOST_BLOCKS {
        let lasts = if number == 0 { Duration::from_secs(1) } else { HOUR };
        add(&memory, 1 + u8::try_from(number % 100).unwrap(), subject(number), lasts).unwrap();
    }
    assert_eq!(add(&memory, 250, subject(1000), HOUR), Err(FlagsError::TooManyBlocks));
    let later = NOW + Duration::from_secs(1);
    let new = NewBlock::new(subject(1000), later + HOUR, reason("stuffing"));
    finish(add_block(&memory, later, operation(251), new, &by())).unwrap();
}

#[test]
fn a_block_comes_before_maintenance_and_that_before_an_outage() {
    let memory = Memory::default();
    let here = address("2001:db8:1:2:3::4");
    set(&memory, 1, mode(ModeName::Degraded(Component::Users))).unwrap();
    let down = Refusal::Down { component: Component::Users, retry_after: Duration::from_secs(30) };
    assert_eq!(memory.flags().admit(&ALL, here, NOW), Err(down));
    assert_eq!(memory.flags().admit(&NOTHING, here, NOW), Ok(()));
    set(&memory, 2, mode(ModeName::Maintenance)).unwrap();
    assert!(matches!(memory.flags().admit(&ALL, here, NOW), Err(Refusal::Maintenance { .. })));
    add(&memory, 3, BlockSubject::address(address("2001:db8:1:2:ffff::")), HOUR).unwrap();
    assert_eq!(memory.flags().admit(&ALL, here, NOW), Err(Refusal::Blocked));
    assert!(matches!(memory.flags().admit(&ALL, here, NOW + HOUR), Ok(())));
}

#[test]
fn an_account_is_blocked_by_its_key_and_waits_no_longer_than_a_lock() {
    let memory = Memory::default();
    let flags = add(&memory, 1, BlockSubject::Account(account()), 2 * HOUR).unwrap();
    let policy = PoolPolicy::default();
    assert_eq!(flags.account_wait(account(), &policy, NOW), Some(policy.longest_lock));
    let late = (NOW + 2 * HOUR).minus(Duration::from_secs(5));
    assert_eq!(flags.account_wait(account(), &policy, late), Some(Duration::from_secs(5)));
    assert_eq!(flags.account_wait(account(), &policy, NOW + 2 * HOUR), None);
    assert_eq!(flags.admit(&ALL, address("192.0.2.1"), NOW), Ok(()));
}

#[test]
fn names_and_subjects_read_back() {
    for name in ModeName::all() {
        assert_eq!(name.to_string().parse(), Ok(name));
    }
    for subject in [network("10.0.0.0/8"), network("2001:db8::/32"), BlockSubject::Account(account())] {
        assert_eq!(subject.to_string().parse(), Ok(subject));
    }
    for text in ["", "degraded", "degraded.", "degraded.x", "Emergency"] {
        assert!(text.parse::<ModeName>().is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn limits_are_divided_and_never_vanish(factor in 0..=MOST_FACTOR, limit in 1..1000_u32, requests in 1..100_000_u64) {
        let emergency = Emergency { factor };
        let policy = PoolPolicy { limit, ..PoolPolicy::default() };
        let divided = emergency.pool(&policy);
        prop_assert!((1..=limit).contains(&divided.limit));
        prop_assert_eq!(PoolPolicy { limit, ..divided }, policy);
        let address = AddressLimit { requests, ..AddressLimit::default() };
        prop_assert!((1..=requests).contains(&emergency.address(&address).requests));
    }

    #[test]
    fn no_text_makes_a_name_or_a_subject_panic(text in "\\PC{0,40}|(network|account)#[0-9a-f:./]{0,30}") {
        let _parsed = (text.parse::<ModeName>(), text.parse::<BlockSubject>());
    }
}
