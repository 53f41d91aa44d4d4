"""Least privilege, in both directions: what a function may call is what it calls.

The recording comes from the black-box suite (tests/api), which writes each function's calls as
{"login": ["dynamodb:GetItem Users", "secretsmanager:GetSecretValue keyring", ...], ...}. A transaction is recorded
(or counted here) as the item operations that it consists of, since those are what IAM looks at.
"""

import json
import os
import re

import pytest

from deployment import target_directory
from template import ROOT, functions, hooks

# What a secret's key must allow for a call on the secret: nothing more, and only through Secrets Manager.
KEY_ACTIONS = {
    "secretsmanager:GetSecretValue": {"kms:Decrypt"},
    "secretsmanager:PutSecretValue": {"kms:Decrypt", "kms:GenerateDataKey"},
}

# IAM takes no resource for these: https://docs.aws.amazon.com/service-authorization/latest/reference/
WITHOUT_RESOURCE = {
    "cloudwatch:GetMetricData", "logs:GetQueryResults", "dynamodb:ListBackups", "dynamodb:ListStreams",
}

ARN = "arn:${{AWS::Partition}}:{}:${{AWS::Region}}:${{AWS::AccountId}}:{}"

# Tables that a restore drill makes and deletes again.
SCRATCH = {"Fn::Sub": "arn:${AWS::Partition}:dynamodb:${AWS::Region}:${AWS::AccountId}:table/${AWS::StackName}-drill-*"}
# A group's name is no resource of the call that lists groups by their beginnings.
LOG_GROUPS = {"Fn::Sub": ARN.format("logs", "log-group:*")}

# What nobody calls by itself: Lambda reads the stream for the function, DynamoDB asks for these of whoever restores, and an
# interrupted drill needs some only then. An empty table has nothing to query.
UNRECORDED = {
    "maintenance": {
        "dynamodb:DescribeStream SessionsStreamArn", "dynamodb:GetRecords SessionsStreamArn",
        "dynamodb:GetShardIterator SessionsStreamArn", "dynamodb:ListStreams *", "dynamodb:ListBackups *",
        "dynamodb:Query Scratch", "dynamodb:DeleteItem Scratch", "dynamodb:DeleteItem Ops",
        "dynamodb:RestoreTableToPointInTime Scratch", "dynamodb:RestoreTableToPointInTime Audit",
        "dynamodb:RestoreTableToPointInTime Ops", "dynamodb:GetItem Users", "dynamodb:UpdateItem Users",
        "dynamodb:PutItem Users",
    },
}

# Where there is no backup to restore, a drill copies what it reads: an emulator, never AWS.
ONLY_ON_EMULATORS = {
    "maintenance": {
        "dynamodb:Scan Users", "dynamodb:Scan Audit", "dynamodb:Scan Ops",
        "dynamodb:ListBackups Users", "dynamodb:ListBackups Audit", "dynamodb:ListBackups Ops",
    },
}


def statements(function):
    for policy in (functions() | hooks())[function]["Policies"]:
        yield from (statement for statement in policy["Statement"] if statement["Effect"] == "Allow")


@pytest.mark.parametrize("function", sorted(functions() | hooks()))
def test_nothing_is_denied_but_to_make_log_groups(function):
    denied = [s for p in (functions() | hooks())[function]["Policies"] for s in p["Statement"] if s["Effect"] != "Allow"]
    (statement,) = denied
    assert statement["Action"] == ["logs:CreateLogGroup"]
    assert statement["Resource"] == {"Fn::Sub": ARN.format("logs", "log-group:/sallyport/${AWS::StackName}/*")}


def target(resource):
    """`!GetAtt Data.Outputs.UsersTableArn` → `Users`, `!GetAtt Data.Outputs.KeyringSecret` → `keyring`."""
    if resource == "*":
        return resource
    if resource == SCRATCH:
        return "Scratch"
    resource, attribute = resource["Fn::GetAtt"]
    if attribute == "Arn":
        return resource.lower()
    output = attribute.removeprefix("Outputs.")
    if output.endswith("TableArn"):
        return output.removesuffix("TableArn")
    if output.endswith("Secret"):
        return output.removesuffix("Secret").lower()
    return output


def granted(function, service):
    return {
        f"{action} {target(resource)}"
        for statement in statements(function)
        for action in statement["Action"]
        for resource in (statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]])
        if action.split(":")[0] in service
    }


@pytest.fixture(scope="module")
def recorded():
    path = target_directory() / "sallyport-calls.json"
    if not path.exists():
        message = f"no recording of calls at {path}: `tests/run api` writes it"
        if os.environ.get("SALLYPORT_CALLS_REQUIRED"):
            pytest.fail(message)
        pytest.skip(message)
    return json.loads(path.read_text())


