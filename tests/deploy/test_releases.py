"""Releases behind aliases, one after the other, in the emulator: with nothing changed, with one function changed, back, and on.
The functions are small ones in place of the shipped; versions, aliases and what makes a release another are the template's
own, as SAM translates them. CodeDeploy is in no emulator: its part is in ops/cli/tests/cli/releases.rs."""

import json
import subprocess

import pytest
from botocore.exceptions import WaiterError

from deployment import clean_environment, run
from template import ROOT, load
from test_gradual import CALLED, transformed

STACK = "sallyport-releases"
CODE = "def handle(event, context):\n    return {!r}\n"


class Releases:
    """One stack, deployed again and again."""

    def __init__(self, emulator, binary, directory, name=STACK):
        self.emulator, self.binary, self.directory, self.name = emulator, binary, directory, name
        self.formation, self.functions = emulator.client("cloudformation"), emulator.client("lambda")
        self.role = emulator.client("iam").create_role(
            RoleName=name, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": []})
        )["Role"]["Arn"]
        self.exists = False
        self.count = 0

    def written(self):
        """What `sallyport deploy template` writes for the next release, in its own directory: the paths in it lead nowhere."""
        self.count += 1
        source, target = self.directory / "template.yaml", self.directory / "written.yaml"
        source.write_text((ROOT / "template.yaml").read_text())
        command = [self.binary, "deploy", "template", "--at-once", "--from", source, "--to", target]
        run(command, clean_environment())
        text = target.read_text()
        release = text.split('AutoPublishCodeSha256: "')[1].split('"')[0]
        # Releases of one second would be one; SAM looks at the first ten characters.
        target.write_text(text.replace(f'"{release}"', f'"{self.count:02}{release}"'))
        return target

    def reduced(self, code):
        """Functions, versions and aliases, with code that the emulator runs."""
        translated = transformed(load.__wrapped__(self.written()))
        kept = {}
        for name, resource in translated.items():
            if resource["Type"] in ("AWS::Lambda::Version", "AWS::Lambda::Alias"):
                kept[name] = {key: value for key, value in resource.items() if key != "Condition"}
            if resource["Type"] == "AWS::Lambda::Function":
                binary = translated[name]["Properties"]["FunctionName"]["Fn::Sub"].rsplit("-", 1)[-1]
                if binary not in CALLED:
                    continue
                variables = resource["Properties"]["Environment"]["Variables"]
                kept[name] = {"Type": resource["Type"], "Properties": {
                    "FunctionName": f"{self.name}-{binary}", "Runtime": "python3.12", "Handler": "index.handle",
                    "Role": self.role, "Code": {"ZipFile": CODE.format(code.get(binary, "first"))},
                    # What refers to other resources is the same in each release.
                    "Environment": {"Variables": {k: v for k, v in variables.items() if isinstance(v, str)}},
                }}
        return {"Resources": kept}

    def deploy(self, template):
        body = template if isinstance(template, str) else json.dumps(template)
        change = self.formation.update_stack if self.exists else self.formation.create_stack
        change(StackName=self.name, TemplateBody=body, Capabilities=["CAPABILITY_IAM"])
        waiter = self.formation.get_waiter("stack_update_complete" if self.exists else "stack_create_complete")
        waiter.wait(StackName=self.name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
        self.exists = True

    def release(self, **code):
        self.deploy(self.reduced(code))

    def serving(self):
        return {
            function: int(self.functions.get_alias(FunctionName=f"{self.name}-{function}", Name="live")["FunctionVersion"])
            for function in CALLED
        }

    def command(self, *arguments):
        """The exit code, and what was said."""
        done = subprocess.run(
            [str(word) for word in (self.binary, "--stack", self.name, "--json", "deploy", *arguments)],
            env=self.emulator.environment(), stdin=subprocess.DEVNULL, text=True, capture_output=True, timeout=60,
        )
        return done.returncode, json.loads(done.stdout.strip() or done.stderr.strip().splitlines()[-1])

    def reasons(self):
        events = self.formation.describe_stack_events(StackName=self.name)["StackEvents"]
        return " ".join(event.get("ResourceStatusReason", "") for event in events)


@pytest.fixture
def releases(emulator, binary, tmp_path, request):
    releases = Releases(emulator, binary, tmp_path, f"{STACK}-{len(request.node.name)}")
    try:
        yield releases
    finally:
        releases.formation.delete_stack(StackName=releases.name)
        emulator.client("iam").delete_role(RoleName=releases.name)


def at(version, **others):
    return {function: others.get(function, version) for function in CALLED}


def test_a_release_reaches_every_function_when_none_one_or_all_have_changed(releases):
    releases.release()
    first = releases.serving()
    for code in ({}, {"login": "second"}, {function: "third" for function in CALLED}):
        before = releases.serving()
        releases.release(**code)
        assert releases.serving() == {function: version + 1 for function, version in before.items()}, code
    assert releases.serving() == {function: version + 3 for function, version in first.items()}


def test_without_what_differs_lambda_publishes_no_version_and_the_update_fails(releases):
    releases.release()
    template = releases.reduced({})
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Lambda::Function":
            resource["Properties"]["Environment"]["Variables"]["SALLYPORT_RELEASE"] = "the same"
    releases.deploy(template)
    # Another name of the version's resource, and nothing else.
    renamed = json.loads(json.dumps(template))
    for name in [n for n, r in template["Resources"].items() if r["Type"] == "AWS::Lambda::Version"]:
        renamed["Resources"][f"{name}x"] = renamed["Resources"].pop(name)
    text = json.dumps(renamed)
    for name in [n for n, r in template["Resources"].items() if r["Type"] == "AWS::Lambda::Version"]:
        text = text.replace(f'["{name}", "Version"]', f'["{name}x", "Version"]')
    with pytest.raises(WaiterError):
        releases.deploy(text)
    assert "A version for this Lambda function exists" in releases.reasons()


def test_a_release_goes_back_is_settled_and_the_next_one_goes_out(releases, tmp_path):
    releases.release()
    first = releases.serving()
    releases.release(login="broken")
    assert releases.serving() == {function: version + 1 for function, version in first.items()}

    code, report = releases.command("rollback")
    assert (code, {step["outcome"] for step in report["steps"]}) == (0, {"rolled back"}), report
    assert releases.serving() == first
    # What comes next would begin with the release that was taken back.
    code, refused = releases.command("template", "--from", tmp_path / "template.yaml", "--to", tmp_path / "gradual.yaml")
    assert (code, refused["error"]["code"]) == (4, "aliases_moved")

    settled = tmp_path / "settled.json"
    code, report = releases.command("settle", "--to", settled)
    assert (code, {alias["serves"] for alias in report["aliases"]}) == (0, set(first.values())), report
    releases.deploy(settled.read_text())
    assert releases.serving() == first
    assert releases.command("settle", "--to", settled)[1]["aliases"] == []
    assert releases.command("template", "--from", tmp_path / "template.yaml", "--to", tmp_path / "gradual.yaml")[0] == 0

    releases.release(login="mended")
    assert releases.serving() == {function: version + 2 for function, version in first.items()}
