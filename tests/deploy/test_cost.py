"""The months of docs/COST.md, counted anew: metrics, alarms and secrets from the templates and the table of metrics."""

import re
import tomllib

import pytest

from template import ROOT, functions, load, routes

PRICES = {"metric": 0.30, "alarm": 0.10, "composite": 0.50, "secret": 0.40, "key": 1.00, "dashboard": 3.00}
# What CloudWatch never bills an account for: https://aws.amazon.com/cloudwatch/pricing/
FREE = {"metric": 10, "alarm": 10, "dashboard": 3}
NOTHING = dict.fromkeys(FREE, 0)
# Per-request services of the stack's own calls, as the table lists them.
OWN_CALLS = 0.73

PAGE = (ROOT / "docs/COST.md").read_text()
CALLED = {function for _, _, function in routes()}
TRIGGERED = set(functions()) - CALLED
# Of nobody's calls: the probe's findings, and what the responder and the maintenance write at their schedules.
IDLE = {
    "ready", "dependencies_down", "incidents_open", "active_sessions", "signing_key_age_days", "restore_proof_age_hours",
    "tables_without_recovery", "unheard_alarm_topics",
}
IDLE_FUNCTIONS = {"responder", "maintenance"}


def metrics():
    """Name → how many each is billed as."""
    table = (ROOT / "docs/LOGGING.md").read_text().split("\n## Metrics\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \|", table, re.M)
    of = {name: TRIGGERED if name.startswith("invocation") else CALLED for name, _ in rows}
    return {name: 1 + (len(of[name]) if "function" in dimensions else 0) for name, dimensions in rows}


# A busy month has hours without any of these. An error is none of its function's while there is none.
NONE_IN_AN_HOUR = {
    "security_events_critical", "client_authentication_failures", "incidents_opened", "notifications_sent",
    "notification_failures", "invocation_failures", "maintenance_refusals",
}


def written_while_busy():
    counts = metrics()
    assert set(counts) >= NONE_IN_AN_HOUR
    return sum(counts.values()) - none_in_an_hour()


def none_in_an_hour():
    counts = metrics()
    return sum(counts[name] for name in NONE_IN_AN_HOUR) + counts["errors"] - 1


def written_while_idle():
    counts = metrics()
    assert set(counts) >= IDLE
    of_events = [count for name, count in counts.items() if name.startswith("invocation")]
    return len(IDLE) + sum(1 if count == 1 else 1 + len(IDLE_FUNCTIONS) for count in of_events)


def alarms(full):
    """(metrics that alarms read, composites)."""
    read = composites = 0
    for resource in load("infra/alarms.yaml")["Resources"].values():
        if resource.get("Condition") == "Full" and not full:
            continue
        if resource["Type"] == "AWS::CloudWatch::CompositeAlarm":
            composites += 1
        elif resource["Type"] == "AWS::CloudWatch::Alarm":
            read += sum("MetricStat" in m for m in resource["Properties"].get("Metrics", [])) or 1
    return read, composites


def month(written, full, free=FREE):
    """Dollars of a month before the first request, what an account has for nothing taken off."""
    secrets = sum(r["Type"] == "AWS::SecretsManager::Secret" for r in load("infra/data.yaml")["Resources"].values())
    read, composites = alarms(full)
    return (
        secrets * PRICES["secret"] + PRICES["key"] + OWN_CALLS
        + max(0, written - free["metric"]) * PRICES["metric"]
        + max(0, read - free["alarm"]) * PRICES["alarm"] + composites * PRICES["composite"]
    )


MONTHS = {
    "idle, lean": lambda: month(written_while_idle(), full=False),
    "busy, lean": lambda: month(written_while_busy(), full=False),
    "idle, lean, a second": lambda: month(written_while_idle(), full=False, free=NOTHING),
    "busy, lean, a second": lambda: month(written_while_busy(), full=False, free=NOTHING),
    "idle, full": lambda: month(written_while_idle(), full=True),
    "busy, full": lambda: month(written_while_busy(), full=True),
}


@pytest.mark.parametrize("name", MONTHS)
def test_the_page_has_the_sum_of_the_month(name):
    (row,) = (line for line in PAGE.splitlines() if line.startswith(f"| **{name}** |"))
    assert re.findall(r"\$\d+\.\d+", row) == [f"${MONTHS[name]():.2f}"]


def test_an_idle_month_costs_at_most_5_and_the_fixed_part_of_a_busy_one_at_most_20():
    assert MONTHS["idle, lean"]() <= 5
    assert MONTHS["busy, full"]() <= 20
    assert MONTHS["busy, lean"]() <= 20 and MONTHS["busy, lean, a second"]() <= 20


def test_the_readme_rounds_what_the_page_says():
    told = [f"${MONTHS[name]():.0f}" for name in ("idle, lean", "busy, lean", "busy, full")]
    line = (ROOT / "README.md").read_text().split("## What it costs\n")[1]
    assert re.findall(r"\$\d+\b(?!\.)", line)[:3] == told


def test_the_page_counts_what_is_there():
    counts, (read, composites), (few, none) = metrics(), alarms(full=True), alarms(full=False)
    assert none == 0
    assert f"{sum(counts.values())} metrics" in PAGE and f"{written_while_idle()} metrics" in PAGE
    assert f"{none_in_an_hour()} of them (" in PAGE
    assert f"{read} metrics and {composites} composites" in PAGE and f"{few} metrics" in PAGE


def test_dev_and_staging_are_lean():
    configured = tomllib.loads((ROOT / "samconfig.toml").read_text())
    for environment in ("default", "staging"):
        assert {"Dashboard=off", "AlarmSet=basic"} <= set(configured[environment]["deploy"]["parameters"]["parameter_overrides"])
    assert not any(o.startswith(("Dashboard", "AlarmSet")) for o in configured["prod"]["deploy"]["parameters"]["parameter_overrides"])


def test_every_configured_override_is_a_parameter_that_takes_it():
    configured = tomllib.loads((ROOT / "samconfig.toml").read_text())
    for environment in ("default", "staging", "prod"):
        for override in configured[environment]["deploy"]["parameters"]["parameter_overrides"]:
            name, value = override.split("=", 1)
            parameter = load()["Parameters"][name]
            assert value in {str(allowed) for allowed in parameter.get("AllowedValues", [value])}
            if parameter["Type"] == "Number":
                assert parameter.get("MinValue", 0) <= float(value) <= parameter.get("MaxValue", float(value))
