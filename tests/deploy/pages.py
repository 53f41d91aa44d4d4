"""The runbooks' blocks that only AWS can answer, as they are read here: ops/runbooks has the parser that ships."""

import re
import shlex
from dataclasses import dataclass

from template import ROOT

BLOCK = re.compile(r"^( *)```sh\b([^\n]*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
SUBSTITUTION = re.compile(r"\$\(((?:[^()]|\([^()]*\))*)\)")


@dataclass(frozen=True)
class Block:
    page: str
    line: int
    # What the shell is given.
    commands: str
    # Exit codes that are no failure.
    expect: tuple[int, ...]

    def __str__(self):
        return f"{self.page}.md, line {self.line}"

    def operations(self):
        """Service and operation of each of its aws commands."""
        return {operation(command) for command in aws_commands(self.commands)}

    def shown(self):
        """As operations(), of those whose answer the reader sees."""
        return {operation(command) for command in aws_commands(SUBSTITUTION.sub("x", self.commands))}


def cloud_blocks():
    """In the order of the pages."""
    found = []
    for path in sorted((ROOT / "ops/runbooks").glob("*.md"), key=lambda path: path.stem):
        text = path.read_text()
        for match in BLOCK.finditer(text):
            attributes = match.group(2).split()
            if "cloud" in attributes:
                expect = next((word.removeprefix("expect=") for word in attributes if word.startswith("expect=")), "0")
                line = text.count("\n", 0, match.start()) + 1
                codes = tuple(int(code) for code in expect.split(","))
                found.append(Block(path.stem, line, match.group(3), codes))
    return found


def operation(command):
    return " ".join(command[:2])


def aws_commands(text):
    """The words after `aws` of each such command, those within `$(…)` too."""
    return [words[1:] for words in commands(text) if words[0] == "aws"]


def commands(text):
    """The simple commands of a text, each as a list of words; `x` stands for what another one prints."""
    found = []
    for inner in SUBSTITUTION.findall(text):
        found += commands(inner)
    for line in SUBSTITUTION.sub("x", text.replace("\\\n", " ")).splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;")
        lexer.whitespace_split = True
        command = []
        for word in [*lexer, ";"]:
            if set(word) <= set("|&;"):
                found += [command] if command else []
                command = []
            else:
                command.append(word)
    return found
