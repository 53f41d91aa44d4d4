"""GET /metrics of the running backend, read by Prometheus's own parser of OpenMetrics, which is strict."""

import os
import re
import urllib.request

from prometheus_client.openmetrics.parser import text_string_to_metric_families

request = urllib.request.Request(
    os.environ["BASE_URL"] + "/metrics", headers={"Authorization": "Bearer " + os.environ["METRICS_TOKEN"]},
)
with urllib.request.urlopen(request) as response:
    assert response.headers["Content-Type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    families = list(text_string_to_metric_families(response.read().decode()))

samples = [sample for family in families for sample in family.samples]
assert len({family.name for family in families}) == len(families) > 30
assert all(sample.labels["deployment"] == "sallyport-local" for sample in samples)
assert {"sallyport_error_rate", "sallyport_throughput", "sallyport_cache_hit_ratio"} <= {s.name for s in samples}
assert {s.labels["percentile"] for s in samples if s.name == "sallyport_response_time_seconds"} == {"50", "95", "99"}


# What `promtool check metrics` finds fault with, as its rules stand in prometheus/client_golang (testutil/promlint/validations).
BASE = "amperes bytes celsius grams joules kelvin meters metres seconds volts".split()
OTHERS = "minutes hours days weeks kelvins fahrenheit rankine inches yards miles bits calories pounds ounces".split()
PREFIXES = "pico nano micro milli centi deci deca hecto kilo kibi mega mibi giga gibi tera tebi peta pebi".split()
NOT_BASE = set(OTHERS) | {prefix + unit for prefix in PREFIXES for unit in BASE + OTHERS}
ABBREVIATED = set("s ms us ns sec b kb mb gb tb pb m h d".split())
TYPES = set("counter gauge summary histogram gauge_histogram".split())
# As what a type makes of the name of a family, and the types whose labels these are.
SUFFIXES = {"_bucket": {"histogram"}, "_count": {"histogram", "summary"}, "_sum": {"histogram", "summary"}}
LABELS = {"le": {"histogram"}, "quantile": {"summary"}}


def problems(name, kind, documentation, labels):
    words = name.split("_")
    if not documentation:
        yield "no help text"
    if (kind == "counter") != name.endswith("_total"):
        yield "counters, and they alone, end in _total"
    if set(words) & NOT_BASE:
        yield "no base unit"
    if set(words[1:]) & ABBREVIATED:
        yield "an abbreviated unit"
    if any(f"_{word}_" in f"{name}_" for word in TYPES):
        yield "the type is in the name"
    if ":" in name or any(re.search("[a-z][A-Z]", text) for text in [name, *labels]):
        yield "no snake_case"
    yield from (f"{suffix} is reserved" for suffix, kinds in SUFFIXES.items() if name.endswith(suffix) and kind not in kinds)
    yield from (f"the label {label} is reserved" for label, kinds in LABELS.items() if label in labels and kind not in kinds)


def found(family):
    labels = {label for sample in family.samples for label in sample.labels}
    return [f"{family.name}: {problem}" for problem in problems(family.name, family.type, family.documentation, labels)]


assert [problem for family in families for problem in found(family)] == []
# The rules would find what was found once.
for case in [
    ("a_seconds", "gauge", "Help", ["quantile"]), ("age_days", "gauge", "Help", []), ("a_total", "gauge", "Help", []),
    ("a_ms", "gauge", "Help", []), ("a_count", "gauge", "Help", []), ("a", "gauge", "", []), ("a", "gauge", "Help", ["aB"]),
    ("a_gauge", "gauge", "Help", []), ("a", "counter", "Help", []),
]:
    assert len(list(problems(*case))) == 1, case
print(f"test result: ok. metrics: {len(families)} families, {len(samples)} samples read as OpenMetrics")
