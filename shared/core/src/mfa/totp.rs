//! TOTP after RFC 6238: SHA-1, 6 digits, 30 seconds, one step of tolerance either way.

use std::time::Duration;

use qrcode::{QrCode, render::svg};
use totp_rs::{Algorithm, Builder, Totp};

use super::Seed;
use crate::{clock::Timestamp, secret::Secret};

pub const TOTP_STEP: Duration = Duration::from_secs(30);
const DIGITS: u8 = 6;

/// What an authenticator app is given, once.
#[derive(Debug, Clone)]
pub struct Enrolled {
    /// Base32, for typing.
    pub secret: Secret<String>,
    pub otpauth_uri: Secret<String>,
    /// The URI as a QR code.
    pub qr_svg: Secret<String>,
}

/// The time step that `code` belongs to, when it is within one step of `now` and above `last_step`.
///
/// Exactly six ASCII digits: no variant of a code is a second code.
pub fn matching_step(seed: &Seed, code: &str, now: Timestamp, last_step: Option<u64>) -> Option<u64> {
    if code.len() != usize::from(DIGITS) || !code.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let totp = builder(seed).with_account_name("-").build_noncompliant();
    let current = now.seconds() / TOTP_STEP.as_secs();
    let first = current.saturating_sub(1).max(last_step.map_or(0, |last| last.saturating_add(1)));
    (first..=current.saturating_add(1)).find(|step| {
        let expected = totp.generate(step.saturating_mul(TOTP_STEP.as_secs())).to_string();
        bool::from(subtle::ConstantTimeEq::ct_eq(expected.as_bytes(), code.as_bytes()))
    })
}

/// The secret in the three forms that authenticator apps take.
///
/// # Errors
/// A text for the operator: the label or the issuer can't stand in an `otpauth` URI.
pub fn enrolment(seed: &Seed, issuer: &str, account: &str) -> Result<Enrolled, String> {
    let totp: Totp = builder(seed)
        .with_account_name(account.replace(':', " "))
        .with_issuer(Some(issuer.replace(':', " ")))
        .build()
        .map_err(|error| error.to_string())?;
    let uri = totp.to_url().map_err(|error| error.to_string())?;
    let code = QrCode::new(&uri).map_err(|error| error.to_string())?;
    let qr_svg = code.render::<svg::Color<'_>>().min_dimensions(240, 240).build();
    Ok(Enrolled {
        secret: Secret::new(data_encoding::BASE32_NOPAD.encode(seed.expose())),
        otpauth_uri: Secret::new(uri),
        qr_svg: Secret::new(qr_svg),
    })
}

fn builder(seed: &Seed) -> Builder {
    Builder::new()
        .with_algorithm(Algorithm::SHA1)
        .with_digits(DIGITS)
        .with_skew(1)
        .with_step_duration(TOTP_STEP.as_secs())
        .with_secret(seed.expose().to_vec())
}
