"""What the files are called that an evaluation writes beside its report."""

import re


class FileNames:
    """Turns task keys ("xquad_r:sentence", "beir:/data/scifact") into names that every file system and LaTeX accept.

    No two keys share a name, not even on a file system that ignores case.
    """

    def __init__(self) -> None:
        self._keys: dict[str, str] = {}

    def of(self, key: str, group: str = "") -> str:
        """The key's name, the same at every call; of two keys that would share one, the later gets a number.

        Equal keys of different groups are two keys.
        """
        whole = f"{group}\n{key}"
        plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", key).strip("-.") or "task"
        name, number = plain, 1
        while self._keys.setdefault(name.casefold(), whole) != whole:
            number += 1
            name = f"{plain}-{number}"
        return name
