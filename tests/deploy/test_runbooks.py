"""The `aws` commands of the runbooks, which nothing on a developer's machine answers, against AWS's own service models."""

import re
import shlex

import botocore.session
import pytest
from botocore import xform_name

from template import ROOT

SESSION = botocore.session.get_session()
# Options of the command itself, and of its paginators.
GLOBAL = {"region", "profile", "query", "output", "endpoint-url", "no-cli-pager", "max-items", "page-size", "cli-input-json"}
# Commands that no API operation stands behind, with their options.
CUSTOM = {("logs", "tail"): {"since", "follow", "format", "filter-pattern"}}
# Services that the command line has another name for.
RENAMED = {"deploy": "codedeploy"}
# Options, likewise.
RENAMED_OPTIONS = {("sns", "subscribe"): {"notification-endpoint": "endpoint"}}
BLOCK = re.compile(r"^( *)```sh\b([^\n]*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)


def commands(text):
    """The aws commands of a text, those within `$(…)` too, each as a list of words."""
    for part in re.findall(r"\$\((aws [^()]*(?:\([^()]*\)[^()]*)*)\)", text):
        yield words(part)
    for line in re.sub(r"\\\n", " ", text).splitlines():
        line = re.sub(r'"?\$\(.*?\)"?(?= --|$)', "x", line.strip())
        if line.startswith("aws "):
            yield words(line)


def words(line):
    return shlex.split(line)[1:]


def found():
    for path in sorted((ROOT / "ops/runbooks").glob("*.md")):
        for match in BLOCK.finditer(path.read_text()):
            if "cloud" in match.group(2).split():
                for command in commands(match.group(3)):
                    yield pytest.param(command, id=f"{path.stem}: {' '.join(command[:2])}")


def test_there_are_some():
    assert len(list(found())) > 25


@pytest.mark.parametrize("command", list(found()))
def test_the_command_is_one_that_aws_takes(command):
    service, operation, *arguments = command
    given = {word[2:].split("=")[0] for word in arguments if word.startswith("--")} - GLOBAL
    renamed = RENAMED_OPTIONS.get((service, operation), {})
    given = {renamed.get(option, option) for option in given}
    if (service, operation) in CUSTOM:
        assert given <= CUSTOM[service, operation]
        return
    service = RENAMED.get(service, service)
    assert service in SESSION.get_available_services()
    if operation == "wait":
        waiters = SESSION.get_waiter_model(service)
        name = next(name for name in waiters.waiter_names if xform_name(name, "-") == arguments[0])
        operation = xform_name(waiters.get_waiter(name).operation, "-")
    model = SESSION.get_service_model(service)
    names = {xform_name(name, "-"): name for name in model.operation_names}
    assert operation in names
    shape = model.operation_model(names[operation]).input_shape
    options = {xform_name(name, "-"): member for name, member in shape.members.items()} if shape else {}
    flags = {f"no-{name}" for name, member in options.items() if member.type_name == "boolean"}
    assert given <= set(options) | flags
    # One of an enumeration is one that it has.
    for option, value in zip(arguments, arguments[1:]):
        member = options.get(option.removeprefix("--"))
        if member is not None and getattr(member, "enum", None):
            assert value in member.enum
    required = {xform_name(name, "-") for name in shape.required_members} if shape else set()
    assert required <= given
