"""infra/policies: what who deploys, who runs it and who answers an incident may. Enough, and no more.

What CloudFormation calls for the deployer is in the schemas of the resources that the templates have: each handler names the
permissions that it asks the caller for. What `sam` and `sallyport` call is what they are refused without, on the emulator.
"""

import json
import re
from fnmatch import fnmatchcase
from pathlib import Path

import botocore.session
import cfnlint
import pytest
from botocore import xform_name
from cfnlint.schema import PROVIDER_SCHEMA_MANAGER

from deployment import Operator, clean_environment, run
from template import ROOT, load
from test_names import NESTED
from translated import translated

NAMES = ("deployer", "operator", "responder")
POLICIES = {name: json.loads((ROOT / f"infra/policies/{name}.json").read_text()) for name in NAMES}

# What a gradual deployment adds to the template.
GRADUAL = {"AWS::Lambda::Version", "AWS::Lambda::Alias", "AWS::CodeDeploy::Application", "AWS::CodeDeploy::DeploymentGroup"}

# `sam deploy` and `sam delete`, with the stack of their bucket.
SAM = {
    "cloudformation:CreateChangeSet", "cloudformation:DeleteChangeSet", "cloudformation:DescribeChangeSet",
    "cloudformation:DescribeStackEvents", "cloudformation:DescribeStackResource", "cloudformation:DescribeStackResources",
    "cloudformation:DescribeStacks", "cloudformation:ExecuteChangeSet", "cloudformation:GetTemplate",
    "cloudformation:GetTemplateSummary", "cloudformation:ListStackResources", "s3:CreateBucket", "s3:GetBucketLocation",
    "s3:GetObject", "s3:ListBucket", "s3:PutBucketPolicy", "s3:PutBucketPublicAccessBlock", "s3:PutBucketTagging",
    "s3:PutBucketVersioning", "s3:PutEncryptionConfiguration", "s3:PutObject", "iam:CreateServiceLinkedRole",
}

# What the page about the application calls.
SAM |= {"cloudformation:DetectStackDrift"}

# What the handlers of the same resources ask for when a template uses what ours do not.
UNUSED = {
    "a table that is replicated, imported, streamed to Kinesis, watched, or has a policy": [
        "dynamodb:*Replica", "dynamodb:*Import*", "dynamodb:*Item", "dynamodb:Query", "dynamodb:Scan", "kinesis:*",
        "dynamodb:EnableKinesis*", "dynamodb:DisableKinesis*", "dynamodb:UpdateKinesis*", "dynamodb:UpdateContributorInsights",
        "dynamodb:PutResourcePolicy", "dynamodb:DeleteResourcePolicy", "s3:GetObjectMetadata", "logs:CreateLogStream",
        "logs:DescribeLogStreams", "logs:PutLogEvents", "kms:ListAliases", "kms:RevokeGrant", "kms:Encrypt",
    ],
    "a function in a network, with a file system, a layer, a signature or capacity of its own": [
        "ec2:*", "elasticfilesystem:*", "s3files:*", "lambda:AssociateRuntimeAlias", "lambda:*CodeSigningConfig",
        "lambda:GetLayerVersion", "lambda:PassCapacityProvider", "lambda:PutProvisionedConcurrencyConfig",
        "lambda:DeleteProvisionedConcurrencyConfig", "lambda:PutFunctionRecursionConfig", "lambda:PutFunctionScalingConfig",
        "lambda:PutRuntimeManagementConfig",
    ],
    "a log group with policies or deliveries": [
        "firehose:*", "s3:REST.PUT.OBJECT", "logs:CreateLogDelivery", "logs:*DataProtectionPolicy", "logs:PutIndexPolicy",
        "logs:DeleteIndexPolicy", "logs:PutResourcePolicy", "logs:DeleteResourcePolicy", "logs:PutBearerTokenAuthentication",
        "logs:PutLogGroupDeletionProtection",
    ],
    "a secret that is generated or replicated; its value is not the deployer's": [
        "secretsmanager:GetSecretValue", "secretsmanager:GetRandomPassword", "secretsmanager:*Region*",
    ],
    "a topic with data protection, a nested stack with a policy, a server of one's own": [
        "sns:PutDataProtectionPolicy", "cloudformation:SetStackPolicy", "cloudformation:UpdateTerminationProtection",
        "codedeploy:RegisterOnPremisesInstance",
    ],
}
# What is read is read, whatever it is used for.
READ = {"lambda:GetFunctionCodeSigningConfig", "logs:GetDataProtectionPolicy"}


