"""What happens to data when a stack changes or goes."""

import pytest
from botocore.exceptions import ClientError

from deployment import Api, Stack
from template import ROOT


def test_update_keeps_accounts_sessions_and_keys(stack, api, user, keyring):
    session = api.signed_in(user)
    origin = "https://new.example.test"

    stack.deploy(AllowedOrigins=origin, RefreshGraceSeconds=20, LoginReservedConcurrency=5)
    try:
        assert api.get("/.well-known/jwks.json").json() == keyring
        assert api.login(user).status_code == 200
        refreshed = api.post("/api/v1/auth/refresh", {"refresh_token": session["refresh_token"]})
        assert refreshed.status_code == 200, refreshed.text
        preflight = api.call(
            "OPTIONS", "/api/v1/auth/login",
            headers={"Origin": origin, "Access-Control-Request-Method": "POST"},
        )
        assert preflight.headers["Access-Control-Allow-Origin"] == origin
    finally:
        stack.deploy(AllowedOrigins="https://app.example.test", RefreshGraceSeconds=10, LoginReservedConcurrency=0)


def held(emulator, stack):
    """Service → the names that the account holds for a stack, as the service itself lists them."""
    def listed(service, operation, *path):
        client = emulator.client(service)
        pages = [getattr(client, operation)()]
        if client.can_paginate(operation):
            pages = client.get_paginator(operation).paginate()
        found = []
        for page in pages:
            for entry in page.get(path[0], []):
                name = entry if isinstance(entry, str) else entry[path[1]]
                found.append(name.rsplit(":", 1)[-1].rsplit("/queue/", 1)[-1] if service in ("sns", "sqs") else name)
        begins = (f"{stack.name}-", f"/sallyport/{stack.name}/")
        return sorted(name.rsplit("/", 1)[-1] if service == "sqs" else name for name in found
                      if name.rsplit("/", 1)[-1].startswith(begins[0]) or name.startswith(begins[1]))

    return {
        "alarms": listed("cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName"),
        "functions": listed("lambda", "list_functions", "Functions", "FunctionName"),
        "log groups": listed("logs", "describe_log_groups", "logGroups", "logGroupName"),
        "queues": listed("sqs", "list_queues", "QueueUrls"),
        "roles": listed("iam", "list_roles", "Roles", "RoleName"),
        "rules": listed("events", "list_rules", "Rules", "Name"),
        # An emulator may swallow the refusal of a name that is taken: what counts is that each stack has its own.
        "schedules": listed("scheduler", "list_schedules", "Schedules", "Name"),
        "secrets": listed("secretsmanager", "list_secrets", "SecretList", "Name"),
        "tables": stack.tables(),
        "topics": listed("sns", "list_topics", "Topics", "TopicArn"),
    }


DOMAIN = "passing.example.test"


def test_two_stacks_stand_side_by_side_and_one_is_taken_down(emulator, artifacts, stack, api, user):
    mine = held(emulator, stack)
    assert {kind for kind, names in mine.items() if not names} <= {"secrets"}, mine
    passing = Stack(emulator, artifacts, "sallyport-passing")
    # The second has a domain of its own, which is its issuer.
    del passing.parameters["Issuer"]
    passing.parameters |= {
        "DomainName": DOMAIN,
        "CertificateArn": "arn:aws:acm:us-east-1:000000000000:certificate/1f0c2a6e-0000-4000-8000-0123456789ab",
    }
    passing.deploy()
    theirs = held(emulator, passing)
    assert {kind: len(names) for kind, names in theirs.items()} == {kind: len(names) for kind, names in mine.items()}
    assert held(emulator, stack) == mine
    scheduler = emulator.client("scheduler")
    for name in theirs["schedules"]:
        assert f":function:{passing.name}-" in scheduler.get_schedule(Name=name)["Target"]["Arn"]
    assert passing.outputs["ApiUrl"] == passing.outputs["Issuer"] == f"https://{DOMAIN}"
    at_the_domain = Api(emulator.url)
    at_the_domain.session.headers["Host"] = DOMAIN
    assert at_the_domain.get("/health/live").status_code == 200
    assert at_the_domain.get("/.well-known/openid-configuration").json()["issuer"] == f"https://{DOMAIN}"

    passing.delete()

    left = held(emulator, passing)
    assert {kind: names for kind, names in left.items() if names} == {}
    assert held(emulator, stack) == mine
    assert api.signed_in(user)["refresh_token"]

    # Its name is free again at once.
    passing.deploy()
    passing.delete()


class Data:
    """infra/data.yaml as a stack of its own: the emulator forgets DeletionPolicy, and attributes, in nested stacks."""

    def __init__(self, emulator, name):
        self.emulator, self.name = emulator, name
        self.formation = emulator.client("cloudformation")
        self.dynamodb = emulator.client("dynamodb")

    def _change(self, change, waiter, retention, protection):
        change(
            StackName=self.name, TemplateBody=(ROOT / "infra/data.yaml").read_text(),
            Capabilities=["CAPABILITY_AUTO_EXPAND"],
            Parameters=[
                {"ParameterKey": "Stage", "ParameterValue": "dev"},
                {"ParameterKey": "RetentionPolicy", "ParameterValue": retention},
                {"ParameterKey": "DeletionProtection", "ParameterValue": protection},
            ],
        )
        self.formation.get_waiter(waiter).wait(StackName=self.name, WaiterConfig={"Delay": 1})
        return self

    def create(self, retention, protection):
        return self._change(self.formation.create_stack, "stack_create_complete", retention, protection)

    def update(self, retention, protection):
        return self._change(self.formation.update_stack, "stack_update_complete", retention, protection)

    def delete(self):
        self.formation.delete_stack(StackName=self.name)
        self.formation.get_waiter("stack_delete_complete").wait(StackName=self.name, WaiterConfig={"Delay": 1})

    def tables(self):
        names = self.dynamodb.list_tables()["TableNames"]
        return {name.split("-")[-2]: name for name in names if name.startswith(f"{self.name}-")}


@pytest.fixture
def data(emulator):
    data = Data(emulator, "sallyport-data")
    yield data
    for name in data.tables().values():
        data.dynamodb.update_table(TableName=name, DeletionProtectionEnabled=False)
        data.dynamodb.delete_table(TableName=name)


ACCOUNT = {"pk": {"S": "USER#usr_x"}, "sk": {"S": "PROFILE"}}


def test_protected_data_outlives_its_stack(data):
    users = data.create("Retain", "true").tables()["Users"]
    data.dynamodb.put_item(TableName=users, Item=ACCOUNT)
    with pytest.raises(ClientError, match="(?i)deletion protection"):
        data.dynamodb.delete_table(TableName=users)

    data.delete()

    assert set(data.tables()) == {"Users", "Sessions", "Outbox", "Audit", "Ops"}
    assert data.dynamodb.get_item(TableName=users, Key=ACCOUNT)["Item"] == ACCOUNT


def test_protection_is_switched_on_without_touching_data(data):
    before = data.create("Delete", "false").tables()
    data.dynamodb.put_item(TableName=before["Users"], Item=ACCOUNT)

    assert data.update("Retain", "true").tables() == before

    described = data.dynamodb.describe_table(TableName=before["Users"])["Table"]
    assert described["DeletionProtectionEnabled"] is True
    assert data.dynamodb.get_item(TableName=before["Users"], Key=ACCOUNT)["Item"] == ACCOUNT
    data.delete()
