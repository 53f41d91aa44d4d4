//! Answers.

use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use crate::problem::{Code, Problem};

/// An answer that is no problem.
#[derive(Debug)]
pub struct Reply {
    response: Response<String>,
}

impl Reply {
    /// JSON that nobody may keep.
    ///
    /// # Errors
    /// It does not serialise: a fault of ours.
    pub fn json<T: Serialize>(status: StatusCode, body: &T) -> Result<Self, Problem> {
        let text =
            serde_json::to_string(body).map_err(|error| Problem::new(Code::InternalError).operator(error))?;
        Ok(Self::text(status, "application/json", text))
    }

    /// Any text, `no-store` until told otherwise.
    pub fn text(status: StatusCode, content_type: &'static str, text: String) -> Self {
        let mut response = Response::new(text);
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Self { response }
    }

    /// 204.
    pub fn no_content() -> Self {
        Self::empty(StatusCode::NO_CONTENT)
    }

    pub fn empty(status: StatusCode) -> Self {
        let mut response = Response::new(String::new());
        *response.status_mut() = status;
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Self { response }
    }

    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.response.headers_mut().insert(name, value);
        self
    }

    /// A header that may stand more than once.
    #[must_use]
    pub fn append(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.response.headers_mut().append(name, value);
        self
    }

    pub(crate) fn into_response(self) -> Response<String> {
        self.response
    }
}
