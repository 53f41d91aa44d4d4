//! What an authenticator app would show (RFC 6238 with the parameters that every app takes).

use anyhow::{Context as _, anyhow};
use data_encoding::BASE32_NOPAD;
use sallyport_core::clock::Timestamp;
use totp_rs::{Algorithm, Builder};

/// The code of a base 32 secret at a time.
///
/// # Errors
/// When the secret is not base 32.
pub(crate) fn code(secret: &str, at: Timestamp) -> anyhow::Result<String> {
    let text = secret.trim().trim_end_matches('=').to_uppercase();
    let secret = BASE32_NOPAD.decode(text.as_bytes()).context("the secret is not base 32")?;
    if secret.is_empty() {
        return Err(anyhow!("the secret is empty"));
    }
    let builder = Builder::new().with_algorithm(Algorithm::SHA1).with_digits(6).with_step_duration(30);
    let totp = builder.with_account_name("-").with_secret(secret).build_noncompliant();
    Ok(totp.generate(at.seconds()).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238, appendix B, the last six digits.
    #[test]
    fn codes_of_the_rfc() {
        let secret = BASE32_NOPAD.encode(b"12345678901234567890");
        for (at, expected) in [(59, "287082"), (1_111_111_109, "081804"), (20_000_000_000, "353130")] {
            assert_eq!(code(&secret.to_lowercase(), Timestamp::from_seconds(at)).unwrap(), expected);
        }
        assert!(code("not base 32!", Timestamp::from_seconds(0)).is_err());
        assert!(code("", Timestamp::from_seconds(0)).is_err());
    }
}
