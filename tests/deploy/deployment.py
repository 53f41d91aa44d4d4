"""An emulator of AWS, and stacks in it: the real `sam build` and `sam deploy` of the real template."""

import json
import os
import platform
import secrets
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import boto3
import requests

from leaks import NOTED
from template import ROOT

REGION = "us-east-1"
ISSUER = "https://auth.example.test"
ORIGIN = "https://app.example.test"

# Nothing here may ever reach a real account: no profile, no files, credentials that only an emulator takes.
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_REGION": REGION,
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "SAM_CLI_TELEMETRY": "0",
}

# The shipped profile links for a minute or more a function; what is tested here is the deployment, and
# tests/bench measures the shipped build.
QUICK_BUILD = {
    "CARGO_PROFILE_RELEASE_LTO": "off",
    "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "16",
    "CARGO_PROFILE_RELEASE_OPT_LEVEL": "1",
}


def target_directory():
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


class Failed(AssertionError):
    """A command ended with an error; its output is the message."""


def run(command, env, stdin=None, cwd=ROOT, timeout=900):
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=env, timeout=timeout,
        input=stdin if stdin is not None else "", text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )
    if done.returncode != 0:
        raise Failed(f"{command[0]} {command[1]}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


class Emulator:
    """`AWS_ENDPOINT_URL` where it is set (LocalStack, or whatever speaks its protocol), else a ministack of our own."""

    def __init__(self, logs):
        self.process = None
        self.log = logs / "emulator.log"
        self.url = os.environ.get("AWS_ENDPOINT_URL")

    def __enter__(self):
        if self.url:
            assert "amazonaws.com" not in self.url, "the suite deletes what it deploys: never on AWS"
            return self
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        settings = {
            "GATEWAY_PORT": str(port),
            "BIND_HOST": "127.0.0.1",
            # The functions inherit it. Without it they would call the real AWS.
            "AWS_ENDPOINT_URL": self.url,
            # Every call of a function is held against its role's statements.
            "AUTH": "true",
            # Some runbooks ask who did it.
            "CLOUDTRAIL_RECORDING": "1",
            "IOT_MTLS_ENABLED": "0",
        }
        with self.log.open("wb") as log:
            # A session of its own: its function processes end with it.
            self.process = subprocess.Popen(
                [os.environ["SALLYPORT_EMULATOR_PYTHON"], "-m", "ministack"], env=clean_environment() | settings,
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )
        deadline = time.monotonic() + 60
        while True:
            try:
                requests.get(f"{self.url}/_ministack/health", timeout=2)
                return self
            except requests.ConnectionError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.__exit__()
                    raise Failed(f"the emulator does not start:\n{self.log.read_text()}") from None
                time.sleep(0.2)

    def __exit__(self, *_):
        if self.process is None:
            return
        group = self.process.pid
        try:
            os.killpg(group, signal.SIGTERM)
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            pass
        finally:
            # What the emulator started and did not end itself.
            try:
                os.killpg(group, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.process.wait()

    def environment(self):
        return clean_environment() | {"AWS_ENDPOINT_URL": self.url}

    def client(self, service):
        return boto3.client(
            service, endpoint_url=self.url, region_name=REGION,
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        )


def clean_environment():
    """Ours without the AWS settings of whoever runs this (but with their certificates), with the emulator's."""
    kept = {
        name: value for name, value in os.environ.items()
        if not name.startswith(("AWS_", "SALLYPORT_")) or name == "AWS_CA_BUNDLE"
    }
    return kept | CREDENTIALS


def architecture():
    return "arm64" if platform.machine() in ("arm64", "aarch64") else "x86_64"


def build():
    """`sam build` of the whole template; the compiled dependencies stay in the target directory."""
    output = target_directory() / "sam-build"
    shutil.rmtree(output, ignore_errors=True)
    run(
        ["sam", "build", "--build-dir", output, "--parameter-overrides", f"Architecture={architecture()}"],
        env=clean_environment() | QUICK_BUILD, timeout=3600,
    )
    return output / "template.yaml"


def command_line():
    """The operator's `sallyport`."""
    run(["cargo", "build", "--quiet", "--workspace", "--bin", "sallyport"], env=clean_environment(), timeout=3600)
    return target_directory() / "debug" / "sallyport"


class Stack:
    def __init__(self, emulator, artifacts, name):
        self.emulator, self.artifacts, self.name = emulator, artifacts, name
        self.parameters = {
            "Stage": "dev",
            "Architecture": architecture(),
            # The emulator's events have no domain name to derive it from.
            "Issuer": ISSUER,
            "AllowedOrigins": ORIGIN,
            # All tests call from one address, more often than a person in a minute.
            "AddressLimit": "10000",
            # The emulator refuses metric math and composite alarms.
            "AlarmSet": "basic",
            # The emulator has no dashboards and no saved queries.
            "Dashboard": "off",
            # Nor has it rotation schedules.
            "KeyRotation": "off",
        }

    def deploy(self, **parameters):
        self.parameters |= parameters
        run(
            [
                "sam", "deploy", "--config-file", ROOT / "samconfig.toml", "--template-file", self.artifacts,
                "--stack-name", self.name, "--region", REGION, "--no-progressbar",
                "--parameter-overrides", *(f"{name}={value}" for name, value in self.parameters.items()),
            ],
            env=self.emulator.environment(),
        )
        return self

    def lines(self):
        """What its functions and its gateway have logged."""
        logs = self.emulator.client("logs")
        groups = logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=f"/sallyport/{self.name}/")
        for group in [group["logGroupName"] for page in groups for group in page["logGroups"]]:
            for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group):
                yield from (event["message"] for event in page["events"])

    def delete(self):
        # Its logs go with it.
        try:
            leaks = NOTED.leaks(self.lines())
        finally:
            self._delete()
        assert leaks == [], f"secrets of the suite are in the logs of {self.name}"

    def _delete(self):
        # `sam delete` cannot: it insists on template addresses of amazonaws.com.
        formation = self.emulator.client("cloudformation")
        formation.delete_stack(StackName=self.name)
        formation.get_waiter("stack_delete_complete").wait(
            StackName=self.name, WaiterConfig={"Delay": 1, "MaxAttempts": 120}
        )

    @property
    def outputs(self):
        (stack,) = self.emulator.client("cloudformation").describe_stacks(StackName=self.name)["Stacks"]
        return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}

    @property
    def url(self):
        outputs = self.outputs
        return f"{self.emulator.url}/restapis/{outputs['ApiId']}/{outputs['Stage']}/_user_request_"

    def tables(self):
        names = self.emulator.client("dynamodb").list_tables()["TableNames"]
        return sorted(name for name in names if name.startswith(f"{self.name}-"))


