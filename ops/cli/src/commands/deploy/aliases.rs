//! The aliases of a stack: where they point, where the stack's own record says that they point, what they could point at, and
//! the deployments of CodeDeploy that are moving them.
//!
//! CloudFormation hands CodeDeploy the version of its record as the one that serves. Where the alias points elsewhere CodeDeploy
//! ends the deployment: "The Lambda function alias version does not match the current version in AppSpec file"
//! (`INVALID_LAMBDA_CONFIGURATION`, <https://github.com/aws/serverless-application-model/issues/291>).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aws_sdk_cloudformation::{
    error::ProvideErrorMetadata as _,
    types::{StackResourceSummary, TemplateStage},
};
use aws_sdk_codedeploy::types::DeploymentStatus;
use aws_sdk_lambda::types::AliasRoutingConfiguration;
use serde_json::Value;

use crate::{aws_fault, cli::Target, deployment::Connection, failure::Failure};

/// An alias with what it points at and could point at.
#[derive(Debug, Clone, Default)]
pub(super) struct Alias {
    /// The resource's name in the stack.
    pub(super) logical: String,
    pub(super) function: String,
    pub(super) name: String,
    /// For compare-and-swap: somebody else may be at it.
    pub(super) revision: Option<String>,
    /// Where most calls go.
    pub(super) version: u64,
    /// A canary that runs: where the other calls go.
    pub(super) canary: Option<u64>,
    /// Published versions, with when (epoch seconds).
    pub(super) versions: Vec<(u64, i64)>,
    /// Versions that the stack's updates have ended with, the newest first: those that have served, as far back as the
    /// stack's events go. Not all that are published are among them: a release that was taken back before its end never
    /// served.
    pub(super) history: Vec<u64>,
    /// Versions that a rollback has taken out of use.
    pub(super) taken_back: BTreeSet<u64>,
}

/// The tag of a function that has [`Alias::taken_back`].
const TAKEN_BACK: &str = "sallyport:taken-back";
/// A release has some hundred events, and a page a hundred.
const PAGES: usize = 40;

impl Alias {
    pub(super) fn published(&self, version: u64) -> Option<i64> {
        self.versions.iter().find(|(known, _)| *known == version).map(|(_, at)| *at)
    }

    /// The version that served before the one that does: neither one that never came to serve nor one that was taken back.
    pub(super) fn before(&self) -> Option<u64> {
        let from = self.serving();
        let fit = |version: &u64| {
            *version < from && !self.taken_back.contains(version) && self.published(*version).is_some()
        };
        let served = self.history.iter().skip_while(|version| **version != from).copied().find(fit);
        // Of an old stack there are no events any more.
        served.or_else(|| {
            let known = self.history.contains(&from) && self.history.len() > 1;
            let published = self.versions.iter().map(|(version, _)| *version).filter(fit).max();
            published.filter(|_| !known)
        })
    }

    /// The newest version that serves calls.
    pub(super) fn serving(&self) -> u64 {
        self.canary.unwrap_or_default().max(self.version)
    }
}

/// What the stack has that moves calls between versions.
#[derive(Debug, Default)]
pub(super) struct Shifting {
    /// Logical name, function and alias.
    aliases: Vec<(String, String, String)>,
    /// Published versions that are resources of the stack: function and number by logical name.
    versions: BTreeMap<String, (String, u64)>,
    application: Option<String>,
    groups: Vec<String>,
    /// The functions' own, by name.
    arns: BTreeMap<String, String>,
}

/// A deployment of CodeDeploy that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Running {
    pub(super) id: String,
    pub(super) group: String,
}

