"""Bytes that rot: a bit flipped in a file, or its end cut off, and then whoever reads it is started."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from chaos.arena import EVERY, STEPS, Place
from chaos.lives import store
from chaos.results import Outcome


class Kind(NamedTuple):
    """A kind of file: how often it is damaged, where such files lie, and who reads them."""

    times: int
    files: Callable[[Place], Sequence[Path]]
    readers: Sequence[str]


def _in_checkpoint(*patterns: str) -> Callable[[Place], Sequence[Path]]:
    def files(place: Place) -> list[Path]:
        folder = place.run / "checkpoints" / str(STEPS - EVERY)
        return [path for pattern in patterns for path in folder.glob(pattern)]

    return files


def _in_run(*patterns: str) -> Callable[[Place], Sequence[Path]]:
    return lambda place: [path for pattern in patterns for path in place.run.glob(pattern)]


NAMING = ("error: ", "damaged", "is not what")
"""Words of a line that names what is damaged."""
BOTH = ("train", "embed")
KINDS = {
    "checkpoint arrays": Kind(14, _in_checkpoint("state/d/*", "state/*/d/*"), BOTH),
    "checkpoint metadata": Kind(
        8, _in_checkpoint("state/_METADATA", "state/_sharding", "state/manifest.ocdbt", "state/array_metadatas/*"), BOTH
    ),
    "checkpoint metrics": Kind(3, _in_checkpoint("metrics/*"), BOTH),
    "checkpoint manifest": Kind(4, _in_checkpoint("manifest.json"), BOTH),
    "time of the commit": Kind(3, _in_checkpoint("_CHECKPOINT_METADATA", "commit_success.txt"), BOTH),
    "run.json": Kind(4, _in_run("run.json"), BOTH),
    "metrics.jsonl": Kind(5, _in_run("metrics.jsonl"), ("train",)),
    "config.yaml": Kind(3, _in_run("config.yaml"), BOTH),
    "tokenizer": Kind(3, _in_run("tokenizer/*"), ("embed",)),
    "prepared cache": Kind(
        8, lambda place: [p for p in (place.folder / "cache").rglob("*") if p.is_file()], ("train",)
    ),
    "store": Kind(5, lambda place: list((place.folder / "store").iterdir()), ("again",)),
}


def damaged(place: Place, name: str, number: int) -> list[Outcome]:
    """One file of this kind is damaged; its reader runs; and where it refused, again with the file restored."""
    arena, kind = place.arena, KINDS[name]
    # As if stopped after its last checkpoint but one: what is left takes ten steps.
    shutil.copytree(arena.reference(), place.run)
    shutil.rmtree(place.run / "checkpoints" / str(STEPS))
    reader = kind.readers[number % len(kind.readers)]
    if reader == "again":
        shutil.copytree(arena.result("embed"), place.folder / "store")
    if name == "prepared cache":
        shutil.copytree(arena.cache, place.folder / "cache", ignore=shutil.ignore_patterns("compiled"))
    paths = sorted(path for path in kind.files(place) if path.stat().st_size)
    path = paths[(number // len(kind.readers)) % len(paths)] if name != "prepared cache" else place.chance.choice(paths)
    content = path.read_bytes()
    what = f"{path.relative_to(place.folder)}: {_damage(place, path)}; read by {reader}"
    outcome = Outcome(f"bytes: {name}", what)
    status, said = _read(place, reader)
    outcome.hang = status is None
    told = any(
        (path.name in line or str(path.parent) in line) and any(word in line for word in NAMING)
        for line in said.splitlines()
    )
    outcome.equal = status == 0 and _equal(place, reader)
    if status == 0 and not outcome.equal:
        outcome.wrong = not told
    if status not in (0, 1) or "Traceback" in said or (status == 1 and not told):
        outcome.problems.append(f"status {status}: {said[-1500:]}")
    if outcome.equal:
        outcome.what += "; named, and made good" if told else "; without a word, and without a difference"
    else:
        outcome.what += "; refused" if status else "; an earlier state was taken"
    if not outcome.equal:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        status, said = _read(place, reader)
        outcome.equal = status == 0 and _equal(place, reader)
        if not outcome.equal:
            outcome.problems.append(f"restored, then status {status}: {said[-800:]}")
    return [outcome]


def _damage(place: Place, path: Path) -> str:
    content, chance = bytearray(path.read_bytes()), place.chance
    if path.name == "metrics.jsonl":  # of what is kept when the run is resumed
        size = sum(map(len, content.splitlines(keepends=True)[: STEPS - EVERY]))
    else:
        size = len(content)
    if chance.random() < 0.3 and path.name != "metrics.jsonl":
        kept = chance.randrange(size)
        path.write_bytes(content[:kept])
        return f"cut after {kept} of {size} bytes"
    bit = chance.randrange(8 * size)
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    return f"bit {bit % 8} of byte {bit // 8} of {size} flipped"


def _read(place: Place, reader: str) -> tuple[int | None, str]:
    if reader == "train":
        own = place.folder / "cache"
        child = place.train(["--data.cache_dir", str(own)] if own.exists() else [])
    else:
        if reader == "embed":
            shutil.rmtree(place.folder / "store", ignore_errors=True)
        child = place.job(place.arena.embed_command(_read_by_embed(place, reader), place.folder / "store"))
    return child.wait(), child.said()


def _read_by_embed(place: Place, reader: str) -> Path:
    """The run; a store that is read again was made of the undisturbed one."""
    return place.arena.reference() if reader == "again" else place.run


def _equal(place: Place, reader: str) -> bool:
    if reader == "train":
        return place.arena.difference(place.run, place.arena.reference()) is None
    expected = place.arena.result("embed") if reader == "again" else place.arena.result("embed earlier")
    return store(place.folder / "store") == store(expected)
