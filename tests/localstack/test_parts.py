"""The other templates of infra/, one by one, with both values of what changes their shape."""

import json

import pytest

from emulated import NOT_MADE, nested
from template import ROOT, load, resources

MAIL = "ada@example.com"
KEY = "arn:aws:kms:us-east-1:000000000000:key/11111111-2222-3333-4444-555555555555"


# infra/topics.yaml

def subscriptions(localstack, outputs):
    for topic in outputs.values():
        for one in localstack.pages("sns", "list_subscriptions_by_topic", "Subscriptions", TopicArn=topic):
            yield one["TopicArn"], one["Protocol"], one["Endpoint"]


def test_alarms_of_the_deployment_may_publish_to_its_topics(localstack, topics):
    for arn in topics.values():
        attributes = localstack.client("sns").get_topic_attributes(TopicArn=arn)["Attributes"]
        (statement,) = json.loads(attributes["Policy"])["Statement"]
        assert arn in statement["Resource"] and statement["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
        assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": "000000000000"}
        source = statement["Condition"]["ArnLike"]["aws:SourceArn"]
        assert source == "arn:aws:cloudwatch:us-east-1:000000000000:alarm:told-*"


def test_a_topic_has_the_address_that_it_was_given_and_no_other(localstack):
    mailed = localstack.deploy(
        "mailed", nested("infra/topics.yaml"), Deployment="mailed", Stage="dev", CriticalEmail=MAIL,
    ).outputs
    assert list(subscriptions(localstack, mailed)) == [(mailed["CriticalTopic"], "email", MAIL)]


# infra/logs.yaml, infra/api-log.yaml

LOGS = {
    "infra/logs.yaml": {},
    "infra/api-log.yaml": {"ApiAccount": "existing"},
}


def groups(localstack, prefix):
    found = localstack.pages("logs", "describe_log_groups", "logGroups", logGroupNamePrefix=f"/sallyport/{prefix}/")
    return {group["logGroupName"] for group in found}


@pytest.mark.parametrize("template", LOGS)
@pytest.mark.parametrize(("key", "retained"), [("", "Delete"), (KEY, "Retain")], ids=["go", "stay"])
def test_log_groups_outlive_the_stack_where_that_is_asked(localstack, template, key, retained):
    name = f"{template.split('/')[1].removesuffix('.yaml')}-{retained.lower()}"
    stack = localstack.deploy(
        name, nested(template), Deployment=name, LogRetentionDays="30", LogKeyArn=key, RetentionPolicy=retained, **LOGS[template],
    )
    # LocalStack makes a group of its name alone: days and key are not there to be asked for.
    made = groups(localstack, name)
    assert made == {
        properties["LogGroupName"]["Fn::Sub"].replace("${Deployment}", name)
        for properties in resources("AWS::Logs::LogGroup", template).values()
    }
    stack.delete()
    assert groups(localstack, name) == (made if retained == "Retain" else set())


# infra/data.yaml, without its tables

@pytest.mark.parametrize("retained", ["Delete", "Retain"])
def test_secrets_are_under_the_stacks_own_key_and_outlive_the_stack_if_asked(localstack, retained):
    kms, secrets = localstack.client("kms"), localstack.client("secretsmanager")
    stack = localstack.deploy(
        f"data-{retained.lower()}", nested("infra/data.yaml"), Stage="dev", RetentionPolicy=retained, DeletionProtection="false",
    )
    outputs = stack.outputs
    assert set(outputs) == set(load("infra/data.yaml")["Outputs"])
    key = outputs["KeyArn"]
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "Enabled"
    assert kms.get_key_rotation_status(KeyId=key)["KeyRotationEnabled"] is True
    for output in ("KeyringSecret", "ProvidersSecret"):
        assert secrets.describe_secret(SecretId=outputs[output]).get("KmsKeyId") == key
        assert secrets.get_secret_value(SecretId=outputs[output])["SecretString"] == "{}"
    stack.delete()
    kept = {secret["ARN"] for secret in localstack.pages("secretsmanager", "list_secrets", "SecretList")}
    both = {outputs["KeyringSecret"], outputs["ProvidersSecret"]}
    assert kept & both == (both if retained == "Retain" else set())
    state = kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"]
    assert state == ("Enabled" if retained == "Retain" else "PendingDeletion")


# infra/dashboard.yaml

@pytest.fixture(scope="module")
def drawn(localstack):
    """(Logical id, property) → what CloudFormation makes of it. LocalStack makes neither dashboards nor queries of it."""
    document = nested("infra/dashboard.yaml")
    document["Outputs"] = {
        f"{logical}0{name}": {"Value": properties[name]}
        for kind in NOT_MADE for logical, properties in resources(kind, "infra/dashboard.yaml").items()
        for name in ("DashboardName", "DashboardBody", "Name") if name in properties
    }
    outputs = localstack.deploy(
        "dashboard", document, Stack="drawn", Stage="dev", ApiName="drawn-api",
        FunctionLogs="/sallyport/drawn/login,/sallyport/drawn/keys",
    ).outputs
    return {tuple(name.split("0")): value for name, value in outputs.items()}


def test_the_dashboard_is_one_that_cloudwatch_takes(localstack, drawn):
    cloudwatch = localstack.client("cloudwatch")
    cloudwatch.put_dashboard(
        DashboardName=drawn["Dashboard", "DashboardName"], DashboardBody=drawn["Dashboard", "DashboardBody"]
    )
    body = cloudwatch.get_dashboard(DashboardName="drawn")["DashboardBody"]
    assert "${" not in body
    lines = [line for widget in json.loads(body)["widgets"] for line in widget["properties"].get("metrics", [])]
    assert {line[line.index("ApiName") + 1] for line in lines if "ApiName" in line} == {"drawn-api"}
    assert {line[line.index("deployment") + 1] for line in lines if "deployment" in line} == {"drawn"}


def test_a_saved_query_is_called_after_the_stack_and_its_file(drawn):
    names = sorted(value for (_, name), value in drawn.items() if name == "Name")
    assert names == sorted(f"drawn/{path.stem}" for path in (ROOT / "infra/queries").glob("*.logs"))


# infra/domain.yaml

@pytest.mark.parametrize("zoned", [True, False], ids=["in a zone", "in no zone"])
def test_a_domain_leads_to_the_api_and_has_records_where_it_has_a_zone(localstack, zoned):
    gateway, route53 = localstack.client("apigateway"), localstack.client("route53")
    domain = f"auth.{'zone' if zoned else 'nozone'}.example.com"
    api = gateway.create_rest_api(name=domain)["id"]
    root = gateway.get_resources(restApiId=api)["items"][0]["id"]
    gateway.put_method(restApiId=api, resourceId=root, httpMethod="GET", authorizationType="NONE")
    gateway.put_integration(restApiId=api, resourceId=root, httpMethod="GET", type="MOCK")
    gateway.create_deployment(restApiId=api, stageName="dev")
    certificate = localstack.client("acm").request_certificate(DomainName=domain)["CertificateArn"]
    zone = route53.create_hosted_zone(Name="example.com", CallerReference=domain)["HostedZone"]["Id"].split("/")[-1]

    stack = localstack.deploy(
        domain.replace(".", "-"), nested("infra/domain.yaml"), DomainName=domain, CertificateArn=certificate,
        HostedZoneId=zone if zoned else "", Api=api, ApiStage="dev",
    )
    (mapping,) = gateway.get_base_path_mappings(domainName=domain)["items"]
    assert (mapping["restApiId"], mapping["stage"], mapping.get("basePath", "(none)")) == (api, "dev", "(none)")
    assert gateway.get_domain_name(domainName=domain)["securityPolicy"] == "TLS_1_2"
    records = route53.list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
    own = {(r["Type"], r["AliasTarget"]["DNSName"].rstrip(".")) for r in records if r["Name"] == f"{domain}."}
    assert own == ({("A", stack.outputs["Target"]), ("AAAA", stack.outputs["Target"])} if zoned else set())
