"""No suite may find a secret that it used in what the functions have logged: shared/testkit/src/secrets.rs for suites in Python.

Callers note what they send and are given; whoever ends a backend looks for all of it in the backend's lines. Where the callers
are another process: leaks.py NOTED LOG, with the file that they saved, and the lines.
"""

import base64
import json
import re
import string
import sys
import threading
from pathlib import Path
from urllib.parse import parse_qsl

WORD = re.compile(r"[A-Za-z0-9\-_.=+/~]+")
# A password that is cut off in a log is as bad as a whole one.
BEGINNING = 64
# No password or address that is looked for is shorter.
SHORTEST = 8

PASSWORDS = {"password", "current_password", "new_password"}
TOKENS = {"access_token", "refresh_token", "device_token", "mfa_token", "token"}
SECRETS = {"secret", "client_secret", "otpauth_uri"}
CODES = {"code", "recovery_codes"}


class Noted:
    def __init__(self):
        self.lock = threading.Lock()
        # Secret → what it is. Words are tokens, keys and codes; texts may have spaces, and stand anywhere.
        self.words, self.texts = {}, {}

    def _word(self, word, what):
        with self.lock:
            self.words[word] = what

    def _text(self, text, what):
        text = text[:BEGINNING]
        with self.lock:
            self.texts[text] = what
            # As it stands in a line of JSON.
            self.texts[json.dumps(text, ensure_ascii=False)[1:-1]] = what

    def password(self, text):
        kinds = (str.islower, str.isupper, str.isdigit, lambda character: not character.isalnum())
        several = sum(any(map(kind, text)) for kind in kinds) >= 3
        # What anybody might say of anything ("undefined") is no password to look for.
        if len(text) >= 12 or len(text) >= SHORTEST and several:
            self._text(text, "a password")

    def address(self, text):
        if len(text) >= SHORTEST and "@" in text:
            self._text(text, "an address")

    def secret(self, text, what="a secret"):
        if len(text) >= 16:
            self._word(text, what)

    def token(self, text):
        if len(text) >= 30 and text.startswith(("eyJ", "spr_", "spd_")):
            self.secret(text, "a token")
            if "." in text:
                self.secret(text.rpartition(".")[2], "the end of a token")

    def code(self, text):
        # Six digits are one word of a line, or none: longer numbers hold them all.
        if len(text) == 6 and all(character in string.digits for character in text) or len(text) >= 10:
            self._word(text, "a code")

    def body(self, body):
        """What JSON or a form holds."""
        for name, values in body.items() if isinstance(body, dict) else ():
            for text in values if isinstance(values, list) else [values]:
                if isinstance(text, str):
                    self._field(name, text)

    def _field(self, name, text):
        if name in PASSWORDS:
            self.password(text)
        elif name == "email":
            self.address(text)
        elif name in TOKENS:
            self.token(text)
        elif name in SECRETS:
            self.secret(text)
        elif name in CODES:
            self.code(text)

    def authorization(self, header):
        scheme, _, credentials = header.partition(" ")
        if scheme.lower() == "basic":
            self.secret(credentials, "credentials")
            try:
                pair = base64.b64decode(credentials).decode()
            except ValueError:
                return
            self.secret(pair.partition(":")[2])
        else:
            self.token(credentials)

    def call(self, response):
        """A response of `requests`, and the request before it."""
        content_type = response.headers.get("Content-Type")
        self.exchange(response.request, response.status_code, response.content, content_type)
        for cookie in response.cookies:
            self.token(cookie.value or "")

    def exchange(self, request, status, content, content_type):
        """A request of `requests`, and what came of it."""
        self.authorization(request.headers.get("Authorization") or "")
        for pair in (request.headers.get("Cookie") or "").split("; "):
            self.token(pair.partition("=")[2])
        self.body(read(request.body, request.headers.get("Content-Type")))
        # The `code` of a problem is no code of anybody's.
        if status < 400:
            self.body(read(content, content_type))

    def save(self, path):
        Path(path).write_text(json.dumps([self.words, self.texts]))

    def load(self, path):
        self.words, self.texts = json.loads(Path(path).read_text())

    def leaks(self, lines):
        """What stands in which line, in which it is blotted out."""
        with self.lock:
            words, texts = dict(self.words), dict(self.texts)
        beginnings = {}
        for text in texts:
            beginnings.setdefault(text[:SHORTEST], []).append(text)
        found = []
        for line in lines:
            # A form, a cookie, a URI: what follows the name.
            candidates = (part for word in WORD.findall(line) for part in (word, word.partition("=")[2]))
            hit = {word for word in candidates if word in words}
            for start in range(len(line) - SHORTEST + 1):
                for text in beginnings.get(line[start:start + SHORTEST], ()):
                    if line.startswith(text, start):
                        hit.add(text)
            whats = sorted({words.get(secret) or texts[secret] for secret in hit})
            for secret in sorted(hit, key=len, reverse=True):
                line = line.replace(secret, "█")
            found += [f"{what} in {line}" for what in whats]
        return found


def read(body, content_type):
    text = body.decode(errors="replace") if isinstance(body, bytes) else body
    if not isinstance(text, str):
        return {}
    if "json" in (content_type or ""):
        try:
            return json.loads(text)
        except ValueError:
            return {}
    if "form" in (content_type or ""):
        return dict(parse_qsl(text))
    return {}


# Of the whole suite.
NOTED = Noted()


def main(noted, log):
    NOTED.load(noted)
    lines = Path(log).read_text(errors="replace").splitlines()
    found = NOTED.leaks(lines)
    for leak in found[:20]:
        print(leak)
    told = f"{len(NOTED.words) + len(NOTED.texts)} secrets, {len(lines)} lines, {len(found)} leaks"
    if found or not lines:
        sys.exit(f"test result: FAILED. logs: {told}")
    print(f"test result: ok. logs: {told}")


if __name__ == "__main__":
    main(*sys.argv[1:])
