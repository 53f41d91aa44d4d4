//! What a signed-in user does.

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::{
    account::{Account, Factor},
    actor::{Actor, Ask},
    answer::Answer,
    backend::Backend,
};

/// A right password that waits for a second factor.
#[derive(Debug, Clone)]
pub struct Pending {
    pub actor: Actor,
    pub mfa_token: String,
    /// As they were offered.
    pub factors: Vec<Value>,
}

impl Pending {
    pub async fn try_verify(&self, factor_id: &str, code: &str) -> anyhow::Result<Answer> {
        let body = json!({"mfa_token": self.mfa_token, "factor_id": factor_id, "code": code});
        self.actor.post("/api/v1/auth/mfa/verify", &body).await
    }

    /// Completes the sign-in with a fresh code of the account's app.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn verify_with_totp(&self, backend: &Backend, account: &Account) -> anyhow::Result<Session> {
        let factor = account.factor();
        let code = backend.code(factor).await?;
        Session::of(&self.actor, &self.try_verify(&factor.id, &code).await?.expect(200)?)
    }

    /// Completes the sign-in with a recovery code.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn verify_with_recovery_code(&self, code: &str) -> anyhow::Result<Session> {
        Session::of(&self.actor, &self.try_verify("recovery", code).await?.expect(200)?)
    }

    pub async fn challenge(&self, factor_id: &str) -> anyhow::Result<Answer> {
        let body = json!({"mfa_token": self.mfa_token, "factor_id": factor_id});
        self.actor.post("/api/v1/auth/mfa/challenge", &body).await
    }
}

/// An authenticator app that waits for its first code.
#[derive(Debug, Clone)]
pub struct Enrolment {
    pub factor: Factor,
    pub otpauth_uri: String,
    pub qr_svg: String,
}

/// A session, as its client holds it.
#[derive(Debug, Clone)]
pub struct Session {
    pub actor: Actor,
    pub session_id: String,
    pub access_token: String,
    /// Empty when it came as a cookie, which the actor's jar holds.
    pub refresh_token: String,
}

impl Session {
    /// The session of an answer with tokens.
    ///
    /// # Errors
    /// When there are none.
    pub fn of(actor: &Actor, answer: &Answer) -> anyhow::Result<Self> {
        Ok(Self {
            actor: actor.clone(),
            session_id: answer.string("session_id")?,
            access_token: answer.string("access_token")?,
            refresh_token: answer.field("refresh_token").as_str().unwrap_or_default().to_owned(),
        })
    }

    /// The claims of the access token, read and not verified.
    pub fn claims(&self) -> Value {
        let payload = self.access_token.split('.').nth(1).unwrap_or_default();
        let payload = URL_SAFE_NO_PAD.decode(payload).unwrap_or_default();
        serde_json::from_slice(&payload).unwrap_or_default()
    }

    /// A request with the access token.
    pub fn ask(&self, method: &str, path: &str) -> Ask {
        self.actor.ask(method, path).bearer(&self.access_token)
    }

    async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Answer> {
        self.ask("POST", path).json(body).send().await
    }

    // Tokens

    /// Refreshes without taking the new tokens.
    pub async fn try_refresh(&self) -> anyhow::Result<Answer> {
        if self.actor.is_browser() {
            self.actor.ask("POST", "/api/v1/auth/refresh").send().await
        } else {
            self.actor.try_refresh(&self.refresh_token).await
        }
    }

    /// Refreshes and takes the new tokens.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn refresh(&mut self) -> anyhow::Result<()> {
        let answer = self.try_refresh().await?.expect(200)?;
        *self = Self::of(&self.actor, &answer)?;
        Ok(())
    }

    /// Ends this session (`local`), the others, or all (`global`), with the access token.
    pub async fn log_out(&self, scope: &str) -> anyhow::Result<Answer> {
        self.post("/api/v1/auth/logout", &json!({"scope": scope})).await
    }

    /// Whether the refresh token works; it is used up by the question.
    ///
    /// # Errors
    /// When there is no answer, or one that says neither.
    pub async fn is_alive(&mut self) -> anyhow::Result<bool> {
        let answer = self.try_refresh().await?;
        match answer.outcome() {
            (200, _) => {
                *self = Self::of(&self.actor, &answer)?;
                Ok(true)
            }
            (401, code) if code == "invalid_refresh_token" || code == "refresh_token_reused" => Ok(false),
            _ => anyhow::bail!("{} {}", answer.status, answer.text()),
        }
    }

    // Proving oneself again

    pub async fn try_reauthenticate(&self, proof: &Value) -> anyhow::Result<Answer> {
        self.post("/api/v1/auth/reauthenticate", proof).await
    }

    /// Takes the tokens of a reauthentication.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn reauthenticate(&mut self, proof: &Value) -> anyhow::Result<()> {
        let answer = self.try_reauthenticate(proof).await?.expect(200)?;
        *self = Self::of(&self.actor, &answer)?;
        Ok(())
    }

    /// Steps up with a fresh code of the account's app.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn step_up(&mut self, backend: &Backend, account: &Account) -> anyhow::Result<()> {
        let factor = account.factor();
        let code = backend.code(factor).await?;
        self.reauthenticate(&json!({"factor_id": factor.id, "code": code})).await
    }

    // Factors

    pub async fn list_factors(&self) -> anyhow::Result<Answer> {
        self.ask("GET", "/api/v1/mfa/factors").send().await
    }

    pub async fn try_enrol_totp(&self, label: &str) -> anyhow::Result<Answer> {
        self.post("/api/v1/mfa/totp", &json!({"label": label})).await
    }

    /// Enrols an authenticator app.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn enrol_totp(&self, label: &str) -> anyhow::Result<Enrolment> {
        let answer = self.try_enrol_totp(label).await?.expect(201)?;
        Ok(Enrolment {
            factor: Factor::new(&answer.string("factor_id")?, &answer.string("secret")?),
            otpauth_uri: answer.string("otpauth_uri")?,
            qr_svg: answer.string("qr_svg")?,
        })
    }

    pub async fn try_confirm(&self, factor_id: &str, code: &str) -> anyhow::Result<Answer> {
        self.post("/api/v1/mfa/totp/confirm", &json!({"factor_id": factor_id, "code": code})).await
    }

    /// Confirms an authenticator app with a fresh code of it. The recovery codes, when there were none before.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn confirm(&self, backend: &Backend, enrolment: &Enrolment) -> anyhow::Result<Vec<String>> {
        let code = backend.code(&enrolment.factor).await?;
        let answer = self.try_confirm(&enrolment.factor.id, &code).await?.expect(200)?;
        codes(&answer)
    }

    /// Enrols an authenticator app, confirms it, and has the account remember it.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn add_totp(&self, backend: &Backend, account: &mut Account) -> anyhow::Result<()> {
        let enrolment = self.enrol_totp("Phone").await?;
        let codes = self.confirm(backend, &enrolment).await?;
        account.factors.push(enrolment.factor);
        account.recovery_codes.extend(codes);
        Ok(())
    }

    pub async fn remove_factor(&self, id: &str) -> anyhow::Result<Answer> {
        self.ask("DELETE", &format!("/api/v1/mfa/factors/{id}")).send().await
    }

    pub async fn new_recovery_codes(&self) -> anyhow::Result<Answer> {
        self.ask("POST", "/api/v1/mfa/recovery-codes").send().await
    }
}

fn codes(answer: &Answer) -> anyhow::Result<Vec<String>> {
    let codes = answer.field("recovery_codes");
    let codes = codes.as_array().context("no recovery codes")?;
    Ok(codes.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}
