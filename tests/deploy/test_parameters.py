"""A parameter takes what the services behind it take, and no more: what does not fit is refused before anything is made.

One row a parameter. Numbers: the least, the greatest, and where the bounds are from; a bound that no service and no function
has is `None`. Texts: what is taken, what is refused, and where the form is from.
"""

import re

import pytest

from template import ROOT, load

PARAMETERS = load()["Parameters"]

THROTTLE = "API Gateway, account quota: 10,000 requests per second, burst 5,000"
CONCURRENCY = "Lambda, PutFunctionConcurrency: 0 or more; the most is the account's quota, which no template knows"
THRESHOLD = "a threshold of infra/alarms.yaml: a metric of 0 must not reach it"

NUMBERS = {
    "RefreshGraceSeconds": (0, 60, "shared/lambda/src/config.rs"),
    "PasswordMemoryKib": (7168, 262144, "shared/lambda/src/config.rs"),
    "PasswordIterations": (1, 10, "shared/lambda/src/config.rs"),
    "KeyringMaxAgeSeconds": (30, 3600, "shared/lambda/src/config.rs"),
    # 1 to 1,000 in AutomaticallyAfterDays; an expression of one day would have to be in the singular.
    "RotationDays": (1, 100, "Secrets Manager, RotationRulesType: 1 to 1,000 days"),
    "AddressLimit": (1, 100_000, "shared/lambda/src/config.rs"),
    **{f"{kind}RateLimit": (1, 10_000, THROTTLE) for kind in ("Password", "Code", "Token", "Account", "Public")},
    **{f"{kind}BurstLimit": (1, 5_000, THROTTLE) for kind in ("Password", "Code", "Token", "Account", "Public")},
    **{f"{name}ReservedConcurrency": (0, None, CONCURRENCY) for name in ("Login", "Refresh", "Mfa", "Keys", "Health")},
    "MinimumRequests": (1, None, THRESHOLD),
    "SlowResponseMs": (1, None, THRESHOLD),
    "FailuresPerMinute": (1, None, THRESHOLD),
    "ConcurrencyLimit": (1, None, THRESHOLD),
    "KeyAgeDays": (1, None, THRESHOLD),
    "WrongPasswordBaseline": (0, 1, "a share"),
}

CHOICES = {
    "Stage": {"dev", "staging", "prod"},
    "Architecture": {"arm64", "x86_64"},
    "DataProtection": {"auto", "on", "off"},
    "SigningAlgorithm": {"ES256", "RS256"},
    "KeyRotation": {"on", "off"},
    "AutoMitigation": {"off", "emergency"},
    "LogLevel": {"TRACE", "DEBUG", "INFO"},
    # Lambda, LoggingConfig, SystemLogLevel.
    "PlatformLogLevel": {"DEBUG", "INFO", "WARN"},
    # CloudWatch Logs, PutRetentionPolicy, up to two years.
    "LogRetentionDays": {1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731},
    "ApiAccessLogs": {"on", "off"},
    "ApiLoggingRole": {"create", "existing"},
    "Dashboard": {"on", "off"},
    "AlarmSet": {"full", "basic"},
}

MAIL = (
    ["", "oncall@example.com", "on+call@example.co.uk"],
    ["oncall", "@example.com", "oncall@", "on call@example.com", "a@b@c", "a@example.com\n"],
    "SNS, Subscribe, protocol email",
)
PAGES = (
    ["https://example.com/errors", "http://localhost:8080/errors", "https://example.com/a_b/~c"],
    ["", "https://example.com/errors/", "example.com/errors", "https://example.com/a?b", "https://example.com/a b", 'https://e.com/"'],
    "it begins the `type` of an error, which is a URL in a string of JSON",
)