def actions(name):
    return {action for statement in POLICIES[name]["Statement"] for action in statement["Action"]}


def asked_of_the_deployer():
    """By every handler of every resource."""
    kinds = {resource["Type"] for resource in translated().values()} | GRADUAL
    kinds |= {resource["Type"] for template in NESTED for resource in load(template)["Resources"].values()}
    asked = set()
    for kind in kinds:
        handlers = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", kind).schema["handlers"]
        for handler in ("create", "read", "update", "delete"):
            asked |= set(handlers.get(handler, {}).get("permissions", []))
    return asked


def test_the_deployer_may_what_cloudformation_asks_for_and_no_more():
    patterns = [pattern for group in UNUSED.values() for pattern in group]
    needed = {a for a in asked_of_the_deployer() if a in READ or not any(fnmatchcase(a, p) for p in patterns)} | SAM
    allowed = actions("deployer")
    assert {"missing": sorted(needed - allowed), "superfluous": sorted(allowed - needed)} == {"missing": [], "superfluous": []}


def test_nothing_is_called_unused_that_nobody_asks_for():
    asked = asked_of_the_deployer()
    idle = [pattern for group in UNUSED.values() for pattern in group if not any(fnmatchcase(a, pattern) for a in asked)]
    assert idle == []


def rights():
    """The names of calls in the table of docs/OPERATIONS.md, with or without their service."""
    page = (ROOT / "docs/OPERATIONS.md").read_text().split("\n## Rights\n")[1].split("\n## ")[0]
    verbs = ("Batch|Cancel|Create|Decrypt|Delete|Describe|Filter|GET|Generate|Get|List|Lookup|Put|Query|Request|Restore|Scan|Set|Start"
             "|Stop|Subscribe|Tag|Update")
    return set(re.findall(rf"`(?:[a-z0-9]+:)?((?:{verbs})[A-Za-z]*)`", page))


def test_the_operator_may_what_the_commands_call_and_no_more():
    # What a restore drill and the functions' checks call stands in template.yaml, as the table says.
    (maintenance,) = (r for r in load()["Resources"].values() if r.get("Properties", {}).get("FunctionName") ==
                      {"Fn::Sub": "${AWS::StackName}-maintenance"})
    drill = {action for p in maintenance["Properties"]["Policies"] for s in p["Statement"] for action in s["Action"]}
    named = rights() | {action.split(":")[1] for action in drill}
    allowed = {action.split(":")[1] for action in actions("operator")}
    assert {"missing": sorted(rights() - allowed), "superfluous": sorted(allowed - named)} == {"missing": [], "superfluous": []}


# What the responder's policy does not reach, by the table of docs/OPERATIONS.md: secrets, clients, item formats, whole tables.
OF_THE_OPERATOR = re.compile(
    r"sallyport (keys|client|migrate|config|review|restore|backup|totp|setup|user create|user set-password|user reset-mfa"
    r"|deploy prune|alarms test|retention sweep)\b"
)


def called(page):
    """The actions of the `aws` lines of a page."""
    commands = "\n".join(re.findall(r"```sh[^\n]*\n(.*?)```", page, re.S))
    session = botocore.session.get_session()
    for service, verb in re.findall(r"\baws ([a-z-]+) ([a-z-]+)", commands):
        service = {"deploy": "codedeploy"}.get(service, service)
        operations = {xform_name(o, "-"): o for o in session.get_service_model(service).operation_names}
        operation = {"tail": "FilterLogEvents", "wait": "DescribeTable"}.get(verb) or operations[verb]
        yield f"{service.replace('-', '')}:{operation}"


@pytest.mark.parametrize("page", sorted((ROOT / "ops/runbooks").glob("*.md")), ids=lambda path: path.stem)
def test_the_rights_that_a_page_names_suffice_for_its_steps(page):
    text = page.read_text()
    (rights,) = re.findall(r"^rights: (\w+)$", text, re.M)
    if rights != "administrator":
        assert set(called(text)) - actions(rights) == set()
    if rights == "responder":
        assert OF_THE_OPERATOR.search(text.split("\n## Meaning")[1]) is None


