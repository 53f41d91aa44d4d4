"""An hour and a half of a backend's life, minute by minute of its own clock: people sign in, tables grow slow and one goes away,
and an attack begins. What the dashboards would be drawn of is kept: the functions' metrics, AWS's, and `/metrics`."""

import http.client
import json
import random
import time
import urllib.parse

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from leaks import NOTED

MINUTES = 90
SLOW = range(30, 38)
AWAY = range(35, 38)
ATTACK = range(86, 90)
PEOPLE = 8
PASSWORD = "correct horse battery staple"
TOKEN = "local-metrics-token"


class Backend:
    """Those who ask come from addresses of their own: all of 127/8 is this machine."""

    def __init__(self, url):
        parts = urllib.parse.urlsplit(url)
        self.host, self.port = parts.hostname, parts.port

    def ask(self, method, path, body=None, person=0, **headers):
        connection = http.client.HTTPConnection(self.host, self.port, 30, source_address=(f"127.0.0.{person + 2}", 0))
        NOTED.body(body)
        NOTED.authorization(headers.get("Authorization", ""))
        if body is not None:
            body = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        # The `code` of a problem is no code of anybody's.
        if path.startswith("/api/") and answer.status < 400 and text:
            NOTED.body(json.loads(text))
        return answer.status, text

    def tell(self, method, path, body=None):
        status, answer = self.ask(method, f"/_local/{path}", body)
        assert status < 300, f"{method} {path}: {status} {answer}"
        return json.loads(answer) if answer else None


class Person:
    def __init__(self, backend, number, operate):
        self.backend, self.number, self.refresh_token, self.secret = backend, number, None, None
        self.email = f"person{number}@example.com"
        operate("user", "create", self.email, "--password-stdin", stdin=PASSWORD)

    def post(self, path, body, **headers):
        status, answer = self.backend.ask("POST", f"/api/v1/{path}", body, self.number, **headers)
        return status, json.loads(answer) if answer else {}

    def code(self):
        status, code = self.backend.ask("GET", f"/_local/totp?secret={self.secret}")
        assert status == 200, code
        return code.strip()

    def sign_in(self, password=PASSWORD, code=None):
        _, answer = self.post("auth/login", {"email": self.email, "password": password})
        if answer.get("mfa_token"):
            factor = answer["factors"][0]["id"]
            proof = {"mfa_token": answer["mfa_token"], "factor_id": factor, "code": code or self.code()}
            _, answer = self.post("auth/mfa/verify", proof)
        self.refresh_token = answer.get("refresh_token", self.refresh_token)
        return answer

    def refresh(self):
        if self.refresh_token:
            status, answer = self.post("auth/refresh", {"refresh_token": self.refresh_token})
            # What nobody answered may be asked again with the same.
            self.refresh_token = answer.get("refresh_token") if status < 500 else self.refresh_token

    def enrol(self):
        bearer = {"Authorization": f"Bearer {self.sign_in()['access_token']}"}
        _, enrolled = self.post("mfa/totp", {}, **bearer)
        self.secret = enrolled["secret"]
        status, answer = self.post("mfa/totp/confirm", {"factor_id": enrolled["factor_id"], "code": self.code()}, **bearer)
        assert status == 200, answer


