"""What the files are called that an evaluation writes beside its report.

Knows: task keys. Does not know: what is in a file (`figures.py`, `trec.py`, `mteb_results.py`).
"""

import re


class FileNames:
    """Makes names of task keys ("xquad_r:sentence", "beir:/data/scifact") that every file system and LaTeX take.

    No two keys get one name, not even where upper and lower case are the same.
    """

    def __init__(self) -> None:
        self._keys: dict[str, str] = {}

    def of(self, key: str) -> str:
        """The same name for the same key; of two keys that would share one, the later gets a number at its end."""
        plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", key).strip("-.") or "task"
        name, number = plain, 1
        while self._keys.setdefault(name.casefold(), key) != key:
            number += 1
            name = f"{plain}-{number}"
        return name
