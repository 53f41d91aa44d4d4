//! The table of locks in docs/SECURITY.md: each row is played, by the one who can cause it, against those whom it refuses.

use sallyport_testkit::Actor;

use crate::prelude::*;

const LIMIT: usize = 5;

/// Who tries, and is let through or refused.
struct Scene {
    backend: Backend,
    account: Account,
    /// Knows the account, from a device that this knows.
    owner: Actor,
}

impl Scene {
    async fn start(with_factor: bool) -> Result<Self> {
        let backend = Backend::start().await?;
        let account =
            if with_factor { backend.account_with_totp().await? } else { backend.account().await? };
        let owner = backend.actor();
        let scene = Self { backend, account, owner };
        scene.sign_in(&scene.owner).await?;
        Ok(scene)
    }

    fn stranger(&self) -> Actor {
        self.backend.actor()
    }

    async fn sign_in(&self, actor: &Actor) -> Result<Session> {
        if self.account.factors.is_empty() {
            return actor.log_in(&self.account).await;
        }
        actor.begin_log_in(&self.account).await?.verify_with_totp(&self.backend, &self.account).await
    }

    /// Status of the first step.
    async fn first_step(&self, actor: &Actor, password: &str) -> Result<u16> {
        Ok(actor.try_log_in(&self.account.email, password).await?.status)
    }

    async fn guess(&self, actor: &Actor, times: usize) -> Result<()> {
        for _ in 0..times {
            actor.try_log_in(&self.account.email, "wrong").await?;
        }
        Ok(())
    }

    /// Whether the right password is let through.
    async fn lets(&self, actor: &Actor) -> Result<bool> {
        Ok(self.first_step(actor, &self.account.password).await? == 200)
    }

    /// Whether a right code would be looked at: one is at hand only in the next thirty seconds.
    async fn lets_code(&self, actor: &Actor) -> Result<bool> {
        let pending = actor.begin_log_in(&self.account).await?;
        let code = self.account.factor().wrong_code_at(self.backend.now());
        Ok(pending.try_verify(&self.account.factor().id, &code).await?.status == 401)
    }

    async fn guess_codes(&self, actor: &Actor, times: usize) -> Result<()> {
        let pending = actor.begin_log_in(&self.account).await?;
        for _ in 0..times {
            let wrong = self.account.factor().wrong_code_at(self.backend.now());
            pending.try_verify(&self.account.factor().id, &wrong).await?;
        }
        Ok(())
    }
}

/// Rows by their first cell, in the order of the document.
fn rows() -> Result<Vec<String>> {
    let document = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/SECURITY.md"))?;
    let (_, section) = document.split_once("\n### Locks\n").context("no section")?;
    let rows =
        section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    Ok(rows.skip(2).filter_map(|row| row.split('|').nth(1)).map(|cell| cell.trim().to_owned()).collect())
}

#[tokio::test]
async fn every_lock_refuses_those_and_ends_as_the_table_says() -> Result<()> {
    for row in rows()? {
        play(&row).await.with_context(|| row.clone())?;
    }
    Ok(())
}

async fn play(row: &str) -> Result<()> {
    match row {
        "strangers' passwords, locked" => strangers_locked().await,
        "strangers' passwords, shut" => strangers_shut().await,
        "a known device's passwords" => passwords_of_device().await,
        "codes of a factor, and recovery codes" => codes().await,
        "a known device's codes" => codes_of_device().await,
        "budget of an address" => address().await,
        "minute of a known device" => minute_of_device().await,
        "wait of an emergency" => emergency().await,
        "block of an address or an account" => block().await,
        // No gateway of this suite has one: tests/deploy holds the template's limits.
        "limits of API Gateway" => gateway(),
        other => anyhow::bail!("nobody plays {other:?}"),
    }
}

async fn strangers_locked() -> Result<()> {
    let scene = Scene::start(false).await?;
    scene.guess(&scene.stranger(), LIMIT).await?;
    ensure!(!scene.lets(&scene.stranger()).await? && scene.lets(&scene.owner).await?);
    scene.backend.advance(31).await?;
    ensure!(scene.lets(&scene.stranger()).await?, "time ends it");
    scene.guess(&scene.stranger(), LIMIT).await?;
    scene.backend.unlock(&scene.account).await?;
    ensure!(scene.lets(&scene.stranger()).await?, "an operator ends it");
    let mut scene = scene;
    scene.guess(&scene.stranger(), LIMIT).await?;
    scene.backend.set_password(&mut scene.account, "Another horse").await?;
    ensure!(scene.lets(&scene.stranger()).await?, "a new password ends it");
    Ok(())
}

async fn strangers_shut() -> Result<()> {
    for ended_by_operator in [true, false] {
        let scene = Scene::start(false).await?;
        let mut hours = 0.0;
        for _ in 0..100 {
            scene.guess(&scene.stranger(), 1).await?;
            // At the end of the longest lock.
            scene.backend.advance(15 * 60 + 1).await?;
            hours += 0.25;
        }
        ensure!(hours <= 25.0);
        scene.backend.advance_days(2).await?;
        ensure!(!scene.lets(&scene.stranger()).await?, "time does not end it");
        if ended_by_operator {
            scene.backend.unlock(&scene.account).await?;
        } else {
            ensure!(scene.lets(&scene.owner).await?, "known devices are let through, and open it");
        }
        ensure!(scene.lets(&scene.stranger()).await?);
    }
    Ok(())
}

