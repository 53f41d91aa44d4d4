//! Releases, back, and the next one: the command against a model of the rules by which AWS moves an alias. No emulator has
//! CodeDeploy's part of them. The rules, and where they are written:
//!
//! 1. A gradual update of an alias is a deployment of CodeDeploy. CloudFormation gives it the version of its own record as the
//!    one that serves, and the new one as the target.
//!    <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-attribute-updatepolicy.html>
//! 2. Where the alias does not point at the version that is said to serve, the deployment fails with
//!    `INVALID_LAMBDA_CONFIGURATION`, and CloudFormation takes the update back.
//!    <https://github.com/aws/serverless-application-model/issues/291>
//! 3. While a deployment runs the alias gives a part of the calls to the target; at its end it points at the target, wherever
//!    it was pointed meanwhile.
//!    <https://docs.aws.amazon.com/codedeploy/latest/userguide/deployment-steps-lambda.html>
//! 4. `StopDeployment` with `autoRollbackEnabled` ends it, and a deployment of its own gives all calls to the version before;
//!    the update of the stack fails by it.
//!    <https://docs.aws.amazon.com/codedeploy/latest/APIReference/API_StopDeployment.html>
//! 5. Without the update policy CloudFormation points the alias at the version that the template has, wherever it was.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, Uri},
};
use serde_json::{Value, json};

use crate::{
    stack::{OUTPUTS, described},
    support::Shell,
};

#[derive(Debug, Clone, Default)]
struct Function {
    /// Published versions, with the day of July that they were published at.
    versions: Vec<(u64, u8)>,
    /// Where the alias points, and what gets a part of the calls.
    alias: u64,
    canary: Option<u64>,
    revision: u64,
    /// The version that the stack's record has.
    record: u64,
    /// Whether the record names it (after a settlement) or refers to the resource of the newest version.
    literal: bool,
    /// What updates of the stack have ended with, the oldest first.
    history: Vec<u64>,
    taken_back: Option<String>,
}

#[derive(Debug, Clone)]
struct Deployment {
    function: String,
    current: u64,
    target: u64,
    status: &'static str,
    rollback: Option<String>,
}

#[derive(Debug, Default)]
struct Account {
    functions: BTreeMap<String, Function>,
    deployments: BTreeMap<String, Deployment>,
    status: &'static str,
    asked: Vec<String>,
    /// Whether the Audit table takes items.
    deaf: bool,
}

impl Account {
    /// `sam deploy` of the gradual template, a release of these functions: by rules 1 to 3, up to where the canary runs.
    ///
    /// # Errors
    /// What CodeDeploy says.
    fn begin(&mut self, functions: &[&str], day: u8) -> Result<(), String> {
        self.status = "UPDATE_IN_PROGRESS";
        for name in functions {
            let id = format!("d-{}", self.deployments.len() + 1);
            let function = self.functions.get_mut(*name).unwrap();
            let target = function.versions.iter().map(|(version, _)| *version).max().unwrap_or_default() + 1;
            function.versions.push((target, day));
            let current = function.record;
            if function.alias != current {
                self.status = "UPDATE_ROLLBACK_COMPLETE";
                return Err("The Lambda function alias version does not match the current version in AppSpec file. (Error code: INVALID_LAMBDA_CONFIGURATION)".to_owned());
            }
            function.canary = Some(target);
            function.revision += 1;
            let deployment = Deployment {
                function: (*name).to_owned(),
                current,
                target,
                status: "InProgress",
                rollback: None,
            };
            self.deployments.insert(id, deployment);
        }
        Ok(())
    }

    /// The time of all canaries is over.
    fn finish(&mut self) {
        for deployment in self.deployments.values_mut().filter(|deployment| deployment.status == "InProgress")
        {
            deployment.status = "Succeeded";
            let function = self.functions.get_mut(&deployment.function).unwrap();
            (function.alias, function.canary, function.record) = (deployment.target, None, deployment.target);
            function.literal = false;
            function.history.push(deployment.target);
        }
        self.status = "UPDATE_COMPLETE";
    }

    fn release(&mut self, functions: &[&str], day: u8) -> Result<(), String> {
        self.begin(functions, day)?;
        self.finish();
        Ok(())
    }