@pytest.mark.parametrize("function", sorted(functions()))
def test_statements_are_the_recorded_calls(function, recorded):
    calls = set(recorded.get(function, [])) - ONLY_ON_EMULATORS.get(function, set())
    allowed = granted(function, {"dynamodb", "lambda", "secretsmanager"})
    allowed -= UNRECORDED.get(function, set()) - calls
    assert {"missing": sorted(calls - allowed), "superfluous": sorted(allowed - calls)} == {
        "missing": [], "superfluous": [],
    }


def test_recording_knows_no_other_functions(recorded):
    assert set(recorded) - set(functions()) - set(hooks()) == set()


def test_the_hook_may_call_what_it_calls_and_tell_codedeploy(recorded):
    """It holds no statement on a table or a secret: what it proves of those, the versions prove that it asks."""
    versions, verdict = statements("smoke")
    named = {
        f"{action} {resource['Fn::Sub'].removeprefix(ARN.format('lambda', 'function:${AWS::StackName}-')).removesuffix(':*')}"
        for action in versions["Action"] for resource in versions["Resource"]
    }
    assert verdict["Resource"]["Fn::Sub"] == ARN.format("codedeploy", "deploymentgroup:${ServerlessDeploymentApplication}/*")
    assert {s["Effect"] for s in (versions, verdict)} == {"Allow"}
    assert named | set(verdict["Action"]) == set(recorded["smoke"])


@pytest.mark.parametrize("function", sorted(functions()))
def test_no_wildcards(function):
    for statement in statements(function):
        assert isinstance(statement["Action"], list), statement["Sid"]
        assert [action for action in statement["Action"] if "*" in action] == [], statement["Sid"]
        if set(statement["Action"]) <= WITHOUT_RESOURCE:
            assert statement["Resource"] == "*"
        else:
            named = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
            broad = [LOG_GROUPS] if statement["Action"] == ["logs:DescribeLogGroups"] else [SCRATCH]
            assert all("Fn::GetAtt" in resource or resource in broad for resource in named), f"{statement['Sid']}: name resources"
        assert statement["Effect"] == "Allow"


@pytest.mark.parametrize("function", sorted(functions()))
def test_key_serves_the_secrets_and_nothing_else(function):
    needed = set().union(
        *(KEY_ACTIONS.get(grant.split()[0], set()) for grant in granted(function, {"secretsmanager"}))
    )
    key = [s for s in statements(function) if any(a.startswith("kms:") for a in s["Action"])]
    assert set().union(*(s["Action"] for s in key)) == needed
    for statement in key:
        via = statement["Condition"]["StringEquals"]["kms:ViaService"]
        assert via == {"Fn::Sub": "secretsmanager.${AWS::Region}.${AWS::URLSuffix}"}


def test_only_keys_and_rotation_write_the_keyring():
    """Neither takes input from strangers."""
    writers = {f for f in functions() if "secretsmanager:PutSecretValue keyring" in granted(f, {"secretsmanager"})}
    assert writers == {"keys", "rotation"}


@pytest.mark.parametrize("function", sorted(functions()))
def test_nobody_scans_or_deletes_tables(function):
    forbidden = {"Scan", "DeleteTable", "UpdateTable", "BatchWriteItem", "PartiQLSelect", "PartiQLUpdate"}
    found = {g for g in granted(function, {"dynamodb"}) if g.split()[0].split(":")[1] in forbidden}
    # A restore drill reads, fills and deletes tables of its own.
    assert {g for g in found if not (function == "maintenance" and g.endswith(" Scratch"))} == set()


def leading_keys(function):
    return {
        f"{target(statement['Resource'])} {key}"
        for statement in statements(function)
        for key in statement.get("Condition", {}).get("ForAllValues:StringEquals", {}).get("dynamodb:LeadingKeys", [])
    }


def test_health_alone_reads_metrics():
    assert {f: g for f in functions() if (g := granted(f, {"cloudwatch"}))} == {
        "health": {"cloudwatch:GetMetricData *"},
    }


def test_health_reads_only_what_it_probes_with():
    """Anonymous callers reach it; an account is nothing that it could hand out."""
    probed = {grant.split()[1] for grant in granted("health", {"dynamodb"})} - {"Ops"}
    told = {"Ops FLAGS", "Ops INCIDENT", "Ops INCIDENT_CAUSE"}
    assert leading_keys("health") == {f"{table} HEALTH" for table in probed} | told


