//! Refresh tokens. Nothing of one is stored but its counter.

use super::opaque::{self, Fields};
use crate::{
    ids::{SessionId, UserId},
    keyring::Keyring,
    secret::Secret,
};

const PREFIX: &str = "spr_";

/// What a refresh token says. That it says so was checked; whether it still holds, the session knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefreshToken {
    pub user: UserId,
    pub session: SessionId,
    pub counter: u32,
}

/// The token of a session at a counter: the same for the same arguments, so that a reply that was lost can be repeated.
pub fn issue_refresh_token(keyring: &Keyring, token: &RefreshToken) -> Secret<String> {
    let mut payload = Vec::with_capacity(36);
    payload.extend_from_slice(token.user.as_bytes());
    payload.extend_from_slice(token.session.as_bytes());
    payload.extend_from_slice(&token.counter.to_be_bytes());
    opaque::seal(PREFIX, keyring.refresh(), &payload)
}

/// Reads a refresh token; `None` when it was not issued here.
pub fn open_refresh_token(keyring: &Keyring, token: &str) -> Option<RefreshToken> {
    let payload: [u8; 36] = opaque::open(PREFIX, token, |id| keyring.refresh_by_id(id))?;
    let mut fields = Fields(&payload);
    Some(RefreshToken {
        user: UserId::from_bytes(fields.take()?),
        session: SessionId::from_bytes(fields.take()?),
        counter: u32::from_be_bytes(fields.take()?),
    })
}

/// Whether a text that did not open is a refresh token that somebody made up: the right form, the checksum right, and the
/// signature not ours.
pub fn is_forged_refresh_token(keyring: &Keyring, token: &str) -> bool {
    opaque::is_forged::<36>(PREFIX, token, |id| keyring.refresh_by_id(id))
}
