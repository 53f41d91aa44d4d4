//! How tokens reach the caller: in the body, or as cookies that no script can read.

use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode, header};
use sallyport_core::{
    sessions::Grant,
    throttle::BucketState,
    tokens::{ACCESS_LIFETIME, DEVICE_LIFETIME, Delivery},
};
use serde::{Deserialize, Serialize};

use crate::{
    cookies::{self, DEVICE_COOKIE, REFRESH_COOKIE},
    problem::Problem,
    reply::Reply,
};

/// `token_delivery`, as a sign-in asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(try_from = "String")]
pub struct DeliveryField(pub Delivery);

/// By way of a text: as an enum serde takes a wrong type for bad syntax, and names no field.
impl TryFrom<String> for DeliveryField {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.as_str() {
            "body" => Ok(Self(Delivery::Body)),
            "cookie" => Ok(Self(Delivery::Cookie)),
            _ => Err("not a delivery"),
        }
    }
}

#[derive(Serialize)]
struct TokensAnswer<'a> {
    status: &'static str,
    access_token: &'a str,
    token_type: &'static str,
    expires_in: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
    refresh_expires_in: u64,
    session_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_token: Option<&'a str>,
}

impl Reply {
    /// 200 with the tokens of a grant, delivered as its session has them: a handler has no say in it.
    ///
    /// # Errors
    /// They do not serialise.
    pub fn tokens(grant: &Grant) -> Result<Self, Problem> {
        // Rounded up: the milliseconds between a session's beginning and its tokens are no second less.
        let left = grant.session.refresh_until().since(grant.granted_at);
        let refresh_lifetime = Duration::from_secs(left.as_secs() + u64::from(left.subsec_nanos() > 0));
        let in_body = grant.session.delivery == Delivery::Body;
        let device_token = grant.device_token.as_ref().map(|token| token.expose().as_str());
        let answer = TokensAnswer {
            status: "authenticated",
            access_token: grant.access_token.expose(),
            token_type: "Bearer",
            expires_in: ACCESS_LIFETIME.as_secs(),
            refresh_token: in_body.then(|| grant.refresh_token.expose().as_str()),
            refresh_expires_in: refresh_lifetime.as_secs(),
            session_id: grant.session.id.to_string(),
            device_token: device_token.filter(|_| in_body),
        };
        let mut reply = Self::json(StatusCode::OK, &answer)?;
        if !in_body {
            reply = reply.cookie(REFRESH_COOKIE, grant.refresh_token.expose(), refresh_lifetime);
            if let Some(token) = device_token {
                reply = reply.cookie(DEVICE_COOKIE, token, DEVICE_LIFETIME);
            }
        }
        Ok(reply)
    }

    /// Takes the refresh cookie back. The device stays known.
    #[must_use]
    pub fn without_refresh_cookie(self) -> Self {
        self.cookie(REFRESH_COOKIE, "", Duration::ZERO)
    }

    /// What the caller's address has left.
    #[must_use]
    pub fn limits(mut self, bucket: Option<BucketState>) -> Self {
        for (name, value) in limit_headers(bucket) {
            self = self.header(name, value);
        }
        self
    }
}

impl Problem {
    /// Takes the refresh cookie back with the refusal.
    #[must_use]
    pub fn without_refresh_cookie(self) -> Self {
        match cookies::write(REFRESH_COOKIE, "", Duration::ZERO) {
            Some(cookie) => self.header(header::SET_COOKIE, cookie),
            None => self,
        }
    }

    /// What the caller's address has left.
    #[must_use]
    pub fn limits(mut self, bucket: Option<BucketState>) -> Self {
        for (name, value) in limit_headers(bucket) {
            self = self.header(name, value);
        }
        self
    }
}

/// `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers).
fn limit_headers(bucket: Option<BucketState>) -> Vec<(HeaderName, HeaderValue)> {
    let Some(bucket) = bucket else {
        return Vec::new();
    };
    let policy = format!("\"address\";q={};w={}", bucket.limit.requests, bucket.limit.window.as_secs());
    let state = format!("\"address\";r={};t={}", bucket.remaining(), bucket.resets_in);
    [("ratelimit-policy", policy), ("ratelimit", state)]
        .into_iter()
        .filter_map(|(name, value)| {
            Some((HeaderName::from_static(name), HeaderValue::from_str(&value).ok()?))
        })
        .collect()
}
