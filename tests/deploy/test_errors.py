"""The documented errors that need neither clock nor faults, through the deployed API: what API Gateway, Lambda and the
real tables make of them. tests/api has all of them, and moves the clock, against the local server."""

import re

import pytest

import totp
from deployment import ORIGIN, User

PASSWORD_ROUTE = "/api/v1/auth/login"
FACTOR = "fac_AAAAAAAAAAAAAAAAAAAAAA"
NO_TOKEN = "eyJhbGciOiJFUzI1NiJ9.e30.c2ln"

# Path, whether it takes an access token, a body that is read without complaint.
JSON_ROUTES = {
    "/api/v1/auth/login": (False, {"email": "nobody@example.test", "password": "a password"}),
    "/api/v1/auth/reauthenticate": (True, {"password": "a password"}),
    "/api/v1/auth/mfa/challenge": (False, {"mfa_token": NO_TOKEN, "factor_id": FACTOR}),
    "/api/v1/auth/mfa/verify": (False, {"mfa_token": NO_TOKEN, "factor_id": FACTOR, "code": "123456"}),
    "/api/v1/auth/refresh": (False, {"refresh_token": "spr_AQABAAAA"}),
    "/api/v1/auth/logout": (False, {"refresh_token": "spr_AQABAAAA"}),
    "/api/v1/mfa/totp": (True, {}),
    "/api/v1/mfa/totp/confirm": (True, {"factor_id": FACTOR, "code": "123456"}),
    "/api/v1/mfa/recovery-codes": (True, {}),
}

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
COOKIE = {"Cookie": "__Host-sallyport_refresh=spr_AQABAAAA"}


def check(response, status, code):
    assert (response.status_code, response.json().get("code")) == (status, code), response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json()["status"] == status
    assert response.json()["type"].endswith(f"/{code}.md")
    assert response.headers["Cache-Control"] == "no-store"


@pytest.fixture(scope="module")
def owner(operator):
    """An account for what changes nothing."""
    return User(operator)


@pytest.fixture(scope="module")
def access(api, owner):
    return api.signed_in(owner)["access_token"]


# A body that is no UTF-8 stands in tests/api/bodies.rs: the event is JSON, so that a gateway hands on text in any case.
@pytest.mark.parametrize("path", sorted(JSON_ROUTES))
@pytest.mark.parametrize(
    ("headers", "data", "status", "code"),
    [
        (JSON, "{", 400, "malformed_request"),
        (JSON, "[]", 400, "malformed_request"),
        (JSON, " " * (16 * 1024 + 1), 413, "payload_too_large"),
        ({"Content-Type": "text/plain"}, "{}", 415, "unsupported_media_type"),
        (JSON, '{"admin": true}', 422, "validation_failed"),
    ],
    ids=["no JSON", "no object", "too large", "text", "unknown field"],
)
def test_body_that_does_not_read(api, access, path, headers, data, status, code):
    token = access if JSON_ROUTES[path][0] else None
    check(api.call("POST", path, token=token, headers=dict(headers), data=data), status, code)


