"""A sweep's page in a real browser, on a desk and on a phone, in light and dark: nothing is cut, nothing is loaded."""

import json
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from support.made_up_sweep import made_up_sweep

from hybrid_jax.ablate.page import write_page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: apt-get install chromium")
DARK = "--blink-settings=preferredColorScheme=0"
ARMS = {"alpha=0": 0.1, "alpha=0.5": 0.6, "alpha=1": 2.5, "mono-then-cross-lingual": 1.0}
# The page has no script of its own; this one looks at it from outside.
LOOK = """<!doctype html><meta charset="utf-8"><style>iframe { width: %dpx; height: 900px; border: 0 }</style>
<iframe src="index.html"></iframe><pre id="seen"></pre><script>
document.querySelector("iframe").onload = ({target}) => {
  const page = target.contentDocument, all = (what, within = page) => [...within.querySelectorAll(what)];
  all("details").forEach((it) => { it.open = true; });
  const cut = [], covered = [];
  for (const chart of all("svg.chart")) {
    const room = chart.getBoundingClientRect(), seen = [];
    for (const label of all("text", chart)) {
      const box = label.getBoundingClientRect();
      const inside = box.left > room.left - 3 && box.right < room.right + 3;
      if (!inside || box.top < room.top - 3 || box.bottom > room.bottom + 3) cut.push(label.textContent);
      const over = ([_, it]) => Math.min(it.right, box.right) - Math.max(it.left, box.left) > 2
        && Math.min(it.bottom, box.bottom) - Math.max(it.top, box.top) > 2;
      covered.push(...seen.filter(over).map(([text]) => [text, label.textContent]));
      seen.push([label.textContent, box]);
    }
  }
  const style = (what) => page.defaultView.getComputedStyle(page.querySelector(what));
  document.getElementById("seen").textContent = JSON.stringify({
    cut, covered, wide: page.scrollingElement.scrollWidth, charts: all("svg.chart").length,
    labels: all("svg.chart text").length,
    smallest: Math.min(...all("svg.chart text").map((it) => it.getBoundingClientRect().height)),
    scroll: all(".wide").filter((it) => it.scrollWidth > it.clientWidth).length,
    cue: style(".wide").backgroundAttachment,
    wider: all("body *").filter((it) => it.getClientRects().length && !it.closest(".wide > *") &&
      it.getBoundingClientRect().right > page.documentElement.clientWidth + 0.5).map((it) => it.outerHTML.slice(0, 99)),
    requests: page.defaultView.performance.getEntriesByType("resource").length,
    colours: [style("section").backgroundColor, style("section").color, style("svg.chart text").fill],
  });
};
</script>"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(made_up_sweep(tmp_path_factory.mktemp("s") / "sweep", ARMS, (0,))).parent


def look(folder: Path, width: int, *flags: str) -> dict[str, Any]:
    """What a reader sees in a window of that width."""
    assert CHROMIUM is not None
    (folder / "look.html").write_text(LOOK % width, encoding="utf-8")
    quiet = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")
    own = (f"--user-data-dir={folder / 'profile'}", "--disable-component-update", "--disable-sync")
    wait = ("--allow-file-access-from-files", "--virtual-time-budget=20000", "--dump-dom")
    command = [CHROMIUM, *quiet, *own, *flags, *wait, (folder / "look.html").as_uri()]
    page = subprocess.run(command, capture_output=True, timeout=120, check=True).stdout.decode()
    return json.loads(unescape(page.partition('<pre id="seen">')[2].partition("</pre>")[0]))


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_cut(folder: Path, width: int):
    seen = look(folder, width)
    assert seen["wide"] <= width, "the page must not scroll sideways"
    assert seen["wider"] == [], "only tables that scroll may be wider"
    assert seen["cut"] == []
    assert seen["covered"] == []
    assert seen["charts"] > 15
    assert seen["labels"] > 5 * seen["charts"], "labels are text, not shapes"
    assert seen["smallest"] >= 9, "labels can be read"
    assert seen["requests"] == 0
    if width == 390:
        assert seen["scroll"] >= 3, "wide tables scroll by themselves"
        assert seen["cue"].split(", ")[:4] == ["local", "local", "scroll", "scroll"]


def test_dark_is_dark_in_the_charts_too(folder: Path):
    light, dark = look(folder, 1280), look(folder, 1280, DARK)

    def brightness(colour: str) -> float:
        return sum(map(float, colour.partition("(")[2].rstrip(")").split(",")[:3])) / 3

    card, text, label = map(brightness, light["colours"])
    assert card > 200 > 60 > max(text, label)
    card, text, label = map(brightness, dark["colours"])
    assert card < 60 < 200 < min(text, label)
