#![allow(clippy::unwrap_used, reason = "tests")]

mod vault;

use std::time::Duration;

use proptest::prelude::*;
use sallyport_core::{
    audit::{Actor, EventKind, Origin},
    clock::Timestamp,
    keyring::{KeyState, Keyring, KeyringDocument, SigningAlgorithm},
    secret::Secret,
    sessions::SessionPolicy,
    store::StoreResult,
    tokens::{ACCESS_LIFETIME, DEVICE_LIFETIME},
};

use self::vault::{Fault, Vault};
use crate::testing::keyring::document;
use crate::{
    rotate::{self, PENDING, RotateError, RotationEnv},
    rotation::{
        self, JWKS_KEPT, KeyKind, KeyName, MakeKeys, May, Phase, RotationError, RotationPolicy, STAGING,
    },
    testing::interleaving::finish,
};

const POLICY: RotationPolicy = RotationPolicy { keyring_max_age: Duration::from_secs(300) };
const START: Timestamp = Timestamp::from_seconds(1_800_000_000);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Real keys: the documents are parsed as a function parses them.
struct Generated;

impl MakeKeys for Generated {
    fn signing(&self, _: SigningAlgorithm) -> StoreResult<(String, Secret<String>)> {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(2);
        let key = document().signing.remove(0).private_key;
        Ok((format!("k{}", NEXT.fetch_add(1, Ordering::Relaxed)), key))
    }

    fn secret(&self) -> StoreResult<Secret<String>> {
        Ok(document().refresh.remove(0).key)
    }
}

fn env(now: Timestamp) -> RotationEnv<'static> {
    RotationEnv { now, policy: POLICY, algorithm: SigningAlgorithm::ES256, keys: &Generated }
}

fn advance(document: &KeyringDocument, now: Timestamp) -> Result<(Phase, KeyringDocument), RotationError> {
    let env = env(now);
    rotation::advance(document, &KeyKind::SCHEDULED, env.algorithm, now, &POLICY, &Generated)
        .map(|(phase, step)| (phase, step.document))
}

fn current(document: &KeyringDocument) -> &str {
    &document.signing.iter().find(|key| key.state == KeyState::Current).unwrap().kid
}

#[test]
fn a_rotation_publishes_then_promotes_then_retires() {
    let first = document();
    let (phase, published) = advance(&first, START).unwrap();
    assert_eq!((phase, current(&published)), (Phase::Publish, "k1"));
    let keyring = Keyring::from_document(&published).unwrap();
    assert_eq!(keyring.jwks().len(), 2, "the next key is in the JWKS");

    let early = advance(&published, START + Duration::from_secs(60)).unwrap_err();
    let RotationError::TooEarly { key, wait } = early else { panic!("{early:?}") };
    assert_eq!(
        (key.kind, wait),
        (
            KeyKind::Signing,
            STAGING + POLICY.keyring_max_age + JWKS_KEPT - Duration::from_secs(60)
                + Duration::from_millis(999)
        )
    );

    let promotion = START + DAY;
    let (phase, promoted) = advance(&published, promotion).unwrap();
    assert_eq!(phase, Phase::Promote);
    assert_ne!(current(&promoted), "k1");
    assert!(Keyring::from_document(&promoted).unwrap().public_key("k1").is_some());

    let (phase, retired) = advance(&promoted, promotion + DAY).unwrap();
    assert_eq!(phase, Phase::Retire);
    assert!(Keyring::from_document(&retired).unwrap().public_key("k1").is_none());
    // The refresh key stays as long as a session may, the device key as long as a device is known.
    assert_eq!((retired.refresh.len(), retired.device.len()), (2, 2));
    let (_, later) = advance(&retired, promotion + Duration::from_secs(90 * 24 * 3600 + 7200)).unwrap();
    assert_eq!((later.refresh.len(), later.device.len()), (1, 2));
    let (_, latest) = advance(&later, promotion + Duration::from_secs(181 * 24 * 3600)).unwrap();
    assert_eq!((latest.refresh.len(), latest.device.len()), (1, 1));
}

