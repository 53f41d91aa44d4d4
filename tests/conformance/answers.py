"""Every documented answer was given by some suite, and no other: answers.py DIRECTORY

DIRECTORY holds what the local gateway noted (SALLYPORT_ANSWERS), a line of JSON an answer. Compared with
functions/keys/openapi.json by route and status, and by route and error code where the document's examples name codes.
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
METHODS = {"get", "put", "post", "delete", "patch"}
# A defect of the service, which no suite can ask for at every route; tests/api/codes.rs has one. The gateway alone gives 502
# and 504, when a function breaks or does not answer.
UNSOUGHT = {500, 502, 504}
# An id with a slash in it makes another path: what is not found then is not this route's to note.
ELSEWHERE = {("DELETE /api/v1/mfa/factors/{id}", "not_found")}
# What is away only in the cloud: here the figures are in the process.
IN_THE_CLOUD = {("GET /metrics", 503)}


def resolved(document, node):
    while "$ref" in node:
        target = document
        for name in node["$ref"].removeprefix("#/").split("/"):
            target = target[name.replace("~1", "/").replace("~0", "~")]
        node = target
    return node


def codes(response):
    """The codes that the examples of a response name."""
    for content in response.get("content", {}).values():
        examples = [example.get("value") for example in content.get("examples", {}).values()]
        for example in [*examples, content.get("example")]:
            if isinstance(example, dict):
                code = example.get("code") or example.get("error")
                if isinstance(code, str):
                    yield code


def documented():
    """Route -> status -> codes; no codes where the answer is no error."""
    document = json.loads((ROOT / "functions/keys/openapi.json").read_text())
    return {
        f"{method.upper()} {path}": {
            int(status): set(codes(resolved(document, response)))
            for status, response in operation["responses"].items()
        }
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if method in METHODS
    }


def seen(directory):
    """Route -> {(status, code)}."""
    answers = {}
    for file in directory.glob("*.jsonl"):
        for line in file.read_text().splitlines():
            answer = json.loads(line)
            # What the gateway refuses itself (a header that an event cannot carry) is the gateway's to document.
            if answer["path"] is not None and not answer["refused"]:
                route = f"{answer['method']} {answer['path']}"
                answers.setdefault(route, set()).add((answer["status"], answer["code"]))
    return answers


def faults(routes, answers):
    for route, statuses in sorted(routes.items()):
        given = answers.get(route, set())
        for status, names in sorted(statuses.items()):
            if status in UNSOUGHT or (route, status) in IN_THE_CLOUD:
                continue
            if not any(status == other for other, _ in given):
                yield f"never seen: {route} -> {status}"
            for name in sorted(names - {code for other, code in given if other == status}):
                if (route, name) not in ELSEWHERE:
                    yield f"never seen: {route} -> {status} {name}"
        for status, code in sorted(given, key=str):
            if status in UNSOUGHT:
                continue
            if status not in statuses:
                yield f"not documented: {route} -> {status} {code or ''}"
            elif statuses[status] and code not in statuses[status]:
                yield f"not documented: {route} -> {status} {code or ''}"


def main(directory):
    routes, answers = documented(), seen(Path(directory))
    if not answers:
        sys.exit(f"nothing was noted in {directory}")
    found = list(faults(routes, answers))
    pairs = sum(len(statuses) for statuses in routes.values())
    if found:
        print("\n".join(found))
        print(f"test result: FAILED. documented answers: {len(found)} faults over {pairs} pairs of route and status")
        sys.exit(1)
    print(f"test result: ok. documented answers: {pairs} pairs of route and status, each given by some suite")


if __name__ == "__main__":
    main(*sys.argv[1:])
