#!/usr/bin/env python3
"""Refuses an import that points up.

A crate that declares its modules under comments `// Level 1: …`, `// Level 2: …` in lib.rs or main.rs is a tower: a module
may import (`crate::…`) from lower levels and from itself, and from nothing else. Tests may import from everywhere. A module
under no level, such as helpers of tests, is free and may not be imported from one that has a level.

    tests/levels.py [ROOT]
"""

import re
import sys
from pathlib import Path

LEVEL = re.compile(r"^// Level (\d+):")
MODULE = re.compile(r"^(?:pub(?:\([a-z]+\))? )?mod (\w+);")
USE = re.compile(r"(?m)^[ \t]*(?:pub(?:\([a-z ]+\))? )?use crate::([^;]*);")
PATH = re.compile(r"(?<![\w$:])crate::(\w+)")
INLINE_TESTS = re.compile(r"(?ms)^#\[cfg\(test\)\]\n(?:pub(?:\(crate\))? )?mod \w+ \{.*?^\}$")
COMMENT = re.compile(r"(?m)^\s*//.*$")


def levels(root: Path) -> dict[str, int]:
    """The level of each module. Empty: the crate declares none."""
    found, level = {}, 0
    for line in root.read_text().splitlines():
        if heading := LEVEL.match(line):
            level = int(heading.group(1))
        elif not line.strip() or line.startswith("#["):
            # A blank line ends the modules of a level.
            level = level if line.startswith("#[") else 0
        elif (module := MODULE.match(line)) and level:
            found[module.group(1)] = level
    return found


def heads(tree: str) -> set[str]:
    """The first names of a use tree: `{a::b, c::{d, e}}` has a and c."""
    tree = tree.strip()
    if not tree.startswith("{"):
        return {re.match(r"\w+", tree).group()}
    depth, names, start = 0, set(), True
    for token in re.findall(r"\w+|::|[{},]", tree):
        if token == "{":
            depth, start = depth + 1, depth == 0
        elif token == "}":
            depth -= 1
        elif token == ",":
            start = depth == 1
        elif start and depth == 1:
            names.add(token)
            start = False
    return names


def imports(text: str) -> set[str]:
    text = COMMENT.sub("", INLINE_TESTS.sub("", text))
    names = set().union(*(heads(use.group(1)) for use in USE.finditer(text)), set())
    return names | set(PATH.findall(USE.sub("", text)))


def faults(crate: Path, of: dict[str, int]) -> list[str]:
    found = []
    source = crate / "src"
    for file in sorted(source.rglob("*.rs")):
        parts = file.relative_to(source).with_suffix("").parts
        module = parts[0]
        if module not in of or "tests" in parts:
            continue
        for name in sorted(imports(file.read_text()) - {module}):
            # A name that is no module is re-exported by the root.
            if not (source / f"{name}.rs").exists() and not (source / name).is_dir():
                continue
            if of.get(name, 0) not in range(1, of[module]):
                has = f"level {of[name]}" if name in of else "no level"
                found.append(f"{file}: {module} (level {of[module]}) imports {name} ({has})")
    return found


def main() -> int:
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent)
    found, towers = [], 0
    for manifest in sorted(root.glob("**/Cargo.toml")):
        for start in ("src/lib.rs", "src/main.rs"):
            if "target" not in manifest.parts and (manifest.parent / start).exists():
                of = levels(manifest.parent / start)
                towers += bool(of)
                found += faults(manifest.parent, of) if of else []
    for fault in found:
        print(fault, file=sys.stderr)
    if not towers:
        print("no crate declares levels", file=sys.stderr)
    return int(bool(found) or not towers)


if __name__ == "__main__":
    sys.exit(main())
