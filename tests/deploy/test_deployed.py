"""The walk of a caller through the deployed API: API Gateway's events, Lambda's environment, IAM's refusals."""

import json
import time

import jwt
import pytest

import totp
from deployment import ISSUER, ORIGIN
from prometheus_client.openmetrics import parser
from template import functions, load, routes


def claims(token, keyring):
    header = jwt.get_unverified_header(token)
    assert header["typ"] == "at+jwt"
    (key,) = [key for key in keyring["keys"] if key["kid"] == header["kid"]]
    return jwt.decode(
        token, jwt.PyJWK(key), algorithms=[key["alg"]], audience="sallyport", issuer=ISSUER,
        options={"require": ["exp", "iat", "sub", "jti", "sid", "auth_time"]},
    )


def enrol(api, access):
    """A confirmed TOTP factor: its id, its secret, the recovery codes."""
    started = api.post("/api/v1/mfa/totp", {"label": "phone"}, token=access)
    assert started.status_code == 201, started.text
    factor, secret = started.json()["factor_id"], started.json()["secret"]
    confirmed = api.post(
        "/api/v1/mfa/totp/confirm", {"factor_id": factor, "code": totp.code(secret)}, token=access
    )
    assert confirmed.status_code == 200, confirmed.text
    return factor, secret, confirmed.json()["recovery_codes"]


def verify(api, user, factor, code):
    """Signs in with both factors."""
    token = api.login(user).json()["mfa_token"]
    response = api.post("/api/v1/auth/mfa/verify", {"mfa_token": token, "factor_id": factor, "code": code})
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.parametrize("check", ["live", "ready", "db", "sessions", "secrets"])
def test_health(api, keyring, check):
    response = api.get(f"/health/{check}")
    assert response.status_code == 200, response.text
    assert response.json()["status"] == ("ok" if check == "live" else "ready")


def test_discovery_names_the_issuer(api, keyring):
    for name in ("oauth-authorization-server", "openid-configuration"):
        response = api.get(f"/.well-known/{name}")
        assert response.json()["issuer"] == ISSUER
        assert response.headers["Access-Control-Allow-Origin"] == "*"


def test_openapi_document_is_served_and_names_the_deployment(api, keyring):
    document = api.get("/openapi.json").json()
    assert document["openapi"].startswith("3.")
    assert [server["url"] for server in document["servers"]] == [ISSUER]


def test_prometheus_reads_the_metrics(api, emulator, stack, keyring):
    """As text: API Gateway hands on base64 as it is where no media type is declared binary."""
    token, secret = "deployed-metrics-token", stack.outputs["ProvidersSecret"]
    secrets = emulator.client("secretsmanager")
    before = secrets.get_secret_value(SecretId=secret)["SecretString"]
    try:
        secrets.put_secret_value(SecretId=secret, SecretString=json.dumps({"metrics_token": token}))
        # The function keeps its copy of the secret for a while.
        for _ in range(90):
            response = api.get("/metrics", headers={"Authorization": f"Bearer {token}"})
            if response.status_code != 401:
                break
            time.sleep(1)
        assert response.status_code == 200, response.text
        assert response.headers["Content-Type"].startswith("application/openmetrics-text")
        families = list(parser.text_string_to_metric_families(response.text))
        assert families and all(family.name.startswith("sallyport_") for family in families)
    finally:
        secrets.put_secret_value(SecretId=secret, SecretString=before)


def test_keyring_is_filled_once(api, keyring):
    assert api.get("/.well-known/jwks.json").json() == keyring
    assert keyring["keys"] and all("d" not in key for key in keyring["keys"])


def test_login_gives_a_token_that_the_published_keys_verify(api, user, keyring):
    body = api.signed_in(user)
    verified = claims(body["access_token"], keyring)
    assert verified["sid"] == body["session_id"]
    assert verified["exp"] - verified["iat"] == body["expires_in"] == 300


def test_login_refuses_a_wrong_password(api, user):
    response = api.post("/api/v1/auth/login", {"email": user.email, "password": "wrong"})
    assert response.status_code == 401
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json()["code"] == "invalid_credentials"


def test_login_does_not_tell_unknown_accounts(api, user):
    known = api.post("/api/v1/auth/login", {"email": user.email, "password": "wrong"})
    unknown = api.post("/api/v1/auth/login", {"email": f"x{user.email[1:]}", "password": "wrong"})
    assert (known.status_code, len(known.content)) == (unknown.status_code, len(unknown.content))


