"""A deployment for the pages alone, and somebody at a shell who follows one."""

import os
import subprocess
import sys
from pathlib import Path

from deployment import Api, Operator

# The tools of the environment that runs this, before whatever else is installed.
TOOLS = Path(sys.executable).parent
# Some services have an address of their own in the command line, which AWS_ENDPOINT_URL does not move: it would be AWS.
AWS = 'aws() { command aws --endpoint-url "$AWS_ENDPOINT_URL" "$@"; }\n'


class Stage:
    def __init__(self, binary, stack, home):
        assert (TOOLS / "aws").exists(), "no awscli beside this python: tests/requirements.txt has it"
        self.stack = stack
        # Operation → what its answer must hold, where all pages see the same.
        self.shows = {}
        self.operator = Operator(binary, stack)
        self.api = Api(stack.url)
        # The first call fills the keyring.
        assert self.api.get("/.well-known/jwks.json").status_code == 200
        path = os.pathsep.join([str(TOOLS), str(binary.parent), os.environ["PATH"]])
        self.environment = stack.emulator.environment() | {
            # The command line reads aliases and models there, wherever its configuration is.
            "HOME": str(home),
            "PATH": path,
            "SALLYPORT_STACK": stack.name,
            **self.operator("runbook", "env")["variables"],
        }

    def client(self, service):
        return self.stack.emulator.client(service)

    def set(self, **variables):
        """`export`, for all pages that follow."""
        self.environment |= variables

    def __getitem__(self, variable):
        return self.environment[variable]

    def run(self, commands, directory):
        """As `sallyport runbook run` does: the first command that fails ends it, as does a variable that nobody set."""
        return subprocess.run(
            ["sh", "-euc", AWS + commands], cwd=directory, env=self.environment, timeout=120,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )


class Reader:
    """Follows the blocks of a page, in order and in one directory."""

    def __init__(self, stage, blocks, directory):
        self.stage, self.left, self.directory = stage, list(blocks), directory

    def play(self, what=""):
        """Runs the next block, in which `what` must be, and returns what it printed."""
        block = self.left.pop(0)
        assert what in block.commands, f"{block}: not {what!r}, but\n{block.commands}"
        ended = self.stage.run(block.commands, self.directory)
        told = f"{block} ended with {ended.returncode}:\n{block.commands}\n{ended.stdout}\n{ended.stderr}"
        assert ended.returncode in block.expect, told
        for operation in block.shown() & set(self.stage.shows):
            assert self.stage.shows[operation] in ended.stdout, f"nothing of {self.stage.shows[operation]!r}: {told}"
        return ended.stdout
