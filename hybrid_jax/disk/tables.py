"""Tables as text: columns aligned by spaces for a terminal, and Markdown; and text that Markdown shows unchanged."""

import re
from collections.abc import Container, Iterable, Sequence

_MARKUP = re.compile(r"([\\`*_\[\]<>&|~#$])")


def aligned(rows: Sequence[Sequence[str]], left: Container[int] = (0,)) -> list[str]:
    """The table's lines, each column as wide as its widest cell and two spaces apart.

    Columns whose number is in `left` are aligned to the left, the others to the right. All rows have equal length.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table. Cells are Markdown: pass text of unknown origin through `escape_markdown`."""
    return [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]


def escape_markdown(value: object) -> str:
    """str(value) on one line, such that Markdown shows it unchanged: no markup, no HTML, no end of a table's cell.

    Runs of white space become one space, and invisible characters U+FFFD.
    """
    text = "".join(sign if sign.isprintable() else "\ufffd" for sign in " ".join(str(value).split()))
    return _MARKUP.sub(r"\\\1", text)
