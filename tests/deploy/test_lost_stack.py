"""docs/LOST-STACK.md, played: the commands of the page bring what a stack has left into another one."""

import json
import os
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
    def __init__(self, emulator, directory, binary):
        path = os.pathsep.join([str(binary.parent), os.environ["PATH"]])
        self.environment = emulator.environment() | {"PATH": path}
        self.directory = directory

    def __call__(self, name, **variables):
        return self.run(name, block(name), variables)

    def run(self, name, commands, variables):
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands], cwd=self.directory, text=True, capture_output=True,
            env=self.environment | variables, stdin=subprocess.DEVNULL, timeout=120,
        )
        assert done.returncode == 0, f"{name}: {done.stdout}\n{done.stderr}"
        return done.stdout

    def operator(self, commands, variables):
        """As the page has it, but for the stack: this one is data alone, and the variables name its parts."""
        return self.run(commands, commands.replace(' --stack "$NEW"', ""), variables)


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


def test_the_pages_commands_bring_tables_and_keyring_of_a_lost_stack_into_a_new_one(emulator, stacks, tmp_path, binary):
    old, new = stacks
    shell = Shell(emulator, tmp_path, binary)
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
    tables, key = new.tables(), output(new, "KeyArn")
    parts = {f"SALLYPORT_{name.upper()}_TABLE": table for name, table in tables.items()}
    parts["SALLYPORT_KEYRING_SECRET"] = output(new, "KeyringSecret")

    def lets_nobody_in():
        status = json.loads(shell.operator("sallyport mode status --json", parts))
        return [mode["mode"] for mode in status["modes"]] == ["maintenance"]

    shell.operator(block("maintenance"), parts)
    assert lets_nobody_in()
    shell("keyring", OLD_KEYRING=keyring, NEW_KEYRING=output(new, "KeyringSecret"))
    assert lets_nobody_in()
    # The old table takes the place of the mode: it is set again before there is an account that could sign in.
    shell("table", FROM=kept["Ops"], TO=tables["Ops"], NEW_KEY=key)
    shell.operator(block("maintenance"), parts)
    assert lets_nobody_in()
    # The waiters look every twenty seconds: both at once.
    with ThreadPoolExecutor() as shells:
        list(shells.map(lambda name: shell("table", FROM=kept[name], TO=tables[name], NEW_KEY=key), ("Users", "Audit")))
    assert lets_nobody_in()
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
