"""A model family lives in one place: its folder. Reads the source only."""

import ast
from pathlib import Path

from hybrid_jax.hub.keys import TEXTS_NAMES
from hybrid_jax.model.families import FAMILIES

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "hybrid_jax"
FOLDERS = {family.architecture: PACKAGE / "model" / family.architecture for family in FAMILIES}
LIST = PACKAGE / "model" / "families.py"
SENTENCE_TRANSFORMERS_FILES = TEXTS_NAMES
"""sentence-transformers names the limits of all models so, whatever the family."""


def named(source: str) -> list[tuple[int, str]]:
    """Line and text of every identifier and string in the source; strings that are statements are documentation."""
    tree = ast.parse(source)
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts: list[tuple[int, str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            texts.append((node.lineno, node.value))
        for field in ("id", "attr", "name", "asname", "module", "arg"):
            if isinstance(text := getattr(node, field, None), str):
                texts.append((getattr(node, "lineno", 0), text))
    return texts


def _without_file_names(text: str) -> str:
    for name in SENTENCE_TRANSFORMERS_FILES:
        text = text.replace(name, "")
    return text.lower()


def test_the_reader_of_names_finds_identifiers_and_strings_but_not_documentation():
    source = '"""doc"""\nfrom a.b import c as d\nx: int = 3\n"""doc"""\nf"text {y.z}"\ng(h="i")\ndef j(k): "doc"\n'
    texts = {text for _, text in named(source)}
    assert texts == {"a.b", "c", "d", "x", "int", "text ", "y", "z", "g", "h", "i", "j", "k"}


def test_families_are_named_in_their_folders_and_in_the_list_alone():
    words = {word for family in FAMILIES for word in (family.architecture, *family.model_types)}
    offenders = [
        f"{file.relative_to(ROOT)}:{line}: {text}"
        for file in sorted(PACKAGE.rglob("*.py"))
        if file != LIST and not any(folder in file.parents for folder in FOLDERS.values())
        for line, text in named(file.read_text(encoding="utf-8"))
        if any(word in _without_file_names(text) for word in words)
    ]
    assert offenders == []


def test_no_family_imports_another():
    offenders = [
        f"{file.relative_to(ROOT)}:{line}: {text}"
        for own, folder in FOLDERS.items()
        for file in sorted(folder.rglob("*.py"))
        for line, text in named(file.read_text(encoding="utf-8"))
        for other in FOLDERS
        if other != own and text.startswith(f"hybrid_jax.model.{other}")
    ]
    assert offenders == []
    assert all(folder.is_dir() for folder in FOLDERS.values())


def test_every_model_type_belongs_to_one_family_and_is_documented():
    table = (ROOT / "docs" / "models.md").read_text(encoding="utf-8").split("## What loads")[1].split("\n- ")[0]
    model_types = [item for family in FAMILIES for item in family.model_types.items()]
    assert len({model_type for model_type, _ in model_types}) == len(model_types)
    assert [name for model_type, name in model_types if f"`{model_type}`" not in table or name not in table] == []
