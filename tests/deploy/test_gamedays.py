"""Game days on a deployed stack: each is a fault that only an emulator lets us have there."""

import json
import signal
import subprocess

import pytest

from deployment import Operator, Stack


@pytest.fixture(scope="module")
def operator(emulator, artifacts, binary):
    """Of a stack of its own: a game leaves keys rotated."""
    stack = Stack(emulator, artifacts, "sallyport-games")
    try:
        operator = Operator(binary, stack.deploy())
        operator("keys", "init")
        yield operator
    finally:
        stack.delete()


def environments(stack):
    client = stack.emulator.client("lambda")
    names = [f"{stack.name}-{function}" for function in ("login", "refresh", "mfa", "keys", "health")]
    return [client.get_function_configuration(FunctionName=name)["Environment"] for name in names]


# All but `slow-database`, which takes as long as two of them: its relay waits where that of `table-throttled` refuses. And but
# `stuffing`: its first look asks Logs Insights who got in, which the emulator does not answer; a local backend does.
@pytest.mark.parametrize(
    ("game", "alarm"),
    [("table-throttled", "database-throttles"), ("keyring-unreachable", "service-down"), ("expired-key", "key-age")],
)
def test_the_game_is_detected_paged_mitigated_and_recovered_from(operator, tmp_path, game, alarm):
    before = environments(operator.stack)

    scored = operator("gameday", "run", game, "--report", tmp_path / "report.md", timeout=400)

    assert [stage["name"] for stage in scored["stages"] if stage["passed"]] == [
        "detection", "page", "mitigation", "recovery",
    ], scored
    assert alarm in scored["fired"]
    assert scored["incident"].startswith("inc_")
    report = (tmp_path / "report.md").read_text()
    assert "Score: 4 of 4." in report
    # The incident is the deployed responder's, and so is the draft.
    assert "## Post-mortem draft" in report and scored["incident"] in report
    assert environments(operator.stack) == before


def begun(operator):
    game = subprocess.Popen(
        [operator.binary, "--stack", operator.stack.name, "gameday", "run", "stuffing"],
        env=operator.stack.emulator.environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )
    # It says so when it stands between functions and emulator.
    assert "quiet minutes" in game.stderr.readline()
    return game


def ended(game, by):
    try:
        game.send_signal(by)
        _, said = game.communicate(timeout=60)
    finally:
        game.kill()
    return game.returncode, said


def test_a_game_that_is_broken_off_leaves_the_functions_as_they_were_and_a_killed_one_is_mended_by_the_next(operator):
    before = environments(operator.stack)

    ended(begun(operator), signal.SIGKILL)
    assert environments(operator.stack) != before

    code, said = ended(begun(operator), signal.SIGINT)

    assert code == 1
    assert "the game was broken off" in said
    assert environments(operator.stack) == before


def test_no_game_is_played_where_the_endpoint_is_not_this_machine(operator):
    here = operator.stack.emulator.url
    for options, elsewhere in (
        ([], {"AWS_ENDPOINT_URL": "https://emulator.example.com"}),
        ([], {"AWS_ENDPOINT_URL": "http://localhost:x@emulator.example.com"}),
        ([], {"AWS_ENDPOINT_URL_LAMBDA": "https://lambda.us-east-1.amazonaws.com"}),
        (["--endpoint", here, "--endpoint-secrets", "https://secretsmanager.us-east-1.amazonaws.com"], {}),
        (["--endpoint", here, "--endpoint-dynamodb", "https://dynamodb.us-east-1.amazonaws.com"], {}),
    ):
        done = subprocess.run(
            [operator.binary, *options, "--stack", operator.stack.name, "--json", "gameday", "run", "stuffing"],
            env=operator.stack.emulator.environment() | elsewhere, text=True, capture_output=True, timeout=60,
        )
        assert done.returncode == 2
        assert json.loads(done.stderr)["error"]["code"] == "not_here"


def test_a_dry_run_names_the_alarm_and_the_mitigation_and_touches_no_function(operator):
    before = environments(operator.stack)
    (game,) = operator("gameday", "run", "table-throttled", "--dry-run")["games"]
    assert game["alarm"] == "database-throttles"
    assert game["mitigation"] == ["mode set degraded throttle --for 24h --reason gameday"]
    assert environments(operator.stack) == before
