"""The report of a real run, in a real browser: light, dark and as wide as a phone. What is seen, not which pixels."""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support.made_up_report import made_up_report

from hybrid_jax.eval import __main__ as cli
from hybrid_jax.eval.measures.catalogue import BIAS
from hybrid_jax.eval.report.build import write_report
from hybrid_jax.eval.report.schema import CurvePoint, CurveSettings, Report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: apt-get install chromium")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")
TITLE = "α = 0.5 <script>document.title = 'run'</script> & co"
# The page has no script of its own; this one looks at it from outside, as a reader's eyes do.
LOOK = """<!doctype html><meta charset="utf-8"><style>iframe { width: %dpx; height: 900px; border: 0 }</style>
<iframe src="report.html"></iframe>
<pre id="seen"></pre><script>
document.querySelector("iframe").onload = ({target}) => {
  const page = target.contentDocument, body = page.body, all = (what) => [...page.querySelectorAll(what)];
  page.querySelectorAll("details").forEach((it) => { it.open = true; });
  const shown = (it) => it.getClientRects().length > 0 && page.defaultView.getComputedStyle(it).visibility == "visible";
  document.getElementById("seen").textContent = JSON.stringify({
    title: page.title, text: body.innerText, wide: page.scrollingElement.scrollWidth,
    cells: all(".cell").filter(shown).map(({dataset: it}) => [it.of, it.query, it.candidate, it.value]),
    cell: Math.min(...all(".cell rect").map((it) => it.getBoundingClientRect().height)),
    measures: all("[data-measure]").filter(shown).map((it) => it.dataset.measure),
    strips: all("svg.strip").filter(shown).length,
    texts: all(".passage, .question").filter(shown).map((it) =>
      [it.lang, page.defaultView.getComputedStyle(it).direction, it.textContent]),
    wider: all("main *").filter((it) => shown(it) && !it.closest(".wide > *") &&
      it.getBoundingClientRect().right > page.documentElement.clientWidth + 0.5).map((it) => it.outerHTML.slice(0, 99)),
    scrolling: all(".wide").filter((it) => it.scrollWidth > it.clientWidth).map((it) => [
      page.defaultView.getComputedStyle(it).overflowX, page.defaultView.getComputedStyle(it).backgroundImage]),
    clipped: all("main *").filter((it) => shown(it) && !it.closest(".wide") && it.scrollWidth > it.clientWidth + 1 &&
      page.defaultView.getComputedStyle(it).overflowX != "visible").map((it) => it.outerHTML.slice(0, 99)),
    contents: all("nav a").map((it) => [it.textContent, page.querySelector(it.getAttribute("href")) !== null]),
    legends: all("section p").map((it) => it.innerText),
    requests: page.defaultView.performance.getEntriesByType("resource").length,
    colours: ["body", "section"].map((it) => page.defaultView.getComputedStyle(page.querySelector(it)).backgroundColor),
  });
};
</script>"""


