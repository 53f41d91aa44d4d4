"""The dashboards and the saved queries name what exists, and stand where they are said to."""

import json
import re

import pytest

from template import ROOT, functions, load, resources

NESTED = "infra/dashboard.yaml"
QUERIES = {path.stem: path.read_text() for path in sorted((ROOT / "infra/queries").glob("*.logs"))}
DASHBOARD = resources("AWS::CloudWatch::Dashboard", NESTED)["Dashboard"]["DashboardBody"]["Fn::Sub"]
WIDGETS = json.loads(DASHBOARD)["widgets"]
GRAFANA = json.loads((ROOT / "ops/grafana/sallyport.json").read_text())
LOGGING = (ROOT / "docs/LOGGING.md").read_text()


def section(name):
    return LOGGING.split(f"\n## {name}\n")[1].split("\n## ")[0]


# tests/api/logging.rs holds this table against what the functions emit.
METRICS = {
    name: {tuple(d.split(", ")) for d in dimensions.split("; ")}
    for name, dimensions in re.findall(r"^\| `(\w+)` \| \w+ \| ([\w, ;]+) \|", section("Metrics"), re.M)
}


def drawn():
    """(namespace, metric, dimension names) of every line of the dashboard."""
    for widget in WIDGETS:
        for line in widget["properties"].get("metrics", []):
            words = [word for word in line if isinstance(word, str)]
            if words:
                yield words[0], words[1], tuple(words[2::2]), dict(zip(words[2::2], words[3::2]))


def test_dashboard_draws_metrics_that_are_emitted_with_these_dimensions():
    own = [(name, dimensions) for space, name, dimensions, _ in drawn() if space == "Sallyport"]
    assert len(own) > 30 and len(METRICS) > 30
    assert [line for line in own if line[1] not in METRICS.get(line[0], ())] == []


def test_dashboard_draws_every_metric_or_it_is_said_why_not():
    told_otherwise = {
        "password_checks", "reauthentications", "reauthentication_failures", "invocations", "invocation_failures",
        "rotation_failures", "maintenance_refusals", "session_records", "client_authentication_failures",
    }
    assert set(METRICS) - {name for space, name, _, _ in drawn() if space == "Sallyport"} == told_otherwise


def test_dashboard_names_functions_of_the_stack():
    named = {values["FunctionName"] for space, _, _, values in drawn() if space == "AWS/Lambda"}
    names = {p["FunctionName"]["Fn::Sub"].replace("${AWS::StackName}", "${Stack}") for p in functions().values()}
    assert named and named <= names


def test_dashboard_uses_its_parameters_and_widgets_do_not_overlap():
    known = {"AWS::Region", "AWS::Partition", "AWS::AccountId"} | set(load(NESTED)["Parameters"])
    assert set(re.findall(r"\$\{([\w:]+)\}", DASHBOARD)) <= known
    taken = set()
    for widget in WIDGETS:
        cells = {
            (x, y)
            for x in range(widget["x"], widget["x"] + widget["width"])
            for y in range(widget["y"], widget["y"] + widget["height"])
        }
        assert max(x for x, _ in cells) < 24 and not cells & taken, widget["properties"].get("title")
        taken |= cells


def definitions():
    return resources("AWS::Logs::QueryDefinition", NESTED)


def test_saved_queries_are_the_files():
    saved = {p["Name"]["Fn::Sub"].removeprefix("${Stack}/"): p["QueryString"] for p in definitions().values()}
    assert saved == QUERIES


@pytest.mark.parametrize("name", sorted(QUERIES))
def test_query_says_its_question_and_is_documented(name):
    question, *lines = QUERIES[name].splitlines()
    assert question.startswith("# ") and lines
    assert f"`{name}`" in section("Questions")


def test_every_documented_question_has_its_file():
    rows = [line for line in section("Questions").splitlines() if line.startswith("| ")][1:]
    named = {name for row in rows for name in re.findall(r"`([\w-]+)`", row.split("|")[2])}
    assert named == set(QUERIES)


def fields():
    names = set(re.findall(r"^\| `(\w+)` \|", section("Fields") + section("Access log"), re.M))
    return names | set(METRICS) | {"deployment", "timestamp", "record", "type"}


@pytest.mark.parametrize("name", sorted(QUERIES))
def test_query_asks_for_fields_that_are_logged(name):
    text = re.sub(r'"[^"]*"', "", "\n".join(QUERIES[name].splitlines()[1:]))
    aliases = set(re.findall(r"\bas (\w+)", text))
    grammar = {
        "fields", "filter", "sort", "limit", "stats", "asc", "desc", "by", "as", "and", "or", "not", "in", "bin",
        "count", "count_distinct", "min", "max", "sum", "pct", "ispresent",
    }
    words = set(re.findall(r"(?<![@.\w])[a-z]\w*", text)) - aliases - grammar
    assert words - fields() == set()


def test_dashboard_stands_under_a_condition_with_the_logs_of_every_function():
    nested = load()["Resources"]["DashboardStack"]
    assert nested["Condition"] == "HasDashboard"
    logs = nested["Properties"]["Parameters"]["FunctionLogs"]["Fn::Join"][1]
    assert {str(group) for group in logs} == {
        str(properties["LoggingConfig"]["LogGroup"]) for properties in functions().values()
    }


def expressions():
    return [target["expr"] for panel in GRAFANA["panels"] for target in panel["targets"]]


def test_grafana_draws_what_metrics_shows():
    shown = {f"sallyport_{name}" for name in METRICS} | set(re.findall(r"^\| `(sallyport_\w+)` \|", LOGGING, re.M))
    shown |= {f"sallyport_{name}_seconds" for name in ("response_time", "dependency_time")}
    shown -= {f"sallyport_{name}" for name in ("response_time", "dependency_time")}
    # In base units.
    shown = {re.sub("_(days|hours)$", "_seconds", name) for name in shown}
    used = {name for text in expressions() for name in re.findall(r"sallyport_\w+", text)}
    assert len(used) > 25
    assert used - shown == set()


def test_grafana_panels_are_told_apart():
    ids = [panel["id"] for panel in GRAFANA["panels"]]
    assert len(ids) == len(set(ids))
    assert all(panel["targets"] and panel["title"] for panel in GRAFANA["panels"])
