//! Somebody tries what is not theirs.

use anyhow::Result;
use sallyport_testkit::{Account, Factor, Session};
use serde_json::json;

use crate::{
    drill::{Drill, Expected},
    world::World,
};

async fn nothing(_: &World) -> Result<()> {
    Ok(())
}

async fn ordinary(world: &World) -> Result<()> {
    world.ordinary().await
}

/// The success rate falls as well, and tells nobody: it is the same cause.
#[tokio::test]
async fn eleven_wrong_passwords_a_second_are_an_attack_that_pages_once() -> Result<()> {
    let expected = Expected {
        alarm: "failure-spike",
        within: 3,
        // The composite looks up for the minute by which the success rate recovers later, and tells nobody.
        also: &["low-success-rate", "degraded-performance"],
        tells: "page-attack",
        lasts: 3,
        clears_within: 7,
    };
    let traffic = async |world: &World| world.stuff(660).await;
    Drill::start().await?.play(expected, nothing, traffic, nothing, ordinary).await
}

#[tokio::test]
async fn factors_that_lock_mean_that_passwords_are_known_to_others() -> Result<()> {
    let expected = Expected {
        alarm: "mfa-bypass-attempts",
        within: 2,
        also: &[],
        tells: "page-attack",
        lasts: 1,
        // Where nobody gives a code, CloudWatch holds on to the last period that had one, as long as it looks back.
        clears_within: 17,
    };
    let drill = Drill::start().await?;
    let mut victims = Vec::new();
    for _ in 0..3 {
        victims.push(drill.world.backend.account_with_totp().await?);
    }
    let traffic = async |world: &World| {
        for victim in &victims {
            let pending = world.backend.actor().begin_log_in(victim).await?;
            loop {
                let wrong = victim.factor().wrong_code_at(world.backend.now());
                let answer = pending.try_verify(&victim.factor().id, &wrong).await?;
                if answer.status == 429 {
                    break;
                }
                answer.expect(401)?;
            }
        }
        Ok(())
    };
    drill.play(expected, nothing, traffic, nothing, ordinary).await
}

/// Somebody who knows when factors lock stops before: it is the share of wrong codes that tells.
#[tokio::test]
async fn codes_that_are_wrong_by_half_mean_the_same_where_no_factor_locks() -> Result<()> {
    let expected = Expected {
        alarm: "mfa-bypass-attempts",
        within: 2,
        also: &[],
        tells: "page-attack",
        lasts: 1,
        clears_within: 17,
    };
    let mut drill = Drill::start().await?;
    let mut accounts = Vec::new();
    for _ in 0..10 {
        accounts.push(drill.world.backend.account_with_totp().await?);
    }
    let (owners, victims) = accounts.split_at(5);
    // As many codes, and fewer than half of them wrong: people mistype, and nobody is told.
    let mistyped = async |world: &World| {
        for owner in owners {
            wrong_codes(world, owner, 2).await?;
            for code in owner.recovery_codes.iter().take(3) {
                world.backend.actor().begin_log_in(owner).await?.verify_with_recovery_code(code).await?;
            }
        }
        Ok(())
    };
    drill.minutes(1, mistyped).await?;
    let traffic = async |world: &World| {
        for victim in victims {
            wrong_codes(world, victim, 4).await?;
        }
        Ok(())
    };
    drill.play(expected, nothing, traffic, nothing, ordinary).await
}

