//! Identifiers in the form that AWS gives them.

use anyhow::anyhow;
use sallyport_aws::system::OsRandom;
use sallyport_core::random::Random as _;

/// A random UUID (version 4), lower case.
///
/// # Errors
/// When the operating system gives no randomness.
pub(crate) fn uuid() -> anyhow::Result<String> {
    let mut bytes = [0_u8; 16];
    OsRandom.fill(&mut bytes).map_err(|error| anyhow!(error))?;
    Ok(uuid::Builder::from_random_bytes(bytes).into_uuid().to_string())
}

/// `length` random characters that are easy to paste and hard to guess (base 32, five bits each).
///
/// # Errors
/// When the operating system gives no randomness.
pub(crate) fn password(length: usize) -> anyhow::Result<String> {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut bytes = vec![0_u8; length];
    OsRandom.fill(&mut bytes).map_err(|error| anyhow!(error))?;
    Ok(bytes.iter().filter_map(|byte| ALPHABET.get(usize::from(byte % 32))).map(|&c| char::from(c)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_has_version_4_and_the_rfc_variant() {
        for _ in 0..100 {
            let id = uuid().unwrap();
            let parts: Vec<_> = id.split('-').collect();
            assert_eq!(parts.iter().map(|p| p.len()).collect::<Vec<_>>(), [8, 4, 4, 4, 12], "{id}");
            assert!(parts[2].starts_with('4'), "{id}");
            assert!(parts[3].starts_with(['8', '9', 'a', 'b']), "{id}");
        }
    }

    #[test]
    fn a_password_has_the_length_asked_for() {
        assert_eq!(password(20).unwrap().len(), 20);
        assert_ne!(password(20).unwrap(), password(20).unwrap());
    }
}