impl Shifting {
    /// # Errors
    /// There is no such stack; AWS.
    pub(super) async fn of(connection: &Connection, stack: &str) -> Result<Self, Failure> {
        let mut found = Self::default();
        let mut token = None;
        loop {
            let asked =
                connection.cloudformation.list_stack_resources().stack_name(stack).set_next_token(token);
            let answer = asked.send().await.map_err(|error| {
                let absent = error.code() == Some("ValidationError")
                    && error.message().is_some_and(|message| message.contains("does not exist"));
                if absent {
                    let region = &connection.region;
                    Failure::not_found(
                        "stack_not_found",
                        format!(
                            "there is no stack {stack} in {region}: is it the right name, region and account?"
                        ),
                    )
                } else {
                    aws_fault::from_sdk("list the stack's resources", &error)
                }
            })?;
            answer.stack_resource_summaries().iter().for_each(|resource| found.add(resource));
            token = answer.next_token().map(str::to_owned);
            if token.is_none() {
                found.aliases.sort_by(|one, other| one.1.cmp(&other.1));
                return Ok(found);
            }
        }
    }

    fn add(&mut self, resource: &StackResourceSummary) {
        let (Some(logical), Some(physical)) =
            (resource.logical_resource_id(), resource.physical_resource_id())
        else {
            return;
        };
        // arn:aws:lambda:REGION:ACCOUNT:function:NAME:ALIAS, and the same with the number of a version.
        let mut parts = physical.rsplit(':');
        let (last, before) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        match resource.resource_type() {
            Some("AWS::Lambda::Alias") => {
                self.aliases.push((logical.to_owned(), before.to_owned(), last.to_owned()));
                let arn = physical.strip_suffix(&format!(":{last}")).unwrap_or(physical);
                self.arns.insert(before.to_owned(), arn.to_owned());
            }
            Some("AWS::Lambda::Version") => {
                if let Ok(number) = last.parse() {
                    self.versions.insert(logical.to_owned(), (before.to_owned(), number));
                }
            }
            Some("AWS::CodeDeploy::Application") => self.application = Some(physical.to_owned()),
            Some("AWS::CodeDeploy::DeploymentGroup") => self.groups.push(physical.to_owned()),
            _ => {}
        }
    }

    /// Versions of a function that are resources of the stack: CloudFormation deletes those itself.
    pub(super) fn of_stack(&self, function: &str) -> BTreeSet<u64> {
        let of_function = |(owner, version): &(String, u64)| (owner == function).then_some(*version);
        self.versions.values().filter_map(of_function).collect()
    }

    pub(super) fn has_aliases(&self) -> bool {
        !self.aliases.is_empty()
    }

    pub(super) async fn aliases(&self, connection: &Connection) -> Result<Vec<Alias>, Failure> {
        let mut aliases = Vec::new();
        for (logical, function, name) in &self.aliases {
            aliases.push(read(&connection.lambda, logical, function, name).await?);
        }
        Ok(aliases)
    }

    /// Adds to aliases what served before and what was taken back. What cannot be read is not known: a rollback must not wait
    /// for a right to look at events.
    pub(super) async fn remember(&self, connection: &Connection, stack: &str, aliases: &mut [Alias]) {
        let mut history = history(connection, stack).await;
        for alias in aliases {
            alias.history = history.remove(&alias.logical).unwrap_or_default();
            let Some(arn) = self.arns.get(&alias.function) else { continue };
            let asked = connection.lambda.list_tags().resource(arn).send().await;
            let tag =
                asked.ok().and_then(|answer| answer.tags().and_then(|tags| tags.get(TAKEN_BACK).cloned()));
            alias.taken_back = versions_of(&tag.unwrap_or_default());
        }
    }

    /// Keeps that a version was taken back.
    pub(super) async fn take_back(
        &self,
        connection: &Connection,
        alias: &Alias,
        version: u64,
    ) -> Result<(), Failure> {
        let Some(arn) = self.arns.get(&alias.function) else { return Ok(()) };
        let mut taken = alias.taken_back.clone();
        taken.insert(version);
        let newest: Vec<_> = taken.iter().rev().take(30).map(u64::to_string).collect();
        let asked =
            connection.lambda.tag_resource().resource(arn).tags(TAKEN_BACK, newest.join(" ")).send().await;
        asked.map(drop).map_err(|error| aws_fault::from_sdk("tag the function", &error))
    }

