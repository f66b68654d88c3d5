"""The three files: what a program reads, what a browser shows, and what is left behind when the disk refuses."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from hybrid_jax.eval import bitext
from hybrid_jax.eval.full_ranking import run
from hybrid_jax.eval.measures.catalogue import BIAS, POOLS
from hybrid_jax.eval.report.build import build_report, write_report
from hybrid_jax.eval.report.page import html
from hybrid_jax.eval.report.schema import BitextResult, CurvePoint, CurveSettings, PoolResult, Report
from hybrid_jax.eval.report.text import headline_table, markdown
from hybrid_jax.eval.tasks import BitextTask

TITLE = "α = 0.5 <script>document.title = 'run'</script> & co | 1"


@pytest.fixture
def report(make_task, knows_the_record, random_encoder):
    task = make_task(("de", "en", "th"), 12)
    trained = run(knows_the_record(task, meaning=1, language=0.5), [task])
    provenance = {"step": 40, "git_commit": None, "config": {"mixture": {"monolingual_fraction": 0.5}}}
    return build_report(TITLE, trained, provenance, label="trained", untrained=run(random_encoder, [task]))


def test_bitext_and_searches_are_tables_with_their_mean(report):
    rows = {"en": {"questions": 2, **dict.fromkeys(POOLS, 1.0)}, "de": {"questions": 6, **dict.fromkeys(POOLS, 0.25)}}
    groups = {"seen": {"languages": ["en"], **dict.fromkeys(POOLS, 1.0)}}
    groups["unseen"] = {"languages": ["de"], **dict.fromkeys(POOLS, 0.25)}
    sizes = {"questions": 8, "candidates": 9, "languages": ["de", "en"], "depth": 100, "relevant_missing": 1}
    means = {**sizes, "about": "A <pool>", **dict.fromkeys(POOLS, 0.625)}
    pool = PoolResult.model_validate({**means, "per_language": rows, "groups": {"seen": groups}})
    translations = {"a": ["ein Satz", "noch einer"], "b": ["a sentence", "another"]}
    task = BitextTask("pairs", {("de", "en"): (translations["a"], translations["b"])}, "Two | sentences")
    mined = BitextResult.model_validate(bitext.evaluate(RandomVectors(), task))
    report = report.model_copy(update={"searches": {"pool": pool}, "bitext": {"pairs": mined}})
    told, page, line = markdown(report), Page(html(report)), headline_table(report)
    for shown in (told, page.text, line):
        assert "0.6250" in shown
        assert "margin F1" in shown
    assert "| mean | 0.6250 | 0.6250 | 0.6250 | 0.6250 | 8 |" in told
    assert "| seen (en) | 1.0000 | 1.0000 | 1.0000 | 1.0000 |  |" in told
    assert "unseen (de)" in page.text
    assert "A &lt;pool&gt;; 8 questions, 9 candidates; 1 relevant candidates are not in the corpus" in told
    assert "A <pool>; 8 questions" in page.text


class RandomVectors:
    """Another direction for every text."""

    def encode_queries(self, texts):
        vectors = np.random.default_rng(len(texts[0])).standard_normal((len(texts), 8)).astype(np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    encode_passages = encode_queries


class Page(HTMLParser):
    """Elements with their attributes, and all the text outside the style sheet."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.tag = ""
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.tag = tag
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.tag != "style":
            self.text += data


def check_page(page: Page, report: Report) -> None:
    result, untrained = report.tasks["parallel"], report.others["untrained"]["parallel"]
    assert TITLE in page.text
    for setting in ("monolingual", "cross_lingual", "multilingual"):
        assert f"{result.means('map')[setting]:.4f}" in page.text
        assert f"untrained {untrained.means('map')[setting]:.4f}" in page.text
    assert f"{result['rank_distance']:.1f}" in page.text
    cells = {
        (attrs["data-of"], attrs["data-query"], attrs["data-candidate"]): attrs["data-value"]
        for _, attrs in page.elements
        if attrs.get("class") == "cell"
    }
    assert cells == {
        (name, query, candidate): f"{value:,.4f}"
        for query, row in result.pairs.items()
        for candidate, scores in row.items()
        for name, value in (("map", scores["map"]), ("translation_rank", scores.translation_rank))
    }
    assert len(cells) == 18
    low, high = result.intervals["map"]["multilingual"]
    assert f"{low:.4f} – {high:.4f}" in page.text
    measures = [attrs["data-measure"] for _, attrs in page.elements if "data-measure" in attrs]
    assert measures == [name for name in BIAS if name in result.bias]
    assert "language_probe" in measures
    assert "Latin" in page.text
    assert "Thai" in page.text
    assert "config · mixture · monolingual_fraction" in page.text


def test_json_follows_the_schema_and_survives_the_disk(tmp_path: Path, report: Report):
    paths = write_report(tmp_path / "new" / "folder", report)
    assert [path.name for path in paths] == ["report.json", "report.md", "report.html"]
    assert sorted(path.name for path in paths[0].parent.iterdir()) == sorted(path.name for path in paths)
    read = json.loads(paths[0].read_text(encoding="utf-8"))
    assert read == report.json_value()
    assert Report.model_validate(read) == report
    assert set(read) == {"schema_version", "title", "label", "provenance", "tasks", "others", "published"}
    assert {"step", "git_commit", "config", "tie_rule", "scores", "data_sha256"} == set(read["provenance"])
    assert set(read["others"]["untrained"]["parallel"]) < set(read["tasks"]["parallel"])


def test_the_page_is_self_contained_and_escaped(report: Report):
    source = html(report)
    page = Page(source)
    check_page(page, report)
    assert not [attrs for tag, attrs in page.elements if tag == "script" or "src" in attrs or "href" in attrs]
    assert "url(" not in source
    assert "@import" not in source


