//! People cannot sign in: who notices, and how often.

use anyhow::Result;
use serde_json::json;

use crate::{
    drill::{Drill, Expected},
    world::World,
};

async fn heal(world: &World) -> Result<()> {
    world.backend.heal().await
}

async fn ordinary(world: &World) -> Result<()> {
    world.ordinary().await
}

async fn nobody(_: &World) -> Result<()> {
    Ok(())
}

#[tokio::test]
async fn a_database_that_the_probe_cannot_reach_is_a_service_that_is_down() -> Result<()> {
    let expected = Expected {
        alarm: "service-down",
        within: 3,
        also: &["page-availability"],
        tells: "page-availability",
        lasts: 4,
        clears_within: 4,
    };
    let fault = json!({"kind": "refuse", "function": "health"});
    let break_it = async |world: &World| world.backend.fault(fault.clone()).await;
    Drill::start().await?.play(expected, break_it, nobody, heal, ordinary).await
}

/// Two deployments of one stage in one account. One is down: half of the account's probes are well all the same.
#[tokio::test]
async fn a_deployment_that_is_down_beside_one_that_is_up_pages() -> Result<()> {
    let expected = Expected {
        alarm: "service-down",
        within: 3,
        also: &["page-availability"],
        tells: "page-availability",
        lasts: 4,
        clears_within: 4,
    };
    let fault = json!({"kind": "refuse", "function": "health"});
    let break_it = async |world: &World| world.backend.fault(fault.clone()).await;
    Drill::start().await?.beside_another().await?.play(expected, break_it, nobody, heal, ordinary).await
}

#[tokio::test]
async fn a_deployment_rings_nothing_when_another_of_its_stage_is_down_and_attacked() -> Result<()> {
    let mut drill = Drill::with(&[], &[("FailuresPerMinute", "60")]).await?.beside_another().await?;
    let other = drill.neighbour()?;
    other.backend.fault(json!({"kind": "refuse", "function": "health"})).await?;
    for _ in 0..4 {
        drill.neighbour()?.stuff(90).await?;
        drill.minutes(1, nobody).await?;
    }
    let failures = drill.measured("login_failures", "sallyport-neighbour");
    anyhow::ensure!(failures >= 360.0, "the attack on the other was not measured: {failures}");
    drill.ensure_quiet()?;
    let told = drill.evaluator().notifications();
    anyhow::ensure!(told.is_empty(), "{told:?}");
    Ok(())
}

/// Whatever stops the probe itself: its rule was switched off, the function cannot start, the account is suspended.
#[tokio::test]
async fn a_probe_that_falls_silent_is_a_service_that_is_down() -> Result<()> {
    let expected = Expected {
        alarm: "service-down",
        within: 4,
        also: &["page-availability"],
        tells: "page-availability",
        lasts: 5,
        clears_within: 4,
    };
    let mut drill = Drill::start().await?;
    drill.silence("health");
    drill.play(expected, nobody, nobody, nobody, ordinary).await
}

/// One cause, six alarms, one page.
#[tokio::test]
async fn a_table_that_is_gone_pages_once() -> Result<()> {
    let expected = Expected {
        alarm: "high-error-rate",
        within: 3,
        also: &[
            "service-down",
            "api-server-errors",
            "elevated-error-rate",
            "low-success-rate",
            "degraded-performance",
        ],
        tells: "page-availability",
        lasts: 6,
        clears_within: 8,
    };
    let break_it =
        async |world: &World| world.backend.fault(json!({"kind": "refuse", "table": "throttle"})).await;
    let traffic = async |world: &World| {
        let attempts = (0..24).map(|_| world.actor.try_log_in(&world.account.email, &world.account.password));
        for answer in futures_util::future::try_join_all(attempts).await? {
            answer.expect(503)?;
        }
        Ok(())
    };
    let afterwards = async |world: &World| {
        for _ in 0..25 {
            world.actor.log_in(&world.account).await?;
        }
        Ok(())
    };
    Drill::start().await?.play(expected, break_it, traffic, heal, afterwards).await
}

/// What no function can count itself: Lambda refuses the calls, API Gateway answers 500.
#[tokio::test]
async fn calls_that_never_reach_their_function_are_errors_of_the_api() -> Result<()> {
    let expected = Expected {
        alarm: "api-server-errors",
        within: 3,
        also: &["function-throttles", "degraded-performance"],
        tells: "page-availability",
        lasts: 6,
        clears_within: 8,
    };
    let break_it = async |world: &World| {
        world.backend.function_fault(json!({"kind": "throttle", "function": "refresh"})).await
    };
    let traffic = async |world: &World| {
        for _ in 0..20 {
            world.actor.try_refresh("spr_AAAA").await?.expect(500)?;
        }
        world.live(10).await
    };
    Drill::start().await?.play(expected, break_it, traffic, heal, ordinary).await
}

/// What API Gateway answers itself for a function that is broken counts as a fault, and not as a caller's error.
#[tokio::test]
async fn calls_that_crash_or_run_out_of_time_are_errors_of_the_api() -> Result<()> {
    let hangs = &["function-errors", "function-timeouts", "degraded-performance"][..];
    for (kind, also, status) in [("crash", &["function-errors"][..], 502), ("timeout", hangs, 502)] {
        let expected = Expected {
            alarm: "api-server-errors",
            within: 3,
            also,
            tells: "page-availability",
            lasts: 6,
            clears_within: 8,
        };
        let break_it = async |world: &World| {
            world.backend.function_fault(json!({"kind": kind, "function": "refresh"})).await
        };
        let traffic = async |world: &World| {
            for _ in 0..20 {
                world.actor.try_refresh("spr_AAAA").await?.expect(status)?;
            }
            world.live(10).await
        };
        Drill::start().await?.play(expected, break_it, traffic, heal, ordinary).await?;
    }
    Ok(())
}

/// API Gateway counts its 503 as errors.
#[tokio::test]
async fn a_maintenance_window_tells_nobody() -> Result<()> {
    let mut drill = Drill::start().await?;
    drill.world.backend.set_mode("maintenance", 3600).await?;
    drill.world.backend.advance(10).await?;
    let refused = async |world: &World| {
        for _ in 0..25 {
            world.actor.try_refresh("spr_AAAA").await?.expect(503)?;
        }
        Ok(())
    };
    drill.minutes(6, refused).await?;
    let told = drill.evaluator().notifications();
    anyhow::ensure!(told.is_empty(), "{told:?}");
    Ok(())
}

/// Too few for a rate, and still a release that is broken.
#[tokio::test]
async fn a_function_that_crashes_pages_although_most_requests_succeed() -> Result<()> {
    let expected = Expected {
        alarm: "function-errors",
        within: 3,
        also: &[],
        tells: "page-availability",
        lasts: 3,
        clears_within: 5,
    };
    let break_it = async |world: &World| {
        world.backend.function_fault(json!({"kind": "crash", "function": "refresh"})).await
    };
    let traffic = async |world: &World| {
        for _ in 0..4 {
            world.actor.try_refresh("spr_AAAA").await?.expect(502)?;
        }
        world.live(60).await
    };
    Drill::start().await?.play(expected, break_it, traffic, heal, ordinary).await
}