    /// `sam deploy` of a template in which aliases have a version by its number and no update policy: rule 5.
    fn deploy(&mut self, template: &Value) {
        for (name, function) in &mut self.functions {
            let resource = &template["Resources"][format!("{name}Alias")];
            if let Some(version) = resource["Properties"]["FunctionVersion"].as_str() {
                assert!(resource.get("UpdatePolicy").is_none(), "CodeDeploy would be asked: {resource}");
                let version: u64 = version.parse().unwrap();
                (function.alias, function.record, function.literal) = (version, version, true);
                function.history.push(version);
            }
        }
        self.status = "UPDATE_COMPLETE";
    }

    fn template(&self) -> Value {
        let resources = self.functions.iter().map(|(name, function)| {
            let version = if function.literal {
                json!(function.record.to_string())
            } else {
                json!({"Fn::GetAtt": [format!("{name}Version"), "Version"]})
            };
            let resource = json!({
                "Type": "AWS::Lambda::Alias", "UpdatePolicy": {"CodeDeployLambdaAliasUpdate": {}},
                "Properties": {"Name": "live", "FunctionVersion": version},
            });
            (format!("{name}Alias"), resource)
        });
        json!({"Resources": resources.collect::<serde_json::Map<_, _>>()})
    }

    fn events(&self) -> String {
        let mut members = String::new();
        for (name, function) in &self.functions {
            for version in function.history.iter().rev() {
                let _infallible = write!(
                    members,
                    "<member><StackId>s</StackId><EventId>e</EventId><StackName>prod</StackName><LogicalResourceId>{name}Alias\
                     </LogicalResourceId><ResourceType>AWS::Lambda::Alias</ResourceType><Timestamp>2026-01-01T00:00:00Z</Timestamp>\
                     <ResourceStatus>UPDATE_COMPLETE</ResourceStatus>\
                     <ResourceProperties>{{&quot;FunctionVersion&quot;:&quot;{version}&quot;}}</ResourceProperties></member>"
                );
            }
        }
        members
    }

    fn resources(&self) -> String {
        let mut members = String::new();
        let mut member = |kind: &str, logical: &str, physical: &str| {
            let _infallible = write!(
                members,
                "<member><ResourceType>{kind}</ResourceType><LogicalResourceId>{logical}</LogicalResourceId>\
                 <PhysicalResourceId>{physical}</PhysicalResourceId><LastUpdatedTimestamp>2026-01-01T00:00:00Z\
                 </LastUpdatedTimestamp><ResourceStatus>CREATE_COMPLETE</ResourceStatus></member>"
            );
        };
        member("AWS::CodeDeploy::Application", "ServerlessDeploymentApplication", "prod-app");
        for (name, function) in &self.functions {
            let arn = format!("arn:aws:lambda:us-east-1:1:function:prod-{name}");
            let newest = function.versions.iter().map(|(version, _)| *version).max().unwrap_or_default();
            // Until an update ends, the resource of the version before is there, too; the record refers to it.
            let referred = if function.literal { newest } else { function.record };
            member("AWS::Lambda::Alias", &format!("{name}Alias"), &format!("{arn}:live"));
            member("AWS::Lambda::Version", &format!("{name}Version"), &format!("{arn}:{referred}"));
            member("AWS::CodeDeploy::DeploymentGroup", &format!("{name}Group"), &format!("{name}-group"));
        }
        members
    }

