//! The signature of a webhook, by which its receiver knows who calls, and that it is no repetition of an old call.

use aws_lc_rs::hmac;
use data_encoding::HEXLOWER;

use crate::{clock::Timestamp, secret::Secret};

/// `t=<seconds>,v1=<HMAC-SHA-256 of "<seconds>.<body>" in hexadecimal>`.
pub fn sign(secret: &Secret<String>, at: Timestamp, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
    let mut context = hmac::Context::with_key(&key);
    let seconds = at.seconds().to_string();
    context.update(seconds.as_bytes());
    context.update(b".");
    context.update(body);
    format!("t={seconds},v1={}", HEXLOWER.encode(context.sign().as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_what_openssl_says() {
        let secret = Secret::new("whsec".to_owned());
        // printf '1785506531.{"a":1}' | openssl dgst -sha256 -hmac whsec
        assert_eq!(
            sign(&secret, Timestamp::from_seconds(1_785_506_531), br#"{"a":1}"#),
            format!("t=1785506531,v1={EXPECTED}")
        );
    }

    const EXPECTED: &str = "4db30f1b9e6efcca2a1900675717d5471bfd76005f515eab0dce359b40452508";
}
