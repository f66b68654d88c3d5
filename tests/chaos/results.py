"""What came of each fault, kept on disk as it comes, and the table of all of them."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from hybrid_jax.disk.tables import aligned


@dataclass
class Outcome:
    """One injected fault. `equal`, `lost` and `wrong` are filled in when the run has been brought to its end."""

    fault: str
    what: str
    """What exactly was done, to repeat it by hand."""
    equal: bool | None = None
    """Whether the end was that of the undisturbed run, bit for bit; None where no run was to end."""
    lost: int = 0
    """Steps lost beyond the last checkpoint; after a signal, steps lost at all."""
    wrong: bool = False
    """Whether something ended with status 0 and another result, and said nothing."""
    hang: bool = False
    seconds: float | None = None
    """From the fault to the end of the last process that it concerned."""
    problems: list[str] = field(default_factory=list)
    """What else is bad: a traceback, a good checkpoint called damaged, a status that is not documented."""

    @property
    def bad(self) -> bool:
        return self.equal is False or self.lost > 0 or self.wrong or self.hang or bool(self.problems)


class Results:
    """A JSONL file: a line for each finished unit, with the commit and the seed that it belongs to."""

    def __init__(self, path: Path, commit: str, seed: int):
        self._path, self._key = path, {"commit": commit, "seed": seed}
        self.units: dict[str, list[Outcome]] = {}
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            try:
                record = json.loads(line)
            except ValueError:  # cut short by a kill
                continue
            if {name: record[name] for name in self._key} == self._key:
                self.units[record["unit"]] = [Outcome(**outcome) for outcome in record["outcomes"]]

    def add(self, unit: str, outcomes: Sequence[Outcome]) -> None:
        self.units[unit] = list(outcomes)
        record = {**self._key, "unit": unit, "outcomes": [asdict(outcome) for outcome in outcomes]}
        begin = "" if not self._path.exists() or self._path.read_bytes().endswith(b"\n") else "\n"
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"{begin}{json.dumps(record)}\n")

    def outcomes(self) -> list[Outcome]:
        return [outcome for outcomes in self.units.values() for outcome in outcomes]


def table(outcomes: Iterable[Outcome], order: Sequence[str]) -> list[str]:
    """The lines of a table, faults × outcome, in the order of `order`, and a last line of sums."""
    groups: dict[str, list[Outcome]] = {fault: [] for fault in order}
    for outcome in outcomes:
        groups.setdefault(outcome.fault, []).append(outcome)
    groups = {fault: group for fault, group in groups.items() if group}
    every = [outcome for group in groups.values() for outcome in group]
    rows = [["fault", "n", "equal", "steps lost", "silently wrong", "hangs", "otherwise bad", "longest exit"]]
    rows += [_row(fault, group) for fault, group in groups.items()]
    return list(aligned([*rows, _row("all", every)]))


def _row(fault: str, group: Sequence[Outcome]) -> list[str]:
    compared = [outcome for outcome in group if outcome.equal is not None]
    seconds = [outcome.seconds for outcome in group if outcome.seconds is not None]
    return [
        fault,
        str(len(group)),
        f"{sum(outcome.equal is True for outcome in compared)}/{len(compared)}" if compared else "–",
        str(sum(outcome.lost for outcome in group)),
        str(sum(outcome.wrong for outcome in group)),
        str(sum(outcome.hang for outcome in group)),
        str(sum(bool(outcome.problems) for outcome in group)),
        f"{max(seconds):.1f} s" if seconds else "–",
    ]