async fn passwords_of_device() -> Result<()> {
    let scene = Scene::start(false).await?;
    scene.guess(&scene.owner, LIMIT).await?;
    ensure!(scene.lets(&scene.owner).await?, "it is counted with the strangers");
    let scene = Scene::start(false).await?;
    scene.guess(&scene.owner, 2 * LIMIT).await?;
    ensure!(!scene.lets(&scene.owner).await?, "and refused with them");
    scene.backend.unlock(&scene.account).await?;
    ensure!(scene.lets(&scene.owner).await?);
    // By an access token: against the sessions of that device and no others.
    let (stolen, mine) = (scene.sign_in(&scene.stranger()).await?, scene.sign_in(&scene.stranger()).await?);
    for _ in 0..LIMIT {
        stolen.try_reauthenticate(&json!({"password": "wrong"})).await?.expect(401)?;
    }
    let right = json!({"password": scene.account.password});
    stolen.try_reauthenticate(&right).await?.expect(429)?;
    mine.try_reauthenticate(&right).await?.expect(200)?;
    let mut again = scene.sign_in(&stolen.actor).await?;
    again.reauthenticate(&right).await?;
    scene.backend.unlock(&scene.account).await?;
    stolen.try_reauthenticate(&right).await?.expect(200)?;
    Ok(())
}

async fn codes() -> Result<()> {
    let scene = Scene::start(true).await?;
    scene.guess_codes(&scene.stranger(), LIMIT).await?;
    ensure!(!scene.lets_code(&scene.stranger()).await? && scene.lets_code(&scene.owner).await?);
    scene.backend.advance(31).await?;
    ensure!(scene.lets_code(&scene.stranger()).await?, "time ends it");
    scene.guess_codes(&scene.stranger(), LIMIT).await?;
    scene.backend.unlock(&scene.account).await?;
    ensure!(scene.lets_code(&scene.stranger()).await?, "an operator ends it");
    Ok(())
}

async fn codes_of_device() -> Result<()> {
    let scene = Scene::start(true).await?;
    scene.guess_codes(&scene.owner, LIMIT).await?;
    ensure!(scene.lets_code(&scene.owner).await?, "it is counted with the strangers");
    scene.guess_codes(&scene.owner, 2 * LIMIT).await?;
    ensure!(!scene.lets_code(&scene.owner).await?, "and refused with them");
    scene.backend.unlock(&scene.account).await?;
    ensure!(scene.lets_code(&scene.owner).await?);
    let (stolen, mine) = (scene.sign_in(&scene.stranger()).await?, scene.sign_in(&scene.stranger()).await?);
    let proof = |code: String| json!({"factor_id": scene.account.factor().id, "code": code});
    for _ in 0..LIMIT {
        let wrong = proof(scene.account.factor().wrong_code_at(scene.backend.now()));
        stolen.try_reauthenticate(&wrong).await?.expect(401)?;
    }
    let wrong = proof(scene.account.factor().wrong_code_at(scene.backend.now()));
    stolen.try_reauthenticate(&wrong).await?.expect(429)?;
    mine.try_reauthenticate(&proof(scene.backend.code(scene.account.factor()).await?)).await?.expect(200)?;
    Ok(())
}

async fn address() -> Result<()> {
    let backend = Backend::with(&[("SALLYPORT_ADDRESS_LIMIT", "3")]).await?;
    let account = backend.account().await?;
    let (there, elsewhere) = (backend.actor(), backend.actor());
    there.log_in(&account).await?;
    for _ in 0..2 {
        there
            .ask("POST", "/api/v1/auth/login")
            .json(&json!({"email": "x@example.com", "password": "wrong"}))
            .send()
            .await?;
    }
    let login = json!({"email": account.email, "password": account.password});
    there.post("/api/v1/auth/login", &login).await?.expect(429)?;
    elsewhere.post("/api/v1/auth/login", &login).await?.expect(200)?;
    there.try_log_in(&account.email, &account.password).await?.expect(200)?;
    backend.advance(61).await?;
    there.post("/api/v1/auth/login", &login).await?.expect(200)?;
    Ok(())
}

async fn minute_of_device() -> Result<()> {
    let backend = Backend::with(&[("SALLYPORT_ADDRESS_LIMIT", "3")]).await?;
    let account = backend.account().await?;
    let owner = backend.actor();
    owner.log_in(&account).await?;
    backend.advance(61).await?;
    let login = json!({
        "email": account.email, "password": account.password, "device_token": owner.device_token(),
    });
    let mut outcomes = Vec::new();
    for _ in 0..7 {
        outcomes.push(owner.post("/api/v1/auth/login", &login).await?.status);
    }
    ensure!(outcomes == [200, 200, 200, 200, 200, 200, 429], "{outcomes:?}");
    Ok(())
}

async fn emergency() -> Result<()> {
    let scene = Scene::start(false).await?;
    scene.backend.set_mode("emergency", 3600).await?;
    scene.backend.advance(6).await?;
    let stranger = scene.stranger();
    ensure!(!scene.lets(&stranger).await? && scene.lets(&scene.owner).await?);
    scene.backend.advance(11).await?;
    ensure!(scene.lets(&stranger).await?, "ten seconds are all");
    scene.backend.clear_mode("emergency").await?;
    scene.backend.advance(6).await?;
    ensure!(scene.lets(&scene.stranger()).await?);
    Ok(())
}

async fn block() -> Result<()> {
    let scene = Scene::start(false).await?;
    scene.backend.block_account(&scene.account.email, 60).await?;
    scene.backend.advance(6).await?;
    ensure!(!scene.lets(&scene.stranger()).await? && !scene.lets(&scene.owner).await?);
    scene.backend.advance(61).await?;
    ensure!(scene.lets(&scene.owner).await?, "it has an end");
    Ok(())
}

fn gateway() -> Result<()> {
    let template = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../template.yaml"))?;
    ensure!(template.contains("ThrottlingRateLimit: !Ref PasswordRateLimit"), "no limit of a route");
    Ok(())
}
