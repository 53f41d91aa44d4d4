"""Two releases on the same items: what one writes the other reads, and goes on with."""

import contextlib
import json
import os
import subprocess
import time
from pathlib import Path

import pytest
import requests

import totp
from leaks import NOTED

PASSWORD = "correct horse battery staple"
RELEASES = {name: Path(os.environ[f"SALLYPORT_{name.upper()}"]) for name in ("previous", "current")}


class Release:
    """A release that serves a directory of data."""

    def __init__(self, name, data):
        self.binaries = RELEASES[name]
        self.process = subprocess.Popen(
            [self.binaries / "local", "--port", "0", "--dynamodb-port", "0", "--data", data, "--quiet"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={
                **os.environ, "SALLYPORT_DEMO_PASSWORD": PASSWORD, "SALLYPORT_PASSWORD_MEMORY_KIB": "7168",
                # What is written is what these tests write.
                "SALLYPORT_NO_SCHEDULES": "true",
            },
        )
        self.said = {}
        for line in self.process.stdout:
            key, _, value = line.strip().partition(" ")
            self.said[key] = value.strip()
            if key == "listening":
                break
        assert "listening" in self.said, f"{name} did not start"
        self.url = self.said["listening"].removeprefix("on ").replace("localhost", "127.0.0.1")
        ports = [address.rpartition(":")[2] for address in (self.url, self.said["Database"])]
        printed = subprocess.run(
            [self.binaries / "local", "env", "--port", ports[0], "--dynamodb-port", ports[1]],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        exported = [line.removeprefix("export ").partition("=") for line in printed.splitlines() if "=" in line]
        self.environment = {name: value.strip("'\"") for name, _, value in exported}

    def operate(self, line, stdin="", code=0):
        NOTED.password(stdin)
        for word in line.split():
            NOTED.address(word)
        run = subprocess.run(
            [self.binaries / "sallyport", *line.split(), "--json"],
            input=stdin,
            capture_output=True,
            text=True,
            env={**os.environ, **self.environment},
        )
        assert run.returncode == code, f"{line}: {run.stdout}{run.stderr}"
        told = json.loads(run.stdout)
        NOTED.body(told)
        return told

    def post(self, path, body, status=200, token=None):
        headers = {"authorization": f"Bearer {token}"} if token else {}
        answer = requests.post(f"{self.url}{path}", json=body, headers=headers, timeout=10)
        NOTED.call(answer)
        assert answer.status_code == status, f"{path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def sign_in(self, email, password=PASSWORD, status=200, **more):
        return self.post("/api/v1/auth/login", {"email": email, "password": password, **more}, status)

    def logged(self):
        lines = requests.get(f"{self.url}/_local/logs", timeout=10).json()["lines"]
        return [json.dumps(line["line"], ensure_ascii=False) for line in lines]

    def end(self):
        self.process.terminate()
        self.process.wait(20)
        self.process.stdout.close()


@contextlib.contextmanager
def serving(name, data):
    release = Release(name, data)
    try:
        yield release
        lines = release.logged()
        assert lines and NOTED.leaks(lines) == []
    finally:
        release.end()


def write(release):
    """Something of every kind that is stored."""
    kept = {}
    release.operate("user create ada@example.com --password-stdin", PASSWORD)
    signed_in = release.sign_in("ada@example.com")
    kept["device"] = signed_in["device_token"]
    kept["session"] = release.post("/api/v1/auth/refresh", {"refresh_token": signed_in["refresh_token"]})
    # An attempt of a known device, which leaves its failure, and the device of another session.
    release.sign_in("ada@example.com", "wrong", 401, device_token=kept["device"])
    kept["other"] = release.sign_in("ada@example.com")
    enrolled = release.post("/api/v1/mfa/totp", {}, 201, kept["session"]["access_token"])
    kept["factor"] = {"id": enrolled["factor_id"], "secret": enrolled["secret"]}
    code = totp.code(enrolled["secret"])
    body = {"factor_id": enrolled["factor_id"], "code": code}
    confirmed = release.post("/api/v1/mfa/totp/confirm", body, 200, kept["session"]["access_token"])
    kept["recovery_codes"] = confirmed["recovery_codes"]
    for _ in range(3):
        release.sign_in("ada@example.com", "wrong", 401)
    release.operate("user create locked@example.com --password-stdin", PASSWORD)
    for _ in range(5):
        release.sign_in("locked@example.com", "wrong", 401)
    kept["client"] = release.operate("client add billing")["client_secret"]
    release.operate("mode set degraded keyring --for 1h --reason upgrade")
    release.operate("block add 192.0.2.0/24 --for 1h --reason upgrade")
    kid = release.operate("keys list")["keys"][0]["id"]
    release.operate(f"keys rotate --emergency {kid}")
    release.operate("mode clear degraded keyring")
    release.operate("restore drill")
    alarm = {
        "AlarmName": "sallyport-prod-slow-responses",
        "NewStateValue": "ALARM",
        "StateChangeTime": time.strftime("%Y-%m-%dT%H:%M:%S.000+0000", time.gmtime()),
        "NewStateReason": "Threshold Crossed",
        "Trigger": {"Period": 60, "EvaluationPeriods": 2},
    }
    answer = release.post("/_local/invoke/responder", alarm)
    kept["incident"] = answer["result"]["alarms"][0]["incident"]
    release.operate(f"incident note {kept['incident']} looking")
    return kept


def go_on(release, kept):
    """Everything is read, and taken on from where the other release left it."""
    assert release.operate("migrate validate")["ok"]
    session = release.post("/api/v1/auth/refresh", {"refresh_token": kept["session"]["refresh_token"]})
    assert session["session_id"] == kept["session"]["session_id"]
    release.sign_in("locked@example.com", PASSWORD, 429)
    # A lost reply within the grace, with the device token of the other release.
    body = {"refresh_token": kept["other"]["refresh_token"], "device_token": kept["other"]["device_token"]}
    for _ in range(2):
        release.post("/api/v1/auth/refresh", body)
    awaited = release.sign_in("ada@example.com", device_token=kept["device"])
    assert awaited["status"] == "mfa_required"
    body = {"mfa_token": awaited["mfa_token"], "factor_id": "recovery", "code": kept["recovery_codes"][0]}
    release.post("/api/v1/auth/mfa/verify", body)
    awaited = release.sign_in("ada@example.com", device_token=kept["device"])
    # The step after the one that confirmed the factor, which may not be used again.
    body = {
        "mfa_token": awaited["mfa_token"],
        "factor_id": kept["factor"]["id"],
        "code": totp.code(kept["factor"]["secret"], steps_ahead=1),
    }
    release.post("/api/v1/auth/mfa/verify", body)
    answer = requests.post(
        f"{release.url}/oauth/introspect",
        data={"token": session["access_token"]},
        auth=("billing", kept["client"]),
        timeout=10,
    )
    NOTED.call(answer)
    assert answer.json()["active"] is True, answer.text
    assert [block["subject"] for block in release.operate("block list")["blocks"]] == ["192.0.2.0/24"]
    assert release.operate("mode status")["modes"] == []
    release.operate("mode set degraded users --for 1h --reason upgrade")
    release.operate("mode clear degraded users")
    assert [key["state"] for key in release.operate("keys list")["keys"]][:2] == ["revoked", "current"]
    assert release.operate("backup verify")["restore_proven_at"] is not None
    shown = release.operate(f"incident show {kept['incident']}")
    assert "looking" in [entry["text"] for entry in shown["timeline"]]
    release.operate(f"incident ack {kept['incident']}")


@pytest.mark.parametrize(("writer", "reader"), [("current", "previous"), ("previous", "current")])
def test_what_one_release_writes_the_other_reads_and_goes_on_with(tmp_path, writer, reader):
    with serving(writer, tmp_path) as release:
        kept = write(release)
    with serving(reader, tmp_path) as release:
        go_on(release, kept)
    # And back again, as after a rollback.
    with serving(writer, tmp_path) as release:
        assert release.operate("migrate validate")["ok"]
        release.operate(f"incident resolve {kept['incident']} --summary done --force")
