"""What JSON Schema cannot say of the API's strings, and what the backend's log must not have."""

import atexit
import os

import schemathesis
from hypothesis import strategies as st
from leaks import NOTED
from narrow import narrow

# JSON Schema counts characters, a password is limited in bytes.
passwords = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=256)
schemathesis.openapi.format("password", passwords)

NOTED.password(os.environ["PASSWORD"])
for name in ("CLIENT_SECRET", "METRICS_TOKEN"):
    NOTED.secret(os.environ[name])
atexit.register(lambda: NOTED.save(os.environ["NOTED"]))


@schemathesis.hook
def before_load_schema(context, raw_schema):
    narrow(raw_schema)


@schemathesis.hook
def after_call(context, case, response):
    content_type = next(iter(response.headers.get("content-type", [])), None)
    NOTED.exchange(response.request, response.status_code, response.content, content_type)
    for cookie in response.headers.get("set-cookie", []):
        NOTED.token(cookie.partition("=")[2].partition(";")[0])
