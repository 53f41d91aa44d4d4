//! What an account has and a deployment would run into half-way: quotas, lengths of names, what is left of a stack of that name,
//! the gateway's role, a second stack of the stage, aliases that point elsewhere than the stack's record says.

use std::collections::BTreeMap;

use aws_sdk_cloudformation::types::Stack;

use super::aliases::{Running, Shifting, moved};
use crate::{aws_fault, commands::check::Check, deployment::Connection, failure::Failure, output::count};

/// A function's name has 64 characters, and the longest is the stack's with `-maintenance`.
const LONGEST_STACK: usize = 52;
/// With `CodeDeployHook_` before and `-smoke` behind it.
const LONGEST_GRADUAL: usize = 43;
/// What Lambda leaves to functions without a reservation.
const UNRESERVED: i64 = 100;
/// Fewer at once and a handful of sign-ins are all that there is.
const FEW: i64 = 100;

const RESERVATIONS: [&str; 5] = [
    "LoginReservedConcurrency",
    "RefreshReservedConcurrency",
    "MfaReservedConcurrency",
    "KeysReservedConcurrency",
    "HealthReservedConcurrency",
];

/// Parameters that the coming deployment has, as far as they are known.
pub(super) type Parameters = BTreeMap<String, String>;

/// Of the stack as it is, and over them what was said.
pub(super) fn parameters(stack: Option<&Stack>, said: &[(String, String)]) -> Parameters {
    let deployed = stack.map(Stack::parameters).unwrap_or_default().iter();
    let deployed = deployed.filter_map(|parameter| {
        Some((parameter.parameter_key()?.to_owned(), parameter.parameter_value()?.to_owned()))
    });
    deployed.chain(said.iter().cloned()).collect()
}

/// `Name=value`, as `sam deploy --parameter-overrides` takes it.
pub(super) fn parameter(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write Name=value"),
    }
}

/// The checks of a stack that is there.
pub(super) async fn examine(connection: &Connection, stack: &str, parameters: &Parameters) -> Vec<Check> {
    let mut checks = vec![names(stack)];
    checks.extend(of_account(connection, stack, parameters, false).await);
    checks.push(match aliases(connection, stack).await {
        Ok(check) => check,
        Err(failure) => Check::unanswered("aliases", &failure),
    });
    checks
}

/// The checks of one that is to be.
pub(super) async fn examine_new(connection: &Connection, stack: &str, parameters: &Parameters) -> Vec<Check> {
    let mut checks = vec![names(stack)];
    checks.extend(of_account(connection, stack, parameters, true).await);
    checks.push(match left(connection, stack).await {
        Ok(left) => left_over(stack, &left),
        Err(failure) => Check::unanswered("left-overs", &failure),
    });
    checks
}

async fn of_account(
    connection: &Connection,
    stack: &str,
    parameters: &Parameters,
    is_new: bool,
) -> Vec<Check> {
    let mut checks = Vec::new();
    let asked = connection.lambda.get_account_settings().send().await;
    checks.extend(match asked {
        Ok(answer) => {
            let limit = answer.account_limit().map(|limit| i64::from(limit.concurrent_executions()));
            concurrency(limit.unwrap_or_default(), parameters)
        }
        Err(error) => {
            let failure = aws_fault::from_sdk("read the account's limits", &error);
            vec![Check::unanswered("concurrency", &failure)]
        }
    });
    let asked = connection.apigateway.get_account().send().await;
    checks.push(match asked {
        Ok(answer) => gateway_role(answer.cloudwatch_role_arn(), stack, parameters),
        Err(error) => {
            let failure = aws_fault::from_sdk("read the gateway's settings", &error);
            Check::unanswered("gateway role", &failure)
        }
    });
    checks.push(match stacks(connection).await {
        Ok(stacks) => neighbours(stack, &stacks, parameters, is_new),
        Err(failure) => Check::unanswered("stages", &failure),
    });
    checks
}

