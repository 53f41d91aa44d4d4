//! Token delivery by cookie.

use std::time::Duration;

use cookie::{Cookie, SameSite};
use http::{HeaderMap, HeaderValue, header};

/// The prefix `__Host-` binds a cookie to this host, to HTTPS and to the whole path (RFC 6265bis 4.1.3.2).
pub const REFRESH_COOKIE: &str = "__Host-sallyport_refresh";
pub const DEVICE_COOKIE: &str = "__Host-sallyport_device";

/// Whether a cookie is sent, once or more often.
pub(crate) fn is_sent(headers: &HeaderMap, name: &str) -> bool {
    values(headers, name).next().is_some()
}

/// The value of a cookie. Two cookies of one name are none: somebody planted one.
pub(crate) fn read(headers: &HeaderMap, name: &str) -> Option<String> {
    let mut found = values(headers, name);
    let value = found.next()?;
    found.next().is_none().then_some(value)
}

/// The header with a replacement for each byte beyond ASCII: others' cookies may hold any. Decoded they would be Unicode's white
/// space as well, which parsers trim, so that a cookie that any page of the domain may set would come out with the name of ours.
fn ascii(value: &HeaderValue) -> String {
    let character = |byte: &u8| if byte.is_ascii() { char::from(*byte) } else { char::REPLACEMENT_CHARACTER };
    value.as_bytes().iter().map(character).collect()
}

fn values(headers: &HeaderMap, name: &str) -> impl Iterator<Item = String> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .flat_map(|value| Cookie::split_parse(ascii(value)).flatten())
        .filter(move |cookie| cookie.name() == name)
        .map(|cookie| cookie.value().to_owned())
}

/// `Set-Cookie` for a token. With an empty value and no time it takes the cookie back.
pub(crate) fn write(name: &str, value: &str, max_age: Duration) -> Option<HeaderValue> {
    let seconds = i64::try_from(max_age.as_secs()).unwrap_or(i64::MAX);
    let cookie = Cookie::build((name, value))
        .http_only(true)
        .secure(true)
        .same_site(SameSite::Strict)
        .path("/")
        .max_age(cookie::time::Duration::seconds(seconds))
        .build();
    HeaderValue::from_str(&cookie.to_string()).ok()
}
