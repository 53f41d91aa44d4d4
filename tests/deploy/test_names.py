"""Two stacks in one account and region: whatever an account holds one of by a name has the stack's name in it.

The names are read from what SAM's translator makes of the templates, and which properties are names from CloudFormation's
own schemas: a resource of a kind that is new here is looked at too.
"""

import re
from types import SimpleNamespace

import pytest
from cfnlint.schema import PROVIDER_SCHEMA_MANAGER

from template import HOOK, load
from translated import translated

# Template → the parameters in which its parent passes the stack's name.
NESTED = {
    resource["Properties"]["TemplateURL"]: {
        name for name, value in resource["Properties"]["Parameters"].items() if value == {"Ref": "AWS::StackName"}
    }
    for resource in load()["Resources"].values()
    if resource["Type"] == "AWS::CloudFormation::Stack"
}

# What is a name within something that is the stack's, and whose that is.
WITHIN = {
    ("AWS::ApiGateway::Stage", "StageName"): "the API",
    ("AWS::Lambda::Alias", "Name"): "the function",
    ("AWS::Route53::RecordSet", "Name"): "the zone: the domain that the deployment was given",
    ("AWS::ApiGateway::DomainName", "DomainName"): "the internet: the domain that the deployment was given",
}

# The most characters that a service takes, by its API reference: CreateFunction, CreateSchedule, PutMetricAlarm,
# PutCompositeAlarm, PutDashboard, PutQueryDefinition, CreateLogGroup, CreateRestApi.
LONGEST = {
    "AWS::Lambda::Function": 64, "AWS::Scheduler::Schedule": 64, "AWS::CloudWatch::Alarm": 255,
    "AWS::CloudWatch::CompositeAlarm": 255, "AWS::CloudWatch::Dashboard": 255, "AWS::Logs::QueryDefinition": 255,
    "AWS::Logs::LogGroup": 512, "AWS::ApiGateway::RestApi": 1024,
}
# As docs/OPERATIONS.md says: at most, and at most for who deploys gradually.
STACK, STACK_WITH_HOOK = 52, 43


def name_properties(kind):
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", kind).schema
    own = {"Name", kind.split("::")[-1] + "Name"}
    fixed = {path.split("/")[-1] for path in [*schema.get("primaryIdentifier", []), *schema.get("createOnlyProperties", [])]}
    return {name for name in schema["properties"] if name in own or (name in fixed and name.endswith("Name"))}


def written(value, names):
    """The text of a name, the stack's in braces; `None` where it only says which other resource is meant."""
    if isinstance(value, str):
        return value
    if "Ref" in value:
        return "{stack}" if value["Ref"] in names else None
    if "Fn::Sub" in value:
        text = value["Fn::Sub"]
        for name in names:
            text = text.replace(f"${{{name}}}", "{stack}")
        return text
    return None


def named():
    """(template, logical id, type, property, text) of every name that is written down."""
    templates = {"template.yaml": (translated(), {"AWS::StackName"})}
    templates |= {name: (load(name)["Resources"], {*parameters, "AWS::StackName"}) for name, parameters in NESTED.items()}
    hook = {logical: r | {"Type": r["Type"].replace("Serverless", "Lambda")} for logical, r in load(HOOK).items()}
    templates["the hook"] = (hook, {"AWS::StackName"})
    for template, (resources, names) in templates.items():
        for logical, resource in resources.items():
            for name in name_properties(resource["Type"]):
                value = resource.get("Properties", {}).get(name)
                text = value and written(value, names)
                if text:
                    yield template, logical, resource["Type"], name, text


NAMED = list(named())


def test_every_kind_of_name_is_looked_at():
    kinds = {kind for _, _, kind, _, _ in NAMED}
    assert kinds >= {
        "AWS::ApiGateway::RestApi", "AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm", "AWS::CloudWatch::Dashboard",
        "AWS::Lambda::Function", "AWS::Logs::LogGroup", "AWS::Logs::QueryDefinition", "AWS::Scheduler::Schedule",
    }
    schedules = [logical for _, logical, kind, _, _ in NAMED if kind == "AWS::Scheduler::Schedule"]
    assert len(schedules) == sum(r["Type"] == "AWS::Scheduler::Schedule" for r in translated().values())


def test_whatever_an_account_holds_one_of_has_the_stacks_name():
    shared = [entry for entry in NAMED if entry[2:4] not in WITHIN and "{stack}" not in entry[4]]
    assert shared == []


def test_no_two_resources_of_a_stack_have_one_name():
    seen = [(kind, text) for _, _, kind, _, text in NAMED]
    assert sorted({entry for entry in seen if seen.count(entry) > 1}) == []


@pytest.mark.parametrize("kind", sorted(LONGEST))
def test_a_stacks_name_of_the_documented_length_fits(kind):
    for template, logical, _, _, text in (entry for entry in NAMED if entry[2] == kind):
        stack = STACK_WITH_HOOK if template == "the hook" else STACK
        longest = re.sub(r"\$\{[^}]*\}", "x" * 20, text.replace("{stack}", "s" * stack))
        assert len(longest) <= LONGEST[kind], f"{logical}: {text}"


def test_the_documented_lengths_are_as_long_as_they_can_be():
    functions = [(template, text) for template, _, kind, _, text in NAMED if kind == "AWS::Lambda::Function"]
    longest = max(len(text.replace("{stack}", "")) for template, text in functions if template == "template.yaml")
    hook = max(len(text.replace("{stack}", "")) for template, text in functions if template == "the hook")
    assert (STACK, STACK_WITH_HOOK) == (64 - longest, 64 - hook)


def test_a_changed_parameter_makes_a_deployment_of_the_api():
    """The gateway's own answers have the pages' address and the origins in them; SAM names a deployment after the routes."""
    def deployments(second, **parameters):
        # SAM names it after the second in which it translates.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("samtranslator.model.apigateway.time", SimpleNamespace(time=lambda: second))
            return {n for n, r in translated(**parameters).items() if r["Type"] == "AWS::ApiGateway::Deployment"}

    assert deployments(1) != deployments(2, DocsUrl="https://docs.example.com/errors")


def test_a_boundary_bounds_every_role():
    bounded = {"Fn::If": ["HasBoundary", {"Ref": "PermissionsBoundary"}, {"Ref": "AWS::NoValue"}]}
    roles = {name: r["Properties"] for name, r in translated().items() if r["Type"] == "AWS::IAM::Role"}
    assert roles and {name for name, role in roles.items() if role.get("PermissionsBoundary") != bounded} == set()


def test_no_function_can_make_a_log_group():
    """Lambda writes the last lines late: a group that a removed stack has deleted would be there again, in the next one's way."""
    for name, role in translated().items():
        if role["Type"] != "AWS::IAM::Role" or name == "ApiLogRole" or "Policies" not in role["Properties"]:
            continue
        statements = [s for p in role["Properties"]["Policies"] for s in p["PolicyDocument"]["Statement"]]
        basic = any("AWSLambdaBasicExecutionRole" in str(arn) for arn in role["Properties"].get("ManagedPolicyArns", []))
        denied = [s for s in statements if s["Effect"] == "Deny" and "logs:CreateLogGroup" in s["Action"]]
        assert not basic or denied, name
