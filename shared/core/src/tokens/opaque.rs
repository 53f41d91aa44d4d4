//! The form of tokens that only this service reads: `prefix_` and base64url of
//! version, key id, payload, HMAC-SHA-256, CRC-32.
//!
//! The checksum turns typing errors away without a key, the HMAC turns forgeries away without the database.

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{
    keyring::{KeyId, SecretKey},
    secret::Secret,
};

const VERSION: u8 = 1;
const MAC: usize = 32;
const CHECKSUM: usize = 4;

pub(super) fn seal(prefix: &str, key: &SecretKey, payload: &[u8]) -> Secret<String> {
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(&key.id.0.to_be_bytes());
    bytes.extend_from_slice(payload);
    let mac = hmac::sign(&mac_key(key), &authenticated(prefix, &bytes));
    bytes.extend_from_slice(mac.as_ref());
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
    Secret::new(format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bytes)))
}

/// What a text turned out to be.
enum Opened<const N: usize> {
    Payload([u8; N]),
    /// Whole, by its checksum, under the name of a key of ours, and not signed with it.
    Forged,
}

/// The payload, when the token is of this kind, whole, and signed with the key that it names.
pub(super) fn open<'k, const N: usize>(
    prefix: &str,
    token: &str,
    key: impl FnOnce(KeyId) -> Option<&'k SecretKey>,
) -> Option<[u8; N]> {
    match read(prefix, token, key)? {
        Opened::Payload(payload) => Some(payload),
        Opened::Forged => None,
    }
}

/// Whether somebody made this token who knows its form and not the key. Typing errors are none: the checksum finds them.
pub(super) fn is_forged<'k, const N: usize>(
    prefix: &str,
    token: &str,
    key: impl FnOnce(KeyId) -> Option<&'k SecretKey>,
) -> bool {
    matches!(read::<N>(prefix, token, key), Some(Opened::Forged))
}

fn read<'k, const N: usize>(
    prefix: &str,
    token: &str,
    key: impl FnOnce(KeyId) -> Option<&'k SecretKey>,
) -> Option<Opened<N>> {
    let encoded = token.strip_prefix(prefix)?;
    if encoded.len() > 256 {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(encoded).ok()?;
    let (signed, checksum) = bytes.split_at_checked(bytes.len().checked_sub(CHECKSUM)?)?;
    if crc32fast::hash(signed).to_be_bytes() != checksum {
        return None;
    }
    let (body, mac) = signed.split_at_checked(signed.len().checked_sub(MAC)?)?;
    let [VERSION, high, low, payload @ ..] = body else {
        return None;
    };
    let key = key(KeyId(u16::from_be_bytes([*high, *low])))?;
    let payload = payload.try_into().ok()?;
    let genuine = hmac::verify(&mac_key(key), &authenticated(prefix, body), mac).is_ok();
    Some(if genuine { Opened::Payload(payload) } else { Opened::Forged })
}

/// The prefix is authenticated too: a token of one kind is none of another, even under one key.
fn authenticated(prefix: &str, body: &[u8]) -> Vec<u8> {
    [prefix.as_bytes(), body].concat()
}

fn mac_key(key: &SecretKey) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, key.key.expose())
}

/// Reads fixed-size fields off the front of a payload.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl Fields<'_> {
    pub(super) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_at_checked(N)?;
        self.0 = rest;
        field.try_into().ok()
    }
}