    fn answer(&mut self, method: &Method, path: &str, target: &str, body: &str) -> (u16, String) {
        let request: Value = serde_json::from_str(body).unwrap_or_default();
        let xml = |action: &str, inner: &str| {
            format!(
                "<{action}Response xmlns=\"http://cloudformation.amazonaws.com/doc/2010-05-15/\"><{action}Result>{inner}</{action}Result></{action}Response>"
            )
        };
        if let Some((_, name)) = path.rsplit_once("prod-").filter(|_| path.contains("/tags/")) {
            let function = self.functions.get_mut(name).unwrap();
            if method == Method::POST {
                function.taken_back = request["Tags"]["sallyport:taken-back"].as_str().map(str::to_owned);
                return (204, String::new());
            }
            let tags = function.taken_back.as_ref().map(|versions| json!({"sallyport:taken-back": versions}));
            return (200, json!({"Tags": tags.unwrap_or(json!({}))}).to_string());
        }
        if let Some(rest) = path.strip_prefix("/2015-03-31/functions/prod-") {
            let (name, what) = rest.split_once(['/', '?']).unwrap();
            // The doctor asks for more than the model has.
            let Some(function) = self.functions.get_mut(name) else {
                return (404, json!({"__type": "ResourceNotFoundException"}).to_string());
            };
            if method == Method::DELETE {
                let version: u64 = what.trim_start_matches("Qualifier=").parse().unwrap();
                function.versions.retain(|(known, _)| *known != version);
                return (204, String::new());
            }
            if what.starts_with("versions") {
                let version = |number: &str, day: u8| json!({"Version": number, "LastModified": format!("2026-07-{day:02}T14:02:11.000+0000")});
                let known = function.versions.iter().map(|(number, day)| version(&number.to_string(), *day));
                let versions: Vec<_> = [version("$LATEST", 31)].into_iter().chain(known).collect();
                return (200, json!({"Versions": versions}).to_string());
            }
            if method == Method::PUT {
                if request["RevisionId"].as_str() != Some(function.revision.to_string().as_str()) {
                    return (412, json!({"__type": "PreconditionFailedException"}).to_string());
                }
                function.alias = request["FunctionVersion"].as_str().unwrap().parse().unwrap();
                function.canary = None;
                function.revision += 1;
            }
            let weights = function.canary.map(|canary| json!({canary.to_string(): 0.1}));
            let alias = json!({
                "Name": "live", "FunctionVersion": function.alias.to_string(), "RevisionId": function.revision.to_string(),
                "RoutingConfig": {"AdditionalVersionWeights": weights.unwrap_or(json!({}))},
            });
            return (200, alias.to_string());
        }
        if path.starts_with("/2016-08-19/account-settings") {
            return (200, json!({"AccountLimit": {"ConcurrentExecutions": 1000}}).to_string());
        }
        if path == "/account" {
            return (200, json!({"throttleSettings": {}}).to_string());
        }
        match target.split('.').next_back().unwrap_or_default() {
            "ListDeployments" => {
                let of_group = |deployment: &Deployment| {
                    format!("{}-group", deployment.function) == request["deploymentGroupName"]
                        && request["includeOnlyStatuses"]
                            .as_array()
                            .is_none_or(|wanted| wanted.contains(&json!(deployment.status)))
                };
                let ids: Vec<_> = self
                    .deployments
                    .iter()
                    .filter(|(_, deployment)| of_group(deployment))
                    .map(|(id, _)| id)
                    .collect();
                (200, json!({"deployments": ids}).to_string())
            }
            "GetDeployment" => {
                let id = request["deploymentId"].as_str().unwrap();
                let deployment = &self.deployments[id];
                let rollback = deployment.rollback.as_ref().map(|id| json!({"rollbackDeploymentId": id}));
                (200, json!({"deploymentInfo": {"deploymentId": id, "status": deployment.status, "rollbackInfo": rollback}}).to_string())
            }
            "StopDeployment" => self.stop(&request),
            "ListTables" => (200, json!({"TableNames": []}).to_string()),
            "DescribeLogGroups" => {
                (200, json!({"logGroups": [{"logGroupName": "/sallyport/of-old/login"}]}).to_string())
            }
            "PutItem" | "TransactWriteItems" if self.deaf => {
                (400, json!({"__type": "AccessDeniedException"}).to_string())
            }
            "PutItem" | "TransactWriteItems" => (200, "{}".to_owned()),
            _ if body.contains("Action=ListStackResources") => {
                let inner = format!("<StackResourceSummaries>{}</StackResourceSummaries>", self.resources());
                (200, xml("ListStackResources", &inner))
            }
            _ if body.contains("Action=DescribeStackEvents") => {
                (200, xml("DescribeStackEvents", &format!("<StackEvents>{}</StackEvents>", self.events())))
            }
            _ if body.contains("Action=GetTemplate") => {
                let text = self.template().to_string().replace('"', "&quot;");
                (200, xml("GetTemplate", &format!("<TemplateBody>{text}</TemplateBody>")))
            }
            _ if body.contains("Action=DescribeStacks") && self.status.is_empty() => {
                if body.contains("StackName=") {
                    let said =
                        "<Code>ValidationError</Code><Message>Stack with id s does not exist</Message>";
                    (400, format!("<ErrorResponse><Error>{said}</Error></ErrorResponse>"))
                } else {
                    (200, xml("DescribeStacks", "<Stacks></Stacks>"))
                }
            }
            _ if body.contains("Action=DescribeStacks") => {
                (200, described(&OUTPUTS).replace("CREATE_COMPLETE", self.status))
            }
            _ => (400, json!({"__type": "UnknownOperationException", "message": target}).to_string()),
        }
    }