TEXTS = {
    "PermissionsBoundary": (
        ["", "arn:aws:iam::123456789012:policy/boundary", "arn:aws-cn:iam::123456789012:policy/team/boundary",
         "arn:aws:iam::aws:policy/PowerUserAccess"],
        ["boundary", "arn:aws:iam::123456789012:role/boundary", "arn:aws:iam::1234:policy/boundary", "arn:aws:iam::123456789012:policy/"],
        "IAM, Role, PermissionsBoundary",
    ),
    "DomainName": (
        ["", "auth.example.com", "a.b.c.example.co.uk", "xn--bcher-kva.example"],
        ["example", "Auth.example.com", "*.example.com", "https://auth.example.com", "auth.example.com/x", "auth.example.com:443",
         "auth.example.com.", "-a.example.com", "a-.example.com", "a..example.com", "auth_1.example.com"],
        "API Gateway, CreateDomainName: lower case, no wildcard of our own",
    ),
    "CertificateArn": (
        ["", "arn:aws:acm:eu-central-1:123456789012:certificate/1f0c2a6e-0000-4000-8000-0123456789ab"],
        ["1f0c2a6e", "arn:aws:iam::123456789012:server-certificate/x", "arn:aws:acm:eu-central-1:12:certificate/x"],
        "API Gateway, CreateDomainName, regionalCertificateArn",
    ),
    "HostedZoneId": (["", "Z2FDTNDATAQYW2"], ["/hostedzone/Z2FDTNDATAQYW2", "z2fdt", "Z", "A123"], "Route 53, ResourceId"),
    "Issuer": (
        ["", "https://auth.example.com", "https://auth.example.com:8443", "https://example.com/auth/v1"],
        ["http://auth.example.com", "https://auth.example.com/", "https://Auth.example.com", "https://auth.example.com?x",
         "https://auth.example.com/#x", "auth.example.com", "https://", "https://-", "https://a.example.com:0",
         "https://auth.example.com:99999", "https://auth.example.com:443", "https://a..b", "https://a.example.com/..", "https://1.2.3"],
        "OpenID Connect Discovery 1.0, section 3: https, no query or fragment; compared letter by letter, hence lower case",
    ),
    "Audience": (["sallyport", "https://api.example.com/v1"], ["", "two words", "a" * 201, "a,b"], "RFC 7519, section 4.1.3"),
    "AllowedOrigins": (
        ["", "https://app.example.com", "https://app.example.com,https://admin.example.com:8443", "http://localhost:5173",
         "http://127.0.0.1:5173,http://[::1]:5173"],
        # What no browser sends can never be allowed, and a page by plain http is anybody's on its way.
        ["https://App.example.com", "https://app.example.com/", "https://app.example.com:443", "http://localhost:80", "*",
         "http://app.example.com", "http://localhost.example.com", "https://a.example.com, https://b.example.com",
         "https://app.example.com,", "null", "app.example.com", "https://a.example.com:443,https://b.example.com",
         "https://app.example.com:65536", "https://a..b", "https://1.2.3", "https://a.0x1f", "https://-a.example.com"],
        "RFC 6454, section 6.2, as browsers serialise an origin",
    ),
    "AllowedHeaders": (
        ["", "X-Correlation-Id", "X-A,x-b", "Hosted,X-Sec-1,Cookies"],
        ["*", "X A", "X-A, X-B", "X-A,", "X:A", ",".join(["x"] * 21), "Cookie", "X-A,host", "Sec-Foo", "proxy-x", "Origin"],
        "RFC 9110, section 5.1; Fetch, forbidden request-header",
    ),
    "ProductName": (
        ["Sallyport", "Käse & Söhne", "用户", "a", "Shop (staging)"],
        ["", " Shop", "Shop ", "Shop: staging", "a" * 65, "a\nb", "\x00", "a\x85b"],
        "otpauth's key URI format: a colon parts issuer and account",
    ),
    "DocsUrl": PAGES,
    "RunbookUrl": PAGES,
    "LogKeyArn": (
        ["", "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
         "arn:aws:kms:eu-central-1:123456789012:key/mrk-1234abcd12ab34cd56ef1234567890ab"],
        ["alias/logs", "1234abcd-12ab-34cd-56ef-1234567890ab", "arn:aws:kms:eu-central-1:123456789012:alias/logs"],
        "CloudWatch Logs, AssociateKmsKey: the ARN of a key, and no alias",
    ),
    **{name: MAIL for name in ("IncidentEmail", "CriticalEmail", "WarningEmail", "InfoEmail")},
}


def test_every_parameter_has_a_row():
    assert sorted([*NUMBERS, *CHOICES, *TEXTS]) == sorted(PARAMETERS)


@pytest.mark.parametrize("name", sorted(NUMBERS))
def test_bounds_of_a_number(name):
    least, greatest, source = NUMBERS[name]
    parameter = PARAMETERS[name]
    assert (parameter["Type"], parameter["MinValue"], parameter.get("MaxValue")) == ("Number", least, greatest), source
    assert least <= parameter["Default"] <= (greatest or parameter["Default"])


@pytest.mark.parametrize("name", sorted(CHOICES))
def test_choices(name):
    assert set(PARAMETERS[name]["AllowedValues"]) == CHOICES[name]
    assert PARAMETERS[name]["Default"] in CHOICES[name]


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_form_of_a_text(name):
    taken, refused, source = TEXTS[name]
    parameter = PARAMETERS[name]
    assert parameter["Type"] == "String"

    def passes(value):
        # CloudFormation wants the whole value to match.
        return re.fullmatch(parameter["AllowedPattern"], value) is not None and len(value) <= parameter.get("MaxLength", 4096)

    assert passes(str(parameter["Default"]))
    assert [value for value in taken if not passes(value)] == [], source
    assert [value for value in refused if passes(value)] == [], source


def test_a_domain_of_254_characters_is_refused():
    assert PARAMETERS["DomainName"]["MaxLength"] == 253


def test_rotation_asks_for_days_and_writes_no_expression():
    """`rate(1 days)` is no expression: one day is singular."""
    (schedule,) = (r for r in load()["Resources"].values() if r["Type"] == "AWS::SecretsManager::RotationSchedule")
    assert schedule["Properties"]["RotationRules"] == {"AutomaticallyAfterDays": {"Ref": "RotationDays"}}


def test_no_rate_is_one_of_many_or_many_of_one():
    """EventBridge: singular for 1, plural for others; no parameter in an expression."""
    texts = [(ROOT / name).read_text() for name in ("template.yaml", "ops/cli/src/commands/deploy/smoke.yaml")]
    rates = re.findall(r"rate\(([^)]*)\)", "\n".join(texts))
    assert rates and [r for r in rates if not re.fullmatch(r"1 (minute|hour|day)|([2-9]|[1-9][0-9]+) (minutes|hours|days)", r)] == []
