//! Who uses the backend while it is drilled, and what they do in a minute.

use anyhow::{Result, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use sallyport_testkit::{Account, Actor, Answer, Backend, Session};
use serde_json::json;

/// The backend with somebody who uses it.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) backend: Backend,
    pub(crate) account: Account,
    pub(crate) actor: Actor,
}

impl World {
    pub(crate) async fn new(backend: Backend) -> Result<Self> {
        let account = backend.account().await?;
        let actor = backend.actor();
        Ok(Self { backend, account, actor })
    }

    /// A minute of an ordinary day: people sign in, one in six mistypes, sessions go on, keys are fetched.
    pub(crate) async fn ordinary(&self) -> Result<()> {
        let caller = self.backend.actor();
        for _ in 0..5 {
            let mut session = caller.log_in(&self.account).await?;
            session.refresh().await?;
        }
        let email = format!("mistyped{}@example.com", self.backend.now());
        caller.try_log_in(&email, "Correct hores").await?.expect(401)?;
        self.live(10).await
    }

    /// Requests that depend on nothing.
    pub(crate) async fn live(&self, count: usize) -> Result<()> {
        for _ in 0..count {
            self.actor.get("/health/live").await?.expect(200)?;
        }
        Ok(())
    }

    /// The same request many times, so many at once.
    pub(crate) async fn get(&self, path: &str, count: usize, at_once: usize) -> Result<Vec<Answer>> {
        stream::iter(0..count).map(|_| self.actor.get(path)).buffer_unordered(at_once).try_collect().await
    }

    /// Wrong passwords for accounts that nobody guesses twice, from as many addresses as stay below their limits.
    pub(crate) async fn stuff(&self, count: usize) -> Result<()> {
        let minute = self.backend.now();
        for (number, first) in (0..count).step_by(80).enumerate() {
            let attacker = self.backend.actor();
            let attempts = stream::iter(first..count.min(first + 80)).map(|one| {
                let (attacker, email) = (&attacker, format!("victim{minute}-{number}-{one}@example.com"));
                async move { attacker.try_log_in(&email, "Summer2026!").await?.expect(401) }
            });
            let answers: Vec<Answer> = attempts.buffer_unordered(4).try_collect().await?;
            ensure!(!answers.is_empty(), "nobody tried");
        }
        Ok(())
    }

    /// Sign-ins and refreshes of an account of one's own, to be broken.
    pub(crate) async fn session(&self) -> Result<Session> {
        self.actor.log_in(&self.account).await
    }

    /// Guesses wrongly until the pool of the address locks.
    pub(crate) async fn lock(&self, email: &str) -> Result<()> {
        let stranger = self.backend.actor();
        for _ in 0..5 {
            stranger.try_log_in(email, "not it").await?.expect(401)?;
        }
        stranger.try_log_in(email, "not it").await?.expect(429).map(drop)
    }

    /// Tokens that were made up, in the form of ours.
    pub(crate) async fn forge(&self, account: &Account, count: usize) -> Result<()> {
        let pending = self.backend.actor().begin_log_in(account).await?;
        let (message, signature) = pending.mfa_token.rsplit_once('.').unwrap();
        let (head, tail) = signature.split_at(8);
        let other = if head == "AAAAAAAA" { "BBBBBBBB" } else { "AAAAAAAA" };
        let forged = format!("{message}.{other}{tail}");
        for _ in 0..count {
            let body = json!({"mfa_token": forged, "factor_id": account.factor().id, "code": "123456"});
            self.actor.post("/api/v1/auth/mfa/verify", &body).await?.expect(401)?;
        }
        Ok(())
    }
}
