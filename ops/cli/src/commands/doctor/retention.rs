//! How long the log is kept: longer than people were promised, or too short to look back.

use sallyport_operations::retention::kept_otherwise;

use super::{Check, cloud::ELSEWHERE};
use crate::{cli::Target, deployment::Deployment, failure::Failure, logs::of_stack};

const NAME: &str = "log retention";

pub(super) async fn check(deployment: &Deployment, target: &Target) -> Vec<Check> {
    match &target.stack {
        None => vec![Check::skipped(NAME, ELSEWHERE)],
        Some(stack) => {
            groups(deployment, stack).await.unwrap_or_else(|failure| vec![Check::unanswered(NAME, &failure)])
        }
    }
}

async fn groups(deployment: &Deployment, stack: &str) -> Result<Vec<Check>, Failure> {
    let Some(days) = deployment.settings.log_retention_days()? else {
        return Ok(vec![Check::skipped(NAME, "the stack does not say for how long")]);
    };
    let groups = of_stack(&deployment.connection, stack).await?;
    let otherwise = kept_otherwise(&groups, days).map(|group| {
        let put = format!(
            "aws logs put-retention-policy --log-group-name {} --retention-in-days {days}",
            group.name
        );
        // What is beyond them goes at once, and may be evidence.
        let longer = group.days.is_none_or(|kept| kept > days);
        let fix = if longer { format!("unless an investigation needs the lines: {put}") } else { put };
        Check::warning(NAME, group.instead_of(days), fix)
    });
    let mut checks: Vec<_> = otherwise.collect();
    if checks.is_empty() {
        checks.push(Check::ok(NAME, format!("{days} days")));
    }
    Ok(checks)
}
