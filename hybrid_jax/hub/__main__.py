"""python -m hybrid_jax.hub docs/models.md: writes the table of decisions (keys.py) into the page, between its marks."""

import sys
from pathlib import Path

from hybrid_jax.hub.table import with_table


def main() -> int:
    """Rewrites the page named on the command line."""
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_file():
        print("usage: python -m hybrid_jax.hub docs/models.md", file=sys.stderr)
        return 2
    page = Path(sys.argv[1])
    page.write_text(with_table(page.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
