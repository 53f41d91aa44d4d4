"""`sallyport alarms` on a deployed stack: CloudWatch's states and history, and an alarm that is heard by the responder. The
emulator has the basic set; it sees no metrics of the functions, so that an alarm returns only when it is told to."""

import time

import pytest

from template import load

ALARM = "key-age"


def basic():
    """Alarm → the lines of its description."""
    return {
        alarm["Properties"]["AlarmName"]["Fn::Sub"].removeprefix("${Deployment}-"):
            alarm["Properties"]["AlarmDescription"]["Fn::Sub"].splitlines()
        for alarm in load("infra/alarms.yaml")["Resources"].values()
        if alarm["Type"] == "AWS::CloudWatch::Alarm" and alarm.get("Condition") != "Full"
    }


def listed(operator, *options):
    return {alarm["name"]: alarm for alarm in operator("alarms", "list", *options)["alarms"]}


def rehearsed(operator):
    """Incidents of the cause `test`."""
    return [incident for incident in operator("incident", "list")["incidents"] if incident["cause"] == "test"]


@pytest.fixture
def returns(emulator, stack):
    """CloudWatch's next evaluation, which the emulator never makes."""
    def play(alarm=ALARM, state="OK"):
        emulator.client("cloudwatch").set_alarm_state(
            AlarmName=f"{stack.name}-{alarm}", StateValue=state, StateReason="It is evaluated."
        )
    yield play
    play()


def test_all_alarms_of_the_set_are_listed_with_state_and_what_to_begin_with(operator):
    alarms = listed(operator)
    assert set(alarms) == set(basic()) and len(alarms) >= 12
    for name, lines in basic().items():
        alarm = alarms[name]
        assert alarm["state"] in ("OK", "ALARM", "INSUFFICIENT_DATA"), alarm
        assert alarm["since"] > 0
        assert alarm["meaning"] == lines[0]
        assert [f"Severity: {alarm['severity']}", f"First: {alarm['first']}"] == [lines[1], lines[3]]
        assert alarm["runbook"].endswith(f"/{name}.md")


def test_a_dry_run_says_who_would_be_told_and_tells_nobody(operator, stack):
    before, incidents = listed(operator)[ALARM], rehearsed(operator)
    told = operator("alarms", "test", ALARM, "--dry-run")
    assert told["dry_run"] and told["tells"] == [stack.outputs["InfoTopic"]]
    assert (listed(operator)[ALARM], rehearsed(operator)) == (before, incidents)


def test_an_alarm_that_is_tested_rings_opens_an_incident_and_returns(operator, stack, returns):
    returns()
    changes = operator("alarms", "history", ALARM)["changes"]

    told = operator("alarms", "test", ALARM)

    assert (told["name"], told["state"], told["tells"]) == (ALARM, "ALARM", [stack.outputs["InfoTopic"]])
    assert ALARM in listed(operator, "--firing")
    # Topic and responder are called beside the answer.
    deadline = time.monotonic() + 60
    while not (opened := rehearsed(operator)):
        assert time.monotonic() < deadline, "the responder opened no incident"
        time.sleep(0.2)
    (incident,) = opened
    assert (incident["severity"], [alarm["name"] for alarm in incident["alarms"]]) == ("SEV4", [ALARM])
    operator("incident", "resolve", incident["id"], "--summary", "A test.")
    assert rehearsed(operator) == []

    code, waited = operator.ended("alarms", "wait", ALARM, "--for", "1s")
    assert (code, waited["quiet"], waited["state"]) == (5, False, "ALARM")
    returns()
    code, waited = operator.ended("alarms", "wait", ALARM, "--for", "1s")
    assert (code, waited["quiet"], waited["state"]) == (0, True, "OK")
    assert ALARM not in listed(operator, "--firing")

    after = operator("alarms", "history", ALARM)["changes"]
    assert after[2:] == changes
    assert [(change["name"], change["what"].split(" from ")[1]) for change in after[:2]] == [
        (ALARM, "ALARM to OK"), (ALARM, "OK to ALARM"),
    ]


def test_history_is_of_all_alarms_newest_first_and_as_long_as_asked(operator, emulator, stack, returns):
    for alarm in ("slow-responses", ALARM):
        returns(alarm, "INSUFFICIENT_DATA")
        returns(alarm)
    changes = operator("alarms", "history")["changes"]
    assert [change["name"] for change in changes[:3]] == [ALARM, ALARM, "slow-responses"]
    assert [change["at"] for change in changes] == sorted((change["at"] for change in changes), reverse=True)
    assert operator("alarms", "history", "--limit", "2")["changes"] == changes[:2]
    assert {change["name"] for change in operator("alarms", "history", "slow-responses")["changes"]} == {"slow-responses"}
    # Another stack's alarm is none of ours.
    other = {"AlarmName": "another-stack-key-age", "StateReason": "It rings."}
    alarms = emulator.client("cloudwatch")
    alarms.put_metric_alarm(
        AlarmName=other["AlarmName"], Namespace="Other", MetricName="errors", Statistic="Sum", Period=60,
        EvaluationPeriods=1, Threshold=0, ComparisonOperator="GreaterThanThreshold",
    )
    try:
        alarms.set_alarm_state(**other, StateValue="ALARM")
        assert operator("alarms", "history")["changes"] == changes
        assert "another-stack-key-age" not in listed(operator)
    finally:
        alarms.delete_alarms(AlarmNames=[other["AlarmName"]])


@pytest.mark.parametrize("command", ["test", "wait", "history"])
def test_an_alarm_that_is_not_there_is_said_to_be_none(operator, command):
    code, said = operator.ended("alarms", command, "nothing")
    assert (code, said["error"]["code"]) == (3, "alarm_not_found")
    assert "`sallyport alarms list`" in said["error"]["message"]
