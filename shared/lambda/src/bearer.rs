//! Bearer tokens (RFC 6750).

use http::{HeaderMap, HeaderValue, header};

use crate::problem::{Code, Problem};

/// The token of the `Authorization` header.
///
/// # Errors
/// 401 `invalid_token` when there is none, more than one, or another scheme.
pub fn bearer_token(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(refused("Bearer"));
    };
    value
        .to_str()
        .ok()
        .and_then(|value| value.split_once(' '))
        // One space or more (RFC 6750 2.1).
        .map(|(scheme, rest)| (scheme, rest.trim_start_matches(' ')))
        .filter(|(scheme, token)| scheme.eq_ignore_ascii_case("bearer") && !token.is_empty())
        .map(|(_, token)| token)
        .ok_or_else(|| refused("Bearer error=\"invalid_token\""))
}

impl Problem {
    /// 401 for an access token that is not valid (RFC 6750 3.1).
    pub fn invalid_token() -> Self {
        refused("Bearer error=\"invalid_token\"")
    }

    /// 401 for an access token whose authentication is too old or too weak (RFC 9470 3).
    pub fn reauthentication_required() -> Self {
        Self::new(Code::ReauthenticationRequired).header(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static("Bearer error=\"insufficient_user_authentication\", max_age=\"600\""),
        )
    }
}

fn refused(challenge: &'static str) -> Problem {
    Problem::new(Code::InvalidToken).header(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
}
