//! Problem details (RFC 9457): one code an error, one page a code.

use http::{HeaderName, HeaderValue, Response, StatusCode, header};
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

            pub const fn title(self) -> &'static str {
                match self { $(Self::$code => $title),* }
            }

            pub const fn detail(self) -> &'static str {
                match self { $(Self::$code => $detail),* }
            }
        }
    };
}

codes! {
    MalformedRequest = "malformed_request", BAD_REQUEST,
        "The request could not be read", "The body is not a JSON object in UTF-8.";
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE,
        "Unsupported media type", "The Content-Type of the body is not the one that this route takes.";
    PayloadTooLarge = "payload_too_large", PAYLOAD_TOO_LARGE,
        "The body is too large", "The body may have up to 16384 bytes.";
    ValidationFailed = "validation_failed", UNPROCESSABLE_ENTITY,
        "The request has invalid fields", "A field is missing, unknown, of the wrong type or out of range.";
    InvalidCredentials = "invalid_credentials", UNAUTHORIZED,
        "The sign-in was refused", "The e-mail address or the password is not right, or the account cannot sign in.";
    TooManyAttempts = "too_many_attempts", TOO_MANY_REQUESTS,
        "Too many attempts", "Wait before the next attempt.";
    RateLimited = "rate_limited", TOO_MANY_REQUESTS,
        "Too many requests", "Too many requests came from this address.";
    TooManyChanges = "too_many_changes", TOO_MANY_REQUESTS,
        "Too many changes at once", "Other requests changed the same account at the same time.";
    InvalidToken = "invalid_token", UNAUTHORIZED,
        "The access token was refused", "The access token is missing, expired or not valid here.";
    InvalidRefreshToken = "invalid_refresh_token", UNAUTHORIZED,
        "The refresh token was refused", "The refresh token is missing, expired or not valid. Sign in again.";
    RefreshTokenReused = "refresh_token_reused", UNAUTHORIZED,
        "The refresh token was used before", "The session has been ended. Sign in again.";
    InvalidMfaToken = "invalid_mfa_token", UNAUTHORIZED,
        "The MFA token was refused", "The MFA token is expired, spent or not valid. Sign in again with the password.";
    InvalidCode = "invalid_code", UNAUTHORIZED,
        "The code was refused", "The code is wrong, too old or used already.";
    ReauthenticationRequired = "reauthentication_required", UNAUTHORIZED,
        "A recent sign-in is needed", "Reauthenticate, with the second factor if the account has one, then repeat the request.";
    OriginNotAllowed = "origin_not_allowed", FORBIDDEN,
        "The origin is not allowed", "Requests that use cookies must come from an allowed origin.";
    Blocked = "blocked", FORBIDDEN,
        "The address is blocked", "Requests from this address are refused.";
    NotFound = "not_found", NOT_FOUND,
        "Not found", "There is nothing at this path.";
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED,
        "Method not allowed", "The Allow header names the methods of this path.";
    FactorNotFound = "factor_not_found", NOT_FOUND,
        "No such factor", "This account has no such factor.";
    ChallengeNotApplicable = "challenge_not_applicable", CONFLICT,
        "This factor needs no challenge", "Send the code to /api/v1/auth/mfa/verify.";
    FactorLimitReached = "factor_limit_reached", CONFLICT,
        "No more factors", "Remove a factor before adding another.";
    FactorAlreadyConfirmed = "factor_already_confirmed", CONFLICT,
        "The factor is confirmed already", "The factor can be used.";
    Maintenance = "maintenance", SERVICE_UNAVAILABLE,
        "Closed for maintenance", "Repeat the request after Retry-After.";
    DependencyUnavailable = "dependency_unavailable", SERVICE_UNAVAILABLE,
        "Temporarily unavailable", "A service that this one needs does not answer.";
    KeyringUnavailable = "keyring_unavailable", SERVICE_UNAVAILABLE,
        "Temporarily unavailable", "The keys of this service cannot be read.";
    InternalError = "internal_error", INTERNAL_SERVER_ERROR,
        "Internal error", "The request failed. The request_id names it in the logs.";
}

impl Code {
    /// Seconds, for codes that say when to come back without knowing it better.
    const fn default_retry_after(self) -> Option<u64> {
        match self {
            Self::DependencyUnavailable | Self::KeyringUnavailable | Self::TooManyChanges => Some(1),
            _ => None,
        }
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

    pub(crate) fn into_response(self, docs_url: &str, request_id: &str) -> Response<String> {
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
        let mut response = Response::new(body);
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
            StoreError::Contended { .. } => Code::TooManyChanges,
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
