"""The page of a report in a browser: light, dark, narrow, wide and printed."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import browser
import pytest
from runs import make

from pdekit import report

pytestmark = pytest.mark.browser
FIGURES = Path(__file__).parent.parent / "figures"


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Tab]:
    try:
        browser.chromium()
    except LookupError as error:
        pytest.skip(str(error))
    with browser.tab(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture
def written(tmp_path: Path) -> Path:
    runs = report.read_runs([make(tmp_path / "runs"), FIGURES])
    return report.write(runs, tmp_path / "r.html", "A report " + "with-a-long-title" * 9)[0]


CONTRAST = """
[...document.querySelectorAll('h1, td, th, dd, .verdict, .quiet, figcaption, a')].map(element => {
  const numbers = text => text.match(/[0-9.]+/g).map(Number)
  const light = ([r, g, b]) => [r, g, b].map(c => c / 255).map(
    c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4
  ).reduce((sum, c, k) => sum + c * [0.2126, 0.7152, 0.0722][k], 0)
  let paper = element
  while (numbers(getComputedStyle(paper).backgroundColor)[3] === 0) paper = paper.parentElement
  const both = [getComputedStyle(element).color, getComputedStyle(paper).backgroundColor]
  const [low, high] = both.map(c => light(numbers(c))).sort((a, b) => a - b)
  return (high + 0.05) / (low + 0.05)
}).reduce((a, b) => Math.min(a, b))
"""


@pytest.mark.parametrize("width", [400, 1200])
@pytest.mark.parametrize(("mode", "bright"), [("light", True), ("dark", False)])
def test_it_renders(tab: Any, written: Path, width: int, mode: str, bright: bool) -> None:
    """No message, no request but its images, nothing wider than the window, legible text."""
    window = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    tab.call("Emulation.setDeviceMetricsOverride", **window)
    scheme = [{"name": "prefers-color-scheme", "value": mode}]
    tab.call("Emulation.setEmulatedMedia", media="screen", features=scheme)
    tab.open(written)
    assert tab.happened("Log.entryAdded") == []
    assert tab.happened("Runtime.consoleAPICalled") == []
    assert tab.happened("Runtime.exceptionThrown") == []
    asked = [event["request"]["url"] for event in tab.happened("Network.requestWillBeSent")]
    assert asked[0] == written.as_uri()
    assert asked[1:] and all(url.startswith("data:image/png") for url in asked[1:])
    tab.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    assert tab.evaluate("innerWidth") == width
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    assert tab.evaluate(CONTRAST) >= 4.5  # WCAG 2.2, level AA
    paper = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, paper[4:-1].split(","))) > 600) is bright
    first = "document.querySelector('#failed tbody tr').getBoundingClientRect().bottom < 800"
    assert tab.evaluate(first)


def test_it_prints(tab: Any, written: Path) -> None:
    """On white paper even from a dark screen, with what was folded up, within the paper."""
    scheme = [{"name": "prefers-color-scheme", "value": "dark"}]
    tab.call("Emulation.setDeviceMetricsOverride", width=680, height=900, deviceScaleFactor=1,
             mobile=False)  # fmt: skip
    tab.call("Emulation.setEmulatedMedia", media="print", features=scheme)
    tab.open(written)
    paper = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == "rgb(255, 255, 255)"
    folded = "[...document.querySelectorAll('details td, details p')]"
    assert tab.evaluate(f"{folded}.length") > 20
    assert tab.evaluate(f"{folded}.every(part => part.checkVisibility())")
    assert tab.evaluate("document.documentElement.scrollWidth") <= 680
    pdf = base64.b64decode(tab.call("Page.printToPDF", preferCSSPageSize=True)["data"])
    assert pdf.startswith(b"%PDF-") and len(pdf) > 100_000
    assert tab.happened("Log.entryAdded") == []
