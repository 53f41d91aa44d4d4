"""The dashboards of CloudWatch and Grafana, drawn of what a backend went through. See `run`, which starts the backend.

Neither CloudWatch nor Grafana draws them. What they would be told to show is read from the shipped files, and every line of it
must have something to show.
"""

import json
import os
import re
import subprocess
import sys
import urllib.parse
import urllib.request
from pathlib import Path

import story
from chromium import Chromium
from template import ROOT, resources

CHARTS = (Path(__file__).parent / "charts.html").as_uri()
NAMES = {"AWS::Partition": "aws", "AWS::Region": "us-east-1", "AWS::AccountId": "000000000000", "Stack": "sallyport-local",
         "ApiName": "sallyport-local", "Stage": "local"}
# Counts that are no metrics where they are 0.
RARE = set(re.findall(r'"(\w+)", Rare,', (ROOT / "shared/operations/src/metrics.rs").read_text()))
# What the story is about does not stay at nothing.
MOVED = {
    ("cloudwatch", "Errors: 5xx, and their rate", "errors"),
    ("cloudwatch", "Sign-ins", "login_failures"),
    ("cloudwatch", "Second factors", "mfa_failures"),
    ("cloudwatch", "Lockouts and limits", "lockouts"),
    ("cloudwatch", "Lockouts and limits", "limiter_triggers"),
    ("cloudwatch", "Lockouts and limits", "refresh_token_reuses"),
    ("cloudwatch", "Security events", "critical"),
    ("cloudwatch", "Dependencies: time of a request, ms", "down"),
    ("cloudwatch", "Sessions that live", "active_sessions"),
    ("cloudwatch", "Incidents", "open"),
    ("cloudwatch", "Notices of incidents", "sent"),
    ("cloudwatch", "API Gateway: latency p95, ms, and 5xx", "5xx"),
    ("grafana", "Errors in five minutes", "login"),
    ("grafana", "Sign-ins", "login failures"),
    ("grafana", "Lockouts and limits", "limiter triggers"),
    ("grafana", "Readiness", "dependencies down"),
    ("grafana", "Incidents", "incidents open"),
}
WIDTH = 1600


def operate(*arguments, stdin=None):
    run = subprocess.run([os.environ["OPERATOR"], *arguments, "--json"], capture_output=True, text=True, input=stdin)
    assert run.returncode == 0, f"sallyport {arguments}: {run.stdout}{run.stderr}"
    return json.loads(run.stdout)


def subscribe(topic, address):
    """Somebody is told of incidents: an alarm topic that only the responder hears would be unheard otherwise."""
    asked = {"Action": "Subscribe", "Version": "2010-03-31", "TopicArn": topic, "Protocol": "email", "Endpoint": address}
    urllib.request.urlopen(os.environ["AWS_ENDPOINT_URL"], urllib.parse.urlencode(asked).encode()).close()