#[test]
fn a_pepper_is_rotated_on_demand_and_kept_for_the_hashes_under_it() {
    let before = document();
    let kinds = [KeyKind::Pepper, KeyKind::Aead];
    let step = |document: &KeyringDocument, now| {
        rotation::advance(document, &kinds, SigningAlgorithm::ES256, now, &POLICY, &Generated)
            .unwrap()
            .1
            .document
    };
    let promoted = step(&step(&before, START), START + DAY);
    assert_eq!(
        promoted.pepper.iter().map(|key| key.state).collect::<Vec<_>>(),
        [KeyState::Previous, KeyState::Current]
    );
    let old = rotation::outlook(&promoted, &POLICY)
        .into_iter()
        .find(|key| key.key.to_string() == "pepper:1")
        .unwrap();
    assert_eq!(old.may, May::Stay);
    let (_, later) = advance(&promoted, START + Duration::from_secs(10_000 * 24 * 3600)).unwrap();
    assert_eq!((later.pepper.len(), later.aead.len()), (2, 2));
    for name in ["pepper:1", "pepper:2", "aead:1"] {
        let name: KeyName = name.parse().unwrap();
        let refused =
            rotation::revoke(&promoted, &name, SigningAlgorithm::ES256, START, &Generated).unwrap_err();
        assert_eq!(refused, RotationError::Indispensable(name));
    }
}

#[test]
fn a_revoked_key_is_refused_at_once_and_another_signs() {
    let revoke = |document: &KeyringDocument, name: &str| {
        rotation::revoke(document, &name.parse().unwrap(), SigningAlgorithm::ES256, START, &Generated)
    };
    let step = revoke(&document(), "k1").unwrap();
    let keyring = Keyring::from_document(&step.document).unwrap();
    assert!(keyring.public_key("k1").is_none());
    assert_ne!(keyring.signer().kid, "k1");
    assert!(step.document.signing[0].private_key.expose().is_empty(), "its material is wiped");
    assert_eq!(
        revoke(&step.document, "k1").unwrap_err(),
        RotationError::RevokedAlready("k1".parse().unwrap())
    );
    assert_eq!(revoke(&document(), "k9").unwrap_err(), RotationError::NoSuchKey("k9".parse().unwrap()));

    // The published key is known to verifiers already: it takes over.
    let (_, published) = advance(&document(), START).unwrap();
    let heir = published.signing[1].kid.clone();
    let step = revoke(&published, "signing:k1").unwrap();
    assert_eq!(current(&step.document), heir);
    // An id is not used twice, not even a revoked one's.
    let step = revoke(&document(), "refresh:1").unwrap();
    assert_eq!(
        step.document.refresh.iter().map(|key| (key.id.0, key.state)).collect::<Vec<_>>(),
        [(1, KeyState::Revoked), (2, KeyState::Current)]
    );
}

#[test]
fn names_of_keys_read_as_they_are_written() {
    for text in ["signing:a-b_9", "refresh:1", "device:65535", "pepper:2", "aead:3"] {
        assert_eq!(text.parse::<KeyName>().unwrap().to_string(), text);
    }
    assert_eq!("abc".parse::<KeyName>().unwrap().kind, KeyKind::Signing);
    for text in ["", "refresh:x", "refresh:65536", "other:1", "signing:", "a b", "signing:a:b"] {
        assert!(text.parse::<KeyName>().is_err(), "{text}");
    }
}

/// A document that was current from a time on.
struct Active {
    from: Timestamp,
    document: KeyringDocument,
}