def test_the_responder_may_less_than_the_operator_and_reaches_no_secret():
    assert actions("responder") < actions("operator")
    assert {a for a in actions("responder") if a.startswith(("secretsmanager:", "kms:", "iam:"))} == set()
    # Clients and item formats are nothing that an incident asks for.
    (ops,) = (s for s in POLICIES["responder"]["Statement"] if s["Resource"] == "arn:aws:dynamodb:*:*:table/sallyport-*-Ops-*")
    keys = ops["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"]
    assert not any(fnmatchcase(key, pattern) for key in ("CLIENT", "PROOF", "GAUGE", "MIGRATION") for pattern in keys)
    # No account is made or removed, and no password set: that writes a whole item, or reads the keyring.
    (users,) = (s for s in POLICIES["responder"]["Statement"] if str(s["Resource"]).endswith("-Users-*"))
    assert "dynamodb:PutItem" not in users["Action"] and "dynamodb:DeleteItem" not in users["Action"]


# IAM takes no resource for these, or the service makes a name of its own: then a condition says whose it is.
EVERYWHERE = {
    # Other stacks are told by their outputs.
    "cloudformation:DescribeStacks", "cloudtrail:LookupEvents", "dynamodb:ListTables", "health:DescribeEvents",
    "lambda:GetAccountSettings", "logs:DescribeExportTasks",
    "codedeploy:StopDeployment", "logs:DescribeIndexPolicies", "cloudformation:GetTemplateSummary", "cloudwatch:DescribeAlarmHistory", "cloudwatch:DescribeAlarms",
    "cloudwatch:GetMetricStatistics", "dynamodb:ListBackups", "dynamodb:ListStreams", "logs:DeleteQueryDefinition",
    "logs:DescribeLogGroups", "logs:DescribeQueryDefinitions", "logs:DescribeResourcePolicies", "logs:GetQueryResults",
    "logs:PutQueryDefinition", "route53:ChangeResourceRecordSets", "route53:GetChange", "route53:GetHostedZone",
    "route53:ListHostedZones", "route53:ListResourceRecordSets",
}


@pytest.mark.parametrize("name", NAMES)
def test_actions_are_named_and_resources_are_ours(name):
    for statement in POLICIES[name]["Statement"]:
        assert statement["Effect"] == "Allow" and "NotAction" not in statement
        assert [action for action in statement["Action"] if "*" in action] == []
        assert statement["Action"] == sorted(set(statement["Action"])), statement["Sid"]
        resources = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
        if "*" in resources and "Condition" not in statement:
            mappings = {a for a in statement["Action"] if statement["Sid"] == "EventSources"}
            assert set(statement["Action"]) - mappings <= EVERYWHERE, statement["Sid"]


@pytest.mark.parametrize("name", NAMES)
def test_what_takes_no_resource_is_given_none(name):
    """By the linter's copy of the service authorization reference: such an action is refused whatever resource is named."""
    known = json.loads((Path(cfnlint.__file__).parent / "data/AdditionalSpecs/Policies.json").read_text())
    for statement in POLICIES[name]["Statement"]:
        for action in statement["Action"]:
            service, operation = action.split(":")
            if not known[service]["Actions"][operation.lower()].get("Resources"):
                assert statement["Resource"] == "*", f"{statement['Sid']}: {action}"


@pytest.mark.parametrize("name, longest", [("deployer", 10_240), ("operator", 6_144), ("responder", 6_144)])
def test_iam_takes_it(name, longest):
    """A role's own policies have 10,240 characters, a managed policy 6,144; white space is not counted."""
    assert len(json.dumps(POLICIES[name], separators=(",", ":"))) <= longest


@pytest.mark.parametrize("name", NAMES)
def test_the_linter_knows_every_action(name, tmp_path):
    document = {"Type": "AWS::IAM::RolePolicy", "Properties": {"RoleName": "r", "PolicyName": "p", "PolicyDocument": POLICIES[name]}}
    template = tmp_path / "policy.json"
    template.write_text(json.dumps({"Resources": {"Policy": document}}))
    run(["cfn-lint", template], clean_environment())