@pytest.mark.parametrize("path", ["/oauth/introspect", "/oauth/revoke"])
@pytest.mark.parametrize(
    ("headers", "data", "status", "code"),
    [
        (JSON, "{}", 415, "unsupported_media_type"),
        (FORM, "a" * (16 * 1024 + 1), 413, "payload_too_large"),
    ],
    ids=["JSON", "too large"],
)
def test_form_that_does_not_read(api, access, path, headers, data, status, code):
    check(api.call("POST", path, headers=dict(headers), data=data), status, code)


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "status", "code"),
    [
        ("POST", "/api/v1/auth/login", {}, {"email": "nobody@example.test", "password": "x"}, 401, "invalid_credentials"),
        ("POST", "/api/v1/auth/reauthenticate", {}, {"password": "x"}, 401, "invalid_token"),
        ("POST", "/api/v1/auth/mfa/challenge", {}, {"mfa_token": NO_TOKEN, "factor_id": FACTOR}, 401, "invalid_mfa_token"),
        ("POST", "/api/v1/auth/mfa/verify", {}, {"mfa_token": NO_TOKEN, "factor_id": FACTOR, "code": "123456"}, 401,
         "invalid_mfa_token"),
        ("POST", "/api/v1/auth/refresh", {}, {"refresh_token": "spr_AQABAAAA"}, 401, "invalid_refresh_token"),
        ("POST", "/api/v1/auth/refresh", {}, {}, 401, "invalid_refresh_token"),
        ("POST", "/api/v1/auth/logout", {}, {"refresh_token": "spr_AQABAAAA"}, 401, "invalid_refresh_token"),
        ("GET", "/api/v1/mfa/factors", {}, None, 401, "invalid_token"),
        ("GET", "/api/v1/mfa/factors", {"Authorization": f"Bearer {NO_TOKEN}"}, None, 401, "invalid_token"),
        ("DELETE", f"/api/v1/mfa/factors/{FACTOR}", {}, None, 401, "invalid_token"),
        ("POST", "/api/v1/mfa/totp", {}, {}, 401, "invalid_token"),
        ("POST", "/api/v1/mfa/totp/confirm", {}, {"factor_id": FACTOR, "code": "123456"}, 401, "invalid_token"),
        ("POST", "/api/v1/mfa/recovery-codes", {}, {}, 401, "invalid_token"),
        # Cookies want an origin that is allowed: none, somebody else's, ours without TLS.
        ("POST", "/api/v1/auth/refresh", COOKIE, {}, 403, "origin_not_allowed"),
        ("POST", "/api/v1/auth/refresh", {**COOKIE, "Origin": "https://evil.example.test"}, {}, 403, "origin_not_allowed"),
        ("POST", "/api/v1/auth/refresh", {**COOKIE, "Origin": ORIGIN.replace("https", "http")}, {}, 403,
         "origin_not_allowed"),
        ("POST", "/api/v1/auth/refresh", {**COOKIE, "Origin": ORIGIN}, {}, 401, "invalid_refresh_token"),
        ("POST", "/api/v1/auth/logout", COOKIE, {}, 403, "origin_not_allowed"),
        ("POST", "/api/v1/auth/login", {}, {"email": "nobody@example.test", "password": "x", "token_delivery": "cookie"}, 403,
         "origin_not_allowed"),
    ],
)
def test_request_that_is_refused(api, keyring, method, path, headers, body, status, code):
    options = {} if body is None else {"json": body}
    check(api.call(method, path, headers=dict(headers), **options), status, code)


def is_refused_by_the_gateway(response):
    """API Gateway calls a path or method that it does not know MISSING_AUTHENTICATION_TOKEN, and answers as the template
    words it (test_template.py has the words); the emulator leaves that out of an API's definition and says 403."""
    said = response.json().get("code") or response.json().get("message")
    return (response.status_code, said) in [(404, "not_found"), (403, "Missing Authentication Token")]


@pytest.mark.parametrize("path", ["/nowhere", "/api/v1/auth", "/api/v1/auth/login/", "/api/v1/mfa/factors/a/b"])
def test_path_that_does_not_exist_reaches_no_function(api, keyring, path):
    assert is_refused_by_the_gateway(api.get(path))


@pytest.mark.parametrize(
    ("method", "path"), [("GET", PASSWORD_ROUTE), ("DELETE", "/api/v1/mfa/totp"), ("PUT", "/health/live")]
)
def test_method_that_a_path_does_not_have_reaches_no_function(api, keyring, method, path):
    assert is_refused_by_the_gateway(api.call(method, path))


def test_refresh_token_that_comes_again_ends_the_session(api, user):
    first = api.signed_in(user)["refresh_token"]

    def refresh(token):
        return api.post("/api/v1/auth/refresh", {"refresh_token": token})

    second = refresh(first).json()["refresh_token"]
    third = refresh(second).json()["refresh_token"]
    # Two exchanges old: no lost reply.
    check(refresh(first), 401, "refresh_token_reused")
    check(refresh(third), 401, "invalid_refresh_token")


def test_known_device_signs_in_while_strangers_are_locked_out(api, user):
    device = api.signed_in(user)["device_token"]
    for number in range(5):
        check(api.post(PASSWORD_ROUTE, {"email": user.email, "password": f"wrong {number}"}), 401, "invalid_credentials")
    locked = api.login(user)
    check(locked, 429, "too_many_attempts")
    assert locked.headers["Retry-After"] == str(locked.json()["retry_after"])
    assert api.signed_in(user, device_token=device)["refresh_token"]


def test_logout_of_the_others_keeps_this_session(api, user):
    here, there = api.signed_in(user), api.signed_in(user)
    assert api.post("/api/v1/auth/logout", {"scope": "others"}, token=here["access_token"]).status_code == 204
    check(api.post("/api/v1/auth/refresh", {"refresh_token": there["refresh_token"]}), 401, "invalid_refresh_token")
    assert api.post("/api/v1/auth/refresh", {"refresh_token": here["refresh_token"]}).status_code == 200


def cookies(response):
    """By name. `requests` keeps none: they are for https alone."""
    headers = ", ".join(response.raw.headers.getlist("Set-Cookie"))
    found = dict(re.findall(r"(__Host-sallyport_\w+)=([^;,]+)", headers))
    for attribute in ("HttpOnly", "Secure", "SameSite=Strict", "Path=/"):
        assert headers.count(attribute) == len(found), headers
    return found