    /// Deployments that have not ended.
    pub(super) async fn running(&self, connection: &Connection) -> Result<Vec<Running>, Failure> {
        let Some(application) = &self.application else { return Ok(Vec::new()) };
        let mut running = Vec::new();
        for group in &self.groups {
            let unfinished = [
                DeploymentStatus::Created,
                DeploymentStatus::Queued,
                DeploymentStatus::InProgress,
                DeploymentStatus::Baking,
                DeploymentStatus::Ready,
            ];
            let asked = connection
                .codedeploy
                .list_deployments()
                .application_name(application)
                .deployment_group_name(group)
                .set_include_only_statuses(Some(unfinished.to_vec()));
            let answer = asked.send().await;
            let answer =
                answer.map_err(|error| aws_fault::from_sdk("list the deployments that run", &error))?;
            let of_group = |id: &String| Running { id: id.clone(), group: group.clone() };
            running.extend(answer.deployments().iter().map(of_group));
        }
        Ok(running)
    }

    /// The version that the stack's record has for each alias, by the alias's logical name. What does not read is absent.
    pub(super) fn recorded(&self, template: &Value) -> BTreeMap<String, u64> {
        let version = |logical: &str| match template
            .pointer(&format!("/Resources/{logical}/Properties/FunctionVersion"))?
        {
            Value::String(literal) => literal.parse().ok(),
            Value::Number(literal) => literal.as_u64(),
            reference => {
                let named = match reference.get("Fn::GetAtt")? {
                    Value::Array(parts) => parts.first()?.as_str()?,
                    Value::String(dotted) => dotted.split('.').next()?,
                    _ => return None,
                };
                self.versions.get(named).map(|(_, version)| *version)
            }
        };
        let known =
            self.aliases.iter().filter_map(|(logical, ..)| Some((logical.clone(), version(logical)?)));
        known.collect()
    }
}

/// The stack's template as CloudFormation runs it: transforms are done, and references stand as they were.
///
/// # Errors
/// AWS; it is no JSON.
pub(super) async fn template(connection: &Connection, stack: &str) -> Result<Value, Failure> {
    let asked = connection.cloudformation.get_template().stack_name(stack);
    let answer = asked.template_stage(TemplateStage::Processed).send().await;
    let answer = answer.map_err(|error| aws_fault::from_sdk("read the stack's template", &error))?;
    serde_json::from_str(answer.template_body().unwrap_or_default()).map_err(|_| {
        Failure::dependency(
            "template_unreadable",
            "the stack's template, as CloudFormation runs it, is no JSON",
        )
    })
}

/// Aliases that point elsewhere than the stack's record says, with the version that the record has.
pub(super) async fn moved(connection: &Connection, stack: &str) -> Result<Vec<(Alias, u64)>, Failure> {
    let shifting = Shifting::of(connection, stack).await?;
    if shifting.aliases.is_empty() {
        return Ok(Vec::new());
    }
    let recorded = shifting.recorded(&template(connection, stack).await?);
    let aliases = shifting.aliases(connection).await?;
    Ok(differing(aliases, &recorded))
}

/// A gradual deployment begins with what the stack's record has: where an alias points elsewhere, CodeDeploy refuses it. A
/// stack that is not there yet has no aliases.
///
/// # Errors
/// An alias was moved; AWS.
pub(super) async fn refuse_moved(target: &Target) -> Result<(), Failure> {
    let Some(stack) = &target.stack else { return Ok(()) };
    let connection = Connection::open(target).await?;
    let moved = match moved(&connection, stack).await {
        Err(failure) if failure.code == "stack_not_found" => return Ok(()),
        moved => moved?,
    };
    match moved.first() {
        None => Ok(()),
        Some((alias, recorded)) => Err(Failure::conflict(
            "aliases_moved",
            format!(
                "{} serves version {}, the stack's record has {recorded}: CodeDeploy would refuse the deployment. First: \
                 sallyport deploy settle --stack {stack}",
                alias.function, alias.version
            ),
        )),
    }
}

