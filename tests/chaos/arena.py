"""Where faults are injected: a tiny run and its data, what it gives undisturbed, and real processes."""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from threading import Lock, RLock
from types import MappingProxyType

import pytest
from support.runs import assert_equal_runs

from hybrid_jax.config import load_config
from hybrid_jax.runs.checkpoint import steps

ROOT = Path(__file__).resolve().parents[2]
LIMIT = float(os.environ.get("CHAOS_LIMIT", "300"))
"""Seconds after which a process that has not ended counts as hanging; more where other programs slow it down."""
STEPS, EVERY = 120, 10
NOTHING: Mapping[str, str] = MappingProxyType({})

CONFIG = f"""
seed: 3
steps: {STEPS}
batch_size: 8
data:
  datasets: [{{name: tiny, path: $CHAOS_ROWS/rows.jsonl}}]
  tokenizer: {{vocab_size: 300}}
  max_query_length: 16
  max_passage_length: 16
mixture: {{monolingual_fraction: [[0, 0.8], [60, 0.2]]}}
model:
  encoder: {{vocab_size: 300, hidden_size: 16, num_layers: 1, num_heads: 2, intermediate_size: 32, max_length: 16,
            dtype: float32}}
optimizer: {{learning_rate: 0.01, warmup_steps: 4}}
checkpoint: {{every: {EVERY}, keep: 3}}
compare_every: 10
log_every: 1
"""
WORDS = {
    "de": "Haus Baum Fluss Stadt Berg Wald",
    "en": "house tree river town hill wood",
    "es": "casa árbol río ciudad monte bosque",
}


class Child:
    """A process whose output goes to a file."""

    def __init__(self, command: Sequence[str], output: Path, environment: Mapping[str, str]):
        self._output = output
        self.began = time.monotonic()
        with output.open("w") as file:
            self._process = subprocess.Popen(command, env=environment, cwd=output.parent, stdout=file, stderr=file)
        self.pid, self.ended = self._process.pid, False

    def running(self) -> bool:
        return self._process.poll() is None

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self, limit: float = LIMIT) -> int | None:
        """The exit status; None if it has not ended after `limit` seconds, and is killed."""
        try:
            return self._process.wait(limit)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return None

    def said(self) -> str:
        return self._output.read_text(encoding="utf-8", errors="replace")

    def last(self) -> str:
        return (self.said().strip().splitlines() or [""])[-1]