class Story:
    """`own` and `published` are values as CloudWatch takes them in, `scrapes` what Prometheus would have seen each minute."""

    def __init__(self, url, operate, guesses):
        """`guesses`: how many wrong passwords a minute the attack tries."""
        NOTED.secret(TOKEN)
        self.backend, self.guesses, self.chance = Backend(url), guesses, random.Random(7)
        self.own, self.published, self.scrapes, self.logged = [], [], [], []
        self.lines, self.data = 0, 0
        self.people = [Person(self.backend, number, operate) for number in range(PEOPLE)]

    def play(self):
        self.people[0].enrol()
        # Some alarms look back for hours.
        for _ in range(4):
            self.upkeep(0)
            self.backend.tell("POST", "clock", {"advance_seconds": 3600})
        begin = self.now() // 60 * 60 + 60
        for minute in range(MINUTES):
            # What a minute takes of ours passes there, too.
            self.backend.tell("POST", "clock", {"advance_seconds": max(0, begin + 60 * minute - self.now())})
            self.minute(minute)
            self.collect()
        leaks = NOTED.leaks(self.logged)
        assert not leaks, "secrets in the log:\n  " + "\n  ".join(leaks)
        return self

    def now(self):
        return self.backend.tell("GET", "clock")["now"]

    def minute(self, minute):
        backend = self.backend
        self.upkeep(minute)
        if minute in (SLOW.start, AWAY.start):
            away = minute == AWAY.start
            backend.tell("DELETE", "faults")
            backend.tell("POST", "faults", {"kind": "refuse", "table": "sessions"} if away else {"kind": "slow", "delay_ms": 60})
        if minute == SLOW.stop:
            backend.tell("DELETE", "faults")
        for path in ("/health/ready", "/.well-known/jwks.json"):
            backend.ask("GET", path)
        for person in self.chance.sample(self.people[1:], 3 + minute % 3):
            if self.chance.random() < 0.08:
                person.sign_in(password="correct horse battery stapel")
            person.sign_in()
        for person in self.people[1:]:
            if self.chance.random() < 0.4:
                person.refresh()
        if minute % 4 == 0:
            self.people[0].sign_in(code="000000" if minute % 20 == 8 else None)
        if minute == 60:
            self.thief()
        if minute in ATTACK:
            self.attack(minute)

    def upkeep(self, minute):
        """What schedules do."""
        tasks = ["session_gauge"] if minute % 5 == 0 else []
        if minute % 60 == 0:
            tasks += ["key_age", "recovery_check", "topic_check", "restore_drill"]
        for task in tasks:
            self.backend.tell("POST", "invoke/maintenance", {"task": task})
        self.backend.tell("POST", "invoke/responder", {"task": "tick"})

    def thief(self):
        """Comes with a refresh token that was used already."""
        person = self.people[1]
        person.sign_in()
        stolen = person.refresh_token
        person.refresh()
        self.backend.tell("POST", "clock", {"advance_seconds": 30})
        status, answer = self.backend.ask("POST", "/api/v1/auth/refresh", {"refresh_token": stolen}, person=200)
        assert status == 401, answer

    def attack(self, minute):
        """Passwords that are often used, at accounts that are there and accounts that are not."""
        for number in range(self.guesses):
            email = f"person{number % 40}@example.com" if number < 200 else f"{number}@example.net"
            guess = {"email": email, "password": "123456789"}
            person = 120 + (0 if number < 130 else number % 100)
            status, answer = self.backend.ask("POST", "/api/v1/auth/login", guess, person)
            assert status in (401, 429), answer
        if minute == ATTACK.start + 1:
            self.backend.tell("POST", "invoke/responder", ringing(self.now()))

    def collect(self):
        backend = self.backend
        for numbered in backend.tell("GET", f"logs?since={self.lines}")["lines"]:
            self.lines = numbered["sequence"]
            self.own += values(numbered["line"])
            self.logged.append(json.dumps(numbered["line"]))
        for numbered in backend.tell("GET", f"metrics?since={self.data}")["data"]:
            self.data = numbered["sequence"]
            self.published.append((numbered["namespace"], numbered["metric"], numbered["dimensions"], numbered["at"] / 1000,
                                   [numbered["value"]]))
        status, text = backend.ask("GET", "/metrics", Authorization=f"Bearer {TOKEN}")
        assert status == 200, text
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        self.scrapes.append((self.now(), samples))


def values(line):
    """The values of a wide event, by the Embedded Metric Format: (namespace, metric, dimensions, seconds, values)."""
    event = line.get("_aws") if isinstance(line, dict) else None
    for directive in event["CloudWatchMetrics"] if event else []:
        for names in directive["Dimensions"]:
            dimensions = {name: line[name] for name in names}
            for metric in directive["Metrics"]:
                found = line[metric["Name"]]
                found = found if isinstance(found, list) else [found]
                yield directive["Namespace"], metric["Name"], dimensions, event["Timestamp"] / 1000, found


def ringing(at):
    return {
        "AlarmName": "sallyport-local-failure-spike", "NewStateValue": "ALARM", "NewStateReason": "Threshold Crossed",
        "StateChangeTime": time.strftime("%Y-%m-%dT%H:%M:%S.000+0000", time.gmtime(at)),
        "Trigger": {"Period": 60, "EvaluationPeriods": 1},
    }
