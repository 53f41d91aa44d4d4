"""The commands of the runbooks that only AWS can answer, played by the real command line against a deployment in the emulator.
What it does not answer, or not as AWS does, is in gaps.py."""

import json
from itertools import groupby

import botocore.session
import pytest
from botocore import xform_name

import scenes
from deployment import Stack, clean_environment, run
from gaps import OTHERWISE, REFUSED
from pages import aws_commands, cloud_blocks, operation
from stage import Reader, Stage
from template import load

BLOCKS = cloud_blocks()
PLAYED = {
    page: [block for block in blocks if not block.operations() & set(REFUSED)]
    for page, blocks in groupby(BLOCKS, lambda block: block.page)
}

SESSION = botocore.session.get_session()
# Options of the command itself, and of its paginators.
GLOBAL = {"region", "profile", "query", "output", "endpoint-url", "no-cli-pager", "max-items", "page-size", "cli-input-json"}
# Commands that no API operation stands behind, with their options.
CUSTOM = {"logs tail": {"since", "follow", "format", "filter-pattern"}}
# Services that the command line has another name for.
RENAMED = {"deploy": "codedeploy"}
# Options, likewise.
RENAMED_OPTIONS = {"sns subscribe": {"notification-endpoint": "endpoint"}}


@pytest.fixture(scope="module")
def released(artifacts):
    """The template with an alias, as a gradual deployment has them. The emulator has no CodeDeploy to move it."""
    template = json.loads(json.dumps(load(artifacts), default=str))
    template["Resources"]["Login"]["Properties"]["AutoPublishAlias"] = "live"
    path = artifacts.with_name("released.json")
    path.write_text(json.dumps(template))
    return path


@pytest.fixture(scope="module")
def stage(emulator, released, binary, tmp_path_factory):
    """A stack of its own: a page deletes a table. Where a page fails half-way, those after it may fail by what it left."""
    stack = Stack(emulator, released, "sallyport-pages")
    try:
        stage = Stage(binary, stack.deploy(), tmp_path_factory.mktemp("home"))
        scenes.prepare(stage)
        yield stage
    finally:
        stack.delete()


def test_there_are_some():
    assert len(BLOCKS) > 50
    assert sum(map(len, PLAYED.values())) > 40


def test_they_are_those_that_the_command_line_reads(binary):
    def ask(*arguments):
        return json.loads(run([binary, "--json", "runbook", *arguments], clean_environment()))

    def bare(commands):
        return [line.strip() for line in commands.strip().splitlines()]

    read = [
        (page["name"], bare(step["commands"]), tuple(step["expect"]))
        for page in sorted(ask("list")["runbooks"], key=lambda page: page["name"])
        for section in ask("show", page["name"])["sections"] for step in section["steps"] if step["cloud"]
    ]
    assert [(block.page, bare(block.commands), block.expect) for block in BLOCKS] == read


@pytest.mark.parametrize("page", [page for page, blocks in PLAYED.items() if blocks])
def test_the_page_does_what_it_says(page, stage, tmp_path):
    reader = Reader(stage, PLAYED[page], tmp_path)
    scenes.SCENES.get(page, scenes.looks)(reader, stage)
    assert [str(block) for block in reader.left] == []


def test_every_scene_is_of_a_page():
    assert set(scenes.SCENES) <= {page for page, blocks in PLAYED.items() if blocks}


def test_a_block_is_played_or_listed_as_a_whole():
    mixed = [str(block) for block in BLOCKS if block.operations() & set(REFUSED) and block.operations() - set(REFUSED)]
    assert mixed == []


@pytest.mark.parametrize("listed", REFUSED)
def test_what_is_listed_is_used_by_a_page_and_still_refused(listed, stage, tmp_path):
    answer, _ = REFUSED[listed]
    # By itself: the shell would end a block at the first command that fails.
    lines = [line for block in BLOCKS for line in block.commands.splitlines() if f"aws {listed} " in line]
    assert lines != []
    ended = stage.run(lines[0].strip(), tmp_path)
    assert ended.returncode != 0 and answer in ended.stderr, f"{lines[0]}\n{ended.stdout}{ended.stderr}"


@pytest.mark.parametrize("gap", OTHERWISE)
def test_the_emulator_still_answers_otherwise_than_aws(gap, stage):
    assert OTHERWISE[gap](stage)


COMMANDS = [
    pytest.param(command, id=f"{block.page}: {operation(command)}")
    for block in BLOCKS for command in aws_commands(block.commands)
]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_is_one_that_aws_takes(command):
    service, name, *arguments = command
    given = {word[2:].split("=")[0] for word in arguments if word.startswith("--")} - GLOBAL
    renamed = RENAMED_OPTIONS.get(operation(command), {})
    given = {renamed.get(option, option) for option in given}
    if operation(command) in CUSTOM:
        assert given <= CUSTOM[operation(command)]
        return
    service = RENAMED.get(service, service)
    assert service in SESSION.get_available_services()
    if name == "wait":
        waiters = SESSION.get_waiter_model(service)
        waiter = next(known for known in waiters.waiter_names if xform_name(known, "-") == arguments[0])
        name = xform_name(waiters.get_waiter(waiter).operation, "-")
    model = SESSION.get_service_model(service)
    names = {xform_name(known, "-"): known for known in model.operation_names}
    assert name in names
    shape = model.operation_model(names[name]).input_shape
    options = {xform_name(known, "-"): member for known, member in shape.members.items()} if shape else {}
    flags = {f"no-{option}" for option, member in options.items() if member.type_name == "boolean"}
    assert given <= set(options) | flags
    # One of an enumeration is one that it has.
    for option, value in zip(arguments, arguments[1:]):
        member = options.get(option.removeprefix("--"))
        if member is not None and getattr(member, "enum", None):
            assert value in member.enum
    required = {xform_name(known, "-") for known in shape.required_members} if shape else set()
    assert required <= given
