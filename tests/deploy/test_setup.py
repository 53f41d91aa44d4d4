"""`sallyport setup` on a stack: what a new deployment needs once, and what a second run finds of it."""

import secrets


def steps(report):
    return {step["step"]: step["outcome"] for step in report["steps"]}


def set_up(operator, *command):
    """What it says. It ends with 5: nested stacks forget in the emulator what protects the tables."""
    code, report = operator.ended(*command)
    assert code == 5, report
    assert {step["step"] for step in report["steps"] if step["outcome"] == "failed"} == {"configuration"}, report
    return report


def test_one_command_sets_up_a_stack_and_a_second_finds_it_done(operator, api, emulator):
    email = f"first-{secrets.token_hex(4)}@example.com"
    listener = f"oncall-{secrets.token_hex(4)}@example.com"
    command = ("setup", "--email", email, "--subscribe", listener, "--url", api.url)

    first = set_up(operator, *command, "--generate")
    assert steps(first) | {"keyring": "already", "account": "done"} == steps(first), first
    assert api.post("/api/v1/auth/login", {"email": email, "password": first["password"]}).status_code == 200
    topic = operator.stack.outputs["IncidentTopic"]
    heard = emulator.client("sns").list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert [s["Endpoint"] for s in heard].count(listener) == 1

    second = set_up(operator, *command, "--generate")
    assert steps(second)["account"] == "already" and "password" not in second, second
    heard = emulator.client("sns").list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert [s["Endpoint"] for s in heard].count(listener) == 1
