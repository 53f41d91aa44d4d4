//! Problem details (RFC 9457): one code an error, one page a code.

use http::{HeaderName, HeaderValue, StatusCode, header};
use lambda_http::{Body, Response};
use sallyport_core::{
    accounts::PasswordError, mfa::SeedError, random::RandomUnavailable, store::StoreError, tokens::TokenError,
};
use serde::Serialize;

macro_rules! codes {
    ($($code:ident = $name:literal, $status:ident, $title:literal, $detail:literal;)*) => {
        /// The stable codes of the API.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Code { $($code),* }

        impl Code {
            pub const ALL: &'static [Self] = &[$(Self::$code),*];

            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$code => $name),* }
            }

            pub const fn status(self) -> StatusCode {
                match self { $(Self::$code => StatusCode::$status),* }
            }

            const fn title(self) -> &'static str {
                match self { $(Self::$code => $title),* }
            }

            const fn detail(self) -> &'static str {
                match self { $(Self::$code => $detail),* }
            }
        }
    };
}

codes! {
    MalformedRequest = "malformed_request", BAD_REQUEST,
        "Malformed request", "The body is not a JSON object in UTF-8.";
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE,
        "Unsupported media type", "The Content-Type of the body is not the one this route takes.";
    PayloadTooLarge = "payload_too_large", PAYLOAD_TOO_LARGE,
        "Payload too large", "The body is larger than 16 KiB.";
    ValidationFailed = "validation_failed", UNPROCESSABLE_ENTITY,
        "Validation failed", "A field is missing, unknown, of the wrong type or out of range.";
    InvalidCredentials = "invalid_credentials", UNAUTHORIZED,
        "Invalid credentials", "The credentials are not valid.";
    TooManyAttempts = "too_many_attempts", TOO_MANY_REQUESTS,
        "Too many attempts", "There were too many failed attempts. Wait and try again.";
    RateLimited = "rate_limited", TOO_MANY_REQUESTS,
        "Too many requests", "There were too many requests from this address. Wait and try again.";
    InvalidToken = "invalid_token", UNAUTHORIZED,
        "Invalid access token", "The access token is missing, expired or not valid.";
    InvalidRefreshToken = "invalid_refresh_token", UNAUTHORIZED,
        "Invalid refresh token", "The refresh token is missing, expired or not valid. Sign in again.";
    RefreshTokenReused = "refresh_token_reused", UNAUTHORIZED,
        "Refresh token reused", "The refresh token was used before, so its session has been ended. Sign in again.";
    InvalidMfaToken = "invalid_mfa_token", UNAUTHORIZED,
        "Invalid MFA token", "The MFA token is expired, spent or not valid. Sign in again.";
    InvalidCode = "invalid_code", UNAUTHORIZED,
        "Invalid code", "The code is not valid.";
    ReauthenticationRequired = "reauthentication_required", UNAUTHORIZED,
        "Reauthentication required", "This needs a recent authentication with the account's second factor, if it has one.";
    OriginNotAllowed = "origin_not_allowed", FORBIDDEN,
        "Origin not allowed", "A request that carries a cookie must come from a configured origin.";
    NotFound = "not_found", NOT_FOUND,
        "Not found", "There is nothing here.";
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED,
        "Method not allowed", "This route does not take this method.";
    FactorNotFound = "factor_not_found", NOT_FOUND,
        "Factor not found", "The account has no such factor.";
    ChallengeNotApplicable = "challenge_not_applicable", CONFLICT,
        "Challenge not applicable", "This factor needs no challenge: its code is at hand.";
    FactorLimitReached = "factor_limit_reached", CONFLICT,
        "Factor limit reached", "The account has as many factors as it may have. Remove one first.";
    FactorAlreadyConfirmed = "factor_already_confirmed", CONFLICT,
        "Factor already confirmed", "This factor has been confirmed.";
    DependencyUnavailable = "dependency_unavailable", SERVICE_UNAVAILABLE,
        "Temporarily unavailable", "A dependency does not answer. Nothing was lost; try again.";
    KeyringUnavailable = "keyring_unavailable", SERVICE_UNAVAILABLE,
        "Temporarily unavailable", "The keys of this service can't be read. Try again.";
    InternalError = "internal_error", INTERNAL_SERVER_ERROR,
        "Internal error", "Something is wrong on our side. It has been logged.";
}

impl Code {
    /// Seconds, for codes that say when to come back without knowing it better.
    const fn default_retry_after(self) -> Option<u64> {
        match self {
            Self::DependencyUnavailable | Self::KeyringUnavailable => Some(1),
            _ => None,
        }
    }

    /// Whether it is the service's own fault.
    pub fn is_fault(self) -> bool {
        self.status().is_server_error()
    }
}

/// What is wrong with a field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    pub field: String,
    /// `missing`, `unknown` or `invalid`.
    pub code: &'static str,
    pub detail: &'static str,
}

/// An error with a message for the caller and one for the operator.
#[derive(Debug)]
pub struct Problem {
    pub code: Code,
    pub retry_after: Option<u64>,
    pub errors: Vec<FieldError>,
    headers: Vec<(HeaderName, HeaderValue)>,
    operator: Option<String>,
}

impl Problem {
    pub fn new(code: Code) -> Self {
        Self {
            code,
            retry_after: code.default_retry_after(),
            errors: Vec::new(),
            headers: Vec::new(),
            operator: None,
        }
    }

    /// For the log: what the caller is not told.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "errors are handed over, not lent")]
    pub fn operator(mut self, message: impl ToString) -> Self {
        self.operator = Some(message.to_string());
        self
    }

    /// Rounded up to whole seconds, never 0.
    #[must_use]
    pub fn retry_after(mut self, wait: std::time::Duration) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        self.retry_after = Some(seconds.max(1));
        self
    }

    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    pub fn field(field: &str, code: &'static str, detail: &'static str) -> Self {
        let mut problem = Self::new(Code::ValidationFailed);
        problem.errors.push(FieldError { field: field.to_owned(), code, detail });
        problem
    }

    pub(crate) fn operator_message(&self) -> Option<&str> {
        self.operator.as_deref()
    }

    pub(crate) fn into_response(self, docs_url: &str, request_id: &str) -> Response<Body> {
        #[derive(Serialize)]
        struct Wire<'a> {
            r#type: String,
            title: &'static str,
            status: u16,
            detail: &'static str,
            code: &'static str,
            request_id: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            retry_after: Option<u64>,
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            errors: &'a [FieldError],
        }
        let wire = Wire {
            r#type: format!("{docs_url}/{}.md", self.code.as_str()),
            title: self.code.title(),
            status: self.code.status().as_u16(),
            detail: self.code.detail(),
            code: self.code.as_str(),
            request_id,
            retry_after: self.retry_after,
            errors: &self.errors,
        };
        let body = serde_json::to_string(&wire).unwrap_or_default();
        let mut response = Response::new(Body::Text(body));
        *response.status_mut() = self.code.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        for (name, value) in self.headers {
            headers.append(name, value);
        }
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let code = match error {
            StoreError::Unavailable { .. } => Code::DependencyUnavailable,
            StoreError::Corrupt { .. } => Code::InternalError,
        };
        Self::new(code).operator(error)
    }
}

macro_rules! internal {
    ($($error:ty),*) => {
        $(impl From<$error> for Problem {
            fn from(error: $error) -> Self {
                Self::new(Code::InternalError).operator(error)
            }
        })*
    };
}

internal!(PasswordError, TokenError, SeedError, RandomUnavailable);
