"""A step that takes far longer than those before it is said with its number, its time and where it stands."""

import re
import time

from hybrid_jax.runtime.watchdog import Watchdog


def stand_still(lines: list[str], wanted: int) -> None:
    until = time.monotonic() + 10
    while len(lines) < wanted and time.monotonic() < until:
        time.sleep(0.01)


def test_a_slow_step_is_said_at_the_limit_and_when_it_has_doubled():
    lines: list[str] = []
    with Watchdog(lines.append, 7, least=0.2, first=30.0) as watchdog:
        time.sleep(0.5)  # the first step may take so long
        assert lines == []
        for step in range(8, 40):
            watchdog.done(step)
        stand_still(lines, 2)
        watchdog.done(40)
    first, second = lines
    pattern = (
        r"step 39 has taken ([\d.]+) s so far \(the median is [\d.e-]+ s\): in stand_still \(.*test_watchdog.py:\d+\)"
    )
    seconds = [float(match.group(1)) for line in lines if (match := re.fullmatch(pattern, line))]
    assert len(seconds) == 2, lines
    assert seconds[0] >= 0.2
    assert seconds[1] >= 2 * seconds[0] * 0.99
    assert first != second
    time.sleep(0.5)
    assert len(lines) == 2


def test_a_step_of_the_usual_length_is_not_said():
    lines: list[str] = []
    with Watchdog(lines.append, 0, least=0.05, first=30.0) as watchdog:
        for step in range(1, 5):  # the median is .2 s, so that the limit is 2 s
            time.sleep(0.2)
            watchdog.done(step)
        time.sleep(0.4)
        assert lines == []


def test_the_first_step_is_said_as_such():
    lines: list[str] = []
    with Watchdog(lines.append, 0, least=0.2, first=0.3):
        stand_still(lines, 1)
    assert lines[0].startswith("step 0 has taken ")
    assert "it is the first" in lines[0]