def test_lockout_counts_across_requests(api, user):
    codes = [
        api.post("/api/v1/auth/login", {"email": user.email, "password": f"wrong {n}"}).json()["code"]
        for n in range(6)
    ]
    assert codes == ["invalid_credentials"] * 5 + ["too_many_attempts"]


def test_signing_in_clears_the_count(api, user):
    def refused(times):
        return [
            api.post("/api/v1/auth/login", {"email": user.email, "password": f"wrong {n}"}).json()["code"]
            for n in range(times)
        ]

    refused(4)
    api.signed_in(user)
    assert refused(5) == ["invalid_credentials"] * 5


def test_refresh_rotates(api, user, keyring):
    first = api.signed_in(user)
    response = api.post("/api/v1/auth/refresh", {"refresh_token": first["refresh_token"]})
    assert response.status_code == 200, response.text
    second = response.json()
    assert second["refresh_token"] != first["refresh_token"]
    assert second["session_id"] == first["session_id"]
    assert claims(second["access_token"], keyring)["sid"] == first["session_id"]


def test_logout_ends_the_session(api, user):
    session = api.signed_in(user)
    assert api.post("/api/v1/auth/logout", {"refresh_token": session["refresh_token"]}).status_code == 204
    response = api.post("/api/v1/auth/refresh", {"refresh_token": session["refresh_token"]})
    assert (response.status_code, response.json()["code"]) == (401, "invalid_refresh_token")


def test_global_logout_ends_the_others(api, user):
    here, there = api.signed_in(user), api.signed_in(user)
    assert api.post("/api/v1/auth/logout", {"scope": "global"}, token=here["access_token"]).status_code == 204
    assert api.post("/api/v1/auth/refresh", {"refresh_token": there["refresh_token"]}).status_code == 401


def test_second_factor_from_enrolment_to_removal(api, user, keyring):
    access = api.signed_in(user)["access_token"]
    factor, secret, recovery = enrol(api, access)
    assert len(recovery) == 10

    asked = api.login(user).json()
    assert asked["status"] == "mfa_required"
    assert {f["type"] for f in asked["factors"]} == {"totp", "recovery"}
    # Confirming used up this half minute's code: the next one is within the tolerance.
    strong = verify(api, user, factor, totp.code(secret, steps_ahead=1))["access_token"]
    assert claims(strong, keyring)["aal"] == 2

    listed = api.get("/api/v1/mfa/factors", token=strong).json()
    assert [f["id"] for f in listed["factors"] if f["type"] == "totp"] == [factor]
    assert listed["recovery_codes_remaining"] == 10
    assert api.call("DELETE", f"/api/v1/mfa/factors/{factor}", token=strong).status_code == 204
    assert api.login(user).json()["status"] == "authenticated"


def test_recovery_code_works_once(api, user):
    _, _, recovery = enrol(api, api.signed_in(user)["access_token"])

    def recover():
        asked = api.login(user).json()
        return api.post(
            "/api/v1/auth/mfa/verify",
            {"mfa_token": asked["mfa_token"], "factor_id": "recovery", "code": recovery[0]},
        )

    assert recover().status_code == 200
    again = recover()
    assert (again.status_code, again.json()["code"]) == (401, "invalid_code")


def test_challenge_has_nothing_to_send_for_totp(api, user):
    factor, _, _ = enrol(api, api.signed_in(user)["access_token"])
    asked = api.login(user).json()
    response = api.post(
        "/api/v1/auth/mfa/challenge", {"mfa_token": asked["mfa_token"], "factor_id": factor}
    )
    assert (response.status_code, response.json()["code"]) == (409, "challenge_not_applicable")


def test_recovery_codes_are_replaced_after_the_second_factor(api, user):
    weak = api.signed_in(user)["access_token"]
    factor, secret, old = enrol(api, weak)
    refused = api.post("/api/v1/mfa/recovery-codes", {}, token=weak)
    assert (refused.status_code, refused.json()["code"]) == (401, "reauthentication_required")

    strong = verify(api, user, factor, totp.code(secret, steps_ahead=1))["access_token"]
    response = api.post("/api/v1/mfa/recovery-codes", {}, token=strong)
    assert response.status_code == 200, response.text
    new = response.json()["recovery_codes"]
    assert len(set(new)) == 10 and not set(new) & set(old)


