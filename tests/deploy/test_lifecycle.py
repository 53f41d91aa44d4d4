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


def test_delete_leaves_nothing_of_a_stack_in_dev(emulator, artifacts):
    stack = Stack(emulator, artifacts, "sallyport-passing").deploy()
    assert Api(stack.url).get("/health/live").status_code == 200
    assert len(stack.tables()) == 6

    stack.delete()

    assert stack.tables() == []
    functions = emulator.client("lambda").list_functions()["Functions"]
    assert [f["FunctionName"] for f in functions if f["FunctionName"].startswith(f"{stack.name}-")] == []
    secrets = emulator.client("secretsmanager").list_secrets()["SecretList"]
    assert [secret["Name"] for secret in secrets if secret["Name"].startswith(f"{stack.name}-")] == []


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
