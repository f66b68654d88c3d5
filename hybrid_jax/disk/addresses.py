"""Addresses of other storage, such as gs://bucket/run, are refused wherever a path of this machine is taken.

Python takes such an address for a path and would make a folder called "gs:" here.
"""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://?(.*)")
"""With one slash as well, which is what `Path` leaves of two. A single letter is a drive of Windows."""
_MOUNTS = {"gs": "gcsfuse --implicit-dirs", "s3": "mount-s3"}
"""By scheme, the program that mounts a bucket as a folder."""


class AddressError(ValueError):
    """An address where a path of this machine is needed; the message says what to type."""


def refuse_address(path: str | Path, name: str = "") -> None:
    """Raises AddressError if `path` is an address; `name` is the option or field that it was given for.

    A text is one only with two slashes after the colon: "tfds:/a/folder" is none.
    """
    text = str(path)
    match = _ADDRESS.fullmatch(text)
    if match is None or (isinstance(path, str) and "://" not in text):
        return
    scheme, rest = match[1].lower(), match[2].lstrip("/")
    bucket, _, folder = rest.partition("/")
    if scheme == "file":
        advice = f"give /{rest}"
    elif scheme in _MOUNTS and bucket:
        mounted = f"/mnt/{bucket}"
        advice = f"type '{_MOUNTS[scheme]} {bucket} {mounted}', and give {f'{mounted}/{folder}'.rstrip('/')}"
        if scheme == "s3":  # https://github.com/awslabs/mountpoint-s3/blob/main/doc/SEMANTICS.md
            advice += " to be read; what is written needs EFS, FSx or another file system that can rename"
    else:
        advice = "mount that storage or copy it, and give the path that it has on this machine"
    raise AddressError(f"{f'{name} ' if name else ''}{scheme}://{rest} is not a path of this machine: {advice}")


def refuse_addresses(options: argparse.Namespace) -> None:
    """Raises AddressError for the first option of a command that takes a path and was given an address."""
    for name, value in vars(options).items():
        for path in value if isinstance(value, Sequence) and not isinstance(value, str) else [value]:
            if isinstance(path, Path):
                refuse_address(path, "RUN" if name == "run" else f"--{name.replace('_', '-')}")
