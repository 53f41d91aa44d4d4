"""Four lists of routes, and one truth: a route that one of them lacks is found here and not by a caller."""

import json
import os
import subprocess
import tomllib

import pytest

from deployment import target_directory
from template import ROOT, functions, routes

TEMPLATE = routes()


def without(methods, table):
    return {row for row in table if row[0] not in methods}


def test_every_path_has_one_function():
    paths = {}
    for _, path, function in TEMPLATE:
        paths.setdefault(path, set()).add(function)
    assert {path: names for path, names in paths.items() if len(names) > 1} == {}


def test_every_path_answers_preflights():
    paths = {path for _, path, _ in TEMPLATE}
    assert {path for method, path, _ in TEMPLATE if method == "OPTIONS"} == paths


def test_keys_and_health_answer_head_wherever_they_answer_get():
    get = {(path, function) for method, path, function in TEMPLATE if method == "GET"}
    head = {(path, function) for method, path, function in TEMPLATE if method == "HEAD"}
    assert head == {(path, function) for path, function in get if function in ("keys", "health")}


def test_cargo_lambda_watch_has_the_templates_routes():
    manifest = tomllib.loads((ROOT / "Cargo.toml").read_text())
    watch = manifest["workspace"]["metadata"]["lambda"]["watch"]["router"]
    assert watch == {path: function for _, path, function in TEMPLATE}


def test_openapi_document_has_the_templates_routes():
    document = json.loads((ROOT / "functions/keys/openapi.json").read_text())
    methods = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}
    documented = {
        (method.upper(), path)
        for path, operations in document["paths"].items()
        for method in operations
        if method in methods
    }
    # Preflights and HEAD follow from the rest and would triple the document.
    skipped = {"OPTIONS", "HEAD"}
    assert without(skipped, documented) == {row[:2] for row in without(skipped, TEMPLATE)}


def test_local_server_has_the_templates_routes():
    # The whole workspace's features, as the suites before have built it.
    subprocess.run(["cargo", "build", "--quiet", "--workspace", "--bin", "local"], cwd=ROOT, check=True)
    printed = subprocess.run(
        [target_directory() / "debug" / "local", "routes", "--json"],
        cwd=ROOT, env=os.environ, stdout=subprocess.PIPE, check=True,
    ).stdout
    local = {(route["method"], route["path"], route["function"]) for route in json.loads(printed)}
    # Whether `local` lists what it derives (OPTIONS, HEAD) is its own business.
    skipped = {"OPTIONS", "HEAD"}
    assert without(skipped, local) == without(skipped, TEMPLATE)


@pytest.mark.parametrize("function", sorted(functions()))
def test_function_is_a_crate_of_its_name(function):
    manifest = tomllib.loads((ROOT / "functions" / function / "Cargo.toml").read_text())
    assert manifest["package"]["name"] == function
    assert functions()[function]["CodeUri"] == f"functions/{function}"