def test_a_report_without_an_untrained_model_or_a_setting(make_task, knows_the_record):
    task = make_task(("en",), 5)
    report = build_report("one language", run(knows_the_record(task, meaning=1, language=1), [task]), {}, label="mine")
    result = report.tasks["parallel"]
    assert report.others == {}
    assert result.bias == {}
    assert result.means("map")["cross_lingual"] is None
    assert result["rank_distance"] is None
    assert "untrained" not in Page(html(report)).text
    assert "| mAP | mine | 1.0000 [1.0000 – 1.0000] | – | 1.0000 [1.0000 – 1.0000] |" in markdown(report)
    assert headline_table(report).splitlines()[-1].split() == ["parallel", "mine", "1.0000", "–", "1.0000", "–"]


def test_texts_of_any_script_are_shown_as_texts(make_task, knows_the_record):
    task = make_task(("ar", "en"), 6)
    hostile = "كيف <img src=x onerror=alert(1)> حالك؟"
    encoder = knows_the_record(task, meaning=0.5, language=2)
    report = build_report("texts", run(encoder, [task]), {})
    result = report.tasks["parallel"]
    first, *others = result.worst
    top = [first.top[0].model_copy(update={"text": hostile}), *first.top[1:]]
    worst = [first.model_copy(update={"text": hostile, "top": top}), *others]
    result = result.model_copy(update={"worst": worst})
    page = Page(html(report.model_copy(update={"tasks": {"parallel": result}})))
    assert page.text.count(hostile) == 2
    assert "img" not in {tag for tag, _ in page.elements}
    shown = [attrs for _, attrs in page.elements if attrs.get("class") in ("question", "passage")]
    assert {(attrs["lang"], attrs["dir"]) for attrs in shown} == {("ar", "rtl"), ("en", "ltr")}
    assert [attrs["lang"] for attrs in shown if attrs["class"] == "question"] == ["ar", "en"]
    for query in result.worst:
        assert query.answer.relevant
        assert [candidate.rank for candidate in query.top] == [1, 2, 3]


def test_a_watched_run_shows_its_curve(report: Report):
    steps = [(10, 0.25), (20, 0.5), (30, 0.75)]
    settings = CurveSettings(metric="parallel.map.monolingual", tasks=("parallel",), data_sha256="", run_sha256="")
    curve = [
        CurvePoint(
            step=step,
            pairs=8 * step,
            written="2026-11-22T06:00:00+00:00",
            seconds=1,
            value=value,
            figures={"parallel": {"map": {"monolingual": value, "cross_lingual": None, "multilingual": value / 2}}},
            settings=settings,
        )
        for step, value in steps
    ]
    page = Page(html(report.model_copy(update={"curve": curve})))
    points = [attrs for _, attrs in page.elements if "data-step" in attrs]
    assert [(attrs["data-step"], attrs["data-value"]) for attrs in points] == [
        (str(step), f"{value / part:.4f}") for part in (1, 2) for step, value in steps
    ]
    heights = [float(attrs["cy"] or 0) for attrs in points]
    assert heights == sorted(heights[:3], reverse=True) + sorted(heights[3:], reverse=True)


def test_published_figures_are_marked_as_theirs(make_task, knows_the_record):
    task = replace(make_task(("de", "en"), 6), name="xquad_r")
    report = build_report("ours", run(knows_the_record(task, meaning=1, language=1), [task]), {})
    page = Page(html(report))
    rows = [attrs["class"] for tag, attrs in page.elements if tag == "tr" and "theirs" in (attrs.get("class") or "")]
    assert len(rows) == len([entry for entry in report.published["xquad_r"] if "map" in entry.values])
    assert "Published figures, not ours" in page.text
    for entry in report.published["xquad_r"]:
        for text in (page.text, markdown(report)):
            assert entry.source in text
            assert entry.url in text
        assert f"| {entry.system} (published, " in markdown(report)


def test_markdown_shows_a_hostile_title_as_text(report: Report):
    text = markdown(report)
    assert text.startswith("# α = 0.5 &lt;script&gt;document.title = 'run'&lt;/script&gt; &amp; co \\| 1\n")
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert "| de | 1.0000 | 1.0000 | 1.0000 |" in tables


def test_the_terminal_table_is_aligned(report: Report):
    _, header, rule, *rows = headline_table(report).splitlines()
    assert {row.split()[1] for row in rows} == {"trained", "untrained"}
    assert {len(line) for line in (header, rule, *rows)} == {len(rule)}


def test_a_refused_write_is_one_line_and_leaves_the_old_report(tmp_path: Path, report: Report):
    write_report(tmp_path, report)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    # A file size limit makes the kernel refuse the last and largest file's bytes, as a full disk does.
    limit = len(before["report.html"])
    assert limit > max(len(before["report.json"]), len(before["report.md"])) + 1000
    code = f"""
import resource, signal
from pathlib import Path
from hybrid_jax.eval.report.build import write_report
from hybrid_jax.eval.report.schema import Report
report = Report.model_validate_json(Path("report.json").read_bytes())
report = report.model_copy(update={{"title": "another and a longer title, " * 10}})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
try:
    write_report(Path("."), report)
except OSError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert re.fullmatch(r".*cannot write report\.html: File too large; make room or name .* --out\n", done.stdout)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_file_in_the_folders_place_is_named(tmp_path: Path, report: Report):
    (tmp_path / "taken").write_text("")
    with pytest.raises(OSError, match=r"cannot write .*taken: File exists"):
        write_report(tmp_path / "taken", report)
