#!/usr/bin/env python3
"""What the functions write to their logs for a request, in bytes: the figures of docs/COST.md.

    SALLYPORT_DEMO_PASSWORD='correct horse battery staple' cargo run -p local -- --quiet
    python3 tests/bench/log_bytes.py http://localhost:3000

It signs in to the demo account, enrols a factor and locks a pool: for a backend that is thrown away. The 26 bytes that CloudWatch
adds to each line are counted.
"""

import json
import sys
import urllib.error
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "deploy"))
import totp  # noqa: E402

BASE = sys.argv[1].rstrip("/").replace("localhost", "127.0.0.1")
EMAIL, PASSWORD = "test@example.com", "correct horse battery staple"
CLOUDWATCH = 26


def ask(method, path, body=None, token=None):
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(BASE + path, data, headers, method=method)
    try:
        with urllib.request.urlopen(request) as answer:
            return json.loads(answer.read() or "null")
    except urllib.error.HTTPError as error:
        return json.loads(error.read() or "null")


def last():
    return max((line["sequence"] for line in ask("GET", "/_local/logs")["lines"]), default=0)


def measured(name, path, body, token=None):
    before = last()
    answer = ask("POST", path, body, token)
    lines = [line["line"] for line in ask("GET", "/_local/logs")["lines"] if line["sequence"] > before]
    sizes = [len(json.dumps(line, separators=(",", ":"), ensure_ascii=False).encode()) for line in lines]
    total = sum(sizes) + CLOUDWATCH * len(sizes)
    print(f"{name:28} {len(sizes)} lines of {'+'.join(map(str, sizes)):16} bytes: {total / 1000:.2f} KB")
    return answer


def login(name, email=EMAIL, password=PASSWORD):
    return measured(name, "/api/v1/auth/login", {"email": email, "password": password})


ask("GET", "/.well-known/jwks.json")
session = login("login")
session = measured("refresh", "/api/v1/auth/refresh", {"refresh_token": session["refresh_token"]})
for _ in range(8):
    ask("POST", "/api/v1/auth/login", {"email": EMAIL, "password": PASSWORD})
login("login, the tenth session")
login("login, the eleventh session")
for number in range(4):
    login(f"wrong password, number {number + 1}", "nobody@example.com", "wrong")
login("wrong password, which locks", "nobody@example.com", "wrong")
login("locked", "nobody@example.com", "wrong")
access = ask("POST", "/api/v1/auth/login", {"email": EMAIL, "password": PASSWORD})["access_token"]
measured("logout everywhere", "/api/v1/auth/logout", {"scope": "global"}, access)
session = ask("POST", "/api/v1/auth/login", {"email": EMAIL, "password": PASSWORD})
measured("logout", "/api/v1/auth/logout", {"refresh_token": session["refresh_token"]})
access = ask("POST", "/api/v1/auth/login", {"email": EMAIL, "password": PASSWORD})["access_token"]
enrolled = ask("POST", "/api/v1/mfa/totp", {}, access)
factor, secret = enrolled["factor_id"], enrolled["secret"]
ask("POST", "/api/v1/mfa/totp/confirm", {"factor_id": factor, "code": totp.code(secret)}, access)
asked = login("login, asks for the factor")
code = totp.code(secret, steps_ahead=1)
measured("mfa verify", "/api/v1/auth/mfa/verify", {"mfa_token": asked["mfa_token"], "factor_id": factor, "code": code})
