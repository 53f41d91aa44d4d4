"""Every pattern of the document reads in RE2, which is Go's, and says the same there as in Python."""

import json
import re
import sys

import re2

document = json.load(open(sys.argv[1]))


def patterns(node):
    if isinstance(node, dict):
        if isinstance(node.get("pattern"), str):
            yield node
        for value in node.values():
            yield from patterns(value)
    elif isinstance(node, list):
        for value in node:
            yield from patterns(value)


found = list(patterns(document))
assert len(found) > 20, len(found)
for schema in found:
    pattern = schema["pattern"]
    # Source files can't hold them, and ECMAScript's \u is not everybody's.
    assert pattern.isprintable() or "\u2010" in pattern, pattern
    assert "\\u" not in pattern and "\\p" not in pattern and "(?" not in pattern, pattern
    shown = [*schema.get("examples", []), *([schema["example"]] if "example" in schema else [])]
    for text in [*shown, "", "x", "\0", "492039", "492\u2013039 ", "a\u0085b", "Phone"]:
        one, other = re.search(pattern, text), re2.search(pattern, text)
        assert (one is None) == (other is None), (pattern, text)
        assert text not in shown or one is not None, (pattern, text)
print(f"RE2: {len(found)} patterns")