    fn stop(&mut self, request: &Value) -> (u16, String) {
        let id = request["deploymentId"].as_str().unwrap().to_owned();
        assert_eq!(request["autoRollbackEnabled"], true, "the calls would stay where they are");
        let back = format!("{id}-back");
        let deployment = self.deployments.get_mut(&id).unwrap();
        if deployment.status != "InProgress" {
            return (400, json!({"__type": "DeploymentAlreadyCompletedException"}).to_string());
        }
        (deployment.status, deployment.rollback) = ("Stopped", Some(back.clone()));
        let undo = Deployment { status: "Succeeded", rollback: None, ..deployment.clone() };
        let function = self.functions.get_mut(&undo.function).unwrap();
        (function.alias, function.canary) = (undo.current, None);
        function.history.push(undo.current);
        self.deployments.insert(back, undo);
        self.status = "UPDATE_ROLLBACK_COMPLETE";
        (200, json!({"status": "Pending"}).to_string())
    }
}

#[derive(Clone)]
struct Cloud {
    account: Arc<Mutex<Account>>,
    url: String,
}

async fn serve(
    State(account): State<Arc<Mutex<Account>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (axum::http::StatusCode, String) {
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    let body = String::from_utf8_lossy(&body).into_owned();
    let mut account = account.lock().unwrap();
    let operation = target.split('.').next_back().unwrap_or_default();
    account.asked.push(format!("{method} {} {operation} {body}", uri.path()));
    let path = uri.path_and_query().map_or(uri.path(), |path| path.as_str()).to_owned();
    let (status, answer) = account.answer(&method, &path, target, &body);
    (axum::http::StatusCode::from_u16(status).unwrap(), answer)
}

impl Cloud {
    /// A stack of three functions at version 7. Of `login` and `mfa` it is as old as the stack's last release.
    async fn start() -> anyhow::Result<Self> {
        let function = |day| Function {
            versions: vec![(6, 1), (7, day)],
            alias: 7,
            record: 7,
            history: vec![6, 7],
            ..Function::default()
        };
        let functions = [("keys", 2), ("login", 20), ("mfa", 20)];
        let functions = functions.map(|(name, day)| (name.to_owned(), function(day))).into();
        let account = Account { functions, status: "UPDATE_COMPLETE", ..Account::default() };
        let account = Arc::new(Mutex::new(account));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let router = Router::new().fallback(serve).with_state(Arc::clone(&account));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { account, url })
    }

    fn aws(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap()
    }

    fn shell(&self) -> anyhow::Result<Shell> {
        Ok(Shell::new(BTreeMap::new())?.with("AWS_ENDPOINT_URL", &self.url).with("AWS_REGION", "us-east-1"))
    }

    /// Where every alias points, and whether a canary runs.
    fn serving(&self) -> BTreeMap<String, (u64, Option<u64>)> {
        let aws = self.aws();
        aws.functions
            .iter()
            .map(|(name, function)| (name.clone(), (function.alias, function.canary)))
            .collect()
    }

    /// What was asked that changes something, in its order.
    fn changes(&self) -> Vec<String> {
        let aws = self.aws();
        let changing = |line: &&String| {
            line.starts_with("PUT ")
                || ["StopDeployment", "PutItem"].iter().any(|operation| line.contains(operation))
        };
        aws.asked.iter().filter(changing).cloned().collect()
    }
}

fn at(keys: u64, login: u64, mfa: u64) -> BTreeMap<String, (u64, Option<u64>)> {
    [("keys", keys), ("login", login), ("mfa", mfa)]
        .map(|(name, version)| (name.to_owned(), (version, None)))
        .into()
}

