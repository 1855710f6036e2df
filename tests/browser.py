"""Chromium without a window, told what to do over its own debugging pipe (no driver, no port)."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from select import select
from typing import Any

ASKED = "PDEKIT_INSTALL_BROWSER"  # set it to let the tests install Chromium where there is none
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE = 30.0  # seconds that one answer may take
# moves the two ends of the pipes to where Chromium looks for them, and becomes Chromium
PLACE = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3]]
for end, place in zip(ends, (3, 4)):
    os.dup2(end, place)
os.execv(sys.argv[3], sys.argv[3:])
"""


def chromium() -> str:
    """The browser on this machine; Debian's package comes now where the environment asks.

    Raises ``LookupError`` with what to install where there is none.
    """
    found = _on_path()
    if found is None and os.environ.get(ASKED) and shutil.which("apt-get") and os.geteuid() == 0:
        quiet = {"env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, "capture_output": True}
        for step in (["update"], ["install", "-y", "--no-install-recommends", "chromium"]):
            subprocess.run(["apt-get", "-q", *step], check=False, **quiet)
        found = _on_path()
    if found is None:
        raise LookupError(
            f"no {', '.join(NAMES)} on PATH ({sys.platform}): the report's page is tested in a "
            "browser; on Debian `apt-get install chromium`, elsewhere install Chromium or Chrome "
            f"so that one of these names starts it, or set {ASKED}=1 to let the tests install it"
        )
    return found


def _on_path() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


class Tab:
    """One page: commands of the DevTools protocol, and every event that came meanwhile."""

    def __init__(self, read: int, write: int) -> None:
        self.read, self.write = read, write
        self.events: list[dict[str, Any]] = []
        self.sent, self.session, self.rest = 0, "", b""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self.sent += 1
        message = {"id": self.sent, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self.sent:
            self.events.append(answer)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def open(self, page: Path) -> None:
        """Load a file and wait until its images are there."""
        self.events.clear()
        self.call("Page.navigate", url=page.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())

    def evaluate(self, script: str) -> Any:
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def happened(self, method: str) -> list[dict[str, Any]]:
        return [event["params"] for event in self.events if event["method"] == method]

    def _next(self) -> dict[str, Any]:
        until = time.monotonic() + PATIENCE
        while b"\0" not in self.rest:
            ready, _, _ = select([self.read], [], [], max(0.0, until - time.monotonic()))
            chunk = os.read(self.read, 1 << 20) if ready else b""
            assert chunk, "the browser closed its pipe or did not answer in time"
            self.rest += chunk
        message, self.rest = self.rest.split(b"\0", 1)
        return json.loads(message)


@contextmanager
def tab(profile: Path) -> Iterator[Tab]:
    """A fresh browser with one tab; Chromium listens on descriptor 3 and answers on 4."""
    program = chromium()
    theirs, ours = os.pipe()
    mine, answers = os.pipe()
    flags = [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        "--no-first-run", "--hide-scrollbars", "--remote-debugging-pipe",
        f"--user-data-dir={profile}",
    ]  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-c", PLACE, str(theirs), str(answers), program, *flags],
        pass_fds=(theirs, answers),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs)
    os.close(answers)
    try:
        yield Tab(mine, ours)
    finally:
        os.close(ours)  # the browser ends with its pipe
        os.close(mine)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
