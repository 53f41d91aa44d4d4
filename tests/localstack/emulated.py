"""LocalStack as a process of the suite, and stacks in it."""

import io
import json
import os
import signal
import subprocess
import time
import zipfile
from pathlib import Path

import boto3
import requests

import network
from deployment import CREDENTIALS, REGION, Failed, clean_environment
from template import load
from translated import translated

PORT = 4566
BUCKET = "templates"
TABLES = ("Users", "Sessions", "Throttle", "Outbox", "Audit", "Ops")

# CloudFormation makes these in AWS. LocalStack says that it did, and makes nothing.
NOT_MADE = {"AWS::CloudWatch::Dashboard", "AWS::Logs::QueryDefinition"}

SERVICES = (
    "acm apigateway cloudformation cloudwatch events iam kms lambda logs route53 s3 scheduler secretsmanager sns sqs sts"
).split()


class LocalStack:
    def __init__(self, directory):
        self.directory = directory
        self.log = directory / "localstack.log"
        self.url = f"http://127.0.0.1:{PORT}"
        self.process = None
        self.clients = {}

    def __enter__(self):
        if network.interfaces() - {"lo"}:
            raise Failed("LocalStack would listen beyond loopback here: use tests/run localstack, or unshare --net")
        network.raise_loopback()
        settings = {
            "HOME": self.directory,
            "TMPDIR": self.directory,
            "LOCALSTACK_VOLUME_DIR": self.directory / "volume",
            "FILESYSTEM_ROOT": self.directory / "root",
            "GATEWAY_LISTEN": f"127.0.0.1:{PORT}",
            "SERVICES": ",".join(SERVICES),
            # Nobody is to be asked or told anything.
            "DISABLE_EVENTS": "1",
            "SKIP_SSL_CERT_DOWNLOAD": "1",
            "USE_SSL": "0",
            "DNS_ADDRESS": "0",
        }
        with self.log.open("wb") as log:
            # A session of its own: what it starts ends with it.
            self.process = subprocess.Popen(
                [os.environ["SALLYPORT_LOCALSTACK_PYTHON"], Path(__file__).with_name("launch.py")],
                env=clean_environment() | {name: str(value) for name, value in settings.items()},
                cwd=self.directory, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )
        try:
            self._await_start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _await_start(self):
        deadline = time.monotonic() + 120
        while True:
            try:
                requests.get(f"{self.url}/_localstack/health", timeout=5).raise_for_status()
                return
            except requests.RequestException:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise Failed(f"LocalStack does not start:\n{self.log.read_text()}") from None
                time.sleep(0.2)

    def __exit__(self, *_):
        group = self.process.pid
        try:
            os.killpg(group, signal.SIGTERM)
            self.process.wait(timeout=10)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            pass
        finally:
            # What LocalStack started and did not end itself.
            try:
                os.killpg(group, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.process.wait()

    def client(self, service):
        if service not in self.clients:
            self.clients[service] = boto3.client(
                service, endpoint_url=self.url, region_name=REGION,
                aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
            )
        return self.clients[service]

    def pages(self, service, operation, key, **arguments):
        for page in self.client(service).get_paginator(operation).paginate(**arguments):
            # An empty list of queues is none.
            yield from page.get(key, [])

    def upload(self, key, content):
        s3 = self.client("s3")
        s3.create_bucket(Bucket=BUCKET)
        s3.put_object(Bucket=BUCKET, Key=key, Body=content)
        return f"https://s3.{REGION}.amazonaws.com/{BUCKET}/{key}"

    def deploy(self, name, document, **parameters):
        formation = self.client("cloudformation")
        # A body may have 51,200 bytes, a file a megabyte.
        formation.create_stack(
            StackName=name, TemplateURL=self.upload(f"{name}.json", json.dumps(document)),
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
        )
        stack = Stack(self, name)
        stack.settle("CREATE_COMPLETE")
        return stack


class Stack:
    def __init__(self, localstack, name):
        self.localstack, self.name = localstack, name

    def _describe(self):
        (stack,) = self.localstack.client("cloudformation").describe_stacks(StackName=self.name)["Stacks"]
        return stack

    def settle(self, wanted):
        deadline = time.monotonic() + 120
        while (status := self._describe()["StackStatus"]).endswith("IN_PROGRESS") and time.monotonic() < deadline:
            time.sleep(0.2)
        if status != wanted:
            raise Failed(f"{self.name}: {status}\n" + "\n".join(self.failures()))
        made = {(r["ResourceType"], r.get("PhysicalResourceId")) for r in self.resources()}
        ignored = {kind for kind, physical in made if physical in (None, "unknown")} - NOT_MADE
        if wanted == "CREATE_COMPLETE" and ignored:
            raise Failed(f"{self.name}: LocalStack has made nothing for {sorted(ignored)}")

    def failures(self):
        """Of nested stacks as well."""
        for event in self.localstack.pages("cloudformation", "describe_stack_events", "StackEvents", StackName=self.name):
            # What was cancelled by another's failure has no reason of its own.
            if "FAILED" in event["ResourceStatus"] and (reason := event.get("ResourceStatusReason")):
                yield f"  {self.name}/{event['LogicalResourceId']}: {reason}"
        for stack in self.localstack.pages("cloudformation", "list_stacks", "StackSummaries"):
            if stack["StackName"].startswith(f"{self.name}-"):
                yield from Stack(self.localstack, stack["StackId"]).failures()

    def resources(self):
        return self.localstack.client("cloudformation").describe_stack_resources(StackName=self.name)["StackResources"]

    def physical(self, logical):
        (found,) = [r["PhysicalResourceId"] for r in self.resources() if r["LogicalResourceId"] == logical]
        return found

    @property
    def outputs(self):
        return {output["OutputKey"]: output["OutputValue"] for output in self._describe().get("Outputs", [])}

    def delete(self):
        # By its id: a deleted stack has no name.
        self.name = self._describe()["StackId"]
        self.localstack.client("cloudformation").delete_stack(StackName=self.name)
        self.settle("DELETE_COMPLETE")


def nested(name):
    """A template of infra/, but for what LocalStack can't."""
    document = json.loads(json.dumps(load(name)))
    for parameter in document["Parameters"].values():
        # LocalStack takes a value that is given and empty for none.
        if parameter["Type"] == "String" and "AllowedValues" not in parameter:
            parameter.setdefault("Default", "")
    if name == "infra/data.yaml":
        # Its DynamoDB is Amazon's, in Java, which it downloads.
        for table in TABLES:
            assert document["Resources"].pop(table)["Type"] == "AWS::DynamoDB::Table"
        for output in document["Outputs"].values():
            (function, of), = output["Value"].items()
            if function == "Ref" and of in TABLES:
                output["Value"] = {"Fn::Sub": "${AWS::StackName}-" + of}
            elif function == "Fn::GetAtt" and of[0] in TABLES:
                arn = "arn:${AWS::Partition}:dynamodb:${AWS::Region}:${AWS::AccountId}:table/${AWS::StackName}-"
                output["Value"] = {"Fn::Sub": arn + of[0]}
    return document


def whole(localstack, **parameters):
    """template.yaml as SAM's translator hands it on. LocalStack's own is older than the properties that it uses."""
    document = json.loads(json.dumps(load()))
    document = {part: document[part] for part in ("AWSTemplateFormatVersion", "Parameters", "Conditions", "Outputs")}
    resources = document["Resources"] = translated(**parameters)
    # A mapping is of a stream that exists.
    assert resources.pop("SessionsStream")["Type"] == "AWS::Lambda::EventSourceMapping"

    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as code:
        code.writestr("bootstrap", "#!/bin/false")
    localstack.upload("code.zip", archive.getvalue())
    for resource in resources.values():
        properties = resource.get("Properties", {})
        if resource["Type"] == "AWS::Lambda::Function":
            properties["Code"] = {"S3Bucket": BUCKET, "S3Key": "code.zip"}
        elif resource["Type"] == "AWS::CloudFormation::Stack":
            name = properties["TemplateURL"]
            properties["TemplateURL"] = localstack.upload(name, json.dumps(nested(name)))
    return document

