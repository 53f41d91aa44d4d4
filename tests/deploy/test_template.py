"""What the emulator drops, or would only show when it is too late, is read from the templates themselves."""

import json
import re

import jsonschema
import pytest

from template import HOOK, ROOT, functions, load, resources, routes

TABLES = resources("AWS::DynamoDB::Table", "infra/data.yaml")
DATA = load("infra/data.yaml")["Resources"]
API = load()["Resources"]["Api"]["Properties"]


def test_tables_are_the_designs():
    keys = {name: [k["AttributeName"] for k in table["KeySchema"]] for name, table in TABLES.items()}
    assert keys == {
        "Users": ["pk", "sk"], "Sessions": ["user_id"], "Throttle": ["key"],
        "Outbox": ["pk", "sk"], "Audit": ["pk", "sk"], "Ops": ["pk", "sk"],
    }


@pytest.mark.parametrize("table", sorted(TABLES))
def test_table_has_no_index_and_its_own_key(table):
    properties = TABLES[table]
    assert "GlobalSecondaryIndexes" not in properties and "LocalSecondaryIndexes" not in properties
    assert properties["BillingMode"] == "PAY_PER_REQUEST"
    assert properties["SSESpecification"] == {
        "SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": {"Fn::GetAtt": ["Key", "Arn"]},
    }


