"""Turn-taking, peak memory and the arithmetic of the benchmarks."""

import os
import sys

import pytest

from benchmarks.common import compare, compiled_programs, last_json, peak_gib, ratio, run_child, spread, take_turns
from benchmarks.growth import exponent


def test_ratios_are_taken_turn_by_turn():
    assert ratio([4.0, 9.0, 8.0], [2.0, 3.0, 2.0]) == (3.0, 2.0, 4.0)
    with pytest.raises(ValueError, match="both take every turn"):
        ratio([1.0], [1.0, 2.0])


def test_no_values_is_an_error():
    with pytest.raises(ValueError, match="more steps or rounds"):
        spread([])


def test_children_take_turns(tmp_path):
    log = tmp_path / "log"
    script = "import sys; open(sys.argv[1], 'a').write(sys.argv[2])"
    programs = {name: lambda name=name: run_child([sys.executable, "-c", script, str(log), name]) for name in "AB"}
    results = take_turns(programs, 2)
    assert log.read_text() == "ABAB"
    assert [child.status for child in results["A"]] == [0, 0]


def test_peak_is_the_childs_own_after_its_memory_is_freed():
    script = "import time; a = b'x' * (200 << 20); del a; time.sleep(.3); print('{\"done\": 1}')"
    child = run_child([sys.executable, "-c", script])
    assert 0.19 < child.peak_gib < 0.3
    assert last_json(child.output) == {"done": 1}


def test_peak_of_a_process_that_is_gone():
    assert (peak_gib(os.getpid()) or 0) > 0
    assert peak_gib(2**22 + 1) is None


def test_programs_are_counted_by_function():
    log = "Compiling jit(train_step) with global shapes\nCompiling jit(train_step) with\nCompiling jit(eval_step) with"
    assert compiled_programs(log, "train_step") == 2


def test_speed_is_the_peers_seconds_over_ours_and_memory_is_ours_over_the_peers():
    line = compare("a against b", [(2.0, 1.0), (2.0, 3.0)], [(6.0, 2.0), (8.0, 4.0)])
    assert line == "a against b: 3.50 x the speed (3.00-4.00), 0.62 x the peak memory (0.50-0.75)"


def test_the_exponent_of_a_power_is_that_power():
    assert exponent([1, 2, 4], [3.0, 12.0, 48.0]) == pytest.approx(2)


def test_a_child_knows_when_it_was_started():
    script = "import os, time; print(time.time() - float(os.environ['BENCHMARK_START']))"
    assert 0 <= float(run_child([sys.executable, "-c", script]).output) < 60
