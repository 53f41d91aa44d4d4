//! What browsers send, and how settings name it.

use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// An origin in the one spelling in which browsers send it (RFC 6454 6.2; hosts after the URL standard): two texts that mean
/// the same origin are equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebOrigin(String);

/// Why no browser sends a text as its origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoOrigin {
    #[error("an origin begins with a scheme, as https://app.example.com does")]
    Scheme,
    #[error("an origin ends with its host or port: no slash, no path, no query")]
    Path,
    #[error("each origin is written out: no wildcard")]
    Wildcard,
    #[error("an origin names no user")]
    User,
    #[error("a port is a number up to 65535")]
    Port,
    #[error("a host is a name of a-z, 0-9, hyphens and dots (other letters as xn--…) or a whole address")]
    Host,
}

impl WebOrigin {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WebOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for WebOrigin {
    type Err = NoOrigin;

    fn from_str(text: &str) -> Result<Self, NoOrigin> {
        if text.contains('*') {
            return Err(NoOrigin::Wildcard);
        }
        let (scheme, authority) = text.split_once("://").ok_or(NoOrigin::Scheme)?;
        let scheme = scheme.to_ascii_lowercase();
        let named = scheme.starts_with(|first: char| first.is_ascii_lowercase())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        // Pages of files are sent as `null`.
        if !named || scheme == "file" {
            return Err(NoOrigin::Scheme);
        }
        if authority.contains(['/', '\\', '?', '#']) {
            return Err(NoOrigin::Path);
        }
        if authority.contains('@') {
            return Err(NoOrigin::User);
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (address, after) = rest.split_once(']').ok_or(NoOrigin::Host)?;
                let port = match after.strip_prefix(':') {
                    Some(port) => Some(port),
                    None if after.is_empty() => None,
                    None => return Err(NoOrigin::Host),
                };
                (bracketed(address).ok_or(NoOrigin::Host)?, port)
            }
            None => {
                let (host, port) =
                    authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
                (name(host).ok_or(NoOrigin::Host)?, port)
            }
        };
        let Some(port) = port else { return Ok(Self(format!("{scheme}://{host}"))) };
        let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse::<u16>().ok().filter(|_| digits).ok_or(NoOrigin::Port)?;
        let default = matches!((scheme.as_str(), port), ("http", 80) | ("https", 443));
        Ok(Self(if default { format!("{scheme}://{host}") } else { format!("{scheme}://{host}:{port}") }))
    }
}

/// A name or an IPv4 address. What ends in a number is an address to browsers, and they write it in full.
fn name(host: &str) -> Option<String> {
    let host = host.to_ascii_lowercase();
    let labels = host.strip_suffix('.').unwrap_or(&host);
    let spelt = labels.split('.').all(|label| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    });
    let last = labels.rsplit('.').next().unwrap_or_default();
    let hexadecimal =
        last.strip_prefix("0x").is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let numeric = hexadecimal || last.bytes().all(|byte| byte.is_ascii_digit());
    let sound = spelt && (!numeric || host.parse::<Ipv4Addr>().is_ok());
    sound.then_some(host)
}

fn bracketed(text: &str) -> Option<String> {
    let address = text.parse::<Ipv6Addr>().ok()?;
    // Browsers write no dots into it.
    Some(match (address.to_ipv4_mapped(), address.segments()) {
        (Some(_), [.., high, low]) => format!("[::ffff:{high:x}:{low:x}]"),
        (None, _) => format!("[{address}]"),
    })
}

/// Why no script can send a header, whatever a preflight is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoScriptHeader {
    #[error("each header is written out: no wildcard")]
    Wildcard,
    #[error("a header's name has letters, digits and hyphens, and no spaces")]
    Name,
    #[error("browsers let no script set this header")]
    Forbidden,
}

