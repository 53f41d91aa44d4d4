"""The status page in a browser: at rest, with an open incident, and after it. See `run`, which starts the backend."""

import difflib
import json
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

from chromium import Chromium

HERE = Path(__file__).parent
PICTURES = HERE.parent.parent / "docs/images"
BASE_URL = os.environ["BASE_URL"]
URL = f"{BASE_URL}/status"
LOOK = (HERE / "page.js").read_text()
# Of the pictures, of a small laptop, and the narrowest that WCAG 2.2 (1.4.10, reflow) asks for.
WIDTHS = (760, 1280, 320)
# WCAG 2.2, 1.4.3, for text of any size.
CONTRAST = 4.5
# What operators call it, which is nobody else's business.
SECRET = "the third replica burns"

SERVICES = "Services\nSigning in\n{}\nSecond factor\n{}\nStaying signed in\n{}\nPublic keys\nAvailable"
FOOTER = "As of TIME. All times are UTC. Programs get the same as JSON with Accept: application/json."
REST = f"""\
Service status
Everything works.
There is no known problem.
{SERVICES.format(*["Available"] * 3)}
The last 7 days
No incident since DAY.
{FOOTER}"""
OPEN = f"""\
Service status
The service is disrupted.
What we know stands below.
Now
Service disruption
Detected. Many requests fail.
TIME · INCIDENT
{SERVICES.format(*["Impaired"] * 3)}
The last 7 days
No other incident since DAY.
{FOOTER}"""
OVER = f"""\
Service status
Everything works.
There is no known problem.
{SERVICES.format(*["Available"] * 3)}
The last 7 days
Service disruption
This is resolved.
TIME to CLOCK · INCIDENT
{FOOTER}"""


def operate(*arguments):
    run = subprocess.run([os.environ["OPERATOR"], *arguments, "--json"], capture_output=True, text=True)
    assert run.returncode == 0, f"sallyport {arguments}: {run.stdout}{run.stderr}"
    return json.loads(run.stdout)


def fetch(url, **options):
    with urllib.request.urlopen(urllib.request.Request(url, **options)) as response:
        return json.load(response)


def pass_seconds(seconds):
    body = json.dumps({"advance_seconds": seconds}).encode()
    fetch(f"{BASE_URL}/_local/clock", data=body, headers={"Content-Type": "application/json"})


def steady(text):
    """The text without what differs from day to day, a line for each that is shown."""
    day = r"\d{1,2} [A-Z][a-z]+ \d{4}"
    for pattern, name in (
        (rf"{day}, \d\d:\d\d", "TIME"),
        (r"(?<=TIME to )(TIME|\d\d:\d\d)", "CLOCK"),
        (day, "DAY"),
        (r"inc_[0-9a-z]{16}", "INCIDENT"),
    ):
        text = re.sub(pattern, name, text)
    return "\n".join(line.strip() for line in text.splitlines() if line.strip())


def faults(browser, width, scheme, title, text):
    """Everything that is wrong with the page as it stands in the browser, in words."""
    page = browser.evaluate(LOOK)
    asked, complaints = browser.heard()
    found = [f"the browser complains: {json.dumps(each['params'])}" for each in complaints]
    if asked != [URL]:
        found.append(f"it asked for {asked}")
    if page["title"] != title or page["language"] != "en":
        found.append(f"title {page['title']!r}, language {page['language']!r}")
    if steady(page["text"]) != text:
        found += difflib.unified_diff(text.splitlines(), steady(page["text"]).splitlines(), "expected", "shown", lineterm="")
    if page["styled"] != 1 or (page["ground"] < 0.2) != (scheme == "dark"):
        found.append(f"{page['styled']} styles, a ground of luminance {page['ground']:.2f}")
    if page["width"] != width or page["reaches"] > width:
        found.append(f"it reaches to {page['reaches']} in a window of {page['width']}")
    found += [
        f"{each['text']!r} has a contrast of {each['contrast'] and round(each['contrast'], 2)}"
        for each in page["texts"]
        if not each["seen"] or not each["contrast"] or each["contrast"] < CONTRAST
    ]
    return found, len(page["texts"])


def check(browser, state, status, title, text, picture=None):
    """Holds the page in every window and scheme against what it should show. Returns the number of texts looked at."""
    # One look serves ten seconds.
    pass_seconds(11)
    document = fetch(URL, headers={"Accept": "application/json"})
    assert document["status"] == status, f"{state}: {document}"
    assert SECRET not in json.dumps(document)
    looked = 0
    for scheme in ("light", "dark"):
        for width in WIDTHS:
            browser.open(URL, width, scheme)
            found, texts = faults(browser, width, scheme, title, text)
            assert not found, "\n  ".join([f"{state}, {scheme}, {width} wide:", *found])
            looked += texts
            if picture and (scheme, width) == ("light", WIDTHS[0]):
                browser.picture(PICTURES / picture, width)
    return looked


# Each of them must be found, and called by these words, or the checks are worth nothing.
DEFECTS = {
    "document.body.setAttribute('style', 'margin: 0')": "Content Security Policy",
    "new Image().src = 'http://127.0.0.1:9/picture.png'": "it asked for",
    "document.body.append(Object.assign(document.createElement('script'), {text: '0'}))": "Content Security Policy",
    "console.error('no')": '"type": "error"',
    "setTimeout(() => { throw new Error('no') })": "Uncaught",
    "document.querySelector('footer small').style.color = '#888'": "has a contrast of 3.",
    "document.querySelector('li span').style.color = 'rgb(0 0 0 / 0.5)'": "has a contrast of 3.",
    "document.querySelector('main').style.width = '330px'": "it reaches to 330",
    "document.title = 'Status'": "title 'Status'",
    "document.documentElement.removeAttribute('lang')": "language ''",
    "document.querySelector('li b').style.display = 'none'": "-Available",
    "document.querySelector('li b').textContent = 'Perhaps'": "+Perhaps",
    "document.querySelector('style').remove()": "0 styles",
}


def prove(browser, title, text):
    for script, words in DEFECTS.items():
        browser.open(URL, 320, "light")
        browser.evaluate(f"{script}; 0")
        found, _ = faults(browser, 320, "light", title, text)
        assert any(words in each for each in found), f"{script} was not noticed: {found}"


def main():
    record = sys.argv[1:] == ["--record"]
    assert record or not sys.argv[1:], "usage: tests/browser/run [--record]"
    at_rest, at_fault = "Everything works. Service status", "The service is disrupted. Service status"
    with Chromium(os.environ["SALLYPORT_BROWSER"], os.environ["BROWSER_PROFILE"]) as browser:
        looked = check(browser, "at rest", "operational", at_rest, REST, "status.png" if record else None)
        incident = operate("incident", "open", "--severity", "SEV2", "--cause", "availability", SECRET)["incident"]
        shown = "status-incident.png" if record else None
        looked += check(browser, "with an incident", "disruption", at_fault, OPEN, shown)
        operate("incident", "resolve", incident, "--summary", SECRET)
        looked += check(browser, "after it", "operational", at_rest, OVER)
        prove(browser, at_rest, OVER)
        product = browser.product
    print(f"test result: ok. browser: {product}, {looked} texts in 3 states, 2 schemes, 3 widths; "
          f"{len(DEFECTS)} defects noticed")


try:
    main()
except AssertionError as error:
    sys.exit(f"{error}\ntest result: FAILED. browser")
