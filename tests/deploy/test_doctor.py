"""What `sallyport doctor` and `sallyport deploy preflight` find of what only AWS knows. Each finding is provoked, mended (by its own
line where that is a command), and gone.

A stack is never without faults in the emulator, so the exit code is 5 throughout: nobody answers at the issuer, which must be an
https URL, and nested stacks forget what protects the tables. The first test lists them, so that each goes once it is no longer
true. There is no change set there that reverts drift."""

import json
import subprocess

import pytest

from stage import AWS, TOOLS

ENCRYPTED = "is not encrypted with the deployment's own key"
EXPIRES = "does not expire items by expires_at: it grows for ever"
RESTORABLE = "has no point-in-time recovery"
UNHEARD = "only the responder listens, and it has nobody to tell"
TOPICS = ["CriticalTopic", "WarningTopic", "InfoTopic"]
# What the emulator's stack has as deployed.
FORGOTTEN = {
    "users": {ENCRYPTED, RESTORABLE}, "sessions": {ENCRYPTED, EXPIRES}, "throttle": {ENCRYPTED, EXPIRES},
    "outbox": {ENCRYPTED, EXPIRES}, "audit": {ENCRYPTED, EXPIRES, RESTORABLE}, "ops": {ENCRYPTED, RESTORABLE},
}
COMMANDS = [("doctor",), ("deploy", "preflight")]


def examine(operator, command=("doctor",)):
    code, report = operator.ended(*command)
    assert (code, report["ok"]) == (5, False), report
    for check in report["checks"]:
        assert (check["fix"] is not None) == (check["outcome"] in ("warning", "fault")), check
    checks = report["checks"]
    if command == ("deploy", "preflight"):
        # The emulator keeps no role of the account.
        (role,) = (check for check in checks if check["name"] == "gateway role")
        assert role["outcome"] == "fault"
        checks.remove(role)
    return checks


def found(operator, outcome="fault", command=("doctor",)):
    """Name and words → fix."""
    checks = examine(operator, command)
    return {(check["name"], check["what"]): check["fix"] for check in checks if check["outcome"] == outcome}


@pytest.fixture
def deployed(operator):
    """What is found before, and again afterwards."""
    before = found(operator)
    yield before
    assert found(operator) == before


@pytest.fixture
def mend(operator, tmp_path):
    """Somebody who does as the line says."""
    def play(command):
        environment = operator.stack.emulator.environment() | {"HOME": str(tmp_path), "PATH": f"{TOOLS}:/usr/bin:/bin"}
        done = subprocess.run(["sh", "-euc", AWS + command], env=environment, text=True, capture_output=True, timeout=60)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        return done.stdout
    return play


@pytest.fixture
def cloudwatch(emulator):
    return emulator.client("cloudwatch")


@pytest.fixture
def key_age(cloudwatch, stack):
    """An alarm, as one may put it again."""
    name = f"{stack.name}-key-age"
    (alarm,) = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    takes = cloudwatch.meta.service_model.operation_model("PutMetricAlarm").input_shape.members
    alarm = {member: value for member, value in alarm.items() if member in takes}
    yield alarm
    cloudwatch.put_metric_alarm(**alarm)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_stack_as_it_was_deployed(operator, command):
    checks = examine(operator, command)
    faults = {(check["name"].split(" table ")[0], check["what"]) for check in checks if check["outcome"] == "fault"}
    assert faults == {
        *((table, what) for table, problems in FORGOTTEN.items() for what in problems),
        ("api", "https://auth.example.test/health/ready: can't be reached"),
        *((topic, UNHEARD) for topic in TOPICS),
    }
    well = {check["name"]: check["what"] for check in checks if check["outcome"] == "ok"}
    assert well["stack"] in ("is CREATE_COMPLETE", "is UPDATE_COMPLETE")
    assert well["parameters"] == "the functions have what the stack was deployed with"
    assert well["alarm actions"] == "each tells a topic, or its composite does"
    assert {"settings", "keyring", "key age", "alarms", "log retention"} <= set(well)
    assert not {"alarms missing", "IncidentTopic"} & {check["name"] for check in checks}


def test_a_variable_that_was_changed_by_hand(operator, deployed, emulator, stack):
    functions, name = emulator.client("lambda"), f"{stack.name}-login"
    variables = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    changed = variables | {"SALLYPORT_ADDRESS_LIMIT": "7"}
    functions.update_function_configuration(FunctionName=name, Environment={"Variables": changed})
    try:
        for command in COMMANDS:
            now = found(operator, command=command)
            difference = ("parameters", "login has SALLYPORT_ADDRESS_LIMIT=7, the stack 10000")
            assert now.keys() - deployed.keys() == {difference}
            assert "--deployment-mode REVERT_DRIFT --include-nested-stacks" in now[difference]
    finally:
        functions.update_function_configuration(FunctionName=name, Environment={"Variables": variables})