/// Plays rotations at the given distances; each document takes effect up to fifteen minutes after it was built.
fn history(steps: &[(u32, u16)]) -> Vec<Active> {
    let mut now = START;
    let mut past = vec![Active { from: now, document: document() }];
    for (distance, delay) in steps {
        now = now + Duration::from_secs(u64::from(*distance));
        let last = past.last().unwrap();
        now = now.max(last.from);
        let Ok((_, next)) = advance(&last.document, now) else { continue };
        let from = now + Duration::from_secs(u64::from(*delay)).min(STAGING);
        assert!(rotation::follows(&last.document, &next, from, &POLICY).is_ok());
        past.push(Active { from, document: next });
        now = from;
    }
    past
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whoever signs has a copy of the keyring that is up to five minutes old, whoever verifies has another, or a JWKS that
    /// is two hours older still.
    #[test]
    fn nothing_that_lives_is_refused_whatever_the_rhythm_of_rotations(
        steps in prop::collection::vec((0_u32..40 * 24 * 3600, 0_u16..900), 1..40),
    ) {
        let past = history(&steps);
        let far = past.last().unwrap().from + DAY * 400;
        let until = |index: usize| past.get(index + 1).map_or(far, |next| next.from);
        let copies = POLICY.keyring_max_age;
        for (made, maker) in past.iter().enumerate() {
            for (read, reader) in past.iter().enumerate() {
                // While something of `maker` lives, does anybody read with `reader`?
                let meets = |life: Duration, kept: Duration| {
                    maker.from <= until(read) + copies + kept && reader.from <= until(made) + copies + life
                };
                let known = |kid: &str| reader.document.signing.iter().any(|key| key.kid == kid && key.state != KeyState::Revoked);
                if meets(ACCESS_LIFETIME, JWKS_KEPT) {
                    prop_assert!(known(current(&maker.document)), "{made} by {read}");
                }
                let id = maker.document.refresh.iter().find(|key| key.state == KeyState::Current).unwrap().id;
                if meets(SessionPolicy::default().absolute, Duration::ZERO) {
                    prop_assert!(reader.document.refresh.iter().any(|key| key.id == id), "{made} by {read}");
                }
                let id = maker.document.device.iter().find(|key| key.state == KeyState::Current).unwrap().id;
                if meets(DEVICE_LIFETIME, Duration::ZERO) {
                    prop_assert!(reader.document.device.iter().any(|key| key.id == id), "{made} by {read}");
                }
            }
        }
    }

    #[test]
    fn the_release_before_reads_every_document_of_this_one(
        steps in prop::collection::vec((0_u32..40 * 24 * 3600, 0_u16..900), 1..20),
    ) {
        for Active { document, .. } in history(&steps) {
            let text = serde_json::to_string(&document).unwrap();
            let old: before::KeyringDocument = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(old.version, 1);
            prop_assert_eq!(old.signing.len(), document.signing.len());
            let again: KeyringDocument = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(serde_json::to_string(&again).unwrap(), text);
        }
    }

    #[test]
    fn a_document_that_no_step_leads_to_is_refused(
        steps in prop::collection::vec((3 * 3600_u32..40 * 24 * 3600, 0_u16..900), 1..12),
        tampering in 0_usize..9,
    ) {
        let past = history(&steps);
        let last = past.last().unwrap();
        let now = last.from + DAY;
        let Ok((_, mut next)) = advance(&last.document, now) else { return Ok(()) };
        match tampering {
            0 => next.signing.retain(|key| key.state != KeyState::Current),
            1 => next.signing.iter_mut().for_each(|key| key.private_key = document().signing.remove(0).private_key),
            2 => next.refresh.push(next.refresh[0].clone()),
            3 => next.changed_at = Some((now + DAY).seconds()),
            4 => next.changed_at = None,
            5 => next.pepper.clear(),
            6 => next.version = 2,
            7 => next.aead[0].key = Secret::new("AAAA".to_owned()),
            _ => next.device.iter_mut().for_each(|key| key.since = Some(1)),
        }
        prop_assert!(rotation::follows(&last.document, &next, now, &POLICY).is_err(), "{}", tampering);
    }
}

/// The format as the first release reads it.
mod before {
    use serde::Deserialize;

    #[derive(Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum State {
        Next,
        Current,
        Previous,
        Revoked,
    }

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "it is read, and that is all")]
    pub(super) struct SigningKeyEntry {
        kid: String,
        algorithm: String,
        state: State,
        created_at: u64,
        private_key: String,
    }

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "it is read, and that is all")]
    pub(super) struct SecretKeyEntry {
        id: u16,
        state: State,
        created_at: u64,
        key: String,
    }

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "it is read, and that is all")]
    pub(super) struct KeyringDocument {
        pub(super) version: u32,
        pub(super) signing: Vec<SigningKeyEntry>,
        refresh: Vec<SecretKeyEntry>,
        device: Vec<SecretKeyEntry>,
        pepper: Vec<SecretKeyEntry>,
        aead: Vec<SecretKeyEntry>,
    }
}

fn origin() -> Origin {
    Origin::operator("test")
}

