//! What nobody notices until it is needed: keys that grow old, backups that are off, topics that nobody hears.

use std::cell::Cell;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::{
    drill::{Drill, Expected},
    page,
    world::World,
};

const HOUR: u64 = 60;

async fn nothing(_: &World) -> Result<()> {
    Ok(())
}

async fn heal(world: &World) -> Result<()> {
    world.backend.heal().await
}

/// What is looked at once an hour is noticed within the hour.
const fn hourly(alarm: &'static str) -> Expected {
    Expected { lasts: HOUR + 1, clears_within: HOUR + 1, ..Expected::alone(alarm, HOUR + 1) }
}

#[tokio::test]
async fn a_rotation_that_fails_is_a_warning() -> Result<()> {
    // It stays for an hour, and as long beyond it as CloudWatch looks back.
    let expected = Expected { clears_within: HOUR + 15, lasts: 1, ..Expected::alone("rotation-failed", 2) };
    let failed = Cell::new(Value::Null);
    let break_it = async |world: &World| {
        world.backend.keyring_fault(json!({"kind": "refuse", "function": "rotation"})).await?;
        failed.set(world.backend.console("POST", "rotate", None).await?.expect(500)?.json());
        Ok(())
    };
    let mend_it = async |world: &World| {
        heal(world).await?;
        // Secrets Manager repeats what failed, under the same token.
        let again = json!({"token": failed.take()["token"]});
        world.backend.console("POST", "rotate", Some(again)).await?.expect(200).map(drop)
    };
    Drill::start().await?.play(expected, break_it, nothing, mend_it, nothing).await
}

#[tokio::test]
async fn a_table_whose_recovery_was_switched_off_is_a_warning() -> Result<()> {
    async fn switch(world: &World, on: bool) -> Result<()> {
        let request = json!({
            "TableName": "sallyport-local-users",
            "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": on},
        });
        world.backend.write_past_everything("UpdateContinuousBackups", &request).await.map(drop)
    }
    let off = async |world: &World| switch(world, false).await;
    let on = async |world: &World| switch(world, true).await;
    Drill::start().await?.play(hourly("recovery-off"), off, nothing, on, nothing).await
}

#[tokio::test]
async fn a_topic_that_lost_its_last_listener_is_a_warning() -> Result<()> {
    async fn subscription(world: &World, form: &str) -> Result<()> {
        let topic = "arn:aws:sns:us-east-1:000000000000:sallyport-local-critical";
        let answer = reqwest::Client::new()
            .post(world.backend.dynamodb_url())
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("Version=2010-03-31&{}", form.replace("TOPIC", topic)))
            .send()
            .await?;
        ensure!(answer.status().is_success(), "{answer:?}");
        Ok(())
    }
    let leave = async |world: &World| subscription(world, "Action=Unsubscribe&SubscriptionArn=TOPIC:1").await;
    let come = async |world: &World| {
        subscription(world, "Action=Subscribe&TopicArn=TOPIC&Protocol=email&Endpoint=ops@example.com").await
    };
    Drill::start().await?.play(hourly("alarm-topic-unheard"), leave, nothing, come, nothing).await
}

/// A task is not a request: nobody is paged as if people were kept out, and no canary is rolled back.
#[tokio::test]
async fn tasks_that_fail_again_and_again_are_a_warning_and_no_outage() -> Result<()> {
    // Every five minutes, and the last failure counts for an hour.
    let expected = Expected { lasts: 16, clears_within: HOUR + 1, ..Expected::alone("upkeep-errors", 16) };
    let fault = json!({"kind": "refuse", "function": "maintenance"});
    let break_it = async |world: &World| world.backend.fault(fault.clone()).await;
    let ordinary = async |world: &World| world.ordinary().await;
    Drill::start().await?.play(expected, break_it, ordinary, heal, nothing).await
}

/// Nobody reports on the proof any more, however young it was.
#[tokio::test]
async fn a_maintenance_that_falls_silent_is_a_warning() -> Result<()> {
    let expected = Expected {
        lasts: 4 * HOUR,
        clears_within: 2 * HOUR,
        ..Expected::alone("restore-proof-old", 3 * HOUR + 2)
    };
    let mut drill = Drill::start().await?;
    drill.silence("maintenance");
    drill.play(expected, nothing, nothing, nothing, nothing).await
}

/// The drill that proves a restore cannot make its copy, for more than a week.
#[tokio::test]
async fn a_restore_that_is_not_proven_for_a_week_is_a_warning() -> Result<()> {
    let expected = Expected {
        lasts: 5 * HOUR + 1,
        clears_within: 2 * HOUR + 2,
        // Three hours that are too old.
        ..Expected::alone("restore-proof-old", 5 * HOUR + 1)
    };
    let mut drill = Drill::start().await?;
    let fault = json!({"kind": "refuse", "function": "maintenance", "operation": "CreateTable"});
    drill.world.backend.fault(fault).await?;
    drill.leap(192 - 6).await?;
    // The function cannot do it still; who follows the page can.
    drill.mitigate(expected, &[], nothing, nothing).await
}

/// Rotation publishes a key, and signs with it once everybody has had time to fetch it.
#[tokio::test]
async fn a_key_that_grew_old_is_noted_until_it_is_rotated() -> Result<()> {
    let expected =
        Expected { lasts: 3 * HOUR + 1, clears_within: 5 * HOUR, ..Expected::alone("key-age", 3 * HOUR + 1) };
    let mut drill = Drill::start().await?;
    drill.leap(90 * 24 - 7).await?;
    let minutes = Cell::new(0);
    let rotation = async |world: &World| {
        let minute = minutes.replace(minutes.get() + 1);
        // As its page has it: once to publish the key, and once to sign with it.
        if minute == 0 || minute == 3 * HOUR { page::mitigate(world, "key-age", &[]).await } else { Ok(()) }
    };
    drill.play(expected, nothing, nothing, nothing, rotation).await
}