/// Headers that scripts can't set (Fetch, "forbidden request-header"), besides those that begin with `proxy-` or `sec-`.
const FORBIDDEN: [&str; 21] = [
    "accept-charset",
    "accept-encoding",
    "access-control-request-headers",
    "access-control-request-method",
    "connection",
    "content-length",
    "cookie",
    "cookie2",
    "date",
    "dnt",
    "expect",
    "host",
    "keep-alive",
    "origin",
    "referer",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

/// The name of a header that a script may want to send, in lower case.
///
/// # Errors
/// [`NoScriptHeader`].
pub fn script_header(text: &str) -> Result<String, NoScriptHeader> {
    if text.contains('*') {
        return Err(NoScriptHeader::Wildcard);
    }
    let name = text.to_ascii_lowercase();
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'+-.^_`|~".contains(&byte);
    if name.is_empty() || name.len() > 64 || !name.bytes().all(token) {
        return Err(NoScriptHeader::Name);
    }
    let forbidden =
        FORBIDDEN.contains(&name.as_str()) || name.starts_with("proxy-") || name.starts_with("sec-");
    if forbidden { Err(NoScriptHeader::Forbidden) } else { Ok(name) }
}

/// What authenticator apps may call a deployment: it stands before the account in an `otpauth` URI, where a colon ends it.
pub fn is_product_name(text: &str) -> bool {
    (1..=64).contains(&text.chars().count())
        && text.trim() == text
        && !text.chars().any(|character| character.is_control() || character == ':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_one_origin_is_one_text() {
        for (written, sent) in [
            ("https://app.example.com", "https://app.example.com"),
            ("HTTPS://App.Example.COM", "https://app.example.com"),
            ("https://app.example.com:443", "https://app.example.com"),
            ("https://app.example.com:0443", "https://app.example.com"),
            ("https://app.example.com:80", "https://app.example.com:80"),
            ("http://app.example.com:80", "http://app.example.com"),
            ("http://localhost:05173", "http://localhost:5173"),
            ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
            ("http://[::1]:80", "http://[::1]"),
            ("http://[0:0:0:0:0:0:0:1]:3000", "http://[::1]:3000"),
            ("http://[::FFFF:192.0.2.1]", "http://[::ffff:c000:201]"),
            ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
            ("https://app.example.com.", "https://app.example.com."),
            ("capacitor://localhost", "capacitor://localhost"),
            ("chrome-extension://abcdefghijklmnop", "chrome-extension://abcdefghijklmnop"),
        ] {
            assert_eq!(written.parse::<WebOrigin>().map(|origin| origin.0).as_deref(), Ok(sent), "{written}");
            assert_eq!(sent.parse::<WebOrigin>().map(|origin| origin.0).as_deref(), Ok(sent), "{sent}");
        }
    }

    #[test]
    fn what_no_browser_sends_is_no_origin() {
        for (written, why) in [
            ("", NoOrigin::Scheme),
            ("null", NoOrigin::Scheme),
            ("app.example.com", NoOrigin::Scheme),
            ("//app.example.com", NoOrigin::Scheme),
            ("://app.example.com", NoOrigin::Scheme),
            ("1http://app.example.com", NoOrigin::Scheme),
            ("file://home", NoOrigin::Scheme),
            ("https://app.example.com/", NoOrigin::Path),
            ("https://app.example.com/app", NoOrigin::Path),
            ("https://app.example.com?x", NoOrigin::Path),
            ("https://app.example.com#x", NoOrigin::Path),
            ("https:///", NoOrigin::Path),
            ("*", NoOrigin::Wildcard),
            ("https://*", NoOrigin::Wildcard),
            ("https://*.example.com", NoOrigin::Wildcard),
            ("https://app.example.com:*", NoOrigin::Wildcard),
            ("https://ada@app.example.com", NoOrigin::User),
            ("https://ada:secret@app.example.com", NoOrigin::User),
            ("https://app.example.com:", NoOrigin::Port),
            ("https://app.example.com:65536", NoOrigin::Port),
            ("https://app.example.com:+443", NoOrigin::Port),
            ("https://app.example.com:443:443", NoOrigin::Port),
            ("https://app.example.com:port", NoOrigin::Port),
            ("https://", NoOrigin::Host),
            ("https://.", NoOrigin::Host),
            ("https://app..example.com", NoOrigin::Host),
            ("https://app example.com", NoOrigin::Host),
            ("https://app%2eexample.com", NoOrigin::Host),
            ("https://bücher.example", NoOrigin::Host),
            ("http://127.1", NoOrigin::Host),
            ("http://0x7f000001", NoOrigin::Host),
            ("http://192.0.2.256", NoOrigin::Host),
            ("http://[::1", NoOrigin::Host),
            ("http://[::1]x", NoOrigin::Host),
            ("http://[localhost]", NoOrigin::Host),
            ("http://[fe80::1%25eth0]", NoOrigin::Host),
        ] {
            assert_eq!(written.parse::<WebOrigin>(), Err(why), "{written}");
        }
    }

    #[test]
    fn a_header_that_scripts_can_send_is_told_from_one_that_they_cannot() {
        assert_eq!(script_header("X-Datadog-Trace-Id").as_deref(), Ok("x-datadog-trace-id"));
        for (name, why) in [
            ("*", NoScriptHeader::Wildcard),
            ("x-*", NoScriptHeader::Wildcard),
            ("", NoScriptHeader::Name),
            ("two words", NoScriptHeader::Name),
            ("x-a:", NoScriptHeader::Name),
            ("x-ä", NoScriptHeader::Name),
            ("x-a\r\nx-b", NoScriptHeader::Name),
            ("Cookie", NoScriptHeader::Forbidden),
            ("Origin", NoScriptHeader::Forbidden),
            ("Sec-Fetch-Site", NoScriptHeader::Forbidden),
            ("Proxy-Authorization", NoScriptHeader::Forbidden),
        ] {
            assert_eq!(script_header(name), Err(why), "{name}");
        }
    }
}
