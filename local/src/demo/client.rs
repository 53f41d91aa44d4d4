//! The API's routes as the demo needs them.

use std::net::SocketAddr;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::wire::{Connection, Message};

/// A caller of the API.
#[derive(Debug, Clone, Copy)]
pub(super) struct Client(pub(super) SocketAddr);

impl Client {
    /// The answer of a sign-in: tokens, or the question for a second factor.
    pub(super) async fn login(self, email: &str, password: &str) -> anyhow::Result<Value> {
        self.post("/api/v1/auth/login", None, &json!({"email": email, "password": password})).await
    }

    /// Posts JSON.
    ///
    /// # Errors
    /// When the answer is not a success.
    pub(super) async fn post(self, path: &str, bearer: Option<&str>, body: &Value) -> anyhow::Result<Value> {
        let header = |name: &str, value: String| (name.to_owned(), value);
        let mut request = Message {
            start: format!("POST {path} HTTP/1.1"),
            headers: vec![
                header("host", self.0.to_string()),
                header("content-type", "application/json".to_owned()),
                header("user-agent", "sallyport-local".to_owned()),
            ],
            body: Vec::new(),
        };
        if let Some(token) = bearer {
            request.headers.push(header("authorization", format!("Bearer {token}")));
        }
        request.set_body(body.to_string().into_bytes());
        let mut connection = Connection::new(TcpStream::connect(self.0).await?)?;
        connection.write(&request).await?;
        let reply = connection.read().await?.context("the API closed the connection")?;
        match reply.status() {
            Some(204) => Ok(Value::Null),
            Some(200..=299) => Ok(serde_json::from_slice(&reply.body)?),
            _ => bail!("POST {path}: {} {}", reply.start, String::from_utf8_lossy(&reply.body)),
        }
    }
}

/// A text of an answer.
///
/// # Errors
/// When it is not there.
pub(super) fn text<'a>(answer: &'a Value, field: &str) -> anyhow::Result<&'a str> {
    answer.get(field).and_then(Value::as_str).with_context(|| format!("the answer has no {field}"))
}