def test_reauthentication_renews_auth_time(api, user, keyring):
    session = api.signed_in(user)
    response = api.post(
        "/api/v1/auth/reauthenticate", {"password": user.password}, token=session["access_token"]
    )
    assert response.status_code == 200, response.text
    before, after = claims(session["access_token"], keyring), claims(response.json()["access_token"], keyring)
    assert after["auth_time"] >= before["auth_time"] and after["sid"] == before["sid"]


def test_introspection_and_revocation(api, operator, user):
    client = operator("client", "add", "gateway")
    credentials = (client["client_id"], client["client_secret"])
    session = api.signed_in(user)

    def introspect(token, auth=credentials):
        return api.call("POST", "/oauth/introspect", data={"token": token}, auth=auth)

    answer = introspect(session["access_token"]).json()
    assert answer["active"] is True and answer["sid"] == session["session_id"]
    assert introspect("nonsense").json() == {"active": False}
    refused = introspect(session["access_token"], auth=(client["client_id"], "wrong"))
    assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")

    revoked = api.call("POST", "/oauth/revoke", data={"token": session["refresh_token"]}, auth=credentials)
    assert revoked.status_code == 200
    assert introspect(session["access_token"]).json() == {"active": False}
    assert api.post("/api/v1/auth/refresh", {"refresh_token": session["refresh_token"]}).status_code == 401


def test_operator_disables_an_account(api, operator, user):
    session = api.signed_in(user)
    operator("user", "disable", user.email)
    assert api.login(user).json()["code"] == "invalid_credentials"
    assert api.post("/api/v1/auth/refresh", {"refresh_token": session["refresh_token"]}).status_code == 401
    operator("user", "enable", user.email)
    assert api.login(user).status_code == 200


@pytest.mark.parametrize("path", sorted({path for _, path, _ in routes()}))
def test_preflight_is_for_the_configured_origin(api, path):
    ask = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    concrete = path.replace("{id}", "fac_x")
    # A public document is everybody's.
    public = path.startswith("/.well-known/") or path in ("/openapi.json", "/status")
    ours = api.call("OPTIONS", concrete, headers={"Origin": ORIGIN, **ask})
    assert ours.status_code == 204
    assert ours.headers["Access-Control-Allow-Origin"] == ("*" if public else ORIGIN)
    theirs = api.call("OPTIONS", concrete, headers={"Origin": "https://evil.example.test", **ask})
    assert theirs.headers.get("Access-Control-Allow-Origin") == ("*" if public else None)


@pytest.mark.parametrize("function", sorted(functions()))
def test_function_is_configured_as_the_template_says(emulator, stack, function):
    deployed = emulator.client("lambda").get_function_configuration(FunctionName=f"{stack.name}-{function}")
    expected = functions()[function]
    assert deployed["MemorySize"] == expected["MemorySize"]
    assert deployed["Architectures"] == [stack.parameters["Architecture"]]
    assert deployed["Timeout"] == expected.get("Timeout", load()["Globals"]["Function"]["Timeout"])
    assert deployed["LoggingConfig"]["LogFormat"] == "JSON"
    assert deployed["TracingConfig"]["Mode"] == "Active"


def test_logs_are_structured(api, emulator, stack, user):
    api.signed_in(user)
    logs = emulator.client("logs")
    group = f"/sallyport/{stack.name}/login"
    lines = [event["message"] for event in logs.filter_log_events(logGroupName=group)["events"]]
    ours = [line for line in lines if line.lstrip().startswith("{")]
    assert ours, lines
    for line in ours:
        json.loads(line)


def test_the_logs_are_asked_in_the_functions_groups_and_the_gateways(operator):
    """What they answer is tested elsewhere: the emulator's Logs Insights finds every line, whatever the query."""
    assert operator("logs", "killed")["rows"]
    assert operator("top", "gateway")["rows"] == []


def test_alarms_that_an_emulator_takes_tell_their_topics(emulator, stack):
    outputs = stack.outputs
    alarms = emulator.client("cloudwatch").describe_alarms(AlarmNamePrefix=f"{stack.name}-")["MetricAlarms"]
    told = {alarm["AlarmName"].removeprefix(f"{stack.name}-"): alarm["AlarmActions"] for alarm in alarms}
    assert told["service-down"] == [outputs["CriticalTopic"]]
    assert told["slow-responses"] == [outputs["WarningTopic"]]
    assert told["key-age"] == [outputs["InfoTopic"]]
    assert len(told) >= 12
