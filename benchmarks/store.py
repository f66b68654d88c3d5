"""Times the store of many rows, and how its cost grows: python -m benchmarks.store --rows 10000000

Synthetic rows, made on the fly from 1,024 words: an id, a query of 8 words, a passage of 24 words, each tenth one with
a title. Three sizes (1/16, 1/4 and all of the rows), each in a process of its own:

    build    the store is written: duplicates looked for, texts numbered, equal passages linked
    tokens   passages are tokenised, 100,000 of them
    open     the store is opened, and an id and a text are read from its end
    seek     the plan and the pairs of one batch of 256, far into the run (median of 50)

Core-seconds depend less on other load than the clock does. The exponent is the slope of log core-seconds of the build
over log rows: 1 is linear. The time to make the rows themselves is measured alone, and not counted.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tokenizers

from benchmarks.common import last_json, machine, peak_gib, python, run_child
from hybrid_jax.data.hashing import mix
from hybrid_jax.data.pairing import pair
from hybrid_jax.data.records import Row
from hybrid_jax.data.schedule import Kind, MixtureConfig, Schedule
from hybrid_jax.data.sources import BadRows, without_duplicates
from hybrid_jax.data.store import Store, pool_sizes
from hybrid_jax.data.store_writer import write_store
from hybrid_jax.data.tokenizer import Tokenizer
from hybrid_jax.data.tokens import write_tokens

SCRATCH = Path("runs/bench")
"""Stores are written here, as /tmp may lie in memory, and removed."""
WORDS = [f"w{i}" for i in range(1024)]
PAIRS, FOURS = ([" ".join(WORDS[(i * k + n) % 1024] for n in range(k)) for i in range(1024)] for k in (2, 4))
PHRASES = 4 + 6
"""A query is 4 pairs of words, a passage 6 times four words."""
BLOCK = 4096
TOKENISED, BATCH, SEEKS = 100_000, 256, 50


def rows(count: int) -> Iterator[Row]:
    """The rows; texts are made of phrases, and hardly ever repeat."""
    for start in range(0, count, BLOCK):
        numbers = np.arange(start, min(start + BLOCK, count), dtype=np.uint64)
        places = mix(numbers[:, None] * np.uint64(PHRASES) + np.arange(PHRASES, dtype=np.uint64)) % len(WORDS)
        for number, (a, b, c, d, *passage) in enumerate(places.astype(np.int64).tolist(), start):
            query = f"{PAIRS[a]} {PAIRS[b]} {PAIRS[c]} {PAIRS[d]}"
            title = f"title {number // 10}" if number % 10 == 0 else None
            yield Row(
                f"r{number}",
                "en",
                query,
                " ".join([FOURS[i] for i in passage]),
                title,
                where=f"made.jsonl:{number + 1}",
            )


def measure(count: int) -> None:
    """Builds, tokenises, opens and seeks in this process, and prints the figures as JSON."""
    start = time.process_time()
    for _ in rows(count // 16):
        pass
    making = 16 * (time.process_time() - start)
    SCRATCH.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=SCRATCH) as name:
        folder = Path(name) / "store"
        clock, cores = time.perf_counter(), time.process_time()
        write_store(without_duplicates(rows(count), BadRows(skip=False)), folder, lambda: {"name": "made", "notes": []})
        build = {"clock": time.perf_counter() - clock, "cores": time.process_time() - cores - making}
        build_gib = peak_gib("self")

        clock = time.perf_counter()
        store = Store(folder)
        last = store.ids[count - 1], store.texts[len(store.texts) - 1]
        opening = time.perf_counter() - clock
        if last[0] != f"r{count - 1}" or store.meta["records"] != count:
            sys.exit(f"error: the store ends with {last}")

        pools: dict[Kind, dict[str | None, np.ndarray]] = {
            "monolingual": store.pools("monolingual", np.ones(count, bool))
        }
        mixture = MixtureConfig(weights={"monolingual": 1})
        schedule = Schedule(mixture, {"made": pool_sizes(store, pools)}, BATCH, seed=0)
        seeks = []
        for step in range(10**6, 10**6 + SEEKS):
            clock = time.perf_counter()
            pair(store, pools, schedule(step), {"en": 1.0})
            seeks.append(time.perf_counter() - clock)

        texts = np.unique(store.entries["passage"][:TOKENISED])
        tokenizer = _tokenizer(Path(name))
        clock = time.perf_counter()
        cores = time.process_time()
        table = write_tokens(store, texts, tokenizer, "", 256, Path(name) / "tokens")
        seconds = time.perf_counter() - clock, time.process_time() - cores
        tokens = int(table.lengths(texts).sum())
        size = sum(file.stat().st_size for file in folder.iterdir())
    figures = {
        "rows": count,
        "build_clock": build["clock"],
        "build_cores": build["cores"],
        "build_gib": build_gib,
        "open": opening,
        "seek": statistics.median(seeks),
        "tokens_per_second": tokens / seconds[0],
        "tokens_per_core_second": tokens / seconds[1],
        "disk_gib": size / 2**30,
    }
    print("\n" + json.dumps(figures))


def _tokenizer(folder: Path) -> Tokenizer:
    """One token per word."""
    numbers = {word: i for i, word in enumerate(["<unk>", "[PAD]", *WORDS])}
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel(numbers, unk_token="<unk>"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    (folder / "words").mkdir()
    words.save(str(folder / "words" / "tokenizer.json"))
    return Tokenizer(folder / "words")


def exponent(sizes: list[int], seconds: list[float]) -> float:
    """The slope of log seconds over log sizes, by least squares."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000, help="the largest size (default: 10,000,000)")
    parser.add_argument("--measure", action="store_true", help="this size alone, in this process")
    options = parser.parse_args()
    if options.rows < (1000 if options.measure else 16_000):
        parser.error(f"--rows {options.rows}: give at least 16000, as a sixteenth of them is measured too")
    if options.measure:
        measure(options.rows)
        return
    print(json.dumps(machine()))
    results = []
    for count in (options.rows // 16, options.rows // 4, options.rows):
        child = run_child(python("-m", "benchmarks.store", "--rows", str(count), "--measure"))
        if child.status:
            sys.exit(f"error: {count:,} rows ended with status {child.status}:\n{child.output[-2000:]}")
        figures = last_json(child.output)
        results.append(figures)
        print(
            f"{count:>12,} rows: build {figures['build_cores']:.1f} core-seconds "
            f"({figures['build_clock']:.1f} s by the clock), {figures['build_gib']:.2f} GiB at most, "
            f"{figures['disk_gib']:.2f} GiB on disk; open {figures['open'] * 1000:.1f} ms; "
            f"seek {figures['seek'] * 1000:.2f} ms; {figures['tokens_per_second']:,.0f} tokens/s "
            f"({figures['tokens_per_core_second']:,.0f} per core-second)",
            flush=True,
        )
    sizes = [figures["rows"] for figures in results]
    grown = (results[-1]["build_gib"] - results[0]["build_gib"]) * 2**30 / (sizes[-1] - sizes[0])
    print(f"the build's time grows with rows^{exponent(sizes, [f['build_cores'] for f in results]):.2f}", flush=True)
    print(f"its memory by {grown:.0f} bytes a row")


if __name__ == "__main__":
    main()
