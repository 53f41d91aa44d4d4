//! Signing in is slow, or fails for some.

use anyhow::Result;
use futures_util::future::try_join_all;
use serde_json::json;

use crate::{
    drill::{Drill, Expected},
    world::World,
};

async fn heal(world: &World) -> Result<()> {
    world.backend.heal().await
}

async fn nothing(_: &World) -> Result<()> {
    Ok(())
}

async fn ordinary(world: &World) -> Result<()> {
    world.ordinary().await
}

/// A composite that waits for availability to page, and tells when it does not.
const DEGRADED: &str = "degraded-performance";

#[tokio::test]
async fn three_failures_in_a_hundred_are_a_warning() -> Result<()> {
    let expected = Expected {
        alarm: "elevated-error-rate",
        within: 4,
        also: &[],
        tells: DEGRADED,
        lasts: 7,
        clears_within: 6,
    };
    let break_it = async |world: &World| {
        world.backend.fault(json!({"kind": "refuse", "function": "refresh", "table": "sessions"})).await
    };
    let drill = Drill::start().await?;
    let session = drill.world.session().await?;
    let traffic = async |world: &World| {
        for _ in 0..2 {
            session.try_refresh().await?.expect(503)?;
        }
        world.live(60).await
    };
    drill.play(expected, break_it, traffic, heal, ordinary).await
}

#[tokio::test]
async fn a_slow_database_is_noticed_by_the_slowest_twentieth() -> Result<()> {
    let expected = Expected {
        alarm: "slow-responses",
        within: 11,
        also: &[],
        tells: DEGRADED,
        lasts: 14,
        clears_within: 14,
    };
    let break_it = async |world: &World| {
        world.backend.fault(json!({"kind": "slow", "delay_ms": 250, "function": "mfa"})).await
    };
    // A percentile of fewer than 200 requests in five minutes would say nothing.
    let traffic = async |world: &World| {
        let session = world.session().await?;
        for answer in try_join_all((0..48).map(|_| session.list_factors())).await? {
            answer.expect(200)?;
        }
        Ok(())
    };
    // 150 ms: what a busy machine adds to an answer in memory is less, what the fault adds is more.
    let mut drill = Drill::with(&[], &[("SlowResponseMs", "150")]).await?;
    drill.minutes(5, async |world: &World| world.live(48).await).await?;
    drill.play(expected, break_it, traffic, heal, async |world: &World| world.live(48).await).await
}

/// Four in ten mistype, on a day on which one in five does. That one in six does, as it did all the time before, is no
/// alarm.
#[tokio::test]
async fn right_passwords_that_are_refused_are_noticed_beyond_those_that_are_mistyped() -> Result<()> {
    let expected = Expected {
        alarm: "low-success-rate",
        within: 4,
        also: &[],
        tells: DEGRADED,
        lasts: 7,
        clears_within: 7,
    };
    let day = async |world: &World, wrong: usize| {
        let caller = world.backend.actor();
        let minute = world.backend.now();
        for number in 0..wrong {
            caller
                .try_log_in(&format!("known{minute}-{number}@example.com"), "Was right")
                .await?
                .expect(401)?;
        }
        for _ in wrong..25 {
            caller.log_in(&world.account).await?;
        }
        Ok(())
    };
    let mut drill = Drill::start().await?;
    drill.minutes(6, async |world: &World| day(world, 5).await).await?;
    drill.ensure_quiet()?;
    let bad = async |world: &World| day(world, 10).await;
    let good = async |world: &World| day(world, 4).await;
    drill.play(expected, nothing, bad, nothing, good).await
}

/// The copies in the functions serve on while the keyring cannot be fetched; that each of them keeps trying is seen.
#[tokio::test]
async fn a_keyring_that_cannot_be_fetched_is_seen_before_anybody_is_refused() -> Result<()> {
    let expected = Expected {
        alarm: "low-cache-hit-ratio",
        within: 4,
        also: &[],
        tells: DEGRADED,
        lasts: 7,
        clears_within: 7,
    };
    // A drill of six hundred look-ups a minute would take minutes of real time: twenty tell the same.
    let mut drill = Drill::with(&[], &[("MinimumLookups", "20")]).await?;
    let hits = async |world: &World| world.get("/.well-known/jwks.json", 30, 4).await.map(drop);
    drill.minutes(1, hits).await?;
    // Not the keys function, which the health function asks: that it sees the keyring gone is service-down's drill.
    let break_it = async |world: &World| {
        for function in ["login", "refresh", "mfa"] {
            world.backend.keyring_fault(json!({"kind": "refuse", "function": function})).await?;
        }
        Ok(())
    };
    let traffic = async |world: &World| {
        // Every look-up after a failed one of five seconds ago tries again.
        for _ in 0..8 {
            world.actor.get("/.well-known/jwks.json").await?.expect(200)?;
            world.actor.try_refresh("spr_AAAA").await?.expect(401)?;
            world.actor.try_log_in("nobody@example.com", "x").await?;
            world.actor.ask("GET", "/api/v1/mfa/factors").bearer("x").send().await?.expect(401)?;
            world.backend.advance(6).await?;
        }
        Ok(())
    };
    // Older than the functions keep it without asking.
    drill.minutes(5, hits).await?;
    drill.play(expected, break_it, traffic, heal, hits).await
}
