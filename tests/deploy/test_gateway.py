"""What API Gateway answers itself, rendered by a gateway: the template's responses, put to an API of nothing.

An emulator leaves them out of an API's definition (test_errors.py), and takes them one by one.
"""

import jsonschema
import pytest
import requests

from test_template import API, DOCUMENT, ORIGINS, STATUS, resolved

PROBLEM = {"$ref": "#/components/schemas/Problem", "components": DOCUMENT["components"]}


@pytest.fixture(scope="module", params=sorted(ORIGINS))
def deployed(request, emulator):
    """(origins, URL of a stage of an API with all responses of the template, as deployed with these origins)."""
    gateway = emulator.client("apigateway")
    api = gateway.create_rest_api(name="sallyport-gateway")["id"]
    parameters = {"AllowedOrigins": ORIGINS[request.param], "DocsUrl": "https://docs.example.com/errors"}
    for kind, response in API["GatewayResponses"].items():
        headers = {n: resolved(v, parameters) for n, v in response["ResponseParameters"]["Headers"].items()}
        status = {"statusCode": str(response["StatusCode"])} if "StatusCode" in response else {}
        gateway.put_gateway_response(
            restApiId=api, responseType=kind, **status,
            responseParameters={f"gatewayresponse.header.{name}": value for name, value in headers.items() if value is not None},
            responseTemplates={n: resolved(v, parameters) for n, v in response["ResponseTemplates"].items()},
        )
    (root,) = gateway.get_resources(restApiId=api)["items"]
    method = {"restApiId": api, "resourceId": root["id"], "httpMethod": "GET"}
    gateway.put_method(**method, authorizationType="NONE")
    gateway.put_integration(**method, type="MOCK", requestTemplates={"application/json": '{"statusCode": 200}'})
    gateway.create_deployment(restApiId=api, stageName="dev")
    yield request.param, f"{emulator.url}/restapis/{api}/dev/_user_request_"
    gateway.delete_rest_api(restApiId=api)


def test_every_response_is_one_that_api_gateway_knows(deployed, emulator):
    _, url = deployed
    api = url.split("/restapis/")[1].split("/")[0]
    items = emulator.client("apigateway").get_gateway_responses(restApiId=api)["items"]
    assert {item["responseType"] for item in items if not item["defaultResponse"]} == set(STATUS)
    # And gives what it is no fault of a caller its own status.
    assert {i["responseType"]: i.get("statusCode") for i in items if i["responseType"].startswith("INTEGRATION")} == {
        "INTEGRATION_FAILURE": "504", "INTEGRATION_TIMEOUT": "504",
    }


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer of.no.use"}], ids=["plain", "with a bearer token"])
def test_an_unknown_path_is_not_found_and_says_so_to_the_pages_that_may_ask(deployed, headers):
    allowed, url = deployed
    for origin in [*ORIGINS["two"].split(","), "https://evil.example.com"]:
        answer = requests.get(f"{url}/nowhere", headers={"Origin": origin, **headers}, timeout=10)
        assert answer.status_code == 404, answer.text
        body = answer.json()
        jsonschema.Draft202012Validator(PROBLEM).validate(body)
        assert (body["code"], body["request_id"]) == ("not_found", answer.headers["X-Request-Id"])
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert answer.headers["Vary"] == "Origin"
        # A browser gives an answer to a page whose origin it names; with credentials only if it says so as well.
        named = answer.headers.get("Access-Control-Allow-Origin")
        credentials = answer.headers.get("Access-Control-Allow-Credentials")
        may_read = named in (origin, "*")
        assert may_read == {"none": False, "one": origin == ORIGINS["one"], "two": True}[allowed]
        assert (named == origin and credentials == "true") == (allowed == "one" and origin == ORIGINS["one"])
        if may_read:
            assert "Retry-After" in answer.headers["Access-Control-Expose-Headers"]