/// Wrong codes after a right password, none of which locks the factor.
async fn wrong_codes(world: &World, victim: &Account, count: usize) -> Result<()> {
    let pending = world.backend.actor().begin_log_in(victim).await?;
    for _ in 0..count {
        let wrong = victim.factor().wrong_code_at(world.backend.now());
        pending.try_verify(&victim.factor().id, &wrong).await?.expect(401)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_dozen_accounts_that_lock_at_once_are_a_warning() -> Result<()> {
    let traffic = async |world: &World| {
        for number in 0..12 {
            world.lock(&format!("target{number}@example.com")).await?;
        }
        Ok(())
    };
    let expected = Expected { lasts: 1, ..Expected::alone("lockouts-rising", 2) };
    Drill::start().await?.play(expected, nothing, traffic, nothing, ordinary).await
}

#[tokio::test]
async fn an_address_that_is_held_off_again_and_again_is_a_warning() -> Result<()> {
    let traffic = async |world: &World| {
        let attacker = world.backend.actor();
        let mut refused = 0;
        // The window of an address begins when it begins: two of them may be open in this minute.
        for number in 0..80 {
            let answer = attacker.try_log_in(&format!("any{number}@example.com"), "Summer2026!").await?;
            refused += usize::from(answer.status == 429);
        }
        anyhow::ensure!(refused > 50, "{refused} were refused");
        Ok(())
    };
    let expected = Expected { lasts: 1, ..Expected::alone("limiter-triggers", 2) };
    let drill = Drill::with(&[("SALLYPORT_ADDRESS_LIMIT", "12")], &[]).await?;
    drill.play(expected, nothing, traffic, nothing, ordinary).await
}

#[tokio::test]
async fn refresh_tokens_that_come_twice_are_a_warning() -> Result<()> {
    let mut drill = Drill::start().await?;
    let mut stolen = Vec::new();
    for _ in 0..3 {
        let mut session = drill.world.session().await?;
        stolen.push(session.clone());
        session.refresh().await?;
    }
    // Past the grace in which a token may come twice.
    drill.minutes(1, ordinary).await?;
    let traffic = async |world: &World| {
        for session in &stolen {
            let thief = world.backend.actor();
            thief.try_refresh(&session.refresh_token).await?.expect(401)?;
        }
        Ok(())
    };
    let expected = Expected { lasts: 1, ..Expected::alone("refresh-token-reuse", 2) };
    drill.play(expected, nothing, traffic, nothing, ordinary).await
}

#[tokio::test]
async fn forged_tokens_are_noted() -> Result<()> {
    let drill = Drill::start().await?;
    let account = drill.world.backend.account_with_totp().await?;
    let traffic = async |world: &World| world.forge(&account, 12).await;
    let expected = Expected { lasts: 1, clears_within: 16, ..Expected::alone("suspicious-activity", 2) };
    drill.play(expected, nothing, traffic, nothing, async |world: &World| world.live(5).await).await
}

/// A password is guessed at again by whoever holds an access token: the same secret, and the same alarm.
#[tokio::test]
async fn wrong_passwords_at_reauthentication_are_the_same_attack() -> Result<()> {
    let expected = Expected {
        alarm: "failure-spike",
        within: 3,
        also: &["low-success-rate", "degraded-performance"],
        tells: "page-attack",
        lasts: 3,
        clears_within: 7,
    };
    let traffic = async |world: &World| {
        for _ in 0..12 {
            let session = world.session().await?;
            // One more would lock.
            for _ in 0..4 {
                session.try_reauthenticate(&json!({"password": "not it"})).await?.expect(401)?;
            }
        }
        Ok(())
    };
    let drill = Drill::with(&[], &[("FailuresPerMinute", "40")]).await?;
    drill.play(expected, nothing, traffic, nothing, ordinary).await
}

#[tokio::test]
async fn a_dozen_accounts_that_lock_at_reauthentication_are_the_same_warning() -> Result<()> {
    let traffic = async |world: &World| {
        for _ in 0..12 {
            let session = world.session().await?;
            for _ in 0..5 {
                session.try_reauthenticate(&json!({"password": "not it"})).await?.expect(401)?;
            }
        }
        Ok(())
    };
    let expected = Expected { lasts: 1, ..Expected::alone("lockouts-rising", 2) };
    Drill::start().await?.play(expected, nothing, traffic, nothing, ordinary).await
}

/// Codes are asked for by three routes; whoever guesses at one of the others is seen as at the sign-in.
async fn guess_codes<F>(prepare: F) -> Result<()>
where
    F: AsyncFn(&World, &mut Account) -> Result<(Session, String, Door)>,
{
    let expected = Expected {
        alarm: "mfa-bypass-attempts",
        within: 2,
        also: &[],
        tells: "page-attack",
        lasts: 1,
        clears_within: 17,
    };
    let drill = Drill::start().await?;
    let mut doors = Vec::new();
    for _ in 0..3 {
        let mut victim = drill.world.backend.account().await?;
        doors.push(prepare(&drill.world, &mut victim).await?);
    }
    let traffic = async |world: &World| {
        for (session, secret, door) in &doors {
            let wrong = Factor::new("", secret).wrong_code_at(world.backend.now());
            for _ in 0..5 {
                let answer = match door {
                    Door::Reauthenticate(factor) => {
                        session.try_reauthenticate(&json!({"factor_id": factor, "code": wrong})).await?
                    }
                    Door::Confirm(factor) => session.try_confirm(factor, &wrong).await?,
                };
                answer.expect(401)?;
            }
        }
        Ok(())
    };
    drill.play(expected, nothing, traffic, nothing, ordinary).await
}

enum Door {
    Reauthenticate(String),
    Confirm(String),
}

#[tokio::test]
async fn factors_that_lock_at_reauthentication_are_the_same_attack() -> Result<()> {
    guess_codes(async |world: &World, victim: &mut Account| {
        let session = world.backend.actor().log_in(victim).await?;
        session.add_totp(&world.backend, victim).await?;
        let factor = victim.factor().clone();
        Ok((session, factor.secret, Door::Reauthenticate(factor.id)))
    })
    .await
}

#[tokio::test]
async fn factors_that_lock_at_their_first_code_are_the_same_attack() -> Result<()> {
    guess_codes(async |world: &World, victim: &mut Account| {
        let session = world.backend.actor().log_in(victim).await?;
        let enrolment = session.enrol_totp("Phone").await?;
        Ok((session, enrolment.factor.secret.clone(), Door::Confirm(enrolment.factor.id)))
    })
    .await
}
