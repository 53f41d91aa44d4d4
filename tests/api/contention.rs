//! Requests of one account that change the same at the same time: no fault of the service, and nobody is woken by it.

use futures_util::future::try_join_all;
use sallyport_testkit::Ask;

use crate::prelude::*;

/// The routes that change something.
const CHANGING: [&str; 10] = [
    "log in",
    "reauthenticate",
    "verify",
    "refresh",
    "log out everywhere",
    "revoke",
    "enrol",
    "confirm",
    "new recovery codes",
    "remove",
];

/// Calls of hundreds of requests at once, unoptimised and on few processors, take their time.
const PATIENT: (&str, &str) = ("SALLYPORT_CALL_TIMEOUT_MS", "20000");

struct Scene {
    backend: Backend,
    account: Account,
    session: Session,
    client: ServiceClient,
    mfa_token: String,
    /// A factor that waits for its first code.
    waiting: Factor,
}

impl Scene {
    async fn start() -> Result<Self> {
        let backend = Backend::with(&[PATIENT]).await?;
        let account = backend.account_with_totp().await?;
        let client = backend.client().await?;
        let pending = backend.actor().begin_log_in(&account).await?;
        let session = pending.verify_with_recovery_code(&account.recovery_codes[0]).await?;
        let mfa_token = backend.actor().begin_log_in(&account).await?.mfa_token;
        let waiting = session.enrol_totp("Phone").await?.factor;
        Ok(Self { backend, account, session, client, mfa_token, waiting })
    }

    /// A request that is right by itself.
    fn ask(&self, route: &str) -> Ask {
        let (actor, session) = (self.backend.actor(), &self.session);
        let bearer = |path: &str| actor.ask("POST", path).bearer(&session.access_token);
        let refresh_token = json!({"refresh_token": session.refresh_token});
        match route {
            "log in" => {
                let body = json!({"email": self.account.email, "password": self.account.password});
                actor.ask("POST", "/api/v1/auth/login").json(&body)
            }
            "reauthenticate" => {
                bearer("/api/v1/auth/reauthenticate").json(&json!({"password": self.account.password}))
            }
            "verify" => actor.ask("POST", "/api/v1/auth/mfa/verify").json(&json!({
                "mfa_token": self.mfa_token, "factor_id": "recovery", "code": self.account.recovery_codes[1],
            })),
            "refresh" => actor.ask("POST", "/api/v1/auth/refresh").json(&refresh_token),
            "log out everywhere" => actor
                .ask("POST", "/api/v1/auth/logout")
                .bearer(&session.access_token)
                .json(&json!({"scope": "global"})),
            "revoke" => actor
                .ask("POST", "/oauth/revoke")
                .basic(&self.client)
                .form(&[("token", session.refresh_token.as_str())]),
            "enrol" => bearer("/api/v1/mfa/totp"),
            "confirm" => bearer("/api/v1/mfa/totp/confirm").json(&json!({
                "factor_id": self.waiting.id, "code": self.waiting.code_at(self.backend.now()),
            })),
            "new recovery codes" => bearer("/api/v1/mfa/recovery-codes"),
            _ => actor
                .ask("DELETE", &format!("/api/v1/mfa/factors/{}", self.account.factor().id))
                .bearer(&session.access_token),
        }
    }

    /// Nothing was logged at ERROR, and nothing counts as an error.
    async fn is_no_fault(&self) -> Result<()> {
        for line in self.backend.logs().await? {
            let line = &line["line"];
            ensure!(line["level"] != "ERROR", "{line}");
            ensure!(line.get("errors").is_none_or(|errors| *errors == 0), "{line}");
        }
        Ok(())
    }
}

#[tokio::test]
async fn whoever_is_overtaken_every_time_is_told_to_come_again() -> Result<()> {
    for route in CHANGING {
        let scene = Scene::start().await?;
        let conflict = json!({"kind": "conflict", "count": 1_000_000});
        scene.backend.fault(conflict).await?;
        let answer = scene.ask(route).send().await?;
        assert_eq!(answer.outcome(), outcome(429, "too_many_changes"), "{route}: {}", answer.text());
        assert_eq!(answer.header("retry-after"), "1", "{route}");
        scene.is_no_fault().await.context(route)?;
        scene.backend.heal().await?;
        let answer = scene.ask(route).send().await?;
        ensure!((200..300).contains(&answer.status), "{route}: {}", answer.text());
    }
    Ok(())
}

#[tokio::test]
async fn fifty_changes_of_one_account_at_once_are_no_fault_of_the_service() -> Result<()> {
    for route in CHANGING {
        let scene = Scene::start().await?;
        // Time for all of them to read what none of them has written yet.
        let slow = json!({"kind": "slow", "operation": "TransactWriteItems", "delay_ms": 100});
        scene.backend.fault(slow).await?;
        let answers = try_join_all((0..50).map(|_| scene.ask(route).send())).await?;
        let refused: Vec<_> = answers.iter().filter(|answer| answer.status >= 500).collect();
        ensure!(refused.is_empty(), "{route}: {} of 50, {}", refused.len(), refused[0].text());
        ensure!(answers.iter().any(|answer| answer.status < 300), "{route}: nobody came through");
        scene.is_no_fault().await.context(route)?;
    }
    Ok(())
}
