//! The proxy of the surroundings that a call goes through, for whoever wonders why it did not arrive.

use hyper_util::client::proxy::matcher::Matcher;

use crate::deployment::is_loopback;

/// ` by the proxy http://…`, where calls of this address go through one; else nothing. By the rules of the clients themselves.
pub(crate) fn by_proxy(url: &str) -> String {
    let url = url.trim_end_matches(':');
    if is_loopback(url) {
        return String::new();
    }
    let proxy = url.parse().ok().and_then(|address| Matcher::from_env().intercept(&address));
    proxy.map_or_else(String::new, |proxy| {
        // Without the name and the password that it may have.
        let place = proxy.uri().authority().map_or("", |authority| authority.as_str());
        let place = place.rsplit('@').next().unwrap_or_default();
        format!(" by the proxy {}://{place}", proxy.uri().scheme_str().unwrap_or("http"))
    })
}
