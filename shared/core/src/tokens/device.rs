//! Device tokens: proof that a device has signed in to this account before.
//!
//! They open nothing. A device that holds one is counted apart from strangers, so that strangers who guess can't lock it
//! out (OWASP, "Slow Down Online Guessing Attacks with Device Cookies"). What it names must hold in the user's own item too:
//! a new password makes strangers of all devices.

use super::{
    DEVICE_LIFETIME,
    opaque::{self, Fields},
};
use crate::{
    accounts::Epoch,
    clock::Timestamp,
    env::Env,
    ids::{AccountKey, DeviceId, UserId},
    keyring::Keyring,
    secret::Secret,
};

const PREFIX: &str = "spd_";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceToken {
    pub device: DeviceId,
    pub account: AccountKey,
    pub issued_at: Timestamp,
    /// What it is good for. Tokens of earlier releases do not say.
    pub bound: Option<DeviceBound>,
}

/// The state of the account that a device token was issued in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceBound {
    pub user: UserId,
    /// A new password, a reset, a disabling or a revocation puts it up.
    pub epoch: Epoch,
    /// Every repeat of a refresh by this token, after the grace, puts it up.
    pub generation: u32,
}

impl DeviceToken {
    /// Of the two holders of a copied token the one with the older generation is found out.
    pub fn generation(&self) -> u32 {
        self.bound.map_or(0, |bound| bound.generation)
    }

    /// The token of the next generation, for the time that this one has left.
    pub fn renewed(&self, env: Env<'_>, user: UserId, epoch: Epoch, generation: u32) -> Secret<String> {
        let bound = Some(DeviceBound { user, epoch, generation });
        issue_device_token(env.keyring, &Self { bound, ..*self })
    }
}

pub fn issue_device_token(keyring: &Keyring, token: &DeviceToken) -> Secret<String> {
    let mut payload = Vec::with_capacity(68);
    payload.extend_from_slice(token.device.as_bytes());
    payload.extend_from_slice(token.account.as_bytes());
    payload.extend_from_slice(&token.issued_at.seconds().to_be_bytes());
    if let Some(bound) = &token.bound {
        payload.extend_from_slice(bound.user.as_bytes());
        payload.extend_from_slice(&bound.epoch.0.to_be_bytes());
        payload.extend_from_slice(&bound.generation.to_be_bytes());
    }
    opaque::seal(PREFIX, keyring.device(), &payload)
}

/// Reads a device token. `None` when it was not issued here or is too old: the device is a stranger. Whose it is, the caller
/// compares.
pub fn open_device_token(keyring: &Keyring, token: &str, now: Timestamp) -> Option<DeviceToken> {
    let key = |id| keyring.device_by_id(id);
    let token = match opaque::open::<68>(PREFIX, token, key) {
        Some(payload) => {
            let mut fields = Fields(&payload);
            let token = unbound(&mut fields)?;
            let bound = DeviceBound {
                user: UserId::from_bytes(fields.take()?),
                epoch: Epoch(u64::from_be_bytes(fields.take()?)),
                generation: u32::from_be_bytes(fields.take()?),
            };
            DeviceToken { bound: Some(bound), ..token }
        }
        // As releases before wrote it.
        None => unbound(&mut Fields(&opaque::open::<40>(PREFIX, token, key)?))?,
    };
    (now < token.issued_at + DEVICE_LIFETIME).then_some(token)
}

fn unbound(fields: &mut Fields<'_>) -> Option<DeviceToken> {
    Some(DeviceToken {
        device: DeviceId::from_bytes(fields.take()?),
        account: AccountKey::from_bytes(fields.take()?),
        issued_at: Timestamp::from_seconds(u64::from_be_bytes(fields.take()?)),
        bound: None,
    })
}
