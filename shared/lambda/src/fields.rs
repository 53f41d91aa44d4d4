//! Fields of bodies: types that hold what the API's document says they hold.

use sallyport_core::{
    accounts::{Email, Password},
    ids::FactorId,
    mfa::{RecoveryCode, without_separators},
};
use serde::{Deserialize, Deserializer, de::Error as _};

/// A field that may be left out, and may not be `null`.
///
/// # Errors
/// As the field's own type.
pub fn present<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

/// An address that mail could reach.
#[derive(Debug)]
pub struct EmailField(pub Email);

impl<'de> Deserialize<'de> for EmailField {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(|_| D::Error::custom("not an address"))
    }
}

/// 1 to 1024 bytes.
#[derive(Debug)]
pub struct PasswordField(pub Password);

impl<'de> Deserialize<'de> for PasswordField {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = sallyport_core::secret::Secret::new(String::deserialize(deserializer)?);
        Password::new(text.expose()).map(Self).map_err(|_| D::Error::custom("not a password"))
    }
}

macro_rules! token_field {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        pub struct $name(pub String);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                let check: fn(&str) -> bool = $check;
                if check(&text) { Ok(Self(text)) } else { Err(D::Error::custom("not of this form")) }
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("[redacted]")
            }
        }
    };
}

token_field!(
    /// `spr_` and base64url.
    RefreshTokenField,
    |text| is_opaque(text, "spr_")
);
token_field!(
    /// Three parts of base64url with dots between them.
    JwtField,
    |text| {
        let parts: Vec<_> = text.split('.').collect();
        text.len() <= 2048 && parts.len() == 3 && parts.iter().all(|part| is_base64url(part))
    }
);
/// A device token, or a text that a client keeps in its place (`""`, `"undefined"`): that is ignored, as the same in a cookie
/// is. It opens nothing, and no sign-in may fail for it.
#[derive(Default)]
pub struct DeviceTokenField(pub Option<String>);

impl<'de> Deserialize<'de> for DeviceTokenField {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(Self(Some(text).filter(|text| is_opaque(text, "spd_"))))
    }
}

impl std::fmt::Debug for DeviceTokenField {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

/// A code of an authenticator app, however it was spaced: here as its six digits.
pub struct TotpCodeField(pub String);

/// A code of an authenticator app, or a recovery code, as it was typed: here in the one spelling in which it is compared.
pub struct CodeField(pub String);

macro_rules! code_field {
    ($name:ident, $read:expr) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                let read: fn(&str) -> Option<String> = $read;
                read(&text).map(Self).ok_or_else(|| D::Error::custom("not of this form"))
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("[redacted]")
            }
        }
    };
}

code_field!(TotpCodeField, totp_code);
code_field!(CodeField, |text| {
    totp_code(text).or_else(|| RecoveryCode::parse(text).map(|code| code.expose().to_owned()))
});

/// A factor's id, or the word `recovery`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FactorField {
    Factor(FactorId),
    Recovery,
}

impl<'de> Deserialize<'de> for FactorField {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "recovery" {
            return Ok(Self::Recovery);
        }
        text.parse().map(Self::Factor).map_err(|_| D::Error::custom("not a factor's id"))
    }
}

/// A factor's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FactorIdField(pub FactorId);

impl<'de> Deserialize<'de> for FactorIdField {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(|_| D::Error::custom("not a factor's id"))
    }
}

fn is_base64url(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn is_opaque(text: &str, prefix: &str) -> bool {
    text.len() <= 512 && text.strip_prefix(prefix).is_some_and(is_base64url)
}

fn totp_code(text: &str) -> Option<String> {
    without_separators(text).filter(|code| code.len() == 6 && code.bytes().all(|byte| byte.is_ascii_digit()))
}
