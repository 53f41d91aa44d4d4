"""Two deployments of the whole template in one account and region, then one of them goes."""

import pytest

from emulated import whole
from template import load, routes

NAMES = ("harbour", "beacon")
# `Retain` for what prod keeps is tested template by template.
PARAMETERS = {"Architecture": "x86_64"}


def inventory(localstack):
    """(kind, name) → what it is like, of all that the account holds."""
    pages, held = localstack.pages, {}

    def hold(kind, name, *details):
        held[kind, name] = details

    for alarm in pages("cloudwatch", "describe_alarms", "MetricAlarms"):
        hold("alarm", alarm["AlarmName"], alarm.get("Metrics"), alarm.get("Dimensions"), alarm["AlarmActions"])
    for alarm in pages("cloudwatch", "describe_alarms", "CompositeAlarms", AlarmTypes=["CompositeAlarm"]):
        hold("composite", alarm["AlarmName"], alarm["AlarmRule"], alarm["AlarmActions"])
    for topic in pages("sns", "list_topics", "Topics"):
        told = pages("sns", "list_subscriptions_by_topic", "Subscriptions", TopicArn=topic["TopicArn"])
        hold("topic", topic["TopicArn"], sorted(subscription["Endpoint"] for subscription in told))
    scheduler = localstack.client("scheduler")
    for schedule in pages("scheduler", "list_schedules", "Schedules"):
        found = scheduler.get_schedule(Name=schedule["Name"])
        hold("schedule", schedule["Name"], found["ScheduleExpression"], found["Target"]["Arn"], found["Target"]["Input"])
    events = localstack.client("events")
    for rule in pages("events", "list_rules", "Rules"):
        targets = events.list_targets_by_rule(Rule=rule["Name"])["Targets"]
        hold("rule", rule["Name"], rule["ScheduleExpression"], [target["Arn"] for target in targets])
    for group in pages("logs", "describe_log_groups", "logGroups"):
        hold("log group", group["logGroupName"])
    for function in pages("lambda", "list_functions", "Functions"):
        hold("function", function["FunctionName"], function["Role"], function["Environment"], function["LoggingConfig"])
    for secret in pages("secretsmanager", "list_secrets", "SecretList"):
        hold("secret", secret["ARN"], secret.get("KmsKeyId"))
    for queue in pages("sqs", "list_queues", "QueueUrls"):
        hold("queue", queue)
    for role in pages("iam", "list_roles", "Roles"):
        hold("role", role["RoleName"], role["AssumeRolePolicyDocument"])
    for api in pages("apigateway", "get_rest_apis", "items"):
        hold("API", api["id"], api["name"])
    kms = localstack.client("kms")
    for key in pages("kms", "list_keys", "Keys"):
        metadata = kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]
        if metadata["KeyState"] == "Enabled" and metadata["KeyManager"] == "CUSTOMER":
            hold("key", key["KeyId"], metadata["Description"])
    return held


class Seen:
    """What the account held at each step."""

    def __init__(self, localstack):
        document = whole(localstack, **PARAMETERS)
        self.nothing = inventory(localstack)
        self.first = localstack.deploy(NAMES[0], document, **PARAMETERS)
        self.one = inventory(localstack)
        self.second = localstack.deploy(NAMES[1], document, **PARAMETERS)
        self.two = inventory(localstack)
        self.outputs = self.second.outputs
        resources = localstack.pages("apigateway", "get_resources", "items", restApiId=self.outputs["ApiId"])
        self.routes = {(m, r["path"]) for r in resources for m in r.get("resourceMethods", {})}
        self.first.delete()
        self.left = inventory(localstack)

    def made_by(self, name):
        before, after = (self.nothing, self.one) if name == NAMES[0] else (self.one, self.two)
        return {entry: after[entry] for entry in after if entry not in before}


@pytest.fixture(scope="module")
def seen(localstack):
    return Seen(localstack)


def count(entries):
    kinds = [kind for kind, _ in entries]
    return {kind: kinds.count(kind) for kind in set(kinds)}


def test_a_second_deployment_has_all_that_the_first_has(seen):
    first, second = (count(seen.made_by(name)) for name in NAMES)
    assert first == second
    assert set(first) == {
        "alarm", "composite", "topic", "schedule", "rule", "log group", "function", "secret", "queue", "role", "API", "key",
    }


def test_a_second_deployment_changes_nothing_of_the_first(seen):
    assert {entry: seen.two.get(entry) for entry in seen.one} == seen.one


def test_the_end_of_the_first_deployment_takes_nothing_of_the_second(seen):
    own = seen.made_by(NAMES[1])
    assert {entry: seen.left.get(entry) for entry in own} == own


def test_a_deployment_that_ends_leaves_nothing(seen):
    # Logging is a setting of the account, and stays.
    left = {entry for entry in seen.left if entry in seen.made_by(NAMES[0])}
    assert {entry for entry in left if not entry[1].startswith(f"{NAMES[0]}-ApiLogRole")} == set()


def test_the_api_of_a_deployment_has_the_templates_routes(seen):
    assert seen.routes == {(method, path) for method, path, _ in routes()}


def test_a_deployment_has_every_output_that_is_written(seen):
    wanted = {name for name, output in load()["Outputs"].items() if "Condition" not in output}
    assert wanted <= set(seen.outputs)
    assert [name for name, value in seen.outputs.items() if "${" in value or not value] == []