def test_what_expires_and_what_is_backed_up():
    def having(prop):
        return {name for name, properties in TABLES.items() if prop in properties}

    assert having("TimeToLiveSpecification") == {"Sessions", "Throttle", "Outbox", "Audit"}
    for name in having("TimeToLiveSpecification"):
        assert TABLES[name]["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}
    assert having("PointInTimeRecoverySpecification") == {"Users", "Audit", "Ops"}
    assert having("StreamSpecification") == {"Outbox", "Sessions"}
    assert having("DeletionProtectionEnabled") == set(TABLES) - {"Throttle"}


def test_prod_keeps_what_it_cannot_rebuild():
    kept = {n for n, r in DATA.items() if r["DeletionPolicy"] == {"Ref": "RetentionPolicy"}}
    assert kept == set(DATA) - {"Throttle"}
    assert all(r["DeletionPolicy"] == r["UpdateReplacePolicy"] for r in DATA.values())
    assert load()["Resources"]["Data"]["Properties"]["Parameters"]["RetentionPolicy"] == {
        "Fn::If": ["DataIsProtected", "Retain", "Delete"],
    }


def test_key_rotates():
    assert DATA["Key"]["Properties"]["EnableKeyRotation"] is True


def test_secrets_begin_empty():
    """Any other text here would replace the live keyring when the template is deployed again."""
    assert DATA["Keyring"]["Properties"]["SecretString"] == "{}"
    assert DATA["Providers"]["Properties"]["SecretString"] == "{}"


def test_sizes_and_times():
    assert {name: p["MemorySize"] for name, p in functions().items()} == {
        "login": 1769, "refresh": 512, "mfa": 512, "keys": 256, "health": 256,
        "responder": 256, "rotation": 256, "maintenance": 512,
    }
    everywhere = load()["Globals"]["Function"]
    assert everywhere["Timeout"] <= 10
    assert everywhere["Tracing"] == "Active"
    assert everywhere["LoggingConfig"]["LogFormat"] == "JSON"


@pytest.mark.parametrize("function", sorted(functions()))
def test_function_has_a_log_group_that_forgets(function):
    nested, output = functions()[function]["LoggingConfig"]["LogGroup"]["Fn::GetAtt"]
    group = load("infra/logs.yaml")["Outputs"][output.removeprefix("Outputs.")]["Value"]["Ref"]
    assert nested == "Logs" and group == output.removeprefix("Outputs.")
    properties = load("infra/logs.yaml")["Resources"][group]["Properties"]
    assert properties["LogGroupName"] == {"Fn::Sub": f"/sallyport/${{Deployment}}/{function}"}


@pytest.mark.parametrize("template", ["infra/logs.yaml", "infra/api-log.yaml"])
def test_logs_are_kept_as_long_as_was_said_and_with_the_data(template):
    for group in load(template)["Resources"].values():
        assert group["Type"] == "AWS::Logs::LogGroup"
        assert group["Properties"]["RetentionInDays"] == {"Ref": "LogRetentionDays"}
        assert group["DeletionPolicy"] == group["UpdateReplacePolicy"] == {"Ref": "RetentionPolicy"}
        assert group["Properties"]["KmsKeyId"] == {"Fn::If": ["HasKey", {"Ref": "LogKeyArn"}, {"Ref": "AWS::NoValue"}]}
    (stack,) = (r for r in load()["Resources"].values() if r.get("Properties", {}).get("TemplateURL") == template)
    passed = stack["Properties"]["Parameters"]
    assert passed["RetentionPolicy"] == {"Fn::If": ["DataIsProtected", "Retain", "Delete"]}
    assert set(passed) == set(load(template)["Parameters"])


def test_a_domain_is_the_only_way_in_and_speaks_tls_1_2():
    domain = load("infra/domain.yaml")["Resources"]
    assert domain["Domain"]["Properties"]["SecurityPolicy"] == "TLS_1_2"
    assert API["DisableExecuteApiEndpoint"] == {"Fn::If": ["HasDomain", True, False]}
    # The root of the domain: nothing of the paths changes.
    assert "BasePath" not in domain["Mapping"]["Properties"]
    records = [r["Properties"] for r in domain.values() if r["Type"] == "AWS::Route53::RecordSet"]
    assert {record["Type"] for record in records} == {"A", "AAAA"}
    assert all(r["Condition"] == "HasZone" for r in domain.values() if r["Type"] == "AWS::Route53::RecordSet")
    passed = load()["Resources"]["Domain"]["Properties"]["Parameters"]
    assert set(passed) == set(load("infra/domain.yaml")["Parameters"])
    # The stage and not its name: a mapping is of a stage that is there.
    assert passed["ApiStage"] == {"Ref": "Api.Stage"}


def test_the_issuer_is_what_was_said_or_the_domain():
    issuer = load()["Globals"]["Function"]["Environment"]["Variables"]["SALLYPORT_ISSUER"]
    domain = {"Fn::Sub": "https://${DomainName}"}
    assert issuer == {"Fn::If": ["HasIssuer", {"Ref": "Issuer"}, {"Fn::If": ["HasDomain", domain, ""]}]}
    told = load()["Outputs"]["Issuer"]["Value"]["Fn::If"]
    assert told[:2] == issuer["Fn::If"][:2] and told[2]["Fn::If"][:2] == issuer["Fn::If"][2]["Fn::If"][:2]


def test_the_apis_own_address_refuses_old_tls():
    """Of a regional API, TLS_1_0 is the default: https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-security-policies-list.html"""
    assert API["SecurityPolicy"].startswith("SecurityPolicy_TLS13_1_2_")
    assert API["EndpointAccessMode"] == "BASIC"


def test_no_metrics_are_billed_by_method():
    """Five of each method at the price of one of our own: AWS/ApiGateway's by ApiName and Stage are free, and are those in use."""
    assert [s for s in API["MethodSettings"] if s.get("MetricsEnabled")] == []


def test_no_log_level_that_would_drop_the_metrics():
    assert set(load()["Parameters"]["LogLevel"]["AllowedValues"]) == {"TRACE", "DEBUG", "INFO"}


def throttle(method, path):
    encoded = "/" + path.replace("/", "~1")
    exact = [s for s in API["MethodSettings"] if s["ResourcePath"] == encoded and s["HttpMethod"] == method]
    rest = [s for s in API["MethodSettings"] if s["ResourcePath"] == "/*" and s["HttpMethod"] == "*"]
    (settings,) = exact or rest
    return settings["ThrottlingRateLimit"]["Ref"].removesuffix("RateLimit")


def test_every_method_is_throttled_as_its_cost_asks():
    kinds = {
        (method, path): throttle(method, path)
        for method, path, _ in routes() if method not in ("OPTIONS", "HEAD")
    }
    assert {route for route, kind in kinds.items() if kind == "Password"} == {
        ("POST", "/api/v1/auth/login"), ("POST", "/api/v1/auth/reauthenticate"),
    }
    assert {route for route, kind in kinds.items() if kind == "Code"} == {
        ("POST", "/api/v1/auth/mfa/challenge"), ("POST", "/api/v1/auth/mfa/verify"),
    }
    public = {route for route, kind in kinds.items() if kind == "Public"}
    assert public == {(m, p) for m, p, f in routes() if f in ("keys", "health") and m == "GET"}


def test_every_throttled_method_exists():
    known = {("/" + path.replace("/", "~1"), method) for method, path, _ in routes()} | {("/*", "*")}
    assert {(s["ResourcePath"], s["HttpMethod"]) for s in API["MethodSettings"]} - known == set()


def test_bodies_are_never_logged():
    assert [s for s in API["MethodSettings"] if s.get("DataTraceEnabled") or s.get("LoggingLevel", "OFF") != "OFF"] == []


# The status that API Gateway gives what it answers itself; of the two families, as many as they stand for:
# https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html
STATUS = {
    "ACCESS_DENIED": 403, "API_CONFIGURATION_ERROR": 500, "DEFAULT_4XX": None, "DEFAULT_5XX": None, "INTEGRATION_FAILURE": 504,
    "INTEGRATION_TIMEOUT": 504, "INVALID_SIGNATURE": 403, "MISSING_AUTHENTICATION_TOKEN": 403, "QUOTA_EXCEEDED": 429,
    "REQUEST_TOO_LARGE": 413, "RESOURCE_NOT_FOUND": 404, "THROTTLED": 429, "UNSUPPORTED_MEDIA_TYPE": 415, "WAF_FILTERED": 403,
}
# What this API asks no authorizer, key or model about cannot be answered so.
NEVER = {
    "AUTHORIZER_CONFIGURATION_ERROR", "AUTHORIZER_FAILURE", "BAD_REQUEST_BODY", "BAD_REQUEST_PARAMETERS", "EXPIRED_TOKEN",
    "INVALID_API_KEY", "UNAUTHORIZED",
}
ORIGINS = {"none": "", "one": "https://app.example.com", "two": "https://app.example.com,https://admin.example.com:8443"}
DOCUMENT = json.loads((ROOT / "functions/keys/openapi.json").read_text())


def resolved(value, parameters):
    """What CloudFormation makes of a value, `None` where the property goes; with the conditions of the template itself."""
    def holds(condition):
        (function, of), = condition.items()
        if function == "Condition":
            return holds(load()["Conditions"][of])
        if function == "Fn::And":
            return all(holds(part) for part in of)
        if function == "Fn::Not":
            return not holds(of[0])
        assert function == "Fn::Equals", function
        return resolved(of[0], parameters) == resolved(of[1], parameters)

    if not isinstance(value, dict):
        return value
    (function, of), = value.items()
    if function == "Fn::If":
        return resolved(of[1] if holds({"Condition": of[0]}) else of[2], parameters)
    if function == "Fn::Sub":
        return re.sub(r"\$\{(\w+)\}", lambda match: parameters[match[1]], of)
    if function == "Fn::Split":
        return resolved(of[1], parameters).split(of[0])
    if function == "Fn::Join":
        return of[0].join(resolved(of[1], parameters))
    return None if of == "AWS::NoValue" else parameters[of]


def rendered(kind, origins=""):
    """(status or None, headers, body) of an answer of the gateway's own."""
    parameters = {"AllowedOrigins": origins, "DocsUrl": "https://docs.example.com/errors"}
    response = API["GatewayResponses"][kind]
    headers = {n: resolved(v, parameters) for n, v in response["ResponseParameters"]["Headers"].items()}
    headers = {
        name: "the-id" if value == "context.requestId" else re.fullmatch("'(.*)'", value)[1]
        for name, value in headers.items() if value is not None
    }
    body = resolved(response["ResponseTemplates"]["application/json"], parameters)
    return response.get("StatusCode", STATUS[kind]), headers, json.loads(body.replace("$context.requestId", "the-id"))


def test_gateway_responses_are_complete():
    assert set(API["GatewayResponses"]) == set(STATUS)
    assert not NEVER & set(STATUS)


@pytest.mark.parametrize("kind", sorted(STATUS))
def test_gateway_answers_in_the_shape_of_the_functions(kind):
    status, headers, body = rendered(kind)
    problem = {"$ref": "#/components/schemas/Problem", "components": DOCUMENT["components"]}
    jsonschema.Draft202012Validator(problem).validate(body)
    assert headers["X-Request-Id"] == body["request_id"] == "the-id"
    assert body["type"] == f"https://docs.example.com/errors/{body['code']}.md"
    # Absent where the gateway alone knows it, and never another one than is sent.
    assert body.get("status") == status
    assert (status is None) == (kind == "DEFAULT_5XX")
    # The title is the code's, whoever says it; what happened in detail only the gateway knows.
    page = (ROOT / f"docs/errors/{body['code']}.md").read_text()
    own, title = page.splitlines()[2].split(" · ")
    assert body["title"] == title
    assert status in (None, int(own.strip("`"))) or f"`{status}`" in page, f"the page of {body['code']} has no {status}"
    assert headers.get("Retry-After") == (str(body["retry_after"]) if "retry_after" in body else None)
    assert ("retry_after" in body) == (status in (429, 503, 504))


@pytest.mark.parametrize("kind", sorted(STATUS))
def test_gateway_answers_with_the_headers_of_the_functions(kind):
    _, headers, _ = rendered(kind)
    functions_own = (ROOT / "shared/lambda/src/app.rs").read_text()
    for name in ("Content-Security-Policy", "Referrer-Policy", "Strict-Transport-Security", "X-Content-Type-Options"):
        assert f'"{headers[name]}"' in functions_own, name
    assert (headers["Content-Type"], headers["Cache-Control"]) == ("application/problem+json", "no-store")


@pytest.mark.parametrize("kind", sorted(STATUS))
@pytest.mark.parametrize("allowed", sorted(ORIGINS))
def test_gateway_lets_allowed_origins_read_its_answers_and_gives_no_other_credentials(kind, allowed):
    _, headers, _ = rendered(kind, ORIGINS[allowed])
    origin = headers.get("Access-Control-Allow-Origin")
    credentials = headers.get("Access-Control-Allow-Credentials")
    exposed = headers.get("Access-Control-Expose-Headers")
    assert headers["Vary"] == "Origin"
    if allowed == "none":
        assert (origin, credentials, exposed) == (None, None, None)
        return
    assert f'"{exposed}"' in (ROOT / "shared/lambda/src/cors.rs").read_text()
    # A browser takes no credentials to the wildcard, and the one origin is nobody else's. Never the request's own word.
    assert (origin, credentials) == {"one": (ORIGINS["one"], "true"), "two": ("*", None)}[allowed]


@pytest.mark.parametrize("kind", sorted(kind for kind in STATUS if (STATUS[kind] or 500) >= 500 and kind != "DEFAULT_4XX"))
def test_a_fault_keeps_the_status_of_api_gateway(kind):
    """One that a template changes is counted as a 4XXError, and the alarm on faults does not see it:
    https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-metrics-and-dimensions.html"""
    assert "StatusCode" not in API["GatewayResponses"][kind]


@pytest.mark.parametrize("name", ["template.yaml", HOOK, *sorted(f"infra/{p.name}" for p in (ROOT / "infra").glob("*.yaml"))])
def test_no_template_names_a_partition(name):
    """China's ARNs and endpoints have other names. Principals are the same everywhere, and so are descriptions' examples."""
    def texts(node):
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            if isinstance(value, (dict, list)):
                yield from texts(value)
            elif isinstance(value, str) and key not in ("Description", "AllowedPattern"):
                yield value

    written = [text for text in texts(load(name)) if "arn:aws:" in text or ".amazonaws.com" in text]
    assert [text for text in written if not re.fullmatch(r"[a-z]+\.amazonaws\.com", text)] == []


def test_the_outputs_name_the_next_command():
    assert load()["Outputs"]["NextStep"]["Value"] == {
        "Fn::Sub": "sallyport --region ${AWS::Region} setup --stack ${AWS::StackName}",
    }


def test_parameters_explain_themselves():
    grouped = [
        name
        for group in load()["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
        for name in group["Parameters"]
    ]
    parameters = load()["Parameters"]
    assert sorted(grouped) == sorted(parameters)
    for name, parameter in parameters.items():
        assert parameter["Description"] and "Default" in parameter, name
        assert {"AllowedValues", "AllowedPattern", "MinValue"} & set(parameter), f"{name} takes anything"
        assert parameter["ConstraintDescription"], name


def test_defaults_satisfy_their_patterns():
    for name, parameter in load()["Parameters"].items():
        if "AllowedPattern" in parameter:
            assert re.fullmatch(parameter["AllowedPattern"], parameter["Default"]), name


def test_outputs_are_what_the_command_line_reads():
    assert {
        "ApiUrl", "UsersTable", "SessionsTable", "ThrottleTable", "OutboxTable", "AuditTable", "OpsTable",
        "KeyringSecret", "Issuer", "Stage", "CriticalTopic", "WarningTopic", "InfoTopic",
    } <= set(load()["Outputs"])


def test_alarms_get_what_they_take_and_nothing_but_our_alarms_publishes():
    parameters = load()["Resources"]["Alarms"]["Properties"]["Parameters"]
    declared = load("infra/alarms.yaml")["Parameters"]
    assert set(parameters) <= set(declared)
    assert {name for name, parameter in declared.items() if "Default" not in parameter} <= set(parameters)
    for name in set(parameters) & set(load()["Parameters"]) - {"Stage"}:
        assert load()["Parameters"][name]["Default"] == declared[name]["Default"], name

    (policy,) = resources("AWS::SNS::TopicPolicy", "infra/topics.yaml").values()
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}


def test_probe_is_the_event_of_the_readiness_route():
    (probe,) = (event for event in functions()["health"]["Events"].values() if event["Type"] == "Schedule")
    assert probe["Properties"]["Schedule"] == "rate(1 minute)"
    asks_for(json.loads(probe["Properties"]["Input"]), "/health/ready")


def asks_for(event, path):
    assert (event["httpMethod"], event["path"]) == ("GET", path)
    assert "body" in event and event["requestContext"]["resourcePath"] == path


def test_the_deployment_asks_for_the_keys_so_that_the_keyring_is_filled():
    (fill,) = (event for event in functions()["keys"]["Events"].values() if event["Type"] == "ScheduleV2")
    # Scheduler hands the first event of a rate when the schedule is made.
    assert fill["Properties"]["ScheduleExpression"].startswith("rate(")
    asks_for(json.loads(fill["Properties"]["Input"]), "/.well-known/jwks.json")


def test_alarms_are_made_after_what_they_watch():
    after = set(load()["Resources"]["Alarms"]["DependsOn"])
    watched = {name for name, resource in load()["Resources"].items() if resource["Type"] == "AWS::Serverless::Function"}
    assert watched | {"HealthProbe", "KeysFill", "MaintenanceRestoreDrill"} <= after
    # And nothing that they watch waits for them.
    text = json.dumps({name: resource for name, resource in load()["Resources"].items() if name != "Alarms"})
    assert "Alarms.Outputs" not in text and '["Alarms"' not in text


def test_every_alarm_reaches_the_responder():
    topics = {
        event["Properties"]["Topic"]["Fn::GetAtt"][1]
        for event in functions()["responder"]["Events"].values() if event["Type"] == "SNS"
    }
    assert topics == {f"Outputs.{topic}" for topic in load("infra/topics.yaml")["Outputs"]}