class Person:
    """Somebody with an access key and one of the policies, in the emulator."""

    def __init__(self, emulator, name):
        self.emulator, self.url, self.name, self.iam = emulator, emulator.url, name, emulator.client("iam")
        self.iam.create_user(UserName=name)
        self.iam.put_user_policy(UserName=name, PolicyName=name, PolicyDocument=json.dumps(POLICIES[name]))
        self.key = self.iam.create_access_key(UserName=name)["AccessKey"]

    def environment(self):
        return self.emulator.environment() | {
            "AWS_ACCESS_KEY_ID": self.key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": self.key["SecretAccessKey"],
        }

    def leave(self):
        self.iam.delete_access_key(UserName=self.name, AccessKeyId=self.key["AccessKeyId"])
        self.iam.delete_user_policy(UserName=self.name, PolicyName=self.name)
        self.iam.delete_user(UserName=self.name)


class As:
    """A stack, as somebody else sees it."""

    def __init__(self, person, stack):
        self.emulator, self.name = person, stack.name


@pytest.fixture
def person(emulator):
    made = []

    def make(name):
        made.append(Person(emulator, name))
        return made[-1]

    yield make
    for person in made:
        person.leave()


# Whether a command is refused for want of a right is all that is asked here: what it does, others test. Logs are not asked: the
# emulator knows no log group in logs:StartQuery, and looks for a right to all.
INCIDENT = [
    ["mode", "set", "emergency", "--for", "5m", "--reason", "drill"], ["mode", "status"], ["mode", "clear", "emergency"],
    ["block", "add", "203.0.113.9", "--for", "5m", "--reason", "drill"], ["block", "list"], ["block", "remove", "203.0.113.9"],
    ["user", "show", "EMAIL"], ["user", "disable", "EMAIL"], ["user", "enable", "EMAIL"], ["user", "revoke-sessions", "EMAIL"],
    ["user", "unlock", "EMAIL"], ["explain", "user", "EMAIL"], ["incident", "list"],
    ["incident", "open", "--severity", "SEV3", "--cause", "security", "drill"], ["alarms", "list"],
]
EVERYTHING = [
    ["user", "create", "other-EMAIL", "--generate"], ["user", "reset-mfa", "EMAIL"], ["client", "add", "drill"], ["client", "list"],
    ["keys", "list"], ["config", "validate"], ["migrate", "status"], ["retention", "sweep"], ["sessions", "count"],
]
# (The emulator does not look at the items of a table: a client is refused on AWS alone.)
NOT_IN_AN_INCIDENT = [["keys", "list"], ["user", "create", "third-EMAIL", "--generate"]]


def said(operator, user, command):
    code, told = operator.ended(*(word.replace("EMAIL", user.email) for word in command))
    return code, json.dumps(told)


def is_denied(told):
    """Also of a part that a command does without."""
    return re.search("access_denied|no right to do this|AccessDenied|not authorized", told) is not None


def test_the_operators_policy_is_enough_for_the_commands(binary, stack, user, person):
    operator = Operator(binary, As(person("operator"), stack))
    denied = {" ".join(c): told for c in INCIDENT + EVERYTHING for _, told in [said(operator, user, c)] if is_denied(told)}
    assert denied == {}


def test_the_responders_policy_is_enough_for_an_incident_and_for_nothing_else(binary, stack, user, person):
    responder = Operator(binary, As(person("responder"), stack))
    denied = {" ".join(c): told for c in INCIDENT for _, told in [said(responder, user, c)] if is_denied(told)}
    assert denied == {}
    let = [" ".join(c) for c in NOT_IN_AN_INCIDENT if not is_denied(said(responder, user, c)[1])]
    assert let == []


def test_the_deployers_policy_is_enough_for_sam(stack, person, emulator):
    deployer = person("deployer")
    # SAM's bucket refuses plain http, which the emulator speaks.
    s3 = emulator.client("s3")
    for bucket in s3.list_buckets()["Buckets"]:
        if bucket["Name"].startswith("aws-sam-cli-managed-default-"):
            s3.delete_bucket_policy(Bucket=bucket["Name"])
    stack.emulator, emulator = deployer, stack.emulator
    try:
        stack.deploy()
    finally:
        stack.emulator = emulator