/// The four calls of Secrets Manager; a step that fails is repeated, as Secrets Manager repeats it.
async fn play(vault: &Vault, now: Timestamp, token: &str) -> Result<(), RotateError> {
    let again = |error: &RotateError| matches!(error, RotateError::Store(_));
    for _ in 0..3 {
        match rotate::create(vault, env(now), token).await {
            Err(error) if again(&error) => {}
            outcome => {
                outcome?;
                break;
            }
        }
    }
    for _ in 0..3 {
        match rotate::test(vault, env(now), token).await {
            Err(error) if again(&error) => {}
            outcome => {
                outcome?;
                break;
            }
        }
    }
    for _ in 0..3 {
        match rotate::finish(vault, env(now), token, &origin()).await {
            Err(error) if again(&error) => {}
            outcome => {
                outcome?;
                break;
            }
        }
    }
    Ok(())
}

#[test]
fn a_step_survives_a_fault_at_every_call_and_leaves_one_event() {
    finish(async {
        let mut struck = 0;
        for fault in [Fault::Before, Fault::After] {
            for call in 0..20 {
                let vault = Vault::holding(&document());
                vault.reserve("t1");
                vault.fail(call, fault);
                play(&vault, START, "t1").await.unwrap();
                struck += usize::from(vault.has_failed());
                assert_eq!(vault.current().signing.len(), 2, "{call} {fault:?}");
                assert_eq!(vault.holder("AWSCURRENT").as_deref(), Some("t1"));
                assert_eq!(vault.holder(PENDING), None, "{call} {fault:?}");
                let events = vault.events();
                assert_eq!(events.len(), 1, "{call} {fault:?} {events:?}");
                assert_eq!(events[0].kind, EventKind::KeyringRotated);
                assert!(events[0].detail.as_deref().unwrap().starts_with("publish: "), "{events:?}");
            }
        }
        assert!(struck >= 20, "{struck}");
    });
}

#[test]
fn a_repeated_step_changes_nothing() {
    finish(async {
        let vault = Vault::holding(&document());
        vault.reserve("t1");
        for _ in 0..2 {
            rotate::create(&vault, env(START), "t1").await.unwrap();
            rotate::test(&vault, env(START), "t1").await.unwrap();
        }
        rotate::finish(&vault, env(START), "t1", &origin()).await.unwrap();
        let done = serde_json::to_string(&vault.current()).unwrap();
        let later = START + Duration::from_secs(40);
        rotate::create(&vault, env(later), "t1").await.unwrap();
        rotate::test(&vault, env(later), "t1").await.unwrap();
        rotate::finish(&vault, env(later), "t1", &origin()).await.unwrap();
        assert_eq!(serde_json::to_string(&vault.current()).unwrap(), done);
        assert_eq!(vault.events().len(), 1);
    });
}

#[test]
fn of_two_rotations_at_once_one_wins() {
    finish(async {
        let vault = Vault::holding(&document());
        vault.reserve("t1");
        rotate::create(&vault, env(START), "t1").await.unwrap();
        vault.reserve("t2");
        rotate::create(&vault, env(START), "t2").await.unwrap();
        rotate::finish(&vault, env(START), "t2", &origin()).await.unwrap();
        let won = serde_json::to_string(&vault.current()).unwrap();
        assert!(rotate::finish(&vault, env(START), "t1", &origin()).await.is_err());
        // Even with its stage back it does not follow from what is current now.
        vault.reserve("t1");
        assert!(matches!(
            rotate::finish(&vault, env(START), "t1", &origin()).await,
            Err(RotateError::Rotation(RotationError::NoSuccessor(_)))
        ));
        assert_eq!(serde_json::to_string(&vault.current()).unwrap(), won);
        assert_eq!((vault.current().signing.len(), vault.holder(PENDING)), (2, None));
    });
}

#[test]
fn the_guards_of_a_rotation_hold() {
    finish(async {
        let mut vault = Vault::holding(&document());
        vault.reserve("t1");
        vault.rotation_enabled = false;
        assert!(matches!(rotate::create(&vault, env(START), "t1").await, Err(RotateError::NotEnabled)));
        vault.rotation_enabled = true;
        assert!(matches!(rotate::create(&vault, env(START), "t9").await, Err(RotateError::NotStaged(_))));
        play(&vault, START, "t1").await.unwrap();

        // Too early: the version that was reserved does not stay pending, or no rotation would begin any more.
        let soon = START + Duration::from_secs(3600);
        vault.reserve("t2");
        let refused = play(&vault, soon, "t2").await.unwrap_err();
        assert!(matches!(refused, RotateError::Rotation(RotationError::TooEarly { .. })), "{refused}");
        assert_eq!(vault.holder(PENDING), None);

        // A document that lay about for an hour is not made current, and is put away.
        let later = START + DAY;
        vault.reserve("t3");
        rotate::create(&vault, env(later), "t3").await.unwrap();
        let stale = rotate::finish(&vault, env(later + Duration::from_secs(3600)), "t3", &origin()).await;
        assert!(matches!(stale, Err(RotateError::Rotation(RotationError::NoSuccessor(_)))));
        assert_eq!(vault.holder(PENDING), None);
        vault.reserve("t4");
        play(&vault, later, "t4").await.unwrap();
        assert_ne!(current(&vault.current()), "k1");
    });
}

