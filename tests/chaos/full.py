"""Disks that fill up: a small tmpfs, made larger afterwards, so that the same command can go on."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chaos.arena import Child, Place
from chaos.lives import store
from chaos.results import Outcome

LARGE = "256m"


def can_mount(folder: Path) -> bool:
    """Whether this user may mount a tmpfs."""
    probe = folder / "probe"
    probe.mkdir(parents=True, exist_ok=True)
    allowed = _run("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(probe))
    if allowed:
        _run("umount", str(probe))
    return allowed


def unmount_below(folder: Path) -> None:
    """Unmounts what a killed program has left."""
    for line in Path("/proc/mounts").read_text().splitlines():
        where = line.split()[1]
        if where.startswith(f"{folder}/"):
            _run("umount", "--lazy", where)


@contextmanager
def disk(folder: Path, kilobytes: int) -> Iterator[None]:
    """Within the block, `folder` is a disk of that size."""
    folder.mkdir(parents=True)
    if not _run("mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)):
        raise OSError(f"cannot mount a tmpfs on {folder}")
    try:
        yield
    finally:
        _run("umount", "--lazy", str(folder))


def full(place: Place, what: str) -> list[Outcome]:
    """The disk of the run, of its cache or of a store is full at a random byte; then it is made larger."""
    arena, mount = place.arena, place.folder / "disk"
    place.run = mount / "run" if what == "workdir" else place.folder / "run"
    arena.reference()
    store_of = arena.result("embed") if what == "store" else None
    # Blocks of 4 KiB: what the undisturbed one takes in the end, at least; a run's older checkpoints go.
    whole = {"workdir": arena.reference(), "cache": arena.cache / "stores", "store": store_of}[what]
    assert whole is not None
    blocks = sum(path.stat().st_size // 4096 + 1 for path in whole.rglob("*"))
    kilobytes = 4 * max(2, int(blocks * place.chance.uniform(0.05, 0.9)))
    own = ["--data.cache_dir", str(mount / "cache")] if what == "cache" else []

    def begin() -> Child:
        if what == "store":
            return place.job(arena.embed_command(arena.reference(), mount / "store"))
        return place.train(own)

    with disk(mount, kilobytes):
        child = begin()
        status = child.wait()
        outcome = Outcome(f"disk full: {what}", f"{kilobytes} KiB", hang=status is None)
        said, last = child.said(), child.last()
        refused = status == 1 and last.startswith("error: ") and "make room" in last
        # The size counts folders and rounds up, so that a cache may fit; compiled programs that do not are left out.
        if "Traceback" in said or not (refused or (what == "cache" and status == 0)):
            outcome.problems.append(f"status {status}: {said[-1500:]}")
        _run("mount", "-o", f"remount,size={LARGE}", str(mount))
        child = begin()
        status = child.wait()
        if what == "store":
            outcome.equal = status == 0 and store(mount / "store") == store(arena.result("embed"))
        else:
            outcome.equal = status == 0 and arena.difference(place.run, arena.reference()) is None
        outcome.wrong, outcome.hang = status == 0 and not outcome.equal, outcome.hang or status is None
        if not outcome.equal:
            outcome.problems.append(f"with room, status {status}: {child.said()[-800:]}")
    shutil.rmtree(mount, ignore_errors=True)
    return [outcome]


def _run(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
