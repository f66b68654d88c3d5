"""Which faults are injected, and how often: the units of `make chaos`, each a function of its place alone."""

import signal
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from chaos.arena import Place
from chaos.damage import KINDS, damaged
from chaos.full import full
from chaos.lives import killed, killed_job, stopped, told
from chaos.results import Outcome
from chaos.several import DIFFERENCES, disagreeing, lost, many_saves, resized, two_trainers

Run = Callable[[Place], list[Outcome]]


class Unit(NamedTuple):
    """Some trials that are done, and kept, together; `trials` is how many there are if none comes too late."""

    name: str
    trials: int
    run: Run


PHASES = ["start", "data preparation", "restore", "step", "save", "commit"]
ORDER = [
    *(f"kill -9: {phase}" for phase in [*PHASES, "eval", "embed", "watch"]),
    *(f"SIGTERM: {phase}" for phase in PHASES),
    *(f"bytes: {kind}" for kind in KINDS),
    *(f"disk full: {what}" for what in ("workdir", "cache", "store")),
    "two processes, one killed",
    "two processes, one frozen",
    "stopped for seconds",
    "world size changed",
    "hosts that disagree",
    "two trainers",
    "many saves",
]
"""The rows of the table."""

_COLD = ["data preparation", "data preparation", "start", "commit"]
_WARM = ["start", "step", "save", "commit", "step", "save"]
_TOLD = ["step", "restore", "start", "save", "restore", "commit"]
_SHAPES = [
    ["one device", "two processes", "two devices", "two devices, fsdp", "two processes", "one device"],
    ["two processes", "one device", "two processes, fsdp", "two devices", "two processes", "two devices, fsdp"],
]


def whole() -> list[Unit]:
    """Everything that the table in docs/reliability.md has."""
    units = [
        *_numbered("kill", 7, len(_WARM), partial(killed, phases=_WARM)),
        *_numbered("kill-cold", 7, len(_COLD), partial(killed, phases=_COLD)),
        *_numbered("kill-eval", 2, 5, partial(killed_job, kind="eval", kills=5)),
        *_numbered("kill-embed", 3, 4, partial(killed_job, kind="embed", kills=4)),
        *_numbered("kill-watch", 2, 4, partial(killed_job, kind="watch", kills=4)),
        *_numbered("term", 6, len(_TOLD), partial(told, phases=_TOLD)),
        *_numbered("term-cold", 2, 2, partial(told, phases=["data preparation", "data preparation"])),
        *_bytes({kind: KINDS[kind].times for kind in KINDS}),
        *_numbered("full-workdir", 6, 1, partial(full, what="workdir")),
        *_numbered("full-cache", 2, 1, partial(full, what="cache")),
        *_numbered("full-store", 2, 1, partial(full, what="store")),
        *_numbered("lost", 5, 2, partial(lost, number=signal.SIGKILL, times=2)),
        *_numbered("frozen", 3, 1, partial(lost, number=signal.SIGSTOP, times=1)),
        *_numbered("stopped", 2, 3, partial(stopped, phases=["step", "save", "commit"])),
        *(Unit(f"resized-{n}", 5, partial(resized, shapes=shapes)) for n, shapes in enumerate(_SHAPES)),
        *(Unit(f"disagree-{name}", 1, partial(disagreeing, name=name)) for name in DIFFERENCES),
        *_numbered("two-trainers", 5, 1, two_trainers),
        Unit("saves", 1, partial(many_saves, steps=400)),
    ]
    return _mixed(units)


def quick() -> list[Unit]:
    """A few of them, for the test suite."""
    return [
        Unit("kill", 2, partial(killed, phases=["step", "commit"])),
        Unit("term", 1, partial(told, phases=["save"])),
        *_bytes({"checkpoint arrays": 1, "store": 1}),
    ]


def _numbered(name: str, count: int, trials: int, run: Run) -> list[Unit]:
    return [Unit(f"{name}-{number}", trials, run) for number in range(count)]


def _bytes(times: dict[str, int]) -> list[Unit]:
    return [
        Unit(f"bytes-{kind.replace(' ', '-')}-{number}", 1, partial(damaged, name=kind, number=number))
        for kind, count in times.items()
        for number in range(count)
    ]


def _mixed(units: Sequence[Unit]) -> list[Unit]:
    """In an order in which each part of the plan has a part of every fault, whenever it is stopped."""
    groups: dict[str, list[Unit]] = {}
    for unit in units:
        groups.setdefault(unit.name.rpartition("-")[0], []).append(unit)
    placed = [((number + 0.5) / len(group), unit) for group in groups.values() for number, unit in enumerate(group)]
    return [unit for _, unit in sorted(placed, key=lambda pair: pair[0])]