def test_a_log_group_that_is_kept_for_longer(operator, deployed, emulator, mend, stack):
    group = f"/sallyport/{stack.name}/mfa"
    emulator.client("logs").put_retention_policy(logGroupName=group, retentionInDays=400)
    ((what, fix),) = [(what, fix) for (name, what), fix in found(operator, "warning").items() if name == "log retention"]
    assert what == f"{group} keeps its lines for 400 days, not 30"
    mend(fix.removeprefix("unless an investigation needs the lines: "))
    assert ("log retention", "30 days") in found(operator, "ok")


DRIFT = "resources are not as they were deployed: "


@pytest.fixture
def detect(emulator):
    """Looks for drift, in a stack alone: not in those that it nests."""
    formation = emulator.client("cloudformation")

    def play(stack):
        detection = formation.detect_stack_drift(StackName=stack)["StackDriftDetectionId"]
        told = formation.describe_stack_drift_detection_status(StackDriftDetectionId=detection)
        assert told["DetectionStatus"] == "DETECTION_COMPLETE", told
        return told["StackDriftStatus"]
    return play


def nested(emulator, stack):
    """The stacks in the stack, by their name in the template."""
    found = emulator.client("cloudformation").describe_stack_resources(StackName=stack.name)["StackResources"]
    arns = {
        resource["LogicalResourceId"]: resource["PhysicalResourceId"]
        for resource in found if resource["ResourceType"] == "AWS::CloudFormation::Stack"
    }
    return {logical: arn.split("/")[1] for logical, arn in arns.items()}


def drift(operator, outcome):
    return {what: fix for (name, what), fix in found(operator, outcome).items() if name == "drift"}


def test_drift_is_told_of_the_stack_and_of_each_stack_in_it(operator, deployed, emulator, stack, detect):
    stacks = [stack.name, *nested(emulator, stack).values()]
    (unseen,) = drift(operator, "skipped")
    assert all(f"detect-stack-drift --stack-name {name}" in unseen for name in stacks)

    # As the emulator has it once it is deployed.
    before = {name for name in stacks if detect(name) == "DRIFTED"}
    functions, name = emulator.client("lambda"), f"{stack.name}-mfa"
    (users,) = [table for table in stack.tables() if table == stack.outputs["UsersTable"]]
    data = nested(emulator, stack)["Data"]
    was = functions.get_function_configuration(FunctionName=name)["Timeout"]
    dynamodb = emulator.client("dynamodb")
    try:
        functions.update_function_configuration(FunctionName=name, Timeout=was + 1)
        dynamodb.update_table(TableName=users, DeletionProtectionEnabled=True)
        assert {detect(name) for name in (stack.name, data)} == {"DRIFTED"}
        ((what, fix),) = drift(operator, "warning").items()
        assert what == DRIFT + ", ".join(name for name in stacks if name in before | {stack.name, data})
        for drifted in (stack.name, data):
            assert f"describe-stack-resource-drifts --stack-name {drifted}" in fix
        assert "--deployment-mode REVERT_DRIFT --include-nested-stacks" in fix
    finally:
        functions.update_function_configuration(FunctionName=name, Timeout=was)
        dynamodb.update_table(TableName=users, DeletionProtectionEnabled=False)
    assert {name for name in stacks if detect(name) == "DRIFTED"} == before
    assert not before or drift(operator, "warning").keys() == {DRIFT + ", ".join(sorted(before, key=stacks.index))}
    assert before or drift(operator, "ok") == {"resources are as they were deployed": None}


def test_alarms_of_a_stack_whose_name_begins_alike_are_none_of_ours(operator, deployed, cloudwatch, key_age, stack):
    theirs = f"{stack.name}-eu-key-age"
    cloudwatch.put_metric_alarm(**key_age | {"AlarmName": theirs, "AlarmActions": []})
    try:
        assert found(operator) == deployed
        assert "eu-key-age" not in {alarm["name"] for alarm in operator("alarms", "list")["alarms"]}
        code, said = operator.ended("alarms", "test", "eu-key-age", "--dry-run")
        assert (code, said["error"]["code"]) == (3, "alarm_not_found")
    finally:
        cloudwatch.delete_alarms(AlarmNames=[theirs])