@pytest.fixture(scope="module")
def folder(tiny_run: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny run, evaluated by the command beside its untrained self."""
    out = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli, "keep_freed_memory", lambda: None)  # it is for a whole process
        asked = ["--ckpt", str(tiny_run.folder), "--tasks", "demo", "--untrained", "--title", TITLE, "--out", str(out)]
        patch.setattr(sys, "argv", ["eval", *asked])
        assert cli.main() == 0
    return out


@pytest.fixture(scope="module")
def full(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same report with searched pools, bitext and a curve whose mAP is small."""
    report = Report.model_validate_json((folder / "report.json").read_bytes())
    others = made_up_report({"tatoeba": ["fra-eng", "zho_Hans-eng_Latn"]})
    settings = CurveSettings(metric="demo.map.multilingual", tasks=("demo",), data_sha256="", run_sha256="")
    points = [
        CurvePoint(
            step=step,
            pairs=step,
            written="2026-11-22T06:00:00+00:00",
            seconds=1,
            value=value,
            figures={"demo": {"map": {"monolingual": value, "cross_lingual": value / 2, "multilingual": value / 3}}},
            settings=settings,
        )
        for step, value in ((1_000, 0.001), (20_000, 0.009))
    ]
    change = {"searches": others.searches, "bitext": others.bitext, "curve": points}
    out = tmp_path_factory.mktemp("full")
    write_report(out, report.model_copy(update=change))
    return out


def look(folder: Path, width: int, *flags: str) -> Mapping[str, Any]:
    """What a reader sees of the report in a window of that width."""
    (folder / "look.html").write_text(LOOK % width, encoding="utf-8")
    wait = ["--allow-file-access-from-files", "--virtual-time-budget=20000", "--dump-dom"]
    done = _chromium(folder, (*flags, *wait, (folder / "look.html").as_uri()))
    seen = done.partition('<pre id="seen">')[2].partition("</pre>")[0]
    for name, sign in (("&lt;", "<"), ("&gt;", ">"), ("&nbsp;", "\\u00a0"), ("&amp;", "&")):
        seen = seen.replace(name, sign)
    return json.loads(seen)


def _chromium(folder: Path, arguments: tuple[str, ...]) -> str:
    assert CHROMIUM is not None
    own = (f"--user-data-dir={folder / 'profile'}", "--disable-component-update", "--disable-sync")
    done = subprocess.run([CHROMIUM, *FLAGS, *own, *arguments], capture_output=True, timeout=120, check=True)
    return done.stdout.decode()


@pytest.mark.parametrize(
    ("width", "flags"),
    [(1200, ()), (1200, ("--blink-settings=preferredColorScheme=0",)), (390, ())],
    ids=["light", "dark", "phone"],
)
def test_a_reader_sees_all_of_it(folder: Path, width: int, flags: tuple[str, ...]):
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    result, untrained = report["tasks"]["demo"], report["others"]["untrained"]["demo"]
    seen = look(folder, width, *flags)
    assert seen["title"] == TITLE  # shown as a text: as a script it would have changed the title
    assert seen["requests"] == 0
    assert seen["wide"] <= width, "the page must not scroll sideways"
    for setting in ("monolingual", "cross_lingual", "multilingual"):
        low, high = result["intervals"]["map"][setting]
        for shown in (f"{result['map'][setting]:.4f}", f"{low:.4f} – {high:.4f}"):
            assert shown in seen["text"]
        assert f"untrained {untrained['map'][setting]:.4f}" in seen["text"]
    assert seen["measures"] == [name for name in BIAS if name in result["bias"]]
    about_bias = [name for name in seen["measures"] if BIAS[name].better != "neither"]
    assert seen["strips"] == len(about_bias)
    for name in ("map", "translation_rank"):
        assert {tuple(cell[1:]) for cell in seen["cells"] if cell[0] == name} == {
            (query, candidate, f"{scores[name]:,.4f}")
            for query, row in result["pairs"].items()
            for candidate, scores in row.items()
        }
    assert seen["cell"] > 10, "cells are large enough to be read and hit"
    directions = {lang: direction for lang, direction, _ in seen["texts"]}
    assert directions["ar"] == "rtl"
    assert directions["en"] == "ltr"
    worst = {query["language"]: query["text"] for query in result["worst"]}
    assert {(lang, text) for lang, _, text in seen["texts"]} >= set(worst.items())
    assert report["provenance"]["evaluated_with"]["packages"]["jax"] in seen["text"]


@pytest.mark.parametrize("width", [390, 1200])
def test_nothing_is_wider_than_the_page_but_what_scrolls(full: Path, width: int):
    seen = look(full, width)
    assert seen["wide"] <= width
    assert seen["wider"] == []
    assert seen["clipped"] == []
    for overflow, cue in seen["scrolling"]:
        assert overflow == "auto"
        assert cue.count("linear-gradient") == 4  # a shadow where more is to be scrolled to
    if width == 390:
        assert len(seen["scrolling"]) > 5
    names = ["While it trained", "demo", "miracl", "miracl_hn", "beir:/data/scifact", "tatoeba", "Provenance"]
    assert seen["contents"] == [[name, True] for name in names]


def test_a_curve_of_small_figures_has_different_ticks(full: Path):
    text = look(full, 390)["text"]
    assert "0.000\n" in text or "0.000" in text
    assert {f"0.00{tick}" for tick in (0, 2, 4, 6, 8)} <= set(text.split())
    assert "Mul. 0.0030" in text


def test_legends_explain_what_is_shown(folder: Path, tmp_path: Path):
    """Without another model, intervals or answers in several languages nothing is said of them."""
    said = " ".join(look(folder, 1200)["legends"])
    for words in ("with its interval", "untrained", "what a model without language bias", "Most of these"):
        assert words in said
    report = Report.model_validate_json((folder / "report.json").read_bytes())
    result = report.tasks["demo"]
    measure = result.bias["max_rank"].model_copy(update={"low": None, "high": None, "unbiased": None})
    alone = result.model_copy(update={"bias": {"max_rank": measure}, "first_languages": {}, "modes": {}})
    write_report(tmp_path, report.model_copy(update={"tasks": {"demo": alone}, "others": {}}))
    said = " ".join(look(tmp_path, 1200)["legends"])
    assert "no bias at the left" in said
    for words in ("with its interval", "untrained", "what a model without language bias", "Most of these", "Pooled"):
        assert words not in said


def test_light_and_dark_differ(folder: Path):
    light, dark = look(folder, 1200), look(folder, 1200, "--blink-settings=preferredColorScheme=0")
    for one, other in zip(light["colours"], dark["colours"], strict=True):
        assert _brightness(one) > 200 > 60 > _brightness(other)


def test_it_can_be_photographed(folder: Path):
    picture = folder / "report.png"
    _chromium(folder, ("--window-size=1200,3000", f"--screenshot={picture}", (folder / "report.html").as_uri()))
    head = picture.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(head[16:20], "big") == 1200


def _brightness(colour: str) -> float:
    return sum(map(float, colour.partition("(")[2].rstrip(")").split(",")[:3])) / 3