fn names(stack: &str) -> Check {
    const NAME: &str = "names";
    let length = stack.chars().count();
    let fix = "take a shorter stack_name";
    if length > LONGEST_STACK {
        let what = format!(
            "{stack} has {length} characters, {LONGEST_STACK} are the most: {stack}-maintenance is no name of a function"
        );
        Check::fault(NAME, what, fix)
    } else if length > LONGEST_GRADUAL {
        let what = format!(
            "{stack} has {length} characters, {LONGEST_GRADUAL} are the most for gradual deployments: CodeDeployHook_{stack}-smoke is no name of a function"
        );
        Check::warning(NAME, what, fix)
    } else {
        Check::ok(NAME, format!("{length} characters, of {LONGEST_GRADUAL}"))
    }
}

fn number(parameters: &Parameters, name: &str) -> Option<i64> {
    parameters.get(name).and_then(|value| value.parse().ok())
}

fn concurrency(limit: i64, parameters: &Parameters) -> Vec<Check> {
    const NAME: &str = "concurrency";
    const MORE: &str = "aws service-quotas request-service-quota-increase --service-code lambda --quota-code L-B99A9384 --desired-value 1000";
    let mut checks = vec![if limit < FEW {
        let what = format!(
            "the account runs {limit} functions at once, all of them together: so many sign-ins, and no health probe"
        );
        Check::warning(NAME, what, MORE)
    } else {
        Check::ok(NAME, format!("the account runs {limit} functions at once"))
    }];
    let reserved: i64 = RESERVATIONS.iter().filter_map(|name| number(parameters, name)).sum();
    checks.push(if reserved == 0 {
        Check::ok("reserved concurrency", "none is asked for")
    } else if limit - reserved < UNRESERVED {
        let what = format!(
            "{reserved} are asked for, and of {limit} at least {UNRESERVED} must stay unreserved: Lambda would refuse them"
        );
        Check::fault("reserved concurrency", what, format!("deploy with {}=0, …; or {MORE}", RESERVATIONS[0]))
    } else {
        Check::ok("reserved concurrency", format!("{reserved} of {limit}, {} stay", limit - reserved))
    });
    if let Some(threshold) = number(parameters, "ConcurrencyLimit").filter(|threshold| *threshold >= limit) {
        let what =
            format!("ConcurrencyLimit is {threshold}, the account's limit {limit}: the alarm never fires");
        let fix = format!("deploy with ConcurrencyLimit={}", (limit * 4 / 5).max(1));
        checks.push(Check::warning("concurrency alarm", what, fix));
    }
    checks
}

/// The gateway writes logs with one role an account and region.
fn gateway_role(role: Option<&str>, stack: &str, parameters: &Parameters) -> Check {
    const NAME: &str = "gateway role";
    let role = role.filter(|role| !role.is_empty());
    let setting = parameters.get("ApiLoggingRole").map_or("existing", String::as_str);
    let logs = parameters.get("ApiAccessLogs").map(String::as_str);
    match (role, setting) {
        (Some(role), "create") if !role.contains(&format!("role/{stack}-")) => Check::warning(
            NAME,
            format!("the account has one, {role}, and this deployment would put its own in its place"),
            "deploy with ApiLoggingRole=existing",
        ),
        (Some(_), _) => Check::ok(NAME, "the account has one"),
        (None, "create") => Check::ok(NAME, "the account has none, and this deployment makes it"),
        // Of a stack that is to be, nobody has said it: the stage's entry in samconfig.toml will.
        (None, _) if logs.is_none() => Check::warning(
            NAME,
            "the account has none, and access logs would need it",
            "deploy with ApiAccessLogs=off, as dev does, or with ApiLoggingRole=create, once in an account and region",
        ),
        (None, _) if logs == Some("on") => Check::fault(
            NAME,
            "the account has none, and the gateway would refuse to write access logs",
            "deploy with ApiLoggingRole=create, once in an account and region",
        ),
        (None, _) => Check::ok(NAME, "the account has none, and no access logs are asked for"),
    }
}

