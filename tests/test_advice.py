"""Commands in messages, help texts and docstrings are well-formed: modules and options exist, URLs parse.

The commands for model folders, which need torch, are run by `tests/parity/test_advice.py`.
"""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PROSE = "as|and|or|writes|names|makes|of"
COMMAND = re.compile(rf"(?:python -m hybrid_jax\.|hybrid-jax )([a-z_]+)((?: (?!{PROSE})[^\s`)]+)*)")


@cache
def texts() -> list[tuple[str, str]]:
    """Place and content of every string of the package; what is computed in an f-string is `…`."""
    found = []
    for file in sorted((ROOT / "hybrid_jax").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                text = "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                text = node.value
            else:
                continue
            found.append((f"{file.relative_to(ROOT)}:{node.lineno}", text.replace("\\\n", " ")))
    return found


@cache
def help_of(module: str, subcommand: str) -> str:
    words = [sys.executable, "-m", f"hybrid_jax.{module}", *([subcommand] if subcommand else []), "--help"]
    return subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT).stdout


def test_the_modules_subcommands_and_options_of_commands_exist():
    commands = [(place, match) for place, text in texts() for match in COMMAND.finditer(text)]
    assert len(commands) > 15
    wrong = []
    for place, match in commands:
        module, words = match[1], match[2].split()
        folder = ROOT / "hybrid_jax" / module
        if folder.with_suffix(".py").is_file():  # it takes a file name and nothing else
            continue
        if not (folder / "__main__.py").is_file():
            wrong.append(f"{place}: no module hybrid_jax.{module}")
            continue
        options = [word.split("=")[0].rstrip(".,:;") for word in words if word.startswith("--") and word != "--help"]
        subcommand = (
            words[0] if words and re.fullmatch("compare|watch|embed|prepare|describe|preview", words[0]) else ""
        )
        if options and module not in ("train", "hub"):  # train takes every field of the config as an option
            shown = help_of(module, subcommand)
            wrong += [f"{place}: {match[0]}: no option {option}" for option in options if option not in shown]
    assert wrong == []


def test_what_pip_shall_install_is_a_requirement_and_our_extras_exist():
    extras = re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    seen = [
        (place, match[1]) for place, text in texts() for match in re.finditer(r"pip install ('[^']+'|[\w\[\]-]+)", text)
    ]
    assert len(seen) >= 3
    for place, name in seen:
        requirement = Requirement(name.strip("'"))
        if requirement.name == "hybrid_jax":
            assert requirement.extras <= set(extras), place


def test_what_git_shall_clone_is_a_repository_url():
    joined = " ".join(text for _, text in texts())
    urls = re.findall(r"git clone (https?://[^\s`&]+)", joined)
    assert len(urls) >= 3
    assert all(re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+", url) for url in urls)
