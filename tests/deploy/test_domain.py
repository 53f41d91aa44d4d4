"""infra/domain.yaml, in the emulator, in front of an API of nothing but a health check."""

import pytest
import requests

from template import ROOT

DOMAIN = "auth.example.test"
STAGE = "dev"


@pytest.fixture(scope="module")
def rest_api(emulator):
    gateway = emulator.client("apigateway")
    api = gateway.create_rest_api(name="sallyport-domain")["id"]
    (root,) = gateway.get_resources(restApiId=api)["items"]
    path = gateway.create_resource(restApiId=api, parentId=root["id"], pathPart="live")["id"]
    method = {"restApiId": api, "resourceId": path, "httpMethod": "GET"}
    gateway.put_method(**method, authorizationType="NONE")
    gateway.put_integration(**method, type="MOCK", requestTemplates={"application/json": '{"statusCode": 200}'})
    gateway.put_method_response(**method, statusCode="200")
    gateway.put_integration_response(**method, statusCode="200", responseTemplates={"application/json": '{"status": "ok"}'})
    gateway.create_deployment(restApiId=api, stageName=STAGE)
    yield api
    gateway.delete_rest_api(restApiId=api)


@pytest.fixture
def domain(emulator, rest_api):
    made = []
    formation = emulator.client("cloudformation")

    def make(zone):
        parameters = {
            "DomainName": DOMAIN, "HostedZoneId": zone, "Api": rest_api, "ApiStage": STAGE,
            "CertificateArn": "arn:aws:acm:us-east-1:000000000000:certificate/1f0c2a6e-0000-4000-8000-0123456789ab",
        }
        formation.create_stack(
            StackName="sallyport-domain", TemplateBody=(ROOT / "infra/domain.yaml").read_text(),
            Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
        )
        made.append("sallyport-domain")
        formation.get_waiter("stack_create_complete").wait(StackName=made[-1], WaiterConfig={"Delay": 1, "MaxAttempts": 60})
        (stack,) = formation.describe_stacks(StackName=made[-1])["Stacks"]
        return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}

    yield make
    for name in made:
        formation.delete_stack(StackName=name)
        formation.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})


def test_the_domain_leads_to_the_api_at_its_root(emulator, domain, rest_api):
    target = domain("")["Target"]
    gateway = emulator.client("apigateway")
    described = gateway.get_domain_name(domainName=DOMAIN)
    assert described["securityPolicy"] == "TLS_1_2"
    assert described["endpointConfiguration"]["types"] == ["REGIONAL"]
    assert described["regionalDomainName"] == target
    (mapping,) = gateway.get_base_path_mappings(domainName=DOMAIN)["items"]
    assert (mapping["restApiId"], mapping["stage"], mapping["basePath"]) == (rest_api, STAGE, "(none)")
    answer = requests.get(f"{emulator.url}/live", headers={"Host": DOMAIN}, timeout=10)
    assert answer.status_code == 200, answer.text


def test_records_are_made_where_there_is_a_zone_and_nowhere_else(emulator, domain):
    dns = emulator.client("route53")
    zone = dns.create_hosted_zone(Name="example.test", CallerReference="domain")["HostedZone"]["Id"].split("/")[-1]
    try:
        target = domain(zone)["Target"]
        records = {
            record["Type"]: record for record in dns.list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
            if record["Name"].rstrip(".") == DOMAIN
        }
        assert set(records) == {"A", "AAAA"}
        assert {record["AliasTarget"]["DNSName"].rstrip(".") for record in records.values()} == {target.rstrip(".")}
    finally:
        # The stack goes before its zone.
        formation = emulator.client("cloudformation")
        formation.delete_stack(StackName="sallyport-domain")
        formation.get_waiter("stack_delete_complete").wait(StackName="sallyport-domain", WaiterConfig={"Delay": 1})
        dns.delete_hosted_zone(Id=zone)