def test_alarms_that_were_muted(operator, deployed, cloudwatch, mend, stack):
    names = [f"{stack.name}-service-down", f"{stack.name}-key-age"]
    cloudwatch.disable_alarm_actions(AlarmNames=names)
    now = found(operator)
    ((muted, fix),) = ((finding, now[finding]) for finding in now.keys() - deployed.keys())
    assert muted[0] == "alarm actions"
    assert set(muted[1].removeprefix("switched off: ").split(", ")) == {"service-down", "key-age"}
    assert now.keys() == found(operator, command=("deploy", "preflight")).keys()
    mend(fix)


def test_an_alarm_that_somebody_deleted(operator, deployed, cloudwatch, key_age):
    cloudwatch.delete_alarms(AlarmNames=[key_age["AlarmName"]])
    missing = ("alarms missing", "the release has them, the stack has not: key-age")
    now = found(operator)
    assert now.keys() - deployed.keys() == {missing}
    assert now[missing].startswith("deploy the release") and "REVERT_DRIFT" in now[missing]
    # A release may be what brings it: no reason to wait with it.
    preflight = ("deploy", "preflight")
    assert missing in found(operator, "warning", preflight) and missing not in found(operator, command=preflight)
    cloudwatch.put_metric_alarm(**key_age)


def test_an_alarm_that_tells_nobody_unless_a_composite_does(operator, deployed, cloudwatch, key_age, stack):
    cloudwatch.put_metric_alarm(**key_age | {"AlarmActions": []})
    silent = ("alarm actions", "tell nobody, nor does a composite for them: key-age")
    now = found(operator)
    assert now.keys() - deployed.keys() == {silent}
    assert "--deployment-mode REVERT_DRIFT --include-nested-stacks" in now[silent]

    page, topic = f"{stack.name}-page-keys", stack.outputs["InfoTopic"]
    rule = f'ALARM("{key_age["AlarmName"]}")'
    try:
        cloudwatch.put_composite_alarm(AlarmName=page, AlarmRule=rule, AlarmActions=[topic])
        assert found(operator) == deployed
        # What is itself a composite has nobody to speak for it.
        cloudwatch.put_composite_alarm(AlarmName=page, AlarmRule=rule)
        itself = (silent[0], silent[1].replace("key-age", "page-keys"))
        assert found(operator).keys() - deployed.keys() == {itself}
    finally:
        cloudwatch.delete_alarms(AlarmNames=[page])
    cloudwatch.put_metric_alarm(**key_age)


def unheard(operator, command=("doctor",)):
    return {name: fix for (name, _), fix in found(operator, command=command).items() if name in TOPICS}


def test_topics_are_heard_once_somebody_listens_to_incidents(operator, deployed, emulator, mend, stack):
    fixes = unheard(operator)
    assert list(fixes) == TOPICS and len(set(fixes.values())) == 1
    command, otherwise = fixes["CriticalTopic"].split(", or ")
    assert otherwise == "set incident_webhook in the providers' secret"
    assert stack.outputs["IncidentTopic"] in command

    subscribed = json.loads(mend(command.replace("ADDRESS", "on-call@example.test") + " --output json"))
    try:
        for preflight_too in COMMANDS:
            assert unheard(operator, preflight_too) == {}
        assert ("IncidentTopic", "1 listen") in found(operator, "ok")
    finally:
        emulator.client("sns").unsubscribe(SubscriptionArn=subscribed["SubscriptionArn"])


def test_topics_are_heard_where_the_responder_has_a_webhook(operator, deployed, emulator, stack):
    secrets, secret = emulator.client("secretsmanager"), stack.outputs["ProvidersSecret"]
    before = secrets.get_secret_value(SecretId=secret)["SecretString"]
    webhook = {"url": "https://chat.example.test/hook", "secret": "webhook-signing-secret"}
    told = json.loads(before) | {"incident_webhook": webhook}
    secrets.put_secret_value(SecretId=secret, SecretString=json.dumps(told))
    try:
        for command in COMMANDS:
            assert unheard(operator, command) == {}
        assert ("IncidentTopic", "nobody listens; incidents are told to a webhook") in found(operator, "ok")
    finally:
        secrets.put_secret_value(SecretId=secret, SecretString=before)


def test_a_topic_is_heard_by_whoever_subscribed_to_it(operator, deployed, emulator, stack):
    sns, subscribed = emulator.client("sns"), []
    try:
        for left, topic in zip((TOPICS[1:], TOPICS[2:], []), TOPICS, strict=True):
            subscribed.append(sns.subscribe(
                TopicArn=stack.outputs[topic], Protocol="email", Endpoint="on-call@example.test", ReturnSubscriptionArn=True
            )["SubscriptionArn"])
            assert list(unheard(operator)) == left
        assert ("IncidentTopic", "nobody listens, but to the alarms themselves") in found(operator, "ok")
    finally:
        for one in subscribed:
            sns.unsubscribe(SubscriptionArn=one)