fn differing(aliases: Vec<Alias>, recorded: &BTreeMap<String, u64>) -> Vec<(Alias, u64)> {
    aliases
        .into_iter()
        .filter_map(|alias| {
            let recorded = *recorded.get(&alias.logical)?;
            (recorded != alias.version).then_some((alias, recorded))
        })
        .collect()
}

async fn read(
    client: &aws_sdk_lambda::Client,
    logical: &str,
    function: &str,
    name: &str,
) -> Result<Alias, Failure> {
    let asked = client.get_alias().function_name(function).name(name).send().await;
    let answer = asked.map_err(|error| aws_fault::from_sdk("read the alias", &error))?;
    let number = |text: &str| text.parse::<u64>().ok();
    let others = answer.routing_config().and_then(|routing| routing.additional_version_weights());
    let canary = others.into_iter().flatten().filter_map(|(version, _)| number(version)).max();
    let mut alias = Alias {
        logical: logical.to_owned(),
        version: answer.function_version().and_then(number).unwrap_or_default(),
        revision: answer.revision_id().map(str::to_owned),
        canary,
        function: function.to_owned(),
        name: name.to_owned(),
        ..Alias::default()
    };
    let mut marker = None;
    loop {
        let asked = client.list_versions_by_function().function_name(function).set_marker(marker);
        let answer = asked.send().await.map_err(|error| aws_fault::from_sdk("list the versions", &error))?;
        alias.versions.extend(answer.versions().iter().filter_map(|version| {
            let at = version.last_modified().and_then(|at| at.parse::<jiff::Timestamp>().ok());
            Some((number(version.version()?)?, at.map(jiff::Timestamp::as_second).unwrap_or_default()))
        }));
        marker = answer.next_marker().map(str::to_owned);
        if marker.is_none() {
            return Ok(alias);
        }
    }
}

fn versions_of(tag: &str) -> BTreeSet<u64> {
    tag.split(' ').filter_map(|version| version.parse().ok()).collect()
}

/// The versions that updates of the stack have ended with, by the alias's logical name, the newest first. An update that was
/// taken back ends with the version before it once more.
async fn history(connection: &Connection, stack: &str) -> BTreeMap<String, Vec<u64>> {
    let mut history: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let mut token = None;
    for _ in 0..PAGES {
        let asked = connection.cloudformation.describe_stack_events().stack_name(stack).set_next_token(token);
        let Ok(answer) = asked.send().await else { return history };
        for event in answer.stack_events() {
            let ended = event
                .resource_status()
                .is_some_and(|status| ["CREATE_COMPLETE", "UPDATE_COMPLETE"].contains(&status.as_str()));
            if event.resource_type() != Some("AWS::Lambda::Alias") || !ended {
                continue;
            }
            let properties: Value = event
                .resource_properties()
                .and_then(|text| serde_json::from_str(text).ok())
                .unwrap_or_default();
            let version =
                properties.get("FunctionVersion").and_then(Value::as_str).and_then(|text| text.parse().ok());
            if let (Some(logical), Some(version)) = (event.logical_resource_id(), version) {
                history.entry(logical.to_owned()).or_default().push(version);
            }
        }
        token = answer.next_token().map(str::to_owned);
        if token.is_none() {
            break;
        }
    }
    history
}

