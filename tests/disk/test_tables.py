"""Tables line up, and escaped text stays in its cell."""

import re

from hybrid_jax.disk.tables import aligned, escape_markdown, markdown_table


def test_columns_line_up():
    assert aligned([["name", "n", "what"], ["a", "1,000", "x"], ["longer", "7", ""]], left=(0, 2)) == [
        "name        n  what",
        "a       1,000  x",
        "longer      7",
    ]


def test_a_markdown_table_has_a_rule_below_its_header():
    assert markdown_table(["", "de"], [["map", "0.5"]]) == ["|  | de |", "| --- | --- |", "| map | 0.5 |"]


def test_escaped_text_cannot_change_the_page():
    text = "a|b\n# *c* [d](e) <b> `f` _g_ \\ ~h~ &amp; $i$ \u202e"
    escaped = escape_markdown(text)
    assert re.sub(r"\\(.)", r"\1", escaped) == " ".join(text.split())[:-1] + "\ufffd"
    assert re.findall(r"(?<!\\)(?:\\\\)*[`*_\[\]<>&|~#$]", escaped) == []
    assert escape_markdown(None) == "None"
