"""A line of metrics.jsonl: a step's record as JSON, and last in it a checksum, by which a changed digit is noticed."""

import json
import zlib
from typing import Any

_NAME = "crc32"
_BEFORE = f', "{_NAME}": '


def write_line(record: dict[str, Any]) -> str:
    """The record as a line, with `crc32`: of all that stands before it, in UTF-8, as 8 hexadecimal digits."""
    text = json.dumps(record)[:-1]
    return f'{text}{_BEFORE}"{zlib.crc32(text.encode()):08x}"}}\n'


def read_line(line: str) -> dict[str, Any]:
    """The record of a complete line, without its checksum.

    Raises ValueError for a line that is no JSON object with a whole number as `step`, or not what was written.
    """
    record = json.loads(line)
    if not (line.endswith("}\n") and isinstance(record, dict) and isinstance(record.get("step"), int)):
        raise ValueError("it is not a step's record")
    if f"{zlib.crc32(line.rpartition(_BEFORE)[0].encode()):08x}" != record.pop(_NAME, None):
        raise ValueError("it is not what was written")
    return record