fn outcomes(report: &Value) -> Vec<&str> {
    report["steps"].as_array().unwrap().iter().map(|step| step["outcome"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_last_release_changed_goes_back_to_the_version_before() -> anyhow::Result<()> {
    let cloud = Cloud::start().await?;
    let shell = cloud.shell()?;
    cloud.aws().release(&["login"], 28).unwrap();
    let dry = shell.run("deploy rollback --stack prod --dry-run --json")?.json(0)?;
    assert_eq!(outcomes(&dry), ["stays", "would roll back", "stays"]);
    assert_eq!(cloud.changes(), [""; 0]);

    let done = shell.run("deploy rollback --stack prod --json")?.json(0)?;
    assert_eq!(outcomes(&done), ["stays", "rolled back", "stays"]);
    assert_eq!((&done["steps"][1]["from"], &done["steps"][1]["to"]), (&json!(8), &json!(7)));
    assert_eq!(cloud.serving(), at(7, 7, 7));
    let changes = cloud.changes();
    assert_eq!(changes.len(), 2, "{changes:?}");
    assert_eq!(cloud.aws().functions["login"].taken_back.as_deref(), Some("8"));
    assert!(changes[0].contains("/functions/prod-login/aliases/live"), "{changes:?}");
    // Nobody else's move is undone, and no canary goes on.
    for part in [r#""FunctionVersion":"7""#, r#""RevisionId":""#, r#""AdditionalVersionWeights":{}"#] {
        assert!(changes[0].contains(part), "{changes:?}");
    }
    // What was moved is written down.
    assert!(
        changes[1].contains("release.rolled_back") && changes[1].contains("prod-login 8 to 7"),
        "{changes:?}"
    );
    assert_eq!(done["recorded"], true);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_that_no_event_can_tell_of_is_made_all_the_same() -> anyhow::Result<()> {
    let cloud = Cloud::start().await?;
    cloud.aws().release(&["login"], 28).unwrap();
    cloud.aws().deaf = true;
    let run = cloud.shell()?.run("deploy rollback --stack prod")?;
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.stdout.contains("It is not written down everywhere"), "{run:?}");
    assert_eq!(cloud.serving(), at(7, 7, 7));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_goes_out_goes_back_and_the_next_one_goes_out() -> anyhow::Result<()> {
    let cloud = Cloud::start().await?;
    let (shell, directory) = (cloud.shell()?, tempfile::tempdir()?);
    let settle =
        format!("deploy settle --stack prod --to {} --json", directory.path().join("settled.json").display());
    let shipped = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../template.yaml");
    let template = directory.path().join("template.yaml");
    std::fs::copy(shipped, &template)?;
    let template = format!(
        "deploy template --stack prod --from {} --to {} --json",
        template.display(),
        directory.path().join("gradual.yaml").display()
    );
    shell.run(&template)?.json(0)?;
    cloud.aws().release(&["keys", "login", "mfa"], 28).unwrap();
    shell.run("deploy rollback --stack prod --json")?.json(0)?;
    assert_eq!(cloud.serving(), at(7, 7, 7));

    // The stack's record has what was taken back: CodeDeploy would refuse, and the template is not written.
    let (code, message) = shell.run(&template)?.error(4)?;
    assert_eq!(code, "aliases_moved");
    assert!(message.contains("sallyport deploy settle --stack prod"), "{message}");
    let refused = cloud.aws().release(&["login"], 29).unwrap_err();
    assert!(refused.contains("INVALID_LAMBDA_CONFIGURATION"));
    assert_eq!(cloud.serving(), at(7, 7, 7));

    let dry = shell.run(&format!("{settle} --dry-run"))?.json(0)?;
    assert_eq!(
        (dry["aliases"].as_array().unwrap().len(), directory.path().join("settled.json").exists()),
        (3, false)
    );
    let settled = shell.run(&settle)?.json(0)?;
    assert_eq!(settled["aliases"][0], json!({"function": "prod-keys", "serves": 7, "recorded": 8}));
    let written = serde_json::from_str(&std::fs::read_to_string(directory.path().join("settled.json"))?)?;
    cloud.aws().deploy(&written);
    assert_eq!(cloud.serving(), at(7, 7, 7));

    // Now nothing is left to settle, and the release begins with what serves.
    assert_eq!(shell.run(&settle)?.json(0)?["aliases"], json!([]));
    shell.run(&template)?.json(0)?;
    cloud.aws().release(&["login"], 30).unwrap();
    assert_eq!(cloud.serving(), at(7, 10, 7));
    // Back once more, past what was taken back (8) and what CodeDeploy refused (9).
    shell.run("deploy rollback --stack prod --json")?.json(0)?;
    assert_eq!(cloud.serving(), at(7, 7, 7));
    // And no further: 7 serves, and what came after it is gone.
    assert_eq!(shell.run("deploy rollback --stack prod --json")?.error(4)?.0, "nothing_to_roll_back");
    Ok(())
}

/// What a canary failed with is published and never served: the version before is the one before that.
#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_does_not_go_back_to_a_release_that_failed_its_canary() -> anyhow::Result<()> {
    let cloud = Cloud::start().await?;
    let shell = cloud.shell()?;
    cloud.aws().begin(&["login"], 27).unwrap();
    shell.run("deploy rollback --stack prod --json")?.json(0)?;
    cloud.aws().release(&["login"], 28).unwrap();
    assert_eq!(cloud.serving(), at(7, 9, 7));
    shell.run("deploy rollback --stack prod --json")?.json(0)?;
    assert_eq!(cloud.serving(), at(7, 7, 7));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn old_versions_are_deleted_and_none_that_is_in_use() -> anyhow::Result<()> {
    let cloud = Cloud::start().await?;
    let shell = cloud.shell()?;
    for day in 21..27 {
        cloud.aws().release(&["login"], day).unwrap();
    }
    let dry = shell.run("deploy prune --stack prod --keep 3 --dry-run --json")?.json(0)?;
    let login =
        json!({"function": "prod-login", "serves": 13, "kept": [13, 12, 11], "deleted": [10, 9, 8, 7, 6]});
    assert_eq!(dry["functions"][1], login);
    assert_eq!(cloud.aws().functions["login"].versions.len(), 8);
    shell.run("deploy prune --stack prod --keep 3 --json")?.json(0)?;
    let left: Vec<_> = cloud.aws().functions["login"].versions.iter().map(|(version, _)| *version).collect();
    assert_eq!(left, [11, 12, 13]);
    // While a canary runs both of its versions are needed.
    cloud.aws().begin(&["login"], 28).unwrap();
    assert_eq!(shell.run("deploy prune --stack prod --json")?.error(4)?.0, "stack_busy");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn preflight_finds_a_canary_and_an_alias_that_was_moved() -> anyhow::Result<()> {
    let cloud = Cloud::start().await?;
    let shell = cloud.shell()?;
    let aliases = || -> anyhow::Result<(String, String)> {
        let run = shell.run("deploy preflight --stack prod --json")?;
        let report: Value = serde_json::from_str(&run.stdout)?;
        let checks = report["checks"].as_array().unwrap();
        let check = checks.iter().find(|check| check["name"] == "aliases").unwrap();
        Ok((
            check["outcome"].as_str().unwrap().to_owned(),
            check["fix"].as_str().unwrap_or_default().to_owned(),
        ))
    };
    assert_eq!(aliases()?.0, "ok");
    cloud.aws().begin(&["login"], 28).unwrap();
    assert_eq!(
        aliases()?,
        ("fault".to_owned(), "wait, or sallyport deploy rollback --stack prod".to_owned())
    );
    cloud.aws().finish();
    assert_eq!(aliases()?.0, "ok");
    shell.run("deploy rollback --stack prod --json")?.json(0)?;
    assert_eq!(aliases()?, ("fault".to_owned(), "sallyport deploy settle --stack prod".to_owned()));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn preflight_of_a_stack_that_is_not_there_looks_at_the_account() -> anyhow::Result<()> {
    let cloud = Cloud::start().await?;
    cloud.aws().status = "";
    let line = format!(
        "deploy preflight --stack {} --parameter LoginReservedConcurrency=950 --json",
        "s".repeat(53)
    );
    let report = cloud.shell()?.run(&line)?.json(5)?;
    let outcome = |name: &str| {
        let checks = report["checks"].as_array().unwrap();
        checks
            .iter()
            .find(|check| check["name"] == name)
            .map(|check| check["outcome"].clone())
            .unwrap_or_default()
    };
    assert_eq!(outcome("names"), "fault", "{report:#}");
    assert_eq!((outcome("concurrency"), outcome("reserved concurrency")), (json!("ok"), json!("fault")));
    assert_eq!((outcome("gateway role"), outcome("left-overs")), (json!("warning"), json!("fault")));
    assert_eq!(outcome("stages"), "ok");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_while_a_canary_runs_ends_the_canary_and_moves_nothing_itself() -> anyhow::Result<()> {
    let cloud = Cloud::start().await?;
    let shell = cloud.shell()?;
    cloud.aws().begin(&["login", "mfa"], 28).unwrap();
    let dry = shell.run("deploy rollback --stack prod --dry-run --json")?.json(0)?;
    assert_eq!(outcomes(&dry), ["goes back with the stack", "would roll back", "would roll back"]);
    assert_eq!(cloud.changes(), [""; 0]);

    let done = shell.run("deploy rollback --stack prod --json")?.json(0)?;
    assert_eq!(outcomes(&done), ["goes back with the stack", "rolled back", "rolled back"]);
    assert_eq!(done["stopped"], json!(["d-1", "d-2"]));
    let changes = cloud.changes();
    assert_eq!(changes.iter().filter(|change| change.contains("StopDeployment")).count(), 2, "{changes:?}");
    assert!(!changes.iter().any(|change| change.starts_with("PUT ")), "{changes:?}");
    assert!(changes.last().unwrap().contains("prod-login 8 to 7, prod-mfa 8 to 7"), "{changes:?}");
    // The end of the canary's time changes nothing any more.
    cloud.aws().finish();
    assert_eq!(cloud.serving(), at(7, 7, 7));
    // The record has what serves: the next release needs nothing before it.
    cloud.aws().release(&["login"], 29).unwrap();
    assert_eq!(cloud.serving(), at(7, 9, 7));
    Ok(())
}

/// Why the canary is ended first: whoever moves the alias under it is overtaken.
#[tokio::test]
async fn an_alias_that_is_moved_under_a_canary_meets_the_release_after_all() -> anyhow::Result<()> {
    let cloud = Cloud::start().await?;
    cloud.aws().begin(&["login"], 28).unwrap();
    let moved = json!({"FunctionVersion": "7", "RevisionId": "1"}).to_string();
    let (status, _) =
        cloud.aws().answer(&Method::PUT, "/2015-03-31/functions/prod-login/aliases/live", "", &moved);
    assert_eq!((status, cloud.serving()), (200, at(7, 7, 7)));
    cloud.aws().finish();
    assert_eq!(cloud.serving(), at(7, 8, 7));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_alias_is_moved_while_the_stack_is_under_way() -> anyhow::Result<()> {
    let cloud = Cloud::start().await?;
    let shell = cloud.shell()?;
    cloud.aws().release(&["login"], 28).unwrap();
    for (status, next) in [
        ("UPDATE_IN_PROGRESS", "aws cloudformation cancel-update-stack --stack-name prod"),
        ("UPDATE_ROLLBACK_IN_PROGRESS", "goes back already"),
        ("UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS", "goes back already"),
        ("DELETE_IN_PROGRESS", "wait until that is over"),
    ] {
        cloud.aws().status = status;
        let (code, message) = shell.run("deploy rollback --stack prod --json")?.error(4)?;
        assert_eq!(code, "stack_busy", "{status}");
        assert!(message.contains(next), "{status}: {message}");
        assert_eq!(cloud.changes(), [""; 0]);
    }
    cloud.aws().status = "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS";
    shell.run("deploy rollback --stack prod --json")?.json(0)?;
    assert_eq!(cloud.serving(), at(7, 7, 7));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_without_aliases_has_nothing_to_roll_back_and_is_told_where_to_read() -> anyhow::Result<()> {
    let cloud = Cloud::start().await?;
    cloud.aws().functions.clear();
    let (code, message) = cloud.shell()?.run("deploy rollback --stack prod --json")?.error(4)?;
    assert_eq!(code, "nothing_to_roll_back");
    assert!(message.contains("sallyport runbook show rollback"), "{message}");
    Ok(())
}
