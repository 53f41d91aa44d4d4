"""The template of a gradual deployment, as `sallyport deploy template` writes it. No emulator takes it: linters do, and SAM's
own translator says what CloudFormation would be given."""

import json
import subprocess
import tomllib

import pytest
from samtranslator.translator.transform import transform

from deployment import CREDENTIALS, clean_environment, run, target_directory
from template import HOOK, ROOT, functions, hooks, load, routes

CALLED = {function for _, _, function in routes()}
GRADUAL = "gradual.yaml"


@pytest.fixture(scope="module")
def written():
    """Beside template.yaml, whose paths are relative; whatever was there comes back."""
    path = ROOT / GRADUAL
    before = path.read_text() if path.exists() else None
    # The whole workspace's features, as the suites before have built it.
    subprocess.run(["cargo", "build", "--quiet", "--workspace", "--bin", "sallyport"], cwd=ROOT, check=True)
    command = [target_directory() / "debug" / "sallyport", "deploy", "template"]
    run([*command, "--from", "template.yaml", "--to", GRADUAL], clean_environment())
    load.cache_clear()
    try:
        yield path
    finally:
        load.cache_clear()
        path.unlink() if before is None else path.write_text(before)


def transformed(template):
    """What SAM makes of a template."""
    values = {name: str(parameter["Default"]) for name, parameter in template["Parameters"].items()}
    policies = {"AWSXrayWriteOnlyAccess": "arn:aws:iam::aws:policy/AWSXrayWriteOnlyAccess"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        document = json.loads(json.dumps(template))
        for resource in document["Resources"].values():
            if resource["Type"] == "AWS::Serverless::Function":
                # `sam package` puts the archive's address here.
                resource["Properties"]["CodeUri"] = "s3://bucket/key"
        return transform(document, values, type("Policies", (), {"load": lambda self: policies})())["Resources"]


@pytest.fixture(scope="module")
def translated(written):
    return transformed(load(GRADUAL))


def test_linters_take_it(written):
    run(["cfn-lint", written], clean_environment())
    run(["sam", "validate", "--lint", "--template", written], clean_environment())


def test_every_function_that_answers_callers_waits_for_the_hook(written):
    gradual = load(GRADUAL)["Resources"]
    waiting = {
        resource["Metadata"]["BuildProperties"]["Binary"]
        for resource in gradual.values()
        if resource.get("Properties", {}).get("DeploymentPreference", {}).get("Hooks") == {"PreTraffic": {"Ref": "Smoke"}}
    }
    assert waiting == CALLED
    # The hook itself is deployed at once: nobody would try it.
    assert "AutoPublishAlias" not in gradual["Smoke"]["Properties"]
    assert set(gradual) - set(load()["Resources"]) == set(load(HOOK))


def test_the_hook_is_asked_by_every_alias(translated):
    aliases = {name: r for name, r in translated.items() if r["Type"] == "AWS::Lambda::Alias"}
    assert len(aliases) == len(CALLED)
    for alias in aliases.values():
        assert alias["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]["BeforeAllowTrafficHook"] == {"Ref": "Smoke"}


def test_the_hook_is_no_part_of_what_it_judges(translated):
    """Which version it tries CodeDeploy says. A variable with the versions would change with the deployment that it judges, and
    nothing ties the aliases behind that change."""
    assert not [name for name in referred(translated["Smoke"]) if translated.get(name, {}).get("Type") == "AWS::Lambda::Version"]


def test_every_function_of_a_release_is_configured_otherwise_than_in_the_last(written, translated):
    """Else Lambda publishes no version, and CloudFormation fails: "A version for this Lambda function exists"."""
    release = load(GRADUAL)["Resources"]["Login"]["Properties"]["AutoPublishCodeSha256"]
    aliases = [r for r in translated.values() if r["Type"] == "AWS::Lambda::Alias"]
    for alias in aliases:
        variables = translated[alias["Properties"]["FunctionName"]["Ref"]]["Properties"]["Environment"]["Variables"]
        assert variables["SALLYPORT_RELEASE"] == release


def referred(node):
    """Logical ids in a node."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "Ref":
                yield value
            elif key == "Fn::GetAtt":
                yield value[0] if isinstance(value, list) else value.split(".")[0]
            elif key == "Fn::Sub":
                text = value if isinstance(value, str) else value[0]
                yield from (part.split("}")[0].split(".")[0] for part in text.split("${")[1:])
                yield from referred(value)
            elif key == "DependsOn":
                yield from [value] if isinstance(value, str) else value
            else:
                yield from referred(value)
    elif isinstance(node, list):
        for value in node:
            yield from referred(value)


def test_nothing_waits_for_itself(translated):
    needs = {name: {r for r in referred(resource) if r in translated} for name, resource in translated.items()}
    assert "Smoke" in needs[next(name for name, r in translated.items() if r["Type"] == "AWS::Lambda::Alias")]
    while ready := {name for name, of in needs.items() if not of}:
        needs = {name: of - ready for name, of in needs.items() if name not in ready}
    assert needs == {}


def test_codedeploy_may_call_the_hook():
    """https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AWSCodeDeployRoleForLambda.html"""
    assert hooks()["smoke"]["FunctionName"]["Fn::Sub"].startswith("CodeDeployHook_")


def test_the_hook_is_a_crate_with_a_log_group_that_forgets_and_has_time_for_its_version():
    smoke = hooks()["smoke"]
    manifest = tomllib.loads((ROOT / "functions/smoke/Cargo.toml").read_text())
    assert (manifest["package"]["name"], smoke["CodeUri"]) == ("smoke", "functions/smoke")
    group = load(HOOK)[smoke["LoggingConfig"]["LogGroup"]["Ref"]]["Properties"]
    assert group["RetentionInDays"] == {"Ref": "LogRetentionDays"}
    # CodeDeploy gives a hook an hour, Lambda fifteen minutes.
    assert 25 + 4 < smoke["Timeout"] <= 900
