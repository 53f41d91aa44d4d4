"""What the document leaves out for the sake of those who generate clients from it.

Generators refuse a link whose request body is an object, and drop an answer whose schema narrows another. So the document
has `x-request-body` in links, and one schema for all errors; what an answer may hold besides is told by its examples. Here
the two are put back, so that conformance is held to the narrow form.
"""

SCHEMAS = "#/components/schemas/"


def narrow(document):
    """Changes the document in place."""
    schemas = document["components"]["schemas"]
    answers = [
        (status, resolved(document, answer))
        for operations in document["paths"].values()
        for operation in operations.values()
        for status, answer in operation["responses"].items()
    ]
    for status, answer in answers:
        for link in answer.get("links", {}).values():
            if "x-request-body" in link:
                link["requestBody"] = link.pop("x-request-body")
        for content in answer.get("content", {}).values():
            rule = RULES.get(content.get("schema", {}).get("$ref", "").removeprefix(SCHEMAS))
            if rule is not None:
                further = rule(int(status), examples(content))
                content["schema"] = {"allOf": [content["schema"], further]}
    introspection, key = schemas["Introspection"], schemas["Jwk"]
    schemas["Introspection"] = {
        "oneOf": [
            {"required": ["active"], "properties": {"active": {"const": False}}, "additionalProperties": False},
            {
                **introspection,
                "required": ["active", "token_type", "client_id", "sub", "sid", "iss", "aud", "iat", "exp"],
                "properties": {**introspection["properties"], "active": {"const": True}},
            },
        ]
    }
    key["not"] = {"required": ["d"]}
    key["oneOf"] = [
        {"properties": {"kty": {"const": "EC"}, "alg": {"const": "ES256"}}, "required": ["crv", "x", "y"]},
        {"properties": {"kty": {"const": "RSA"}, "alg": {"const": "RS256"}}, "required": ["n", "e"]},
    ]


def problem(_status, shown):
    required = {name for example in shown for name in ("retry_after", "errors") if name in example}
    statuses = sorted({example["status"] for example in shown})
    return {
        "properties": {"status": {"enum": statuses}, "code": {"enum": [example["code"] for example in shown]}},
        "required": sorted(required),
    }


def oauth_error(_status, shown):
    return {"properties": {"error": {"enum": [example["error"] for example in shown]}}}


def health(status, shown):
    checks = sorted({name for example in shown for name in example["checks"]})
    word = "ready" if status == 200 else "unavailable"
    return {"properties": {"status": {"const": word}, "checks": {"required": checks}}}


RULES = {"Problem": problem, "OAuthError": oauth_error, "Health": health}


def examples(content):
    """Those of an answer. One without any could not be narrowed, and would be a hole in the check."""
    shown = [example["value"] for example in content.get("examples", {}).values()]
    shown += [content["example"]] if "example" in content else []
    assert shown, f"an answer without an example: {content}"
    return shown


def resolved(document, node):
    if "$ref" not in node:
        return node
    *names, last = node["$ref"].removeprefix("#/").split("/")
    for name in names:
        document = document[name]
    return document[last]
