//! Identifiers: 128 random bits behind a type each, shown as `prefix_` and 22 characters of base64url.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::random::{Random, RandomUnavailable};

/// The text is no identifier of this kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an identifier that starts with {0}")]
pub struct InvalidId(pub &'static str);

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// # Errors
            /// [`RandomUnavailable`].
            pub fn generate(random: &dyn Random) -> Result<Self, RandomUnavailable> {
                random.bytes().map(Self)
            }

            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($prefix)?;
                f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.strip_prefix($prefix)
                    .and_then(|encoded| URL_SAFE_NO_PAD.decode(encoded).ok())
                    .and_then(|bytes| bytes.try_into().ok())
                    .map(Self)
                    .ok_or(InvalidId($prefix))
            }
        }
    };
}

id!(
    /// An account, for its whole life; never reassigned.
    UserId, "usr_"
);
id!(
    /// A session: one sign-in on one device.
    SessionId, "ses_"
);
id!(
    /// A second factor.
    FactorId, "fac_"
);
id!(
    /// A device that has signed in before, known by its device token.
    DeviceId, "dev_"
);
/// A device's name within the item of its user: the beginning of its id. Short, since the item holds several, and enough,
/// since nobody chooses ids and an account knows a dozen devices.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceKey([u8; Self::BYTES]);

impl DeviceKey {
    const BYTES: usize = 6;
    const PREFIX: &'static str = "dev_";
    /// Length of its text without the prefix.
    pub const TEXT: usize = 8;

    /// Its text without the prefix, for the names of attributes.
    pub fn name(self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    pub fn from_name(name: &str) -> Option<Self> {
        URL_SAFE_NO_PAD.decode(name).ok()?.try_into().ok().map(Self)
    }
}

/// The beginning of the id's own text.
impl fmt::Display for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::PREFIX)?;
        f.write_str(&self.name())
    }
}

impl fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl DeviceId {
    pub fn key(self) -> DeviceKey {
        let [a, b, c, d, e, f, ..] = self.0;
        DeviceKey([a, b, c, d, e, f])
    }
}

id!(
    /// One attempt to change something. It is stored with the change, so that a write that is repeated because its reply
    /// was lost recognises itself.
    OperationId, "op_"
);

/// An account, before anybody knows whether there is one: 128 bits of the SHA-256 of its address. Counters and logs hold it
/// instead of the address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountKey([u8; 16]);

impl AccountKey {
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl FromStr for AccountKey {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidId(""))?;
        bytes.try_into().map(Self).map_err(|_| InvalidId(""))
    }
}

impl fmt::Display for AccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for AccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_identifier_reads_back_from_its_text(bytes: [u8; 16]) {
            let id = UserId::from_bytes(bytes);
            prop_assert_eq!(id.to_string().parse::<UserId>(), Ok(id));
            prop_assert!(id.to_string().parse::<SessionId>().is_err());
        }

        #[test]
        fn a_device_is_named_by_the_beginning_of_its_id(bytes: [u8; 16]) {
            let id = DeviceId::from_bytes(bytes);
            let key = id.key();
            prop_assert!(id.to_string().starts_with(&key.to_string()));
            prop_assert_eq!(key.name().len(), DeviceKey::TEXT);
            prop_assert_eq!(DeviceKey::from_name(&key.name()), Some(key));
        }
    }
}
