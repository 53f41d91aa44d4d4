//! What came back.

use anyhow::Context as _;
use http::HeaderMap;
use serde_json::Value;

/// An answer of the API, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub(crate) async fn of(response: reqwest::Response) -> anyhow::Result<Self> {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Self { status, headers, body: response.bytes().await?.to_vec() })
    }

    /// The body as text; what is not UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; `null` when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// A field of a JSON body; `null` when there is none.
    pub fn field(&self, name: &str) -> Value {
        self.json().get(name).cloned().unwrap_or_default()
    }

    /// The code of a problem, or of an OAuth error; empty when the answer is neither.
    pub fn code(&self) -> String {
        let body = self.json();
        let code = body.get("code").or_else(|| body.get("error"));
        code.and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// Status and code: what most assertions compare.
    pub fn outcome(&self) -> (u16, String) {
        (self.status, self.code())
    }

    /// The first value of a header; empty when there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    pub fn has_header(&self, name: &str) -> bool {
        self.headers.contains_key(name)
    }

    /// `Set-Cookie` headers by the name of their cookie, value and attributes apart.
    pub fn cookies(&self) -> Vec<(String, String, String)> {
        let all = self.headers.get_all("set-cookie").iter().filter_map(|value| value.to_str().ok());
        all.map(|text| {
            let (pair, attributes) = text.split_once(';').unwrap_or((text, ""));
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (name.to_owned(), value.to_owned(), attributes.trim().to_owned())
        })
        .collect()
    }

    /// This answer, if it has this status.
    ///
    /// # Errors
    /// When it has another; the message shows what came instead.
    pub fn expect(self, status: u16) -> anyhow::Result<Self> {
        anyhow::ensure!(
            self.status == status,
            "expected {status}, got {}: {}",
            self.status,
            self.text().chars().take(500).collect::<String>()
        );
        Ok(self)
    }

    /// A text of a JSON body.
    ///
    /// # Errors
    /// When it is not there.
    pub fn string(&self, name: &str) -> anyhow::Result<String> {
        let value = self.field(name);
        let text = value.as_str().map(str::to_owned);
        text.with_context(|| format!("no text {name} in {} {}", self.status, self.text()))
    }
}
