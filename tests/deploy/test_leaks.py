"""No secret that this suite uses is in a deployment's logs: each stack is looked through before it goes. That this finds any."""

import json
import time

import pytest

from leaks import NOTED, Noted

PASSWORD = 'sixteen "or more" of them'
TOKEN = "spr_AQABAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


@pytest.fixture
def noted():
    noted = Noted()
    noted.body({"email": "ada@example.test", "password": PASSWORD, "code": "123456", "refresh_token": TOKEN})
    noted.body({"secret": "JBSWY3DPEHPK3PXPJBSW", "recovery_codes": ["ABCDE-FGHIJ"], "label": "no secret at all"})
    noted.authorization("Basic c2VydmljZTpzZXJ2aWNlLXNlY3JldC0wMDE=")
    return noted


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("a password", json.dumps({"message": f"{PASSWORD} was refused"})),
        ("a password", f"plain: {PASSWORD}"),
        ("an address", '{"message":"mail to ada@example.test"}'),
        ("a code", '{"code":123456}'),
        ("a code", "used ABCDE-FGHIJ"),
        ("a token", f'{{"body":"{{\\"refresh_token\\":\\"{TOKEN}\\"}}"}}'),
        ("a token", f"Cookie: __Host-sallyport_refresh={TOKEN}; Path=/"),
        ("a secret", "otpauth://totp/x?secret=JBSWY3DPEHPK3PXPJBSW&issuer=x"),
        ("a secret", "service-secret-001"),
        ("credentials", "Basic c2VydmljZTpzZXJ2aWNlLXNlY3JldC0wMDE="),
    ],
)
def test_a_secret_is_found_and_not_repeated(noted, what, line):
    (found,) = noted.leaks([line])
    assert found.startswith(f"{what} in ") and "█" in found
    for secret in [*noted.words, *noted.texts]:
        assert secret not in found


def test_what_is_no_secret_is_not_found(noted):
    noted.body({"password": "undefined", "token": "unknown", "code": "12"})
    lines = ['{"message":"request","duration_us":1234567,"code":"unknown"}', '{"value":"undefined"}', "no secret at all"]
    assert noted.leaks(lines) == []


def test_a_secret_of_a_caller_is_found_in_a_log_group(stack, api, user):
    session = api.signed_in(user)
    assert NOTED.leaks(stack.lines()) == []
    logs, group = stack.emulator.client("logs"), f"/sallyport/{stack.name}/refresh"
    logs.create_log_stream(logGroupName=group, logStreamName="leak")
    try:
        for what, secret in [
            ("a password", user.password), ("an address", user.email), ("a token", session["access_token"]),
            ("a token", session["refresh_token"]), ("a token", session["device_token"]),
        ]:
            event = {"timestamp": int(time.time() * 1000), "message": json.dumps({"message": f"it was {secret}"})}
            logs.put_log_events(logGroupName=group, logStreamName="leak", logEvents=[event])
            found = NOTED.leaks([event["message"]])
            assert [leak.split(" in ")[0] for leak in found] == [what]
            assert set(found) <= set(NOTED.leaks(stack.lines()))
    finally:
        logs.delete_log_stream(logGroupName=group, logStreamName="leak")
    assert NOTED.leaks(stack.lines()) == []
