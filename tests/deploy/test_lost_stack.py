"""docs/LOST-STACK.md, played: the commands of the page bring what a stack has left into another one."""

import json
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from template import ROOT
from test_lifecycle import Data

PAGE = (ROOT / "docs/LOST-STACK.md").read_text()
OLD, NEW = "sallyport-lost", "sallyport-found"


def block(name):
    (text,) = re.findall(rf"^```sh {name}\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    return text


class Shell:
    def __init__(self, emulator, directory):
        self.environment = emulator.environment()
        self.directory = directory

    def __call__(self, name, **variables):
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block(name)], cwd=self.directory, text=True, capture_output=True,
            env=self.environment | variables, stdin=subprocess.DEVNULL, timeout=120,
        )
        assert done.returncode == 0, f"{name}: {done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture
def stacks(emulator):
    old, new = Data(emulator, OLD), Data(emulator, NEW)
    yield old, new
    dynamodb, secrets = emulator.client("dynamodb"), emulator.client("secretsmanager")
    for stack in (old, new):
        stack.update("Delete", "false") if stack is new else None
        stack.delete()
        for table in stack.tables().values():
            dynamodb.update_table(TableName=table, DeletionProtectionEnabled=False)
            dynamodb.delete_table(TableName=table)
    for secret in secrets.list_secrets()["SecretList"]:
        if secret["Name"].startswith((OLD, NEW)):
            secrets.delete_secret(SecretId=secret["ARN"], ForceDeleteWithoutRecovery=True)


def output(stack, name):
    (described,) = stack.formation.describe_stacks(StackName=stack.name)["Stacks"]
    return {each["OutputKey"]: each["OutputValue"] for each in described["Outputs"]}[name]


def test_the_pages_commands_bring_tables_and_keyring_of_a_lost_stack_into_a_new_one(emulator, stacks, tmp_path):
    old, new = stacks
    shell = Shell(emulator, tmp_path)
    dynamodb, secrets = emulator.client("dynamodb"), emulator.client("secretsmanager")
    old.create("Retain", "true")
    keyring = output(old, "KeyringSecret")
    secrets.put_secret_value(SecretId=keyring, SecretString=json.dumps({"signing": ["an old key"]}))
    keyring = secrets.describe_secret(SecretId=keyring)["ARN"]
    item = {"pk": {"S": "USER#usr_1"}, "sk": {"S": "PROFILE"}, "v": {"N": "1"}}
    kept = {name: old.tables()[name] for name in ("Users", "Audit", "Ops")}
    for table in kept.values():
        dynamodb.put_item(TableName=table, Item=item)
    old.delete()
    assert set(kept.values()) <= set(old.tables().values())

    new.create("Retain", "false")
    listed = shell("find", OLD=OLD)
    assert all(table in listed for table in kept.values())
    shell("keyring", OLD_KEYRING=keyring, NEW_KEYRING=output(new, "KeyringSecret"))
    tables, key = new.tables(), output(new, "KeyArn")
    # The waiters look every twenty seconds: all at once.
    with ThreadPoolExecutor() as shells:
        list(shells.map(lambda name: shell("table", FROM=kept[name], TO=tables[name], NEW_KEY=key), kept))
    shell("audit", NEW_AUDIT=new.tables()["Audit"])

    value = secrets.get_secret_value(SecretId=output(new, "KeyringSecret"))["SecretString"]
    assert json.loads(value) == {"signing": ["an old key"]}
    for name in kept:
        table = output(new, f"{name}Table")
        assert dynamodb.get_item(TableName=table, Key={k: item[k] for k in ("pk", "sk")})["Item"] == item, name
        recovery = dynamodb.describe_continuous_backups(TableName=table)["ContinuousBackupsDescription"]
        assert recovery["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"
    live = dynamodb.describe_time_to_live(TableName=new.tables()["Audit"])["TimeToLiveDescription"]
    assert live["TimeToLiveStatus"] == "ENABLED"