#[test]
fn an_operator_rotates_past_what_a_rotation_left_behind_but_not_past_one_under_way() {
    finish(async {
        let vault = Vault::holding(&document());
        vault.reserve("stray");
        rotate::create(&vault, env(START), "stray").await.unwrap();
        let under_way = rotate::rotate(&vault, env(START), &KeyKind::SCHEDULED, "op1", &origin()).await;
        assert!(matches!(under_way, Err(RotateError::UnderWay(_))));
        let later = START + Duration::from_secs(3600);
        let rotated =
            rotate::rotate(&vault, env(later), &KeyKind::SCHEDULED, "op1", &origin()).await.unwrap();
        assert_eq!((rotated.phase, vault.holder(PENDING)), (Phase::Publish, None));

        // A revocation waits for nobody.
        vault.reserve("t2");
        let name: KeyName = "k1".parse().unwrap();
        let changes = rotate::revoke(&vault, env(later), &name, "op2", &origin()).await.unwrap();
        assert_eq!(changes[0].to_string(), "signing:k1 revoked");
        assert_ne!(current(&vault.current()), "k1");
        assert!(vault.events().iter().any(|event| event.kind == EventKind::KeyringRevoked));
    });
}

#[test]
fn each_of_two_revocations_in_one_second_outdates_the_copies_of_the_other() {
    finish(async {
        let vault = Vault::holding(&document());
        for (operation, name) in ["k1", "refresh:1", "device:1"].into_iter().enumerate() {
            let before = Keyring::from_document(&vault.current()).unwrap();
            let name: KeyName = name.parse().unwrap();
            rotate::revoke(&vault, env(START), &name, &format!("op{operation}"), &origin()).await.unwrap();
            let from = vault.copies_from().unwrap();
            assert!(before.is_from_before(from), "{name}");
            assert!(!Keyring::from_document(&vault.current()).unwrap().is_from_before(from), "{name}");
        }
    });
}

#[test]
fn an_operators_step_can_be_repeated_after_a_fault_at_every_call_and_leaves_one_event() {
    finish(async {
        let mut struck = 0;
        for fault in [Fault::Before, Fault::After] {
            for call in 0..12 {
                let vault = Vault::holding(&document());
                vault.fail(call, fault);
                for attempt in 0..3 {
                    let token = format!("op{attempt}");
                    match rotate::rotate(&vault, env(START), &KeyKind::SCHEDULED, &token, &origin()).await {
                        Err(RotateError::Store(_) | RotateError::UnderWay(_)) => {}
                        Ok(_) | Err(RotateError::Rotation(RotationError::TooEarly { .. })) => break,
                        Err(other) => panic!("{call} {fault:?}: {other}"),
                    }
                }
                struck += usize::from(vault.has_failed());
                if vault.holder(PENDING).is_some() {
                    // What was staged and not made current keeps others away, and is taken away in time.
                    continue;
                }
                assert_eq!(vault.current().signing.len(), 2, "{call} {fault:?}");
                let events = vault.events();
                assert_eq!(events.len(), 1, "{call} {fault:?} {events:?}");
                assert!(events[0].detail.as_deref().unwrap().starts_with("publish: "), "{events:?}");
            }
        }
        assert!(struck >= 10, "{struck}");
    });
}

