//! What the schedules of the template do in the cloud: each hands its event to its function at once, and again after its time.

use std::{sync::Arc, time::Duration};

use sallyport_alarms::{Schedule, schedules};
use sallyport_core::clock::{Clock as _, Timestamp};

use crate::{clock::ShiftingClock, console::Console, stop::Stop};

const TEMPLATE: &str = include_str!("../../template.yaml");

/// Between two looks at the clock, which may be put forward.
const LOOK: Duration = Duration::from_secs(1);

/// The schedules of `template.yaml`.
///
/// # Errors
/// When the template cannot be read.
pub(crate) fn of_the_stack() -> anyhow::Result<Vec<Schedule>> {
    Ok(schedules(TEMPLATE)?)
}

/// Plays one until it is stopped. Time that was skipped is not made up for.
pub(crate) async fn keep_playing(
    schedule: Schedule,
    console: Arc<Console>,
    clock: Arc<ShiftingClock>,
    stop: Stop,
) {
    let every = Duration::from_secs(schedule.every);
    let mut due = Timestamp::from_seconds(0);
    loop {
        if clock.now() >= due {
            // What fails has said so, and comes again at its time.
            drop(console.hand(&schedule.function, schedule.input.clone()).await);
            due = clock.now() + every;
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = stop.requested() => return,
        }
    }
}