# What the walk does not come to: nothing is mitigated by itself unless a deployment says so.
UNRECORDED_ITEMS = {"responder": {"dynamodb:PutItem Ops FLAGS"}}
# Read or removed when there is something of that age, or asked by a probe that the table answers without an item.
IDLE_ITEMS = {"health": {"- Sessions HEALTH"}, "maintenance": {"- Ops INCIDENT_CAUSE"}}


def reserved(function):
    """Statement → the kinds of items that it is for, of those that say so, by table and action."""
    found = {}
    for statement in statements(function):
        conditions = statement.get("Condition", {})
        keys = [
            key for operator in ("ForAllValues:StringEquals", "ForAllValues:StringLike")
            for key in conditions.get(operator, {}).get("dynamodb:LeadingKeys", [])
        ]
        for action in statement["Action"] if keys else []:
            found.setdefault(f"{action} {target(statement['Resource'])}", set()).update(key.split("#")[0] for key in keys)
    return found


@pytest.fixture(scope="module")
def items(recorded):
    return json.loads((target_directory() / "sallyport-items.json").read_text())


@pytest.mark.parametrize("function", sorted(functions()))
def test_items_that_a_statement_is_for_are_those_that_are_asked_for(function, items):
    made = {}
    for entry in set(items.get(function, [])) | UNRECORDED_ITEMS.get(function, set()):
        call, kind = entry.rsplit(" ", 1)
        made.setdefault(call, set()).add(kind)
    reserved_for = reserved(function)
    # Of what is asked for nothing is refused.
    refused = {call: kinds - reserved_for[call] for call, kinds in made.items() if call in reserved_for}
    assert {call: kinds for call, kinds in refused.items() if kinds} == {}
    # And no kind is there that no call of the function asks for.
    kinds = {(call.split()[1], kind) for call, of in made.items() for kind in of}
    idle = {(call.split()[1], kind) for call, of in reserved_for.items() for kind in of} - kinds
    assert idle - {(entry.split()[1], entry.split()[2]) for entry in IDLE_ITEMS.get(function, set())} == set()


def test_who_writes_for_the_deployment_writes_into_nobodys_events():
    for function in ("keys", "rotation", "responder"):
        assert reserved(function)["dynamodb:PutItem Audit"] == {"DEPLOYMENT"}


def test_the_responder_reaches_no_client_and_a_drill_no_factor():
    assert "CLIENT" not in set().union(*(kinds for call, kinds in reserved("responder").items() if call.endswith(" Ops")))
    (profile,) = (s for s in statements("maintenance") if s["Sid"] == "CanaryProfile")
    attributes = profile["Condition"]["ForAllValues:StringEquals"]["dynamodb:Attributes"]
    source = (ROOT / "shared/aws/src/identity/accounts.rs").read_text().split("fn write_profile(")[1].split("\n}\n")[0]
    assert set(attributes) == {"pk", "sk", *re.findall(r'item\.insert\("(\w+)"', source)}
    # Of a factor and of a login record, what makes somebody else able to sign in.
    assert not {"secret", "seed", "password", "codes", "confirmed", "user_id"} & set(attributes)


def test_health_can_not_hold_the_private_keys():
    """It asks the function that may read the keyring, and invokes no other."""
    assert granted("health", {"secretsmanager"}) == {"secretsmanager:GetSecretValue providers"}
    assert granted("health", {"lambda"}) == {"lambda:InvokeFunction keys"}


def test_of_the_operators_table_functions_read_flags_and_refresh_clients_besides():
    assert leading_keys("login") == leading_keys("mfa") == {"Ops FLAGS"}
    assert leading_keys("keys") == {"Audit DEPLOYMENT", "Ops FLAGS"}
    assert leading_keys("refresh") == {"Ops CLIENT", "Ops FLAGS"}
    assert {f for f in functions() if "dynamodb:GetItem Ops" in granted(f, {"dynamodb"})} >= {"keys", "login", "mfa", "refresh"}


def test_of_users_refresh_reads_profiles_and_writes_the_epoch_alone():
    """Signing out everywhere puts the epoch up; neither a hash nor a factor is anything that tokens need."""
    users = [s for s in statements("refresh") if target(s["Resource"]) == "Users"]
    assert [(s["Action"], s["Condition"]) for s in users] == [
        (["dynamodb:GetItem"], {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["USER#*"]}}),
        (["dynamodb:UpdateItem"], {
            "ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["EMAIL#*"]},
            "ForAllValues:StringEquals": {"dynamodb:Attributes": ["pk", "sk", "epoch"]},
            "StringEqualsIfExists": {"dynamodb:ReturnValues": ["NONE", "UPDATED_OLD", "UPDATED_NEW"]},
        }),
    ]
