"""Loss and gradients do not depend on how a batch is computed. These combinations have nearly every pair of choices;
all are in the table of `make equality` (docs/reliability.md)."""

from itertools import combinations, product

import pytest
from support.equality import Case, all_cases, differences

COVERING = [
    Case(1, 1, "dp", True, False),
    Case(1, 1, "dp", False, True),
    Case(2, 1, "fsdp", False, True),
    Case(4, 1, "dp+fsdp", True, True),
    Case(8, 1, "dp", False, True),
    Case(8, 1, "fsdp", True, False),
    Case(2, 2, "dp", False, True),
    Case(2, 2, "fsdp", True, False),
    Case(8, 2, "dp+fsdp", True, True),
    Case(8, 2, "dp", False, False),
    Case(4, 4, "fsdp", True, True),
    Case(4, 4, "dp+fsdp", False, False),
    Case(4, 4, "dp", True, True),
]


def test_the_form_the_mesh_dropout_and_the_processes_are_covered_in_pairs():
    """Every pair of choices but those of devices and processes, and of devices and mesh, which take one start each."""
    apart = {("devices", "processes"), ("devices", "mesh")}
    for one, other in combinations(Case._fields, 2):
        if (one, other) not in apart:
            pairs = {(getattr(case, one), getattr(case, other)) for case in all_cases()}
            covered = {(getattr(case, one), getattr(case, other)) for case in COVERING}
            assert covered == pairs, (one, other)


def test_there_are_92_combinations():
    cases = all_cases()
    assert len(cases) == len(set(cases)) == 92
    assert set(COVERING) <= set(cases)
    every = product((1, 2, 4, 8), (1, 2, 4), ("dp", "fsdp", "dp+fsdp"))
    assert {case[:3] for case in cases} == {
        (devices, processes, mesh)
        for devices, processes, mesh in every
        if processes <= devices and devices >= {"dp": 1, "fsdp": 2, "dp+fsdp": 4}[mesh]
    }


@pytest.mark.timeout(600)
def test_loss_and_gradients_are_those_of_one_text_per_row_on_one_device():
    for case, difference in differences(COVERING):
        assert difference.loss < 1e-5, case
        assert difference.gradient < 4e-6, case
