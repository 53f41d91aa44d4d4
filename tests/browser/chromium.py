"""A headless Chromium, spoken to by the DevTools protocol over a pipe: no driver, no port, nothing to download."""

import base64
import fcntl
import json
import os
import select
import subprocess
import time

PATIENCE = 30
HEARD = (
    "Audits.issueAdded",
    "Log.entryAdded",
    "Network.requestWillBeSent",
    "Runtime.consoleAPICalled",
    "Runtime.exceptionThrown",
)


class Chromium:
    """A browser with one page."""

    def __init__(self, program, profile):
        read, self.write = os.pipe()
        self.read, write = os.pipe()
        # Out of the way of 3 and 4, where the browser expects them.
        kept = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (read, write)]
        os.close(read)
        os.close(write)
        self.errors = open(f"{profile}.errors", "w+")
        # Its sandbox needs rights that containers don't have, and root may not have it. It sees one page, and that is ours.
        self.process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{kept[0]} 4>&{kept[1]}', "bash", program,
             "--headless=new", "--no-sandbox", "--remote-debugging-pipe", f"--user-data-dir={profile}", "--no-first-run",
             "--no-default-browser-check", "--disable-background-networking", "--disable-component-update",
             "--disable-dev-shm-usage", "--disable-gpu", "--disable-sync", "--hide-scrollbars", "--lang=en", "about:blank"],
            stdin=subprocess.DEVNULL, stdout=self.errors, stderr=self.errors, pass_fds=kept,
        )
        for end in kept:
            os.close(end)
        self.asked = 0
        self.session = None
        self.unread = b""
        self.events = []
        self.product = self.ask("Browser.getVersion")["product"]
        [target] = [each for each in self.ask("Target.getTargets")["targetInfos"] if each["type"] == "page"]
        attached = self.ask("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Audits", "Log", "Network", "Page", "Runtime"):
            self.ask(f"{domain}.enable")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.session = None
            self.ask("Browser.close")
            self.process.wait(PATIENCE)
        except (AssertionError, OSError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()

    def ask(self, method, **params):
        self.asked += 1
        message = {"id": self.asked, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        answer = self.until(lambda said: said.get("id") == self.asked, method)
        assert "error" not in answer, f"{method}: {answer}"
        return answer["result"]

    def until(self, wanted, what):
        """Listens until it says what is wanted, and keeps the events among it."""
        end = time.monotonic() + PATIENCE
        while True:
            message, zero, rest = self.unread.partition(b"\0")
            if zero:
                self.unread = rest
                said = json.loads(message)
                self.events.append(said)
                if wanted(said):
                    return said
                continue
            ready, _, _ = select.select([self.read], [], [], max(0, end - time.monotonic()))
            more = os.read(self.read, 1 << 20) if ready else b""
            assert more, f"the browser did not answer {what}: {self.said()}"
            self.unread += more

    def said(self):
        self.errors.seek(0)
        return self.errors.read()[-2000:]

    def open(self, url, width, scheme):
        """Loads a page anew, in a window of that width, for somebody who likes that colour scheme."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.ask("Network.setCacheDisabled", cacheDisabled=True)
        self.events.clear()
        fault = self.ask("Page.navigate", url=url).get("errorText")
        assert not fault, f"{url}: {fault}"
        if not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.until(lambda said: said.get("method") == "Page.loadEventFired", f"to {url}")

    def evaluate(self, expression):
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, f"{expression}: {answer}"
        return answer["result"].get("value")

    def heard(self):
        """What it asked for, and what it complained of, since the page was opened."""
        # Two frames later everything is laid out, painted and asked for.
        self.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")
        heard = [event for event in self.events if event.get("method") in HEARD]
        asked = [event["params"]["request"]["url"] for event in heard if event["method"] == "Network.requestWillBeSent"]
        complaints = [event for event in heard if event["method"] != "Network.requestWillBeSent"]
        return asked, complaints

    def picture(self, path, width):
        height = self.evaluate("document.documentElement.scrollHeight")
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        answer = self.ask("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(answer["data"]))
