"""Loss and gradients of one batch, however it is computed: over devices, processes, meshes, in chunks, with dropout.

`make equality` computes every combination and prints a table; tests/train/test_equality.py some of them.
"""

import json
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from support.processes import several_processes

MESHES = ("dp", "fsdp", "dp+fsdp")
DEVICES, PROCESSES = (1, 2, 4, 8), (1, 2, 4)
LENGTH, SLOTS, MICROBATCH_ROWS = 14, 4, 8


class Case(NamedTuple):
    """One way to compute the batch."""

    devices: int
    """Of all processes together."""
    processes: int
    mesh: str
    """dp: each device has all parameters; fsdp: each has a part of them; dp+fsdp: each pair of devices has all."""
    cached: bool
    """In chunks of rows (GradCache)."""
    dropout: bool

    @property
    def shape(self) -> tuple[int, int]:
        """Devices along data and along fsdp."""
        fsdp = {"dp": 1, "fsdp": self.devices, "dp+fsdp": 2}[self.mesh]
        return self.devices // fsdp, fsdp

    def __str__(self) -> str:
        form, dropout = "cached" if self.cached else "plain", "dropout" if self.dropout else "no dropout"
        return f"{self.devices} devices, {self.processes} processes, {self.mesh}, {form}, {dropout}"


class Difference(NamedTuple):
    """How far a case is from the reference: one text per row on one device, in one process, with the same dropout."""

    loss: float
    """Relative."""
    gradient: float
    """The largest of all elements, as a share of the largest element of the gradient."""


Result = dict[str, np.ndarray]
"""The loss and the gradients of all parameters, by name."""


def all_cases() -> list[Case]:
    """Every combination that there is: each process has a device, and fsdp and dp+fsdp need two and four."""
    every = (Case(*values) for values in product(DEVICES, PROCESSES, MESHES, (False, True), (False, True)))
    least = {"dp": 1, "fsdp": 2, "dp+fsdp": 4}
    return [case for case in every if case.processes <= case.devices and case.devices >= least[case.mesh]]


def differences(cases: Sequence[Case]) -> Iterator[tuple[Case, Difference]]:
    """Computes the cases, in real processes on this machine, and compares each with its reference."""
    reference = {dropout: compute(None, dropout) for dropout in {case.dropout for case in cases}}
    for processes, devices in sorted({(case.processes, case.devices * (case.processes > 1)) for case in cases}):
        chosen = [case for case in cases if case.processes == processes and devices in (0, case.devices)]
        for case, result in zip(chosen, _computed(chosen), strict=True):
            yield case, _difference(result, reference[case.dropout])