#[test]
fn who_repeats_what_another_has_done_does_not_sign_for_it() {
    finish(async {
        let vault = Vault::holding(&document());
        let rotate = async |name: &str, token: &str| {
            let origin = Origin::operator(name);
            rotate::rotate(&vault, env(START), &KeyKind::SCHEDULED, token, &origin).await
        };
        rotate("ada", "op1").await.unwrap();
        let refused = rotate("grace", "op2").await;
        assert!(matches!(refused, Err(RotateError::Rotation(RotationError::TooEarly { .. }))), "{refused:?}");
        let name: KeyName = "refresh:1".parse().unwrap();
        for (operator, token) in [("ada", "op3"), ("grace", "op4")] {
            drop(rotate::revoke(&vault, env(START), &name, token, &Origin::operator(operator)).await);
        }
        let events = vault.events();
        assert_eq!(events.len(), 2, "{events:?}");
        assert!(
            events.iter().all(|event| event.origin.actor == Actor::Operator("ada".to_owned())),
            "{events:?}"
        );
    });
}

#[test]
fn a_revocation_can_be_repeated_after_a_fault_at_every_call() {
    finish(async {
        for fault in [Fault::Before, Fault::After] {
            for call in 0..9 {
                let vault = Vault::holding(&document());
                vault.fail(call, fault);
                let name: KeyName = "refresh:1".parse().unwrap();
                for attempt in 0..3 {
                    match rotate::revoke(&vault, env(START), &name, &format!("op{attempt}"), &origin()).await
                    {
                        Err(RotateError::Store(_)) => {}
                        Ok(_) | Err(RotateError::Rotation(RotationError::RevokedAlready(_))) => break,
                        Err(other) => panic!("{call} {fault:?}: {other}"),
                    }
                }
                let states: Vec<_> = vault.current().refresh.iter().map(|key| key.state).collect();
                assert_eq!(states, [KeyState::Revoked, KeyState::Current], "{call} {fault:?}");
                let events = vault.events();
                assert_eq!(events.len(), 1, "{call} {fault:?} {events:?}");
                let changed_at = vault.current().changed_at.map(Timestamp::from_seconds);
                assert_eq!(vault.copies_from(), changed_at, "{call} {fault:?}");
            }
        }
    });
}

/// What the version of a call may hold.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Holds {
    /// It was reserved, and nothing was put into it.
    Nothing,
    EmptyDocument,
    /// What is current, spaced otherwise.
    Copy,
    Successor,
    Unfit,
}

/// Which stages it has.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Staged {
    Pending,
    Current,
    CurrentAndPending,
    Nowhere,
}