/// Points an alias at one version alone.
///
/// # Errors
/// Somebody else moved it; AWS.
pub(super) async fn point(
    client: &aws_sdk_lambda::Client,
    alias: &Alias,
    version: u64,
) -> Result<(), Failure> {
    let whole =
        AliasRoutingConfiguration::builder().set_additional_version_weights(Some(HashMap::new())).build();
    let asked = client
        .update_alias()
        .function_name(&alias.function)
        .name(&alias.name)
        .function_version(version.to_string())
        .routing_config(whole)
        .set_revision_id(alias.revision.clone());
    match asked.send().await {
        Ok(_) => Ok(()),
        Err(error) if error.code() == Some("PreconditionFailedException") => Err(Failure::conflict(
            "alias_moved",
            format!(
                "somebody else moved the alias of {} meanwhile: look again with --dry-run",
                alias.function
            ),
        )),
        Err(error) => Err(aws_fault::from_sdk("move the alias", &error)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_time_that_lambda_tells_reads() {
        let read = "2026-07-31T14:02:11.000+0000".parse::<jiff::Timestamp>();
        assert_eq!(read.map(jiff::Timestamp::as_second).ok(), Some(1_785_506_531));
    }

    #[test]
    fn the_version_before_is_one_that_served_and_was_not_taken_back() {
        let alias = |serves, history: &[u64], taken: &str| Alias {
            version: serves,
            versions: (5..=10).map(|version| (version, 0)).collect(),
            history: history.to_vec(),
            taken_back: versions_of(taken),
            ..Alias::default()
        };
        for (serves, history, taken, before) in [
            (8, &[8, 7, 6][..], "", Some(7)),
            // 8 failed its canary: it was published and never served.
            (9, &[9, 7, 7, 6][..], "", Some(7)),
            // 8 was taken back and the record settled, then 10 went out.
            (10, &[10, 7, 8, 7][..], "8", Some(7)),
            // The same without a settlement.
            (10, &[10, 8, 7][..], "8", Some(7)),
            (7, &[8, 7][..], "8", None),
            // No events any more, or no right to read them.
            (8, &[][..], "", Some(7)),
            (8, &[][..], "7", Some(6)),
            (8, &[8][..], "7", Some(6)),
            // Deleted versions are nowhere to go back to.
            (8, &[8, 4, 3][..], "", None),
            (5, &[5][..], "", None),
        ] {
            assert_eq!(alias(serves, history, taken).before(), before, "{serves} {history:?} {taken}");
        }
    }

    #[test]
    fn the_record_is_read_where_it_refers_to_a_version_and_where_it_names_one() {
        let alias = |name: &str| (format!("{name}Aliaslive"), format!("prod-{name}"), "live".to_owned());
        let shifting = Shifting {
            aliases: ["Login", "Keys", "Mfa", "Health"].map(alias).to_vec(),
            versions: [("LoginVersion1", "prod-login", 7), ("KeysVersion1", "prod-keys", 3)]
                .map(|(logical, function, version)| (logical.to_owned(), (function.to_owned(), version)))
                .into(),
            ..Shifting::default()
        };
        let resource = |version: Value| json!({"Properties": {"FunctionVersion": version}});
        let template = json!({"Resources": {
            "LoginAliaslive": resource(json!({"Fn::GetAtt": ["LoginVersion1", "Version"]})),
            "KeysAliaslive": resource(json!({"Fn::GetAtt": "KeysVersion1.Version"})),
            "MfaAliaslive": resource(json!("6")),
            "HealthAliaslive": resource(json!({"Ref": "Something"})),
        }});
        let recorded = shifting.recorded(&template);
        let known = [("KeysAliaslive", 3), ("LoginAliaslive", 7), ("MfaAliaslive", 6)];
        assert_eq!(recorded, known.map(|(name, version)| (name.to_owned(), version)).into());
        let at =
            |name: &str, version| Alias { logical: format!("{name}Aliaslive"), version, ..Alias::default() };
        let moved = differing(vec![at("Login", 6), at("Keys", 3), at("Mfa", 7), at("Health", 1)], &recorded);
        let moved: Vec<_> = moved.iter().map(|(alias, recorded)| (alias.version, *recorded)).collect();
        assert_eq!(moved, [(6, 7), (7, 6)]);
    }
}