/// Sallyport stacks of this account and region: name and stage.
async fn stacks(connection: &Connection) -> Result<Vec<(String, String)>, Failure> {
    let mut found = Vec::new();
    let mut token = None;
    loop {
        let asked = connection.cloudformation.describe_stacks().set_next_token(token).send().await;
        let answer = asked.map_err(|error| aws_fault::from_sdk("describe the stacks", &error))?;
        found.extend(answer.stacks().iter().filter_map(|stack| {
            let output = |name: &str| {
                stack.outputs().iter().find(|output| output.output_key() == Some(name))?.output_value()
            };
            // A nested stack has one of the outputs, and a root.
            let is_ours = output("KeyringSecret").is_some() && stack.root_id().is_none();
            is_ours.then(|| Some((stack.stack_name()?.to_owned(), output("Stage")?.to_owned())))?
        }));
        token = answer.next_token().map(str::to_owned);
        if token.is_none() {
            return Ok(found);
        }
    }
}

fn neighbours(stack: &str, stacks: &[(String, String)], parameters: &Parameters, is_new: bool) -> Check {
    const NAME: &str = "stages";
    let stage = parameters
        .get("Stage")
        .or_else(|| stacks.iter().find(|(name, _)| name == stack).map(|(_, stage)| stage))
        .map(String::as_str);
    let others: Vec<_> = stacks
        .iter()
        .filter(|(name, of)| name != stack && stage.is_none_or(|stage| stage == of))
        .map(|(name, stage)| format!("{name} ({stage})"))
        .collect();
    match others.first() {
        Some(_) if is_new => Check::warning(
            NAME,
            format!("there is no stack {stack} yet, and it would begin empty beside {}", others.join(", ")),
            "is it the right --stack? A name that was mistyped makes a deployment of its own",
        ),
        Some(_) => Check::ok(NAME, format!("beside it: {}", others.join(", "))),
        None => Check::ok(NAME, "no other stack of this stage is here"),
    }
}

/// What a stack of this name has left behind.
#[derive(Debug, Default)]
struct Left {
    log_groups: Vec<String>,
    tables: Vec<String>,
}

async fn left(connection: &Connection, stack: &str) -> Result<Left, Failure> {
    let mut left = Left::default();
    let prefix = format!("/sallyport/{stack}/");
    let asked = connection.logs.describe_log_groups().log_group_name_prefix(prefix).send().await;
    let answer = asked.map_err(|error| aws_fault::from_sdk("list the log groups", &error))?;
    left.log_groups
        .extend(answer.log_groups().iter().filter_map(|group| group.log_group_name()).map(str::to_owned));
    let mut last = None;
    loop {
        let asked = connection.dynamodb.list_tables().set_exclusive_start_table_name(last).send().await;
        let answer = asked.map_err(|error| aws_fault::from_sdk("list the tables", &error))?;
        let of_stack = |name: &&String| name.starts_with(&format!("{stack}-Data-"));
        left.tables.extend(answer.table_names().iter().filter(of_stack).cloned());
        last = answer.last_evaluated_table_name().map(str::to_owned);
        if last.is_none() {
            return Ok(left);
        }
    }
}

fn left_over(stack: &str, left: &Left) -> Check {
    const NAME: &str = "left-overs";
    match (left.log_groups.first(), left.tables.first()) {
        (Some(first), _) => Check::fault(
            NAME,
            format!(
                "log groups of a stack {stack} that was deleted: {}: the deployment would fail",
                left.log_groups.join(", ")
            ),
            format!("aws logs delete-log-group --log-group-name {first}"),
        ),
        (None, Some(_)) => Check::warning(
            NAME,
            format!(
                "tables of a stack {stack} that was deleted: {}: the new one begins empty beside them",
                left.tables.join(", ")
            ),
            "docs/OPERATIONS.md, \"A stack that was lost\", or another stack_name",
        ),
        (None, None) => Check::ok(NAME, format!("no stack {stack} was here before")),
    }
}

