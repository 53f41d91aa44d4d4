//! The signature of a webhook, by which its receiver knows who calls, and that it is no repetition of an old call.

use aws_lc_rs::hmac;
use data_encoding::HEXLOWER;
use sallyport_core::{clock::Timestamp, secret::EnteredSecret};

/// `t=<seconds>,v1=<HMAC-SHA-256 of "<seconds>.<body>" in hexadecimal>`.
pub fn sign(secret: &EnteredSecret, at: Timestamp, body: &[u8]) -> String {
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
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn the_signature_is_what_openssl_says() {
        let secret = EnteredSecret::parse("webhook-signing-secret").unwrap();
        // printf '1785506531.{"a":1}' | openssl dgst -sha256 -hmac webhook-signing-secret
        assert_eq!(
            sign(&secret, Timestamp::from_seconds(1_785_506_531), br#"{"a":1}"#),
            format!("t=1785506531,v1={EXPECTED}")
        );
    }

    const EXPECTED: &str = "94ee981235416e925982e3b78790940677e626bd17f8be58edb87ed21e89d69a";
}
