"""What SAM's own translator makes of a template: the resources that CloudFormation is given."""

import json

import pytest
from samtranslator.translator.transform import transform

from deployment import CREDENTIALS
from template import load

POLICIES = {
    "AWSLambdaBasicExecutionRole": "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole",
    "AWSXrayWriteOnlyAccess": "arn:aws:iam::aws:policy/AWSXrayWriteOnlyAccess",
}


def defaults(name="template.yaml"):
    return {name: str(parameter["Default"]) for name, parameter in load(name)["Parameters"].items()}


def translated(name="template.yaml", **parameters):
    """Logical id → resource."""
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in CREDENTIALS.items():
            patch.setenv(variable, value)
        document = json.loads(json.dumps(load(name)))
        for resource in document["Resources"].values():
            if resource["Type"] == "AWS::Serverless::Function":
                # `sam package` puts the archive's address here.
                resource["Properties"]["CodeUri"] = "s3://bucket/key"
        loader = type("Policies", (), {"load": lambda self: POLICIES})()
        return transform(document, defaults(name) | parameters, loader)["Resources"]
