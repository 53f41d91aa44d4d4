#![allow(clippy::unwrap_used, reason = "tests")]

mod wycheproof;

use proptest::prelude::*;

use super::*;
use crate::{
    accounts::Epoch,
    clock::Timestamp,
    ids::{AccountKey, DeviceId, SessionId, UserId},
    keyring::{KeyState, Keyring},
    testing::keyring::{document, keyring},
};

fn refresh() -> RefreshToken {
    RefreshToken { user: UserId::from_bytes([1; 16]), session: SessionId::from_bytes([2; 16]), counter: 7 }
}

#[test]
fn a_refresh_token_is_the_same_each_time_it_is_issued() {
    let keyring = keyring();
    let issued = issue_refresh_token(&keyring, &refresh());
    assert_eq!(issued.expose(), issue_refresh_token(&keyring, &refresh()).expose());
    assert_eq!(open_refresh_token(&keyring, issued.expose()), Some(refresh()));
}

#[test]
fn no_changed_character_leaves_a_refresh_token_valid() {
    let keyring = keyring();
    let issued = issue_refresh_token(&keyring, &refresh()).expose().clone();
    for index in 0..issued.len() {
        let mut changed = issued.clone().into_bytes();
        changed[index] = if changed[index] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert_eq!(open_refresh_token(&keyring, &changed), None, "{index}");
    }
    for changed in [
        format!("{issued}A"),
        format!("{issued}="),
        format!(" {issued}"),
        issued.chars().take(issued.len() - 1).collect(),
    ] {
        assert_eq!(open_refresh_token(&keyring, &changed), None);
    }
}

#[test]
fn a_token_signed_with_a_rotated_key_is_read_until_the_key_is_revoked() {
    let before = document();
    let issued = issue_refresh_token(&Keyring::from_document(&before).unwrap(), &refresh());
    let mut after = before.clone();
    after.refresh[0].state = KeyState::Previous;
    after.refresh.push(document().device.remove(0));
    after.refresh[1].id = crate::keyring::KeyId(2);
    let rotated = Keyring::from_document(&after).unwrap();
    assert_eq!(open_refresh_token(&rotated, issued.expose()), Some(refresh()));
    after.refresh[0].state = KeyState::Revoked;
    let revoked = Keyring::from_document(&after).unwrap();
    assert_eq!(open_refresh_token(&revoked, issued.expose()), None);
}

#[test]
fn a_device_token_counts_for_its_time_only() {
    let keyring = keyring();
    let account = AccountKey::from_bytes([3; 16]);
    let bound = DeviceBound { user: UserId::from_bytes([5; 16]), epoch: Epoch(6), generation: 7 };
    // Those of releases before say nothing of the account's state.
    for bound in [Some(bound), None] {
        let token = DeviceToken {
            device: DeviceId::from_bytes([4; 16]),
            account,
            issued_at: Timestamp::from_seconds(1_000),
            bound,
        };
        let issued = issue_device_token(&keyring, &token);
        let open = |now| open_device_token(&keyring, issued.expose(), Timestamp::from_seconds(now));
        assert_eq!(open(1_001), Some(token));
        assert_eq!(open(1_000 + DEVICE_LIFETIME.as_secs()), None);
        assert_eq!(open_refresh_token(&keyring, issued.expose()), None);
    }
}

proptest! {
    #[test]
    fn arbitrary_text_is_no_token(text in "\\PC{0,120}", encoded in "[A-Za-z0-9_-]{0,140}") {
        let keyring = keyring();
        let audience = Audience { issuer: "https://issuer.example".to_owned(), audience: "api".to_owned() };
        let now = Timestamp::from_seconds(1_800_000_000);
        for text in [text, format!("spr_{encoded}"), format!("{encoded}.{encoded}.{encoded}")] {
            prop_assert_eq!(open_refresh_token(&keyring, &text), None);
            prop_assert!(verify_access_token(&keyring, &audience, &text, now).is_err());
            prop_assert!(verify_mfa_token(&keyring, &audience, &text, now).is_err());
        }
    }
}