def test_browser_signs_in_refreshes_and_signs_out_by_cookies(api, user):
    origin = {"Origin": ORIGIN}
    response = api.call(
        "POST", PASSWORD_ROUTE, headers=dict(origin),
        json={"email": user.email, "password": user.password, "token_delivery": "cookie"},
    )
    assert response.status_code == 200, response.text
    assert "refresh_token" not in response.json() and "device_token" not in response.json()
    assert response.headers["Access-Control-Allow-Credentials"] == "true"
    jar = cookies(response)
    assert set(jar) == {"__Host-sallyport_refresh", "__Host-sallyport_device"}

    def with_cookies(path, headers):
        sent = {"Cookie": "; ".join(f"{name}={value}" for name, value in jar.items())}
        return api.call("POST", path, headers=sent | headers, json={})

    check(with_cookies("/api/v1/auth/refresh", {}), 403, "origin_not_allowed")
    check(with_cookies("/api/v1/auth/refresh", {"Origin": "https://evil.example.test"}), 403, "origin_not_allowed")
    refreshed = with_cookies("/api/v1/auth/refresh", origin)
    assert refreshed.status_code == 200, refreshed.text
    before, after = jar["__Host-sallyport_refresh"], cookies(refreshed)["__Host-sallyport_refresh"]
    assert before != after
    jar["__Host-sallyport_refresh"] = after
    assert with_cookies("/api/v1/auth/logout", origin).status_code == 204
    check(with_cookies("/api/v1/auth/refresh", origin), 401, "invalid_refresh_token")


def enrol(api, access):
    started = api.post("/api/v1/mfa/totp", {"label": "phone"}, token=access)
    assert started.status_code == 201, started.text
    factor, secret = started.json()["factor_id"], started.json()["secret"]
    code = totp.code(secret)
    confirmed = api.post("/api/v1/mfa/totp/confirm", {"factor_id": factor, "code": code}, token=access)
    assert confirmed.status_code == 200, confirmed.text
    return factor, code, confirmed.json().get("recovery_codes")


def test_errors_of_factors_and_codes(api, user):
    session = api.signed_in(user)
    access = session["access_token"]
    check(api.post("/api/v1/mfa/recovery-codes", {}, token=access), 404, "factor_not_found")
    factor, code, recovery = enrol(api, access)
    check(api.get("/api/v1/mfa/factors", token=access), 401, "reauthentication_required")

    def reauthenticate(body):
        return api.post("/api/v1/auth/reauthenticate", body, token=access)

    check(reauthenticate({"password": "wrong"}), 401, "invalid_credentials")
    check(reauthenticate({"factor_id": FACTOR, "code": "123456"}), 404, "factor_not_found")
    # The code that confirmed the factor is used up; a recovery code is there once.
    check(reauthenticate({"factor_id": factor, "code": code}), 401, "invalid_code")
    strong = reauthenticate({"factor_id": "recovery", "code": recovery[0]})
    assert strong.status_code == 200, strong.text
    strong = strong.json()["access_token"]
    check(
        api.post("/api/v1/auth/reauthenticate", {"factor_id": "recovery", "code": recovery[0]}, token=strong),
        401, "invalid_code",
    )

    check(
        api.post("/api/v1/mfa/totp/confirm", {"factor_id": factor, "code": code}, token=strong),
        409, "factor_already_confirmed",
    )
    for _ in range(4):
        enrol(api, strong)
    check(api.post("/api/v1/mfa/totp", {"label": "sixth"}, token=strong), 409, "factor_limit_reached")
    check(api.call("DELETE", f"/api/v1/mfa/factors/{FACTOR}", token=strong), 404, "factor_not_found")

    asked = api.login(user).json()
    challenged = {"mfa_token": asked["mfa_token"], "factor_id": factor}
    check(api.post("/api/v1/auth/mfa/challenge", challenged), 409, "challenge_not_applicable")
    check(api.post("/api/v1/auth/mfa/challenge", challenged | {"factor_id": FACTOR}), 404, "factor_not_found")
    check(api.post("/api/v1/auth/mfa/verify", challenged | {"code": code}), 401, "invalid_code")
    by_recovery = challenged | {"factor_id": "recovery", "code": recovery[1]}
    assert api.post("/api/v1/auth/mfa/verify", by_recovery).status_code == 200
    check(api.post("/api/v1/auth/mfa/verify", by_recovery | {"code": recovery[2]}), 401, "invalid_mfa_token")