def compute(case: Case | None, dropout: bool) -> Result:
    """The case, in this process and those it has joined; None is the reference."""
    import jax
    from jax._src import distributed
    from support.packing import packed
    from support.tiny_batch import tiny_model, tiny_rows

    from hybrid_jax.model.dual_encoder import initialize
    from hybrid_jax.runtime.mesh import MeshConfig, make_mesh, parameter_sharding, put_batch, replicated
    from hybrid_jax.train.encode import make_encode
    from hybrid_jax.train.loss import LossConfig
    from hybrid_jax.train.objective import make_objective
    from hybrid_jax.train.step import measure

    data, fsdp = (1, 1) if case is None else case.shape
    mesh = make_mesh(MeshConfig(data=data, fsdp=fsdp))
    config, rate = tiny_model(), 0.2 if dropout else 0.0
    encoder = config.encoder.model_copy(update={"dropout": rate, "attention_dropout": rate})
    config = config.model_copy(update={"encoder": encoder})
    whole = jax.device_get(jax.jit(initialize, static_argnums=0)(config, 7))
    parameters = jax.tree.map(
        lambda leaf: jax.make_array_from_callback(
            leaf.shape, parameter_sharding(mesh, leaf.shape), lambda index: leaf[index]
        ),
        whole,
    )
    if case is None:
        batch = packed(tiny_rows(), length=6, devices=1)
    else:
        rows = MICROBATCH_ROWS if case.cached else None
        host, hosts = jax.process_index(), jax.process_count()
        batch = packed(tiny_rows(), LENGTH, SLOTS, case.devices, rows, host=host, hosts=hosts)
        assert (len(batch.sides[0].tokens) > 1) == case.cached
    objective = make_objective(LossConfig(directions="both"), mesh)
    function = jax.value_and_grad(partial(measure, make_encode(config, mesh), objective), has_aux=True)
    key = jax.random.key(3) if dropout else None
    arguments = parameters, put_batch(mesh, batch), key
    compiled = jax.jit(function, out_shardings=replicated(mesh)).lower(*arguments).compile()
    if jax.process_count() > 1:  # on CPUs the first collective waits for 30 s only, and compiling may take longer
        client = distributed.global_state.client
        assert client is not None
        client.wait_at_barrier(f"compiled {case}", 600_000)
    (loss, _), gradients = compiled(*arguments)
    leaves = jax.tree_util.tree_leaves_with_path(gradients)
    return {"loss": np.asarray(loss)} | {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def _computed(cases: Sequence[Case]) -> Iterable[Result]:
    if cases[0].processes == 1:
        return (compute(case, case.dropout) for case in cases)
    processes, devices = cases[0].processes, cases[0].devices // cases[0].processes
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "support.equality", folder, json.dumps(cases)]
        flags = f"--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=0"
        with several_processes([command] * processes, [{"XLA_FLAGS": flags}] * processes) as running:
            for process in running:
                said, _ = process.communicate(timeout=900)
                if process.returncode:
                    raise RuntimeError(said)
        own = [[_read(Path(folder), rank, n) for n in range(len(cases))] for rank in range(processes)]
    for results in own[1:]:  # every process has the whole gradient, and the same bits of it
        for one, other in zip(own[0], results, strict=True):
            assert all(np.array_equal(one[name], other[name]) for name in one)
    return own[0]


def _read(folder: Path, rank: int, number: int) -> Result:
    with np.load(folder / f"{rank}-{number}.npz") as arrays:
        return dict(arrays)


def _worker(folder: Path, cases: Iterable[Case]) -> None:
    from hybrid_jax.runtime.processes import start_distributed

    start_distributed()
    import jax

    for number, case in enumerate(cases):
        assert (jax.process_count(), jax.device_count()) == (case.processes, case.devices)
        result = compute(case, case.dropout)
        np.savez(folder / f"{jax.process_index()}-{number}.npz", allow_pickle=False, **result)


def _difference(result: Result, reference: Result) -> Difference:
    assert result.keys() == reference.keys()
    gradients = reference.keys() - {"loss"}
    largest = max(float(np.abs(reference[name]).max()) for name in gradients)
    loss = abs(float(result["loss"]) - float(reference["loss"])) / abs(float(reference["loss"]))
    furthest = max(float(np.abs(result[name] - reference[name]).max()) for name in gradients)
    return Difference(loss, furthest / largest)


def main() -> None:
    """Prints the largest differences, for each number of devices and processes and each mesh."""
    table: dict[tuple[int, int, str], list[Difference]] = {}
    count = 0
    for case, difference in differences(all_cases()):
        table.setdefault((case.devices, case.processes, case.mesh), []).append(difference)
        count += 1
        print(f"{case}: {difference.loss:.1e} {difference.gradient:.1e}", file=sys.stderr, flush=True)  # noqa: T201
    print("| devices | processes | mesh | loss | gradients |\n|---|---|---|---|---|")  # noqa: T201
    for key, values in sorted(table.items()):
        row = *key, f"{max(each.loss for each in values):.1e}", f"{max(each.gradient for each in values):.1e}"
        print("| " + " | ".join(map(str, row)) + " |")  # noqa: T201
    print(f"{count} combinations; each row has plain and cached, with and without dropout")  # noqa: T201


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _worker(Path(sys.argv[1]), [Case(*values) for values in json.loads(sys.argv[2])])
    else:
        os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
        os.environ["JAX_PLATFORMS"] = "cpu"
        main()
