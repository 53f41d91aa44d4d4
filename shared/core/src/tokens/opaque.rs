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

/// The payload, when the token is of this kind, whole, and signed with the key that it names.
pub(super) fn open<'k, const N: usize>(
    prefix: &str,
    token: &str,
    key: impl FnOnce(KeyId) -> Option<&'k SecretKey>,
) -> Option<[u8; N]> {
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
    hmac::verify(&mac_key(key), &authenticated(prefix, body), mac).ok()?;
    payload.try_into().ok()
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
