//! A caller.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::ensure;
use serde_json::{Value, json};

use crate::{
    account::{Account, ServiceClient},
    answer::Answer,
    secrets,
    session::{Pending, Session},
};

/// One person at one device, or one service: an address, the memory of a device, a jar of cookies. Clones share them.
#[derive(Debug, Clone)]
pub struct Actor(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    http: reqwest::Client,
    url: String,
    address: Ipv4Addr,
    origin: Option<String>,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    device_token: Option<String>,
    cookies: BTreeMap<String, String>,
}

/// A request in the making.
#[derive(Debug)]
pub struct Ask {
    actor: Actor,
    request: reqwest::RequestBuilder,
}

impl Actor {
    pub(crate) fn new(url: &str, address: Ipv4Addr, origin: Option<String>) -> Self {
        let http = reqwest::Client::builder()
            .no_proxy()
            .local_address(IpAddr::V4(address))
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(60))
            .build()
            .unwrap();
        Self(Arc::new(Inner { http, url: url.to_owned(), address, origin, memory: Mutex::default() }))
    }

    /// Where this caller calls from.
    pub fn address(&self) -> Ipv4Addr {
        self.0.address
    }

    /// The device token that was given last.
    pub fn device_token(&self) -> Option<String> {
        self.memory().device_token.clone()
    }

    /// Becomes a device that nobody knows.
    pub fn forget_device(&self) {
        let mut memory = self.memory();
        memory.device_token = None;
        memory.cookies.remove("__Host-sallyport_device");
    }

    /// A cookie of the jar.
    pub fn cookie(&self, name: &str) -> Option<String> {
        self.memory().cookies.get(name).cloned()
    }

    /// Puts a cookie into the jar.
    pub fn set_cookie(&self, name: &str, value: &str) {
        self.memory().cookies.insert(name.to_owned(), value.to_owned());
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_browser(&self) -> bool {
        self.0.origin.is_some()
    }

    // Requests

    /// Begins a request.
    pub fn ask(&self, method: &str, path: &str) -> Ask {
        let request = self.0.http.request(method.parse().unwrap(), format!("{}{path}", self.0.url));
        Ask { actor: self.clone(), request }
    }

    pub async fn get(&self, path: &str) -> anyhow::Result<Answer> {
        self.ask("GET", path).send().await
    }

    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Answer> {
        self.ask("POST", path).json(body).send().await
    }

    // The user's verbs

    /// Signs in, or tries to; a device token that was given before is sent.
    pub async fn try_log_in(&self, email: &str, password: &str) -> anyhow::Result<Answer> {
        let mut body = json!({"email": email, "password": password});
        if self.is_browser() {
            body["token_delivery"] = json!("cookie");
        } else if let Some(token) = self.device_token() {
            body["device_token"] = json!(token);
        }
        self.post("/api/v1/auth/login", &body).await
    }

    /// Signs in to an account that has no second factor.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn log_in(&self, account: &Account) -> anyhow::Result<Session> {
        let answer = self.try_log_in(&account.email, &account.password).await?.expect(200)?;
        ensure!(answer.field("status") == "authenticated", "{}", answer.text());
        Session::of(self, &answer)
    }

    /// Gives the password of an account that has a second factor.
    ///
    /// # Errors
    /// When it is refused, when no factor is asked for.
    pub async fn begin_log_in(&self, account: &Account) -> anyhow::Result<Pending> {
        let answer = self.try_log_in(&account.email, &account.password).await?.expect(200)?;
        ensure!(answer.field("status") == "mfa_required", "{}", answer.text());
        Ok(Pending {
            actor: self.clone(),
            mfa_token: answer.string("mfa_token")?,
            factors: answer.field("factors").as_array().cloned().unwrap_or_default(),
        })
    }

    pub async fn try_refresh(&self, refresh_token: &str) -> anyhow::Result<Answer> {
        self.post("/api/v1/auth/refresh", &json!({"refresh_token": refresh_token})).await
    }

    pub async fn introspect(&self, client: &ServiceClient, token: &str) -> anyhow::Result<Answer> {
        self.ask("POST", "/oauth/introspect").basic(client).form(&[("token", token)]).send().await
    }

    pub async fn revoke(&self, client: &ServiceClient, token: &str) -> anyhow::Result<Answer> {
        self.ask("POST", "/oauth/revoke").basic(client).form(&[("token", token)]).send().await
    }
}

impl Ask {
    #[must_use]
    pub fn json(mut self, body: &Value) -> Self {
        self.request = self.request.json(body);
        self
    }

    /// Any body; an empty content type sends none.
    #[must_use]
    pub fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        if !content_type.is_empty() {
            self.request = self.request.header("content-type", content_type);
        }
        self.request = self.request.body(body.into());
        self
    }

    #[must_use]
    pub fn form(mut self, fields: &[(&str, &str)]) -> Self {
        self.request = self.request.form(fields);
        self
    }

    #[must_use]
    pub fn bearer(mut self, token: &str) -> Self {
        self.request = self.request.bearer_auth(token);
        self
    }

    #[must_use]
    pub fn basic(mut self, client: &ServiceClient) -> Self {
        self.request = self.request.basic_auth(&client.id, Some(&client.secret));
        self
    }

    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    /// Sends it. A browser adds its origin and its cookies, and keeps what it is given.
    pub async fn send(self) -> anyhow::Result<Answer> {
        let Self { actor, mut request } = self;
        if let Some(origin) = &actor.0.origin {
            request = request.header("origin", origin);
            let cookies: Vec<_> =
                actor.memory().cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            if !cookies.is_empty() {
                request = request.header("cookie", cookies.join("; "));
            }
        }
        let request = request.build()?;
        secrets::of_request(&request);
        let answer = Answer::of(actor.0.http.execute(request).await?).await?;
        secrets::of_answer(&answer);
        let mut memory = actor.memory();
        if let Some(token) = answer.field("device_token").as_str() {
            memory.device_token = Some(token.to_owned());
        }
        for (name, value, attributes) in answer.cookies() {
            if attributes.split("; ").any(|attribute| attribute == "Max-Age=0") {
                memory.cookies.remove(&name);
            } else {
                memory.cookies.insert(name, value);
            }
        }
        drop(memory);
        Ok(answer)
    }
}