class Operator:
    """Whoever runs `sallyport` against a stack."""

    def __init__(self, binary, stack):
        self.binary, self.stack = binary, stack

    def __call__(self, *arguments, stdin=None, timeout=60):
        NOTED.password((stdin or "").strip())
        printed = run(
            [self.binary, "--stack", self.stack.name, "--json", *arguments],
            env=self.stack.emulator.environment(), stdin=stdin, timeout=timeout,
        )
        told = json.loads(printed) if printed.strip() else None
        NOTED.body(told)
        return told

    def ended(self, *arguments, timeout=60):
        """The exit code, and what was said: for what may end otherwise than with 0."""
        done = subprocess.run(
            [str(word) for word in (self.binary, "--stack", self.stack.name, "--json", *arguments)],
            env=self.stack.emulator.environment(), stdin=subprocess.DEVNULL, text=True, capture_output=True,
            timeout=timeout,
        )
        # Errors stand in a line of their own, below what was said on the way.
        said = done.stdout.strip() or done.stderr.strip().splitlines()[-1]
        return done.returncode, json.loads(said)


class Api:
    """The deployed API, as its callers see it."""

    def __init__(self, url):
        self.url = url
        self.session = requests.Session()

    def call(self, method, path, token=None, **options):
        headers = options.pop("headers", {})
        if token:
            headers["Authorization"] = f"Bearer {token}"
        response = self.session.request(
            method, self.url + path, headers=headers, timeout=30, allow_redirects=False, **options
        )
        NOTED.call(response)
        return response

    def get(self, path, **options):
        return self.call("GET", path, **options)

    def post(self, path, body=None, **options):
        return self.call("POST", path, **({} if body is None else {"json": body}), **options)

    def login(self, user, **more):
        return self.post("/api/v1/auth/login", {"email": user.email, "password": user.password, **more})

    def signed_in(self, user, **more):
        response = self.login(user, **more)
        assert response.status_code == 200, response.text
        body = response.json()
        assert body["status"] == "authenticated", body
        return body


class User:
    def __init__(self, operator):
        self.email = f"{secrets.token_hex(8)}@example.test"
        self.password = secrets.token_urlsafe(18)
        NOTED.address(self.email)
        operator("user", "create", self.email, "--password-stdin", stdin=self.password + "\n")
