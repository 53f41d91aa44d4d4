//! What the platform refuses, cuts off and does not understand.

use anyhow::{Result, ensure};
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

/// Children of the composite that warns.
const fn degrading(alarm: &'static str) -> Expected {
    Expected { alarm, within: 3, also: &[], tells: "degraded-performance", lasts: 6, clears_within: 6 }
}

#[tokio::test]
async fn calls_that_lambda_refuses_are_a_warning() -> Result<()> {
    let traffic = async |world: &World| {
        world.backend.function_fault(json!({"kind": "throttle", "function": "keys", "count": 2})).await?;
        let answers = world.get("/.well-known/jwks.json", 40, 1).await?;
        ensure!(answers.iter().filter(|answer| answer.status == 500).count() == 2, "{answers:?}");
        Ok(())
    };
    Drill::start().await?.play(degrading("function-throttles"), nothing, traffic, heal, ordinary).await
}

#[tokio::test]
async fn calls_that_are_cut_off_are_a_warning() -> Result<()> {
    let traffic = async |world: &World| {
        world.backend.function_fault(json!({"kind": "timeout", "function": "keys", "count": 1})).await?;
        let answers = world.get("/.well-known/jwks.json", 40, 1).await?;
        ensure!(answers.iter().filter(|answer| answer.status == 502).count() == 1, "{answers:?}");
        Ok(())
    };
    Drill::start().await?.play(degrading("function-timeouts"), nothing, traffic, heal, ordinary).await
}

/// The functions repeat what was refused, and succeed: nobody but the alarm notices.
#[tokio::test]
async fn writes_that_dynamodb_refuses_are_a_warning() -> Result<()> {
    refresh_against(
        json!({"kind": "throttle", "table": "sessions", "operation": "UpdateItem", "count": 1}),
        "database-throttles",
    )
    .await
}

#[tokio::test]
async fn failures_of_dynamodb_are_a_warning() -> Result<()> {
    refresh_against(
        json!({"kind": "error_500", "table": "sessions", "operation": "UpdateItem", "count": 1}),
        "database-system-errors",
    )
    .await
}

async fn refresh_against(fault: serde_json::Value, alarm: &'static str) -> Result<()> {
    let drill = Drill::start().await?;
    let traffic = async |world: &World| {
        let mut session = world.session().await?;
        for _ in 0..4 {
            world.backend.fault(fault.clone()).await?;
            session.refresh().await?;
        }
        Ok(())
    };
    drill.play(degrading(alarm), nothing, traffic, heal, ordinary).await
}

#[tokio::test]
async fn a_hundred_calls_at_once_are_a_warning() -> Result<()> {
    let break_it = async |world: &World| {
        world.backend.fault(json!({"kind": "slow", "delay_ms": 1500, "function": "mfa"})).await
    };
    // The functions would give up sooner on a call that takes so long.
    let drill = Drill::with(&[("SALLYPORT_CALL_TIMEOUT_MS", "20000")], &[]).await?;
    let traffic = async |world: &World| {
        let session = world.session().await?;
        for answer in try_join_all((0..130).map(|_| session.list_factors())).await? {
            answer.expect(200)?;
        }
        Ok(())
    };
    drill.play(Expected::alone("concurrency-high", 3), break_it, traffic, heal, ordinary).await
}

/// The alarms' own eyes.
#[tokio::test]
async fn metrics_that_cloudwatch_cannot_read_are_a_warning() -> Result<()> {
    let break_it = async |world: &World| {
        world.backend.function_fault(json!({"kind": "garble", "function": "login"})).await
    };
    // CloudWatch counts nothing while nothing is refused, and holds on to what it counted as long as it looks back.
    let expected = Expected { clears_within: 17, ..Expected::alone("telemetry-broken", 2) };
    Drill::start().await?.play(expected, break_it, ordinary, heal, ordinary).await
}
