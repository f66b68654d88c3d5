"""The repository paths and relative links in the Markdown files exist."""

import re
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("launch/*.md")])
REPOSITORY_PATH = re.compile(r"(?<![\w./-])(?:hybrid_jax|tests|docs|configs|launch|benchmarks|examples)/[\w./-]*\w/?")
PLACEHOLDER = "/NAME"  # "a folder hybrid_jax/model/NAME/" stands for any name
ROOMS_PATH = re.compile(r"`((?:[a-z_]+/)+[a-z_]+\.py|[a-z_]+/[a-z_]+/)`")
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def missing_paths(page: Path) -> list[str]:
    """Returns the repository paths and relative links in `page` that do not exist."""
    text = page.read_text()
    links = [link for link in LINK.findall(text) if not re.match(r"[a-z]+:", link)]
    missing = [link for link in links if not (page.parent / link).exists()]
    missing += [
        path
        for path in REPOSITORY_PATH.findall(LINK.sub("]", text))
        if PLACEHOLDER not in path and not (ROOT / path).exists()
    ]
    if page.name == "architecture.md":  # names files relative to the package
        rooms = [path for path in ROOMS_PATH.findall(text) if not path.startswith(("tests/", "hybrid_jax/"))]
        missing += [path for path in rooms if not (ROOT / "hybrid_jax" / path).exists()]
    return missing


def test_every_path_and_link_in_the_documentation_exists():
    assert len(PAGES) > 5
    missing = {page.relative_to(ROOT).as_posix(): missing_paths(page) for page in PAGES}
    assert {page: paths for page, paths in missing.items() if paths} == {}


@pytest.mark.parametrize("text", ["see [a page](nowhere.md)", "`tests/nowhere.py`", "hybrid_jax/nowhere/file.py"])
def test_a_missing_path_is_reported(tmp_path, text):
    page = tmp_path / "page.md"
    page.write_text(text)
    assert len(missing_paths(page)) == 1


def test_the_site_has_every_page_once():
    def pages(entry: object) -> list[str]:
        inner = entry.values() if isinstance(entry, dict) else entry
        return [entry] if isinstance(entry, str) else [page for part in inner for page in pages(part)]  # pyright: ignore

    listed = pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])
    assert sorted(listed) == sorted(path.name for path in (ROOT / "docs").glob("*.md")), "name the page in mkdocs.yml"


def test_lists_begin_after_an_empty_line():
    """Else the site shows them as running text, which GitHub does not."""
    wrong = [
        f"{page.name}: {after}"
        for page in PAGES
        for before, after in pairwise(FENCED.sub("", page.read_text(encoding="utf-8")).splitlines())
        if after.startswith("- ") and before.strip() and not before.startswith(("- ", "  "))
    ]
    assert wrong == []