/// What Secrets Manager may call for: each step, whatever the version's stages and contents, the keyring filled or not.
fn played(step: &str, filled: bool, staged: Staged, holds: Holds) -> (String, bool, bool) {
    finish(async {
        let current = document();
        let vault = Vault::holding(&current);
        if !filled {
            vault.write("first", "{}");
        }
        let token =
            if matches!(staged, Staged::Current | Staged::CurrentAndPending) { "first" } else { "t1" };
        match staged {
            Staged::Pending => vault.reserve("t1"),
            Staged::CurrentAndPending => vault.reserve("first"),
            Staged::Current | Staged::Nowhere => {}
        }
        if token == "t1" {
            match holds {
                Holds::Nothing => {}
                Holds::EmptyDocument => vault.write("t1", " {} "),
                Holds::Copy => vault.write("t1", &serde_json::to_string_pretty(&current).unwrap()),
                Holds::Successor => {
                    let (_, next) = advance(&current, START).unwrap();
                    vault.write("t1", &serde_json::to_string(&next).unwrap());
                }
                Holds::Unfit => vault.write("t1", r#"{"version": 1}"#),
            }
        }
        let name = |error: RotateError| {
            let debug = format!("{error:?}");
            debug.split(['(', ' ']).next().unwrap_or_default().to_owned()
        };
        let outcome = match step {
            "createSecret" => rotate::create(&vault, env(START), token).await.map(|()| "done".to_owned()),
            "testSecret" => rotate::test(&vault, env(START), token).await.map(|tested| format!("{tested:?}")),
            _ => {
                let rotated = rotate::finish(&vault, env(START), token, &origin()).await;
                rotated.map(|rotated| rotated.phase.as_str().to_owned())
            }
        };
        let pending = vault.holder(PENDING).as_deref() == Some(token);
        let moved = filled && vault.holder(rotate::CURRENT).as_deref() != Some("first");
        (outcome.unwrap_or_else(name), pending, moved)
    })
}

/// Every state of the version × every step: what is answered, and whether the version is pending afterwards.
#[test]
fn each_step_is_right_for_every_state_of_the_version() {
    use Holds::{Copy, EmptyDocument, Nothing, Successor, Unfit};
    use Staged::{Current, CurrentAndPending, Nowhere, Pending};
    let all = [Nothing, EmptyDocument, Copy, Successor, Unfit];
    for (step, filled, staged, holds, expected, pending) in [
        // A test of the configuration: nothing that a rotation has made is pending. It leaves everything as it is.
        ("testSecret", true, Pending, &[Nothing, EmptyDocument, Copy][..], "Configuration", true),
        ("testSecret", true, Current, &all[..1], "Configuration", false),
        ("testSecret", true, CurrentAndPending, &all[..1], "Configuration", true),
        ("testSecret", true, Nowhere, &[Nothing, EmptyDocument, Copy], "Configuration", false),
        ("testSecret", false, Pending, &all, "Configuration", true),
        ("testSecret", false, Current, &all[..1], "Configuration", false),
        ("testSecret", false, CurrentAndPending, &all[..1], "Configuration", true),
        ("testSecret", false, Nowhere, &all, "Configuration", false),
        // A test of a rotation.
        ("testSecret", true, Pending, &[Successor], "Pending", true),
        ("testSecret", true, Pending, &[Unfit], "Unfit", false),
        ("testSecret", true, Nowhere, &[Successor, Unfit], "NotStaged", false),
        // What a test has left is no successor, and gives way.
        ("createSecret", true, Pending, &[Nothing, Successor, Unfit], "done", true),
        ("createSecret", true, Pending, &[EmptyDocument, Copy], "LeftOver", false),
        ("createSecret", true, Current, &all[..1], "done", false),
        ("createSecret", true, CurrentAndPending, &all[..1], "done", true),
        ("createSecret", true, Nowhere, &all, "NotStaged", false),
        ("createSecret", false, Pending, &all, "Empty", false),
        ("createSecret", false, Current, &all[..1], "Empty", false),
        ("createSecret", false, CurrentAndPending, &all[..1], "Empty", false),
        ("createSecret", false, Nowhere, &all, "Empty", false),
        ("finishSecret", true, Pending, &[Nothing], "NotStaged", true),
        ("finishSecret", true, Pending, &[EmptyDocument, Copy], "LeftOver", false),
        ("finishSecret", true, Pending, &[Unfit], "Unfit", false),
        ("finishSecret", true, Nowhere, &all, "NotStaged", false),
        ("finishSecret", true, Current, &all[..1], "retire", false),
        ("finishSecret", true, CurrentAndPending, &all[..1], "retire", false),
        ("finishSecret", false, Pending, &all, "Empty", false),
        ("finishSecret", false, Current, &all[..1], "Empty", false),
        ("finishSecret", false, CurrentAndPending, &all[..1], "Empty", false),
        ("finishSecret", false, Nowhere, &all, "Empty", false),
    ] {
        for holds in holds {
            let found = played(step, filled, staged, *holds);
            let expected = (expected.to_owned(), pending, false);
            assert_eq!(found, expected, "{step}, filled {filled}, {staged:?}, {holds:?}");
        }
    }
    let done = ("publish".to_owned(), false, true);
    assert_eq!(played("finishSecret", true, Pending, Successor), done);
}

#[test]
fn what_a_test_has_left_behind_derails_no_rotation() {
    finish(async {
        let current = document();
        let copy = serde_json::to_string(&current).unwrap();
        for left in [None, Some("{}"), Some(copy.as_str())] {
            let vault = Vault::holding(&current);
            vault.reserve("test");
            if let Some(text) = left {
                vault.write("test", text);
            }
            // Under the same version, where it can be filled still; else under the next one.
            let again = play(&vault, START, "test").await;
            if left.is_some() {
                assert!(matches!(again, Err(RotateError::LeftOver(_))), "{left:?}: {again:?}");
                assert_eq!(vault.holder(PENDING), None, "{left:?}");
                vault.reserve("t1");
                play(&vault, START, "t1").await.unwrap();
            }
            assert_eq!(vault.current().signing.len(), 2, "{left:?}");

            // Nor an operator's.
            let vault = Vault::holding(&current);
            vault.reserve("test");
            if let Some(text) = left {
                vault.write("test", text);
            }
            rotate::rotate(&vault, env(START), &KeyKind::SCHEDULED, "t2", &origin()).await.unwrap();
            assert_eq!((vault.holder(PENDING), vault.current().signing.len()), (None, 2), "{left:?}");
        }
    });
}