/// Whether a gradual release can begin.
async fn aliases(connection: &Connection, stack: &str) -> Result<Check, Failure> {
    let shifting = Shifting::of(connection, stack).await?;
    if !shifting.has_aliases() {
        return Ok(Check::skipped(
            "aliases",
            "the stack has none: it was deployed without `sallyport deploy template`",
        ));
    }
    let running = shifting.running(connection).await?;
    let moved = if running.is_empty() { moved(connection, stack).await? } else { Vec::new() };
    let moved: Vec<_> = moved
        .iter()
        .map(|(alias, recorded)| {
            format!("{} serves {}, the record has {recorded}", alias.function, alias.version)
        })
        .collect();
    Ok(ready(stack, &running, &moved))
}

fn ready(stack: &str, running: &[Running], moved: &[String]) -> Check {
    const NAME: &str = "aliases";
    if !running.is_empty() {
        let of: Vec<_> =
            running.iter().map(|deployment| format!("{} ({})", deployment.id, deployment.group)).collect();
        let what = format!(
            "{} of CodeDeploy {}: {}",
            count(running.len(), "deployment"),
            if running.len() == 1 { "runs" } else { "run" },
            of.join(", ")
        );
        return Check::fault(NAME, what, format!("wait, or sallyport deploy rollback --stack {stack}"));
    }
    if moved.is_empty() {
        return Check::ok(NAME, "each points where the stack's record says");
    }
    let what = format!("{}: CodeDeploy would refuse a gradual release", moved.join("; "));
    Check::fault(NAME, what, format!("sallyport deploy settle --stack {stack}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::check::Outcome;

    fn given(pairs: &[(&str, &str)]) -> Parameters {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn outcomes(checks: &[Check]) -> Vec<Outcome> {
        checks.iter().map(|check| check.outcome).collect()
    }

    #[test]
    fn a_name_leaves_room_for_the_longest_function() {
        for (length, outcome) in
            [(43, Outcome::Ok), (44, Outcome::Warning), (52, Outcome::Warning), (53, Outcome::Fault)]
        {
            let check = names(&"s".repeat(length));
            assert_eq!(check.outcome, outcome, "{length}");
        }
        let longest = "s".repeat(LONGEST_STACK);
        assert_eq!(format!("{longest}-maintenance").len(), 64);
        assert_eq!(format!("CodeDeployHook_{}-smoke", "s".repeat(LONGEST_GRADUAL)).len(), 64);
        // The longest suffix of a function is the one that is reckoned with.
        let template = include_str!("../../../../../template.yaml");
        let suffixes = template.split("      FunctionName: !Sub \"${AWS::StackName}").skip(1);
        let longest = suffixes.filter_map(|rest| rest.split('"').next()).map(str::len).max();
        assert_eq!(longest, Some("-maintenance".len()));
    }

    #[test]
    fn a_quota_is_looked_at_with_what_is_asked_of_it() {
        let roomy =
            concurrency(1000, &given(&[("LoginReservedConcurrency", "200"), ("ConcurrencyLimit", "800")]));
        assert_eq!(outcomes(&roomy), [Outcome::Ok, Outcome::Ok]);
        let young = concurrency(10, &given(&[("ConcurrencyLimit", "8")]));
        assert_eq!(outcomes(&young), [Outcome::Warning, Outcome::Ok]);
        let silent = concurrency(10, &given(&[("ConcurrencyLimit", "100")]));
        assert_eq!(outcomes(&silent), [Outcome::Warning, Outcome::Ok, Outcome::Warning]);
        assert_eq!(silent[2].fix.as_deref(), Some("deploy with ConcurrencyLimit=8"));
        // 100 must stay: one more is refused.
        let sum = |login: &str| {
            let parameters =
                given(&[("LoginReservedConcurrency", login), ("HealthReservedConcurrency", "400")]);
            concurrency(1000, &parameters)[1].outcome
        };
        assert_eq!([sum("500"), sum("501")], [Outcome::Ok, Outcome::Fault]);
        let template = include_str!("../../../../../template.yaml");
        for name in RESERVATIONS.into_iter().chain(["ConcurrencyLimit", "ApiLoggingRole", "ApiAccessLogs"]) {
            assert!(template.contains(&format!("\n  {name}:\n")), "{name} is no parameter");
        }
        assert_eq!(template.matches("ReservedConcurrency:\n    Type").count(), RESERVATIONS.len());
    }

    #[test]
    fn the_gateways_role_is_made_once_and_taken_from_nobody() {
        let theirs = Some("arn:aws:iam::1:role/shared-gateway");
        let ours = Some("arn:aws:iam::1:role/prod-ApiLogRole-1");
        for (role, setting, logs, outcome) in [
            (theirs, "existing", "on", Outcome::Ok),
            (theirs, "create", "on", Outcome::Warning),
            (ours, "create", "on", Outcome::Ok),
            (None, "create", "on", Outcome::Ok),
            (None, "existing", "on", Outcome::Fault),
            (Some(""), "existing", "on", Outcome::Fault),
            (None, "existing", "off", Outcome::Ok),
        ] {
            let check =
                gateway_role(role, "prod", &given(&[("ApiLoggingRole", setting), ("ApiAccessLogs", logs)]));
            assert_eq!(check.outcome, outcome, "{role:?} {setting} {logs}");
        }
        assert_eq!(gateway_role(None, "dev", &given(&[])).outcome, Outcome::Warning);
    }

    #[test]
    fn a_second_stack_of_a_stage_is_told_before_it_begins_empty() {
        let stacks = [("shop-prod", "prod"), ("shop-dev", "dev")]
            .map(|(name, stage)| (name.to_owned(), stage.to_owned()));
        let outcome =
            |stack, parameters: &Parameters, is_new| neighbours(stack, &stacks, parameters, is_new).outcome;
        assert_eq!(outcome("shop-prdo", &given(&[("Stage", "prod")]), true), Outcome::Warning);
        assert_eq!(outcome("shop-prdo", &given(&[]), true), Outcome::Warning);
        assert_eq!(outcome("shop-staging", &given(&[("Stage", "staging")]), true), Outcome::Ok);
        assert_eq!(outcome("shop-prod", &given(&[]), false), Outcome::Ok);
        assert!(neighbours("shop-prod", &stacks, &given(&[]), false).what.starts_with("no other stack"));
    }

    #[test]
    fn what_is_left_of_a_stack_is_told_before_it_is_in_the_way() {
        let some = |name: &str| vec![name.to_owned()];
        assert_eq!(left_over("prod", &Left::default()).outcome, Outcome::Ok);
        let groups = Left { log_groups: some("/sallyport/prod/login"), tables: some("prod-Data-1-users") };
        let check = left_over("prod", &groups);
        assert_eq!(
            (check.outcome, check.fix.as_deref()),
            (Outcome::Fault, Some("aws logs delete-log-group --log-group-name /sallyport/prod/login"))
        );
        let tables = Left { tables: some("prod-Data-1-users"), ..Left::default() };
        assert_eq!(left_over("prod", &tables).outcome, Outcome::Warning);
    }

    #[test]
    fn a_canary_and_an_alias_that_was_moved_are_each_in_the_way() {
        let running = [Running { id: "d-1".to_owned(), group: "g".to_owned() }];
        assert_eq!(ready("prod", &[], &[]).outcome, Outcome::Ok);
        assert_eq!(ready("prod", &running, &[]).outcome, Outcome::Fault);
        let check = ready("prod", &[], &["prod-login serves 6, the record has 7".to_owned()]);
        assert_eq!(
            (check.outcome, check.fix.as_deref()),
            (Outcome::Fault, Some("sallyport deploy settle --stack prod"))
        );
    }
}
