//! Nobody mends it: it goes on, and the Mitigation of the alarm's page silences the alarm all the same.

use anyhow::{Result, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use sallyport_testkit::{Account, Actor, Answer};
use serde_json::json;

use crate::{
    drill::{Drill, Expected},
    world::World,
};

async fn nothing(_: &World) -> Result<()> {
    Ok(())
}

/// As long as it likes to try.
const UNLIMITED: (&str, &str) = ("SALLYPORT_ADDRESS_LIMIT", "100000");

/// Wrong passwords, each for an account of its own that is called after `name`.
async fn guess(attacker: &Actor, name: &str, count: usize) -> Result<Vec<Answer>> {
    let attempts = stream::iter(0..count).map(|number| {
        let email = format!("{name}{number}@example.com");
        async move { attacker.try_log_in(&email, "Summer2026!").await }
    });
    attempts.buffer_unordered(4).try_collect().await
}

/// Either all are let in to be refused, or all are shut out.
fn ensure_alike(answers: &[Answer], let_in: u16, shut_out: u16) -> Result<()> {
    let all = |status| answers.iter().all(|answer| answer.status == status);
    ensure!(all(let_in) || all(shut_out), "neither all {let_in} nor all {shut_out}: {answers:?}");
    Ok(())
}

/// The owner, on a device that is known.
async fn owner(world: &World) -> Result<()> {
    for _ in 0..5 {
        world.actor.log_in(&world.account).await?;
    }
    world.live(10).await
}

#[tokio::test]
async fn an_attack_from_one_address_goes_on_behind_a_block_and_the_owner_signs_in() -> Result<()> {
    let expected = Expected {
        alarm: "failure-spike",
        within: 3,
        also: &["low-success-rate", "degraded-performance"],
        tells: "page-attack",
        lasts: 3,
        clears_within: 7,
    };
    let drill = Drill::with(&[UNLIMITED], &[("FailuresPerMinute", "120")]).await?;
    let attacker = drill.world.backend.actor();
    let address = attacker.address().to_string();
    let email = drill.world.account.email.clone();
    let attack = async |world: &World| {
        let answers = guess(&attacker, &format!("victim{}-", world.backend.now()), 150).await?;
        ensure_alike(&answers, 401, 403)?;
        owner(world).await
    };
    drill.mitigate(expected, &[("ADDRESS", &address), ("EMAIL", &email)], nothing, attack).await
}

#[tokio::test]
async fn whoever_guesses_codes_with_stolen_passwords_is_shut_out() -> Result<()> {
    async fn try_codes(attacker: &Actor, victim: &Account, now: u64) -> Result<()> {
        let answer = attacker.try_log_in(&victim.email, &victim.password).await?;
        if answer.status == 403 {
            return Ok(());
        }
        let pending = attacker.begin_log_in(victim).await?;
        for _ in 0..6 {
            let wrong = victim.factor().wrong_code_at(now);
            let answer = pending.try_verify(&victim.factor().id, &wrong).await?;
            ensure!([401, 429].contains(&answer.status), "{answer:?}");
        }
        Ok(())
    }
    let expected = Expected {
        alarm: "mfa-bypass-attempts",
        within: 2,
        also: &[],
        tells: "page-attack",
        lasts: 1,
        // Where nobody gives a code, CloudWatch holds on to the last period that had one, as long as it looks back.
        clears_within: 17,
    };
    let drill = Drill::with(&[UNLIMITED], &[]).await?;
    let attacker = drill.world.backend.actor();
    let address = attacker.address().to_string();
    let mut victims = Vec::new();
    for _ in 0..3 {
        victims.push(drill.world.backend.account_with_totp().await?);
    }
    let email = victims[0].email.clone();
    let attack = async |world: &World| {
        for victim in &victims {
            try_codes(&attacker, victim, world.backend.now()).await?;
        }
        owner(world).await
    };
    drill.mitigate(expected, &[("ADDRESS", &address), ("EMAIL", &email)], nothing, attack).await
}

#[tokio::test]
async fn whoever_locks_accounts_one_after_another_is_shut_out() -> Result<()> {
    let drill = Drill::with(&[UNLIMITED], &[]).await?;
    let attacker = drill.world.backend.actor();
    let address = attacker.address().to_string();
    let email = drill.world.account.email.clone();
    let attack = async |world: &World| {
        let minute = world.backend.now();
        for number in 0..12 {
            for _ in 0..6 {
                let answer =
                    attacker.try_log_in(&format!("target{minute}-{number}@example.com"), "not it").await?;
                ensure!([401, 403, 429].contains(&answer.status), "{answer:?}");
            }
        }
        owner(world).await
    };
    let expected = Expected { lasts: 1, ..Expected::alone("lockouts-rising", 2) };
    drill.mitigate(expected, &[("ADDRESS", &address), ("EMAIL", &email)], nothing, attack).await
}

#[tokio::test]
async fn an_address_that_hits_its_limit_is_shut_out() -> Result<()> {
    let drill = Drill::with(&[("SALLYPORT_ADDRESS_LIMIT", "12")], &[]).await?;
    let attacker = drill.world.backend.actor();
    let address = attacker.address().to_string();
    let attack = async |world: &World| {
        let answers = guess(&attacker, &format!("any{}-", world.backend.now()), 80).await?;
        let refused = answers.iter().filter(|answer| [403, 429].contains(&answer.status)).count();
        ensure!(refused > 50, "{refused} were refused");
        owner(world).await
    };
    let expected = Expected { lasts: 1, ..Expected::alone("limiter-triggers", 2) };
    drill.mitigate(expected, &[("ADDRESS", &address)], nothing, attack).await
}

/// Of calls that the database fails now and then, as it fails those of an attacker.
async fn hot_key(kind: &str, alarm: &'static str, shut_out: u16) -> Result<()> {
    let expected =
        Expected { alarm, within: 3, also: &[], tells: "degraded-performance", lasts: 6, clears_within: 6 };
    let drill = Drill::with(&[UNLIMITED], &[]).await?;
    let attacker = drill.world.backend.actor();
    let address = attacker.address().to_string();
    let attack = async |world: &World| {
        for _ in 0..4 {
            // The function repeats the call, and succeeds: nobody but the alarm notices.
            let fault = json!({"kind": kind, "function": "login", "table": "throttle", "operation": "UpdateItem", "count": 1});
            world.backend.fault(fault).await?;
            let answers = guess(&attacker, &format!("hot{}-", world.backend.now()), 1).await?;
            ensure_alike(&answers, 401, shut_out)?;
        }
        world.live(20).await
    };
    drill.mitigate(expected, &[("ADDRESS", &address)], nothing, attack).await
}

#[tokio::test]
async fn whoever_makes_a_key_hot_is_shut_out_before_the_table() -> Result<()> {
    hot_key("throttle", "database-throttles", 403).await
}

#[tokio::test]
async fn a_database_that_fails_is_left_alone_in_a_maintenance_window() -> Result<()> {
    hot_key("error_500", "database-system-errors", 503).await
}
