"""Training of XLM-R-base's size on a GPU beside sentence-transformers: python -m benchmarks.gpu

NOT YET RUN ON A GPU: none was at hand when this was written. Without one it says so in a line and ends.

bfloat16, 1,024 pairs, every text of full length: queries and passages of 32 and 128 tokens, then of 64 and 256.
Random weights and tokens, dropout .1 and AdamW on both sides. Ours runs once more with `fused_attention`, hence without
dropout of attention's weights ("fused"). Each turn is a new process. Utilisation is the products' FLOP (6 x parameters
of the layers x tokens, and the attention's) over seconds and --peak-tflops.
"""

import argparse
import json
import statistics
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import compare, last_json, machine, python, run_child, take_turns, write_result

Figures = dict[str, Any]
"""Of one process: the seconds of each step, the peak GiB of the GPU, and the shares of its kernels."""
LENGTHS = ((32, 128), (64, 256))
LAYERS, WIDTH, HEADS, VOCABULARY = 12, 768, 12, 250_002


def gpu() -> str | None:
    """The name of the first GPU, or None."""
    script = "import jax; print(jax.devices('gpu')[0].device_kind)"
    child = run_child(python("-c", script))
    return None if child.status else child.output.strip().splitlines()[-1]


def flop(pairs: int, query: int, passage: int) -> float:
    """Of the products of a step, forward and backward; nothing that is computed again is counted."""
    linear = 6 * LAYERS * 12 * WIDTH**2 * pairs * (query + passage)
    return linear + 12 * LAYERS * WIDTH * pairs * (query**2 + passage**2)


def ours(pairs: int, query: int, passage: int, steps: int, fused: bool = False) -> Figures:
    """Queries and passages share packed rows."""
    import jax

    from benchmarks.one_step import make_step, random_batch, time_steps
    from benchmarks.top_kernels import trace
    from hybrid_jax.runtime.mesh import MeshConfig, make_mesh, put_batch

    mesh = make_mesh(MeshConfig(data=1))
    sizes = {"vocab_size": VOCABULARY, "hidden_size": WIDTH, "num_layers": LAYERS, "num_heads": HEADS}
    sizes |= {"intermediate_size": 4 * WIDTH, "dtype": "bfloat16", "fused_attention": fused}
    sizes["attention_dropout"] = 0.0 if fused else 0.1
    step, state = make_step(sizes, mesh, steps)
    lengths = np.repeat([query, passage], pairs)
    batch = put_batch(mesh, random_batch(np.random.default_rng(0), lengths, VOCABULARY, passage, 256, 1))
    state, seconds = time_steps(step, state, batch, steps)
    peak = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use", 0)
    return {"seconds": seconds, "gib": peak / 2**30, "kernels": trace(lambda: step(state, batch))}


def peer(pairs: int, query: int, passage: int, steps: int) -> Figures:
    """Likewise with torch, and the cached loss of sentence-transformers."""
    import torch
    from sentence_transformers.sentence_transformer.losses import CachedMultipleNegativesRankingLoss
    from transformers import BertConfig, BertModel

    sizes = {"vocab_size": VOCABULARY, "hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS}
    bert = BertModel(BertConfig(**sizes, intermediate_size=4 * WIDTH)).to("cuda").train()

    class Mean(torch.nn.Module):
        """Texts to unit vectors: what the loss asks of a SentenceTransformer."""

        def forward(self, features: dict) -> dict:
            hidden = bert(**features).last_hidden_state.mean(dim=1)  # every text has the full length
            return {"sentence_embedding": torch.nn.functional.normalize(hidden, dim=-1)}

    model = Mean()
    loss = CachedMultipleNegativesRankingLoss(model, mini_batch_size=128)
    optimizer = torch.optim.AdamW(bert.parameters(), lr=2e-5, fused=True)
    shapes = ((pairs, query), (pairs, passage))
    tokens = [torch.randint(5, 30_000, shape, device="cuda") for shape in shapes]
    seconds = []
    for _ in range(steps):
        torch.cuda.synchronize()
        start = time.perf_counter()
        features = [{"input_ids": ids, "attention_mask": torch.ones_like(ids)} for ids in tokens]
        with torch.autocast("cuda", torch.bfloat16):
            loss(features, None).backward()
        optimizer.step()
        optimizer.zero_grad()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return {"seconds": seconds, "gib": torch.cuda.max_memory_allocated() / 2**30, "kernels": []}


SIDES = {"ours": ours, "fused": partial(ours, fused=True), "peer": peer}


def turn(side: str, pairs: int, lengths: tuple[int, int], steps: int) -> tuple[float, float]:
    """Median seconds a step, without the first two, and peak GiB of the GPU, of one process; prints its kernels."""
    numbers = ("--pairs", str(pairs), "--steps", str(steps))
    child = run_child(python("-m", "benchmarks.gpu", "--side", side, "--lengths", *map(str, lengths), *numbers))
    if child.status:
        sys.exit(f"{side}: status {child.status}:\n{child.output[-2000:]}")
    figures = last_json(child.output)
    for name, share in figures["kernels"]:
        print(f"  {side}, {lengths} tokens: {share:5.1%} {name[:90]}")
    return statistics.median(figures["seconds"][2:]), figures["gib"]


def main() -> None:
    """Prints every turn, pairs a second and utilisation; writes them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument(
        "--peak-tflops", type=float, default=989.0, help="the card's, bfloat16, dense (default: H100's)"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    parser.add_argument("--side", choices=tuple(SIDES), help=argparse.SUPPRESS)
    parser.add_argument("--lengths", nargs=2, type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print("\n" + json.dumps(SIDES[options.side](options.pairs, *options.lengths, options.steps)))
        return
    card = gpu()
    if card is None:
        print("gpu: jax finds none, so this part is left out")
        return
    header, every = {**machine(), "gpu": card}, {}
    print(json.dumps(header))
    for lengths in LENGTHS:
        arguments = (options.pairs, lengths, options.steps)
        programs = {side: partial(turn, side, *arguments) for side in SIDES}
        turns = take_turns(programs, options.rounds)
        for side, figures in turns.items():
            seconds, gib = (statistics.median(values) for values in zip(*figures, strict=True))
            used = flop(options.pairs, *lengths) / seconds / options.peak_tflops / 1e12
            rate = f"{options.pairs / seconds:,.0f} pairs/s"
            print(f"{side}, {lengths} tokens: {rate}, {used:.0%} utilisation, {gib:.1f} GiB")
        for side in ("ours", "fused"):
            print(compare(f"{side} against sentence-transformers, {lengths} tokens", turns[side], turns["peer"]))
        every[str(lengths)] = turns
    write_result(options.out, "gpu", header, vars(options), every)


if __name__ == "__main__":
    main()