class CloudWatch:
    """Metrics by namespace, name and dimensions, and the statistics of their values in a period, from a moment on."""

    def __init__(self, data, begin):
        self.values, self.begin = {}, begin
        for namespace, name, dimensions, at, values in data:
            self.values.setdefault((namespace, name, frozenset(dimensions.items())), []).append((at, values))

    def points(self, line, statistic, period):
        namespace, name, *dimensions = line
        buckets = {}
        key = (namespace, name, frozenset(zip(dimensions[::2], dimensions[1::2])))
        for at, values in self.values.get(key, []):
            buckets.setdefault(at // period * period, []).extend(values)
        return sorted((at, statistic_of(statistic, values)) for at, values in buckets.items() if at >= self.begin)


def statistic_of(name, values):
    if name.startswith("p"):
        values = sorted(values)
        return values[min(len(values) - 1, int(float(name[1:]) / 100 * len(values)))]
    return {"Sum": sum, "Maximum": max, "Minimum": min}[name](values)


def math(expression, points):
    """Metric math as far as the dashboard goes: the four operations, at the moments that all its metrics have."""
    used = {name: dict(points[name]) for name in re.findall(r"\b[a-z]\w*\b", expression)}
    assert re.fullmatch(r"[\w\s.()+*/-]+", expression), expression
    moments = sorted(set.intersection(*(set(values) for values in used.values())))
    found = []
    for at in moments:
        try:
            found.append((at, eval(expression, {"__builtins__": {}}, {name: values[at] for name, values in used.items()})))
        except ZeroDivisionError:
            pass  # CloudWatch leaves the moment out.
    return found


def of_cloudwatch(metrics, alarms):
    (dashboard,) = resources("AWS::CloudWatch::Dashboard", "infra/dashboard.yaml").values()
    body = re.sub(r"\$\{([\w:]+)\}", lambda found: NAMES[found[1]], dashboard["DashboardBody"]["Fn::Sub"])
    panels = []
    for widget in json.loads(body)["widgets"]:
        has = widget["properties"]
        panel = {"x": widget["x"], "y": widget["y"], "w": widget["width"], "h": widget["height"]}
        panel |= {"title": has.get("title"), "kind": widget["type"]}
        if widget["type"] == "text":
            panel["text"] = has["markdown"]
        elif widget["type"] == "alarm":
            names = [arn.split(":alarm:sallyport-local-")[1] for arn in has["alarms"]]
            panel |= {"kind": "alarms", "alarms": [{"name": name, "state": alarms[name]} for name in names]}
        else:
            panel["kind"] = "value" if has["view"] == "singleValue" else "lines"
            panel["series"] = list(lines(metrics, has))
            panel["stacked"] = has.get("stacked", False)
            panel["marks"] = has.get("annotations", {}).get("horizontal", [])
            panel["max"] = has.get("yAxis", {}).get("left", {}).get("max")
        panels.append(panel)
    return {"theme": "light", "row": 38, "panels": panels}


def lines(metrics, widget):
    by_id = {}
    for line in widget["metrics"]:
        *words, options = line
        if "expression" in options:
            points = math(options["expression"], by_id)
        else:
            # What is no metric where it is 0 shows nothing where nothing happened.
            nothing = [(metrics.begin, 0)] if words[1] in RARE else []
            points = metrics.points(words, options["stat"], widget["period"]) or nothing
            by_id[options.get("id", "")] = points
        if options.get("visible", True):
            yield {"label": options["label"], "axis": options.get("yAxis", "left"), "points": points}


def of_grafana(scrapes):
    panels = []
    for has in json.loads((ROOT / "ops/grafana/sallyport.json").read_text())["panels"]:
        panel = dict(has["gridPos"], title=has["title"], unit=has["fieldConfig"]["defaults"]["unit"])
        panel["kind"] = {"stat": "value", "timeseries": "lines"}[has["type"]]
        panel["series"] = [series for target in has["targets"] for series in selected(scrapes, target)]
        panels.append(panel)
    return {"theme": "dark", "row": 30, "panels": panels}


def selected(scrapes, target):
    """What an instant vector selector finds, scrape by scrape: a series a set of labels."""
    name, matchers = re.fullmatch(r'(\w+)\{deployment=~"\$deployment"(?:,(\w+="[^"]*"))?\}', target["expr"]).groups()
    wanted = dict(matcher.replace('"', "").split("=") for matcher in [matchers] if matcher)
    found = {}
    for at, samples in scrapes:
        for sample in samples:
            if sample.name == name and wanted.items() <= sample.labels.items():
                found.setdefault(tuple(sorted(sample.labels.items())), []).append((at, sample.value))
    if not found:
        yield {"label": target["legendFormat"], "points": []}
    for labels, points in found.items():
        label = re.sub(r"\{\{(\w+)\}\}", lambda part: dict(labels).get(part[1], ""), target["legendFormat"])
        yield {"label": label, "points": [point for point in points if point[1] == point[1]]}


def main():
    record = sys.argv[1:] == ["--record"]
    subscribe(os.environ["INCIDENT_TOPIC"], "on-call@example.com")
    # An alarm calls more than ten failures a second an attack.
    told = story.Story(os.environ["BASE_URL"], operate, guesses=900 if record else 120).play()
    told.backend.tell("POST", "clock", {"advance_seconds": 60})
    alarms = {alarm["name"]: alarm["state"] for alarm in operate("alarms", "list")["alarms"]}
    span = {"from": told.scrapes[0][0], "to": told.scrapes[-1][0]}
    metrics = CloudWatch(told.own + told.published, span["from"])
    drawn = {"cloudwatch": of_cloudwatch(metrics, alarms), "grafana": of_grafana(told.scrapes)}
    shown = [
        ((name, panel["title"], series["label"]), [value for _, value in series["points"]])
        for name, dashboard in drawn.items() for panel in dashboard["panels"] for series in panel.get("series", [])
    ]
    empty = [": ".join(line) for line, values in shown if not values]
    assert not empty, "nothing to show:\n  " + "\n  ".join(empty)
    still = MOVED - {line for line, values in shown if any(values)}
    assert not still, f"nothing happened: {still}"
    with Chromium(os.environ["SALLYPORT_BROWSER"], os.environ["BROWSER_PROFILE"]) as browser:
        for name, dashboard in drawn.items():
            browser.open(CHARTS, WIDTH, dashboard["theme"])
            browser.evaluate(f"draw({json.dumps(dashboard | span)}); 0")
            _, complaints = browser.heard()
            assert not complaints, f"{name}: {complaints}"
            if record:
                browser.picture(ROOT / f"docs/images/dashboard-{name}.png", WIDTH)
    print(f"test result: ok. dashboards: {len(shown)} lines of 2 dashboards have something to show")


try:
    main()
except AssertionError as error:
    sys.exit(f"{error}\ntest result: FAILED. dashboards")
