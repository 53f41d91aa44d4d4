"""The templates, read as data: short-form intrinsics become their long form."""

from functools import cache
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]

# What `sallyport deploy template` adds to the resources of template.yaml.
HOOK = "ops/cli/src/commands/deploy/smoke.yaml"


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's tags."""


def _intrinsic(loader, suffix, node):
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _intrinsic)


@cache
def load(name="template.yaml"):
    return yaml.load((ROOT / name).read_text(), Loader=_Loader)


def resources(kind, name="template.yaml"):
    """Logical id → properties of every resource of the kind."""
    return {
        logical: resource.get("Properties", {})
        for logical, resource in load(name)["Resources"].items()
        if resource["Type"] == kind
    }


def functions():
    """Name as in Cargo.toml → properties."""
    return {
        resource["Metadata"]["BuildProperties"]["Binary"]: resource["Properties"]
        for resource in load()["Resources"].values()
        if resource["Type"] == "AWS::Serverless::Function"
    }


def hooks():
    """As functions(), of what a gradual deployment has besides."""
    return {
        resource["Metadata"]["BuildProperties"]["Binary"]: resource["Properties"]
        for resource in load(HOOK).values()
        if resource["Type"] == "AWS::Serverless::Function"
    }


def routes():
    """(method, path, function) of every event."""
    return {
        (event["Properties"]["Method"].upper(), event["Properties"]["Path"], function)
        for function, properties in functions().items()
        for event in properties.get("Events", {}).values()
        if event["Type"] == "Api"
    }
