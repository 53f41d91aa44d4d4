//! Device tokens: proof that a device has signed in to this account before.
//!
//! They open nothing. A device that holds one is counted apart from strangers, so that strangers who guess can't lock it
//! out (OWASP, "Slow Down Online Guessing Attacks with Device Cookies").

use super::{
    DEVICE_LIFETIME,
    opaque::{self, Fields},
};
use crate::{accounts::AccountKey, clock::Timestamp, ids::DeviceId, keyring::Keyring, secret::Secret};

const PREFIX: &str = "spd_";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceToken {
    pub device: DeviceId,
    pub account: AccountKey,
    pub issued_at: Timestamp,
}

pub fn issue_device_token(keyring: &Keyring, token: &DeviceToken) -> Secret<String> {
    let mut payload = Vec::with_capacity(40);
    payload.extend_from_slice(token.device.as_bytes());
    payload.extend_from_slice(token.account.as_bytes());
    payload.extend_from_slice(&token.issued_at.seconds().to_be_bytes());
    opaque::seal(PREFIX, keyring.device(), &payload)
}

/// Reads a device token. `None` when it was not issued here or is too old: the device is a stranger. Whose it is, the caller
/// compares.
pub fn open_device_token(keyring: &Keyring, token: &str, now: Timestamp) -> Option<DeviceToken> {
    let payload: [u8; 40] = opaque::open(PREFIX, token, |id| keyring.device_by_id(id))?;
    let mut fields = Fields(&payload);
    let token = DeviceToken {
        device: DeviceId::from_bytes(fields.take()?),
        account: AccountKey::from_bytes(fields.take()?),
        issued_at: Timestamp::from_seconds(u64::from_be_bytes(fields.take()?)),
    };
    (now < token.issued_at + DEVICE_LIFETIME).then_some(token)
}
