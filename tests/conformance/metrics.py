"""GET /metrics of the running backend, read by Prometheus's own parser of OpenMetrics, which is strict."""

import os
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
assert {s.labels["quantile"] for s in samples if s.name == "sallyport_response_time_seconds"} == {"0.5", "0.95", "0.99"}
print(f"test result: ok. metrics: {len(families)} families, {len(samples)} samples read as OpenMetrics")