class Arena:
    """The data, the config and the undisturbed results, in a folder; made when they are first needed."""

    def __init__(self, folder: Path):
        self.folder, self.config = folder, folder / "chaos.yaml"
        self.rows, self.corpus, self.cache = folder / "rows.jsonl", folder / "corpus.jsonl", folder / "cache"
        self._making, self._comparing = RLock(), Lock()
        folder.mkdir(parents=True, exist_ok=True)
        self.config.write_text(CONFIG, encoding="utf-8")
        self.rows.write_text("".join(f"{json.dumps(row)}\n" for row in _rows()), encoding="utf-8")
        documents = [{"_id": f"d{n}", "text": row["passage"], "lang": row["lang"]} for n, row in enumerate(_rows())]
        self.corpus.write_text("".join(f"{json.dumps(row)}\n" for row in documents), encoding="utf-8")
        os.environ["CHAOS_ROWS"] = str(folder)  # for the config, as it is read in this process
        self.beir = _beir(folder / "beir", documents)

    def environment(self, devices: int = 1, changes: Mapping[str, str] = NOTHING) -> dict[str, str]:
        """Of a process with so many devices. The cache of compiled programs is one for all."""
        flags = f"--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=0"
        own = {
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": flags,
            "JAX_COMPILATION_CACHE_DIR": os.environ.get("JAX_COMPILATION_CACHE_DIR", str(self.folder / "compiled")),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
            "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),
            "CHAOS_ROWS": str(self.folder),
        }
        return {**os.environ, **own, **changes}

    def train_command(self, run: Path, more: Sequence[str] = ()) -> list[str]:
        own = ["--config", str(self.config), "--workdir", str(run), "--data.cache_dir", str(self.cache)]
        return [sys.executable, "-m", "hybrid_jax.train", *own, *more]

    def embed_command(self, run: Path, store: Path) -> list[str]:
        arguments = ["--ckpt", str(run), "--corpus", str(self.corpus), "--out", str(store), "--rows-per-shard", "8"]
        return [sys.executable, "-m", "hybrid_jax.eval", "embed", *arguments]

    def eval_command(self, run: Path, out: Path) -> list[str]:
        arguments = ["--ckpt", str(run), "--tasks", f"beir:{self.beir}", "--out", str(out)]
        return [sys.executable, "-m", "hybrid_jax.eval", *arguments]

    def watch_command(self, run: Path) -> list[str]:
        arguments = [str(run), "--tasks", f"beir:{self.beir}", "--every", "0.1", "--timeout", "5"]
        return [sys.executable, "-m", "hybrid_jax.eval", "watch", *arguments]

    def reference(self, processes: int = 1, more: Sequence[str] = ()) -> Path:
        """The undisturbed run, with so many processes of one device each."""
        name = "-".join([f"run-{processes}", *(word.strip("-") for word in more)])

        def make(folder: Path) -> None:
            children = self.start_run(folder, folder.parent, processes, more=more)
            for child in children:
                if child.wait() != 0:
                    raise RuntimeError(f"the undisturbed run failed:\n{child.said()}")

        return self._once(name, make)

    def result(self, kind: str) -> Path:
        """The undisturbed result of "embed" (a store), "eval" (a report) or "watch" (a run with its curve).

        "embed earlier" is the store of the last checkpoint but one.
        """
        run = self.reference()

        def make(folder: Path) -> None:
            commands = {"embed": self.embed_command, "eval": self.eval_command}
            if kind == "watch":
                shutil.copytree(run, folder)
                command = self.watch_command(folder)
            elif kind == "embed earlier":
                earlier = folder.with_name("earlier-run")
                shutil.copytree(run, earlier, dirs_exist_ok=True)
                shutil.rmtree(earlier / "checkpoints" / str(STEPS))
                command = self.embed_command(earlier, folder)
            else:
                command = commands[kind](run, folder)
            child = Child(command, folder.with_suffix(".out"), self.environment())
            if child.wait() != 0:
                raise RuntimeError(f"{kind} failed:\n{child.said()}")

        return self._once(kind, make)

    def start_run(
        self,
        run: Path,
        place: Path,
        processes: int = 1,
        devices: int = 1,
        more: Sequence[str] = (),
        changes: Sequence[tuple[Mapping[str, str], Sequence[str]]] = (),
    ) -> list[Child]:
        """Starts the processes of a run; `changes` are the environment and arguments of each of them."""
        with socket.socket() as probe:
            probe.bind(("localhost", 0))
            port = probe.getsockname()[1]
        children = []
        for number in range(processes):
            environment, arguments = changes[number] if changes else (NOTHING, ())
            together = {
                "HYBRID_JAX_COORDINATOR": f"localhost:{port}",
                "HYBRID_JAX_NUM_PROCESSES": str(processes),
                "HYBRID_JAX_PROCESS_ID": str(number),
            }
            environment = {**(together if processes > 1 else {}), **environment}
            command = self.train_command(run, [*more, *arguments])
            output = place / f"{run.name}.{time.monotonic_ns()}.{number}.out"
            children.append(Child(command, output, self.environment(devices, environment)))
        return children

    def difference(self, run: Path, reference: Path, more: Sequence[str] = ()) -> str | None:
        """How the end of `run` differs from that of `reference`, in parameters, moments or log; None if in no bit."""
        with self._comparing:  # jax and the environment are shared
            try:
                assert_equal_runs(run, reference, load_config(self.config, list(more), "chaos"))
            except (AssertionError, pytest.fail.Exception, ValueError, OSError) as error:
                return (str(error).splitlines() or ["they differ"])[0][:300]
        return None

    def _once(self, name: str, make: Callable[[Path], None]) -> Path:
        folder, part = self.folder / "undisturbed" / name, self.folder / "undisturbed" / f"{name}.part"
        with self._making:
            if not folder.exists():
                shutil.rmtree(part, ignore_errors=True)
                part.parent.mkdir(exist_ok=True)
                began = time.monotonic()
                make(part)
                (part.parent / f"{name}.seconds").write_text(str(time.monotonic() - began))
                part.rename(folder)
        return folder

    def seconds(self, name: str) -> float:
        """How long an undisturbed result took."""
        return float((self.folder / "undisturbed" / f"{name}.seconds").read_text())


class Place:
    """What one unit of trials has to itself: a folder, and its chance, which follows from the seed and its name."""

    def __init__(self, arena: Arena, name: str, seed: int):
        self.arena, self.chance = arena, random.Random(f"{seed}/{name}")
        self.folder = arena.folder / "places" / name
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.run = self.folder / "run"

    def train(self, more: Sequence[str] = ()) -> Child:
        return self.arena.start_run(self.run, self.folder, more=more)[0]

    def job(self, command: Sequence[str]) -> Child:
        output = self.folder / f"job.{time.monotonic_ns()}.out"
        return Child(command, output, self.arena.environment())

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def last_checkpoint(run: Path) -> int:
    return max(steps(run / "checkpoints"), default=0)


def logged(run: Path) -> int:
    """How many complete lines the run's log has."""
    log = run / "metrics.jsonl"
    return log.read_bytes().count(b"\n") if log.exists() else 0


def _rows() -> Iterator[dict[str, str]]:
    for lang, words in WORDS.items():
        for number, pair in enumerate((first, second) for first in words.split() for second in words.split()):
            yield {
                "id": str(number),
                "lang": lang,
                "query": " ".join(pair) + "?",
                "passage": f"{pair[1]} {number} {pair[0]}.",
            }


def _beir(folder: Path, documents: Sequence[dict[str, str]]) -> Path:
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    queries = [{"_id": f"q{n}", "text": row["query"], "lang": row["lang"]} for n, row in enumerate(_rows())][::4]
    for name, lines in (("corpus", documents), ("queries", queries)):
        text = "".join(f"{json.dumps(line)}\n" for line in lines)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    judged = "".join(f"q{n}\td{n}\t1\n" for n in range(0, len(documents), 4))
    (folder / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{judged}", encoding="utf-8")
    return folder
