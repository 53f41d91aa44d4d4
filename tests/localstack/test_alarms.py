"""infra/alarms.yaml, made by CloudFormation, in both sets."""

import json
import re
import time

import pytest

from emulated import TABLES, nested
from template import load

TEMPLATE = load("infra/alarms.yaml")["Resources"]
KINDS = {"AWS::CloudWatch::Alarm": "MetricAlarms", "AWS::CloudWatch::CompositeAlarm": "CompositeAlarms"}


@pytest.fixture(scope="module")
def made(localstack, topics):
    """The set → name without the stack's → alarm as CloudWatch describes it."""
    for alarm_set in ("full", "basic"):
        localstack.deploy(
            f"alarms-{alarm_set}", nested("infra/alarms.yaml"), Deployment=alarm_set, Stage="dev", AlarmSet=alarm_set,
            Critical=topics["CriticalTopic"], Warning=topics["WarningTopic"], Info=topics["InfoTopic"],
            **{f"{table}Table": f"{alarm_set}-{table}" for table in TABLES},
        )
    return looked_at(localstack)


def looked_at(localstack):
    """As they are once LocalStack has looked at those that it can judge: of one metric, without data."""
    deadline = time.monotonic() + 60
    while True:
        made = {alarm_set: described(localstack, alarm_set) for alarm_set in ("full", "basic")}
        judged = [a["StateValue"] for alarms in made.values() for a in alarms.values() if judges(a)]
        if judged and "INSUFFICIENT_DATA" not in judged:
            return made
        assert time.monotonic() < deadline, "LocalStack does not look at its alarms"
        time.sleep(0.2)


def judges(alarm):
    return "Statistic" in alarm and alarm["TreatMissingData"] in ("breaching", "notBreaching")


def described(localstack, alarm_set):
    arguments = {"AlarmNamePrefix": f"{alarm_set}-", "AlarmTypes": ["MetricAlarm", "CompositeAlarm"]}
    pages = list(localstack.client("cloudwatch").get_paginator("describe_alarms").paginate(**arguments))
    alarms = [alarm for page in pages for kind in KINDS.values() for alarm in page[kind]]
    return {alarm["AlarmName"].removeprefix(f"{alarm_set}-"): alarm for alarm in alarms}


def written(alarm_set):
    """Name → resource, of what the template has in this set."""
    return {
        resource["Properties"]["AlarmName"]["Fn::Sub"].removeprefix("${Deployment}-"): resource
        for resource in TEMPLATE.values()
        if alarm_set == "full" or "Condition" not in resource
    }


def severity(alarm):
    return re.search("^Severity: (.*)$", alarm["AlarmDescription"], re.M)[1]


@pytest.mark.parametrize("alarm_set", ["full", "basic"])
def test_every_alarm_of_the_set_is_made(made, alarm_set):
    assert set(made[alarm_set]) == set(written(alarm_set))
    assert {resource["Type"] for resource in written("full").values()} == set(KINDS)


@pytest.mark.parametrize("alarm_set", ["full", "basic"])
def test_an_alarm_is_as_it_is_written(made, alarm_set):
    for name, resource in written(alarm_set).items():
        alarm = made[alarm_set][name]
        for key in ("ComparisonOperator", "EvaluationPeriods", "DatapointsToAlarm"):
            assert alarm.get(key) == resource["Properties"].get(key), (name, key)
        if isinstance(missing := resource["Properties"].get("TreatMissingData"), str):
            assert alarm["TreatMissingData"] == missing, name


@pytest.mark.parametrize("alarm_set", ["full", "basic"])
def test_nothing_of_an_alarm_is_left_to_be_filled_in(made, alarm_set):
    text = json.dumps(made[alarm_set], default=str)
    assert [mark for mark in ("${", "Fn::", '"Ref"', "AWS::NoValue") if mark in text] == []


def test_an_expression_is_the_one_value_of_its_alarm(made):
    counted = 0
    for name, alarm in made["full"].items():
        if metrics := alarm.get("Metrics"):
            returned = [metric for metric in metrics if metric.get("ReturnData", True)]
            assert len(returned) == 1 and "Expression" in returned[0] or len(metrics) == 1, name
            counted += 1
    assert counted > 10


def test_the_basic_set_has_neither_expressions_nor_composites(made):
    assert [name for name, alarm in made["basic"].items() if alarm.get("Metrics") or "AlarmRule" in alarm] == []


def test_a_composite_is_of_alarms_that_exist(made):
    names = {alarm["AlarmName"] for alarm in made["full"].values()}
    composites = [alarm for alarm in made["full"].values() if "AlarmRule" in alarm]
    for alarm in composites:
        parts = set(re.findall(r'ALARM\("([^"]+)"\)', alarm["AlarmRule"]))
        assert parts and parts <= names, alarm["AlarmName"]
        assert alarm.get("ActionsSuppressor", alarm["AlarmName"]) in names
    assert len(composites) == sum(r["Type"] == "AWS::CloudWatch::CompositeAlarm" for r in TEMPLATE.values())


def test_children_of_a_composite_tell_nobody_and_without_composites_they_do(made):
    rules = " ".join(alarm.get("AlarmRule", "") for alarm in made["full"].values())
    silent = {name for name, alarm in made["full"].items() if not alarm["AlarmActions"]}
    assert silent == {name for name in made["full"] if f'ALARM("full-{name}")' in rules} - {"page-attack"}
    assert [name for name, alarm in made["basic"].items() if not alarm["AlarmActions"]] == []


def test_an_alarm_tells_the_topic_of_its_severity(made, topics):
    of = {"critical": topics["CriticalTopic"], "warning": topics["WarningTopic"], "info": topics["InfoTopic"]}
    for alarm_set, alarms in made.items():
        for name, alarm in alarms.items():
            told = {topic for key in ("AlarmActions", "OKActions", "InsufficientDataActions") for topic in alarm[key]}
            # That nobody hears one of them is said to all.
            wanted = set(of.values()) if name == "alarm-topic-unheard" else {of[severity(alarm)]}
            assert told in (wanted, set()), f"{alarm_set}: {name}"


def test_no_alarm_rings_because_it_is_new(made):
    """Metrics begin with the first request: an alarm that takes their absence for a fault would page at each deployment."""
    states = {alarm["AlarmName"]: alarm["StateValue"] for alarms in made.values() for alarm in alarms.values()}
    assert "OK" in states.values()
    assert [name for name, state in states.items() if state == "ALARM"] == []


@pytest.mark.parametrize("alarm_set", ["full", "basic"])
def test_whoever_listens_to_the_topics_is_told_of_every_alarm_that_tells(localstack, topics, alarm_set):
    sqs, sns, cloudwatch = localstack.client("sqs"), localstack.client("sns"), localstack.client("cloudwatch")
    queue = sqs.create_queue(QueueName=f"listener-{alarm_set}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    for topic in topics.values():
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
    telling = {a["AlarmName"] for a in described(localstack, alarm_set).values() if a["AlarmActions"]}
    for name in telling:
        cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="a test")
    heard = set()
    deadline = time.monotonic() + 30
    while heard != telling and time.monotonic() < deadline:
        answer = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=1)
        messages = [json.loads(message["Body"]) for message in answer.get("Messages", [])]
        heard |= {m["AlarmName"] for m in messages if m["NewStateValue"] == "ALARM"} & telling
    assert telling and heard == telling
