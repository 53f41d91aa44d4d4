//! What an authenticator app would show now.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use data_encoding::BASE32_NOPAD;
use totp_rs::{Algorithm, Builder};

pub(crate) fn code(secret: &str) -> anyhow::Result<String> {
    let secret = BASE32_NOPAD.decode(secret.as_bytes()).context("not base 32")?;
    let builder = Builder::new().with_algorithm(Algorithm::SHA1).with_digits(6).with_step_duration(30);
    let totp = builder.with_account_name("-").with_secret(secret).build_noncompliant();
    Ok(totp.generate(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs()).to_string())
}
