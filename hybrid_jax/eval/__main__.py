"""python -m hybrid_jax.eval --ckpt RUN_OR_MODEL --tasks demo,xquad_r,mlqa_r --data-dir FOLDER"""

import argparse
import signal
import sys
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from hybrid_jax.disk.addresses import refuse_addresses
from hybrid_jax.disk.without_torch import leave_torch_out
from hybrid_jax.embed.model_options import add_checkpoint, add_model, load_from_options
from hybrid_jax.runtime.allocator import keep_freed_memory, use_huge_pages
from hybrid_jax.runtime.faults import retry_faults
from hybrid_jax.runtime.leave import leave
from hybrid_jax.runtime.processes import add_distributed, joined
from hybrid_jax.runtime.program import program

if TYPE_CHECKING:
    from hybrid_jax.debias.methods import Method
    from hybrid_jax.eval.opened import TasksByName

ROWS_PER_SHARD, TEXTS_PER_LANGUAGE = 16_384, 1000
ALSO = ("figures", "trec", "mteb")
NOTHING = {
    "figures": "figures show tasks that are ranked in full, and curves of watched runs",
    "trec": "rankings are of tasks with queries and candidates; bitext has none",
    "mteb": "there is no result",
}
"""Why one of `ALSO` may have written nothing."""
COMMANDS = {
    "compare": "hybrid_jax.eval.compare",
    "embed": "hybrid_jax.embed.corpus",
    "watch": "hybrid_jax.eval.watch.command",
}
DESCRIPTION = """Evaluates a run's checkpoint or a published model: exact full rankings in the monolingual (Mo.),
cross-lingual (Cr.) and multilingual (Mul.) settings, with intervals and every measure of language bias.

  demo       the held-out facts of the built-in corpus
  xquad_r    XQuAD-R (LAReQA), 11 languages: DATA_DIR/xquad-r/*.json
  mlqa_r     MLQA-R (LAReQA), 7 languages: DATA_DIR/mlqa-r/*.json
  xquad      XQuAD paragraphs, 12 languages: DATA_DIR/xquad/xquad.*.json (or xquad-r/); Mo. is mteb's figure
  mlqa_dev   MLQA paragraphs, a task per question language: DATA_DIR/MLQA_V1/ (or mlqa-r/); a pair's figure is mteb's
  mlqa_test  the same on the test split: DATA_DIR/MLQA_V1/
  tydiqa     TyDiQA-GoldP passages, 9 languages: DATA_DIR/tydiqa-goldp-v1.1-dev.json; bias is the drop in the pool
  belebele   Belebele passages, 900 questions in 11 languages: DATA_DIR/Belebele/*.jsonl;
             belebele:LANG+LANG+… chooses others by their FLORES codes
  pooled:FOLDER   corpus.jsonl, queries.jsonl and qrels/test.tsv as in BEIR, with "lang" on each line

  beir:FOLDER     the same, searched for nDCG@10, R@100, mAP@100 and MRR@10 of any size of corpus, graded qrels
  miracl, miracl_hn, miracl_LANG, miracl_hn_LANG   MIRACL, 18 languages: the full corpora, or the hard-negatives pool
  flores, ntrex, tatoeba   bitext mining: accuracy, F1, margin-based F1
  bitext:FILE     the same of your own: a column per language, or a folder with a text file per language (test.en, …)

xquad_r and mlqa_r are measured with sentence + paragraph candidates (the headline, as LAReQA) and with sentences alone.
Writes report.json, report.md, report.html, and per_query.npz with the values of every query; other commands:

  python -m hybrid_jax.eval compare RUN OTHER_RUN   intervals, and which differences are evidence (see its --help)
  python -m hybrid_jax.eval watch RUN               every new checkpoint of a run in progress (see its --help)
  python -m hybrid_jax.eval embed …                 a corpus' embeddings on disk, resumable (see its --help)"""


def main() -> int:
    retry_faults()
    command, *rest = sys.argv[1:] or [""]
    if command in COMMANDS:
        return import_module(COMMANDS[command]).main(rest)
    parser = argparse.ArgumentParser(
        program("eval"),
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_checkpoint(parser)
    parser.add_argument("--tasks", default="demo", help="task names, separated by commas (default: demo)")
    parser.add_argument(
        "--data-dir",
        type=Path,
        help="where the tasks' official files lie (default: $HYBRID_JAX_DATA or ../shared/data)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="the report's folder (default: RUN/eval for a run, eval-NAME here for a model; with --truncate-dim N, -N "
        "is added)",
    )
    parser.add_argument("--title", help="the report's title (default: the run's name and step)")
    parser.add_argument(
        "--untrained", action="store_true", help="evaluate the run before its first step too, side by side"
    )
    parser.add_argument(
        "--csls",
        action="store_true",
        help="evaluate with CSLS scores too, side by side: they lower candidates that are near to many queries",
    )
    parser.add_argument(
        "--cutoffs",
        type=_cutoffs,
        default=(),
        metavar="1,5,10,100",
        help="score searched pools (beir, miracl) at these cut-offs too: nDCG, recall, mAP and MRR of the first k",
    )
    parser.add_argument(
        "--also",
        type=_also,
        default=(),
        metavar="figures,trec,mteb",
        help="also write the report's figures as PNG, SVG and PDF; TREC runs and qrels; results in mteb's shape",
    )
    stores = parser.add_argument_group("embeddings of searched pools (beir, miracl), kept on disk")
    stores.add_argument(
        "--stores",
        type=Path,
        metavar="FOLDER",
        help="write them to FOLDER/POOL and search them there; resumed after a kill, reused by the same model",
    )
    stores.add_argument("--store-dtype", choices=("float32", "float16", "int8"), default="float32")
    stores.add_argument(
        "--rows-per-shard", type=int, metavar="N", help=f"what a kill can lose (default: {ROWS_PER_SHARD})"
    )
    add_model(parser)
    debias = parser.add_argument_group("post-hoc debiasing, shown beside the raw figures")
    debias.add_argument("--debias", default="", metavar="METHODS", help="of center, lir, shift and lsar")
    debias.add_argument(
        "--debias-text",
        type=Path,
        nargs="+",
        default=(),
        metavar="FILE",
        help='what to fit them on: JSON lines with "lang" and "text", or training data; what is evaluated is left out',
    )
    debias.add_argument("--debias-texts-per-language", type=int, metavar="N", help=f"default: {TEXTS_PER_LANGUAGE}")
    add_distributed(parser)
    arguments = parser.parse_args()
    keep_freed_memory()
    leave_torch_out()
    try:
        refuse_addresses(arguments)
        with joined(arguments.distributed):
            return _evaluate(arguments)
    except (ValueError, OSError) as error:  # what the parts raise on purpose, and a full disk
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; no report was written", file=sys.stderr)
        return 128 + signal.SIGINT


def _evaluate(arguments: argparse.Namespace) -> int:
    from hybrid_jax.debias.methods import parse_methods  # imports jax, which --help does not need
    from hybrid_jax.embed.together import leading, leads, wait_for_leader
    from hybrid_jax.eval import job
    from hybrid_jax.eval.opened import searched

    if arguments.stores is None and arguments.store_dtype != "float32":
        raise ValueError(f"--store-dtype {arguments.store_dtype} is how --stores are kept: name their folder too")
    if arguments.debias_text and not arguments.debias:
        raise ValueError("--debias-text is what --debias is fitted on: name methods too, such as --debias lsar")
    if arguments.rows_per_shard is not None and (arguments.stores is None or arguments.rows_per_shard < 1):
        raise ValueError(f"--rows-per-shard {arguments.rows_per_shard}: give 1 or more, and the folder of --stores")
    if arguments.debias_texts_per_language is not None and not arguments.debias:
        raise ValueError("--debias-texts-per-language is for --debias: name methods too, such as --debias lsar")
    if not leads():
        wait_for_leader()
        load_from_options(arguments).follow()
        return 0
    methods = parse_methods(arguments.debias) if arguments.debias else ()
    opened = job.open_tasks(arguments.tasks, arguments.data_dir, partial(print, flush=True))
    if arguments.cutoffs and not searched(opened):
        raise ValueError("--cutoffs are for searched pools: name one in --tasks, such as beir:FOLDER or miracl_sw")
    if arguments.stores and not searched(opened):
        raise ValueError("--stores keeps searched pools: name one in --tasks, such as beir:FOLDER or miracl_sw")
    with leading():
        return _measure(arguments, opened, methods)


def _measure(arguments: argparse.Namespace, opened: "TasksByName", methods: "tuple[Method, ...]") -> int:
    import jax

    from hybrid_jax.embed.identity import embedding_identity
    from hybrid_jax.embed.load import load_untrained
    from hybrid_jax.embed.run import read_config
    from hybrid_jax.embed.truncation import truncated
    from hybrid_jax.eval import job
    from hybrid_jax.eval.pools import Stores
    from hybrid_jax.eval.report.text import headline_table
    from hybrid_jax.eval.report.trec import TrecWriter

    say = partial(print, flush=True)
    if arguments.untrained and jax.process_count() > 1:
        raise ValueError("--untrained is for one process, and this run has several: leave one of the two out")
    encoder = load_from_options(arguments)
    origin, before = encoder.origin, None
    if arguments.untrained:
        read_config(origin.folder)  # raises where the folder is no run
        before = load_untrained(
            origin.folder,
            query_prompt=arguments.query_prompt,
            passage_prompt=arguments.passage_prompt,
            max_length=arguments.max_length,
            dtype=arguments.compute_dtype,
        )
    cut = "" if origin.truncate_dim is None else f"-{origin.truncate_dim}"
    name = Path(origin.model_name).name
    out = arguments.out or (origin.folder / f"eval{cut}" if origin.is_run else Path(f"eval-{name}{cut}"))
    debias = {}
    if methods:
        say(f"fitting {', '.join(methods)} on {', '.join(map(str, arguments.debias_text))}")
        texts = arguments.debias_texts_per_language
        texts = TEXTS_PER_LANGUAGE if texts is None else texts
        debias = job.fit_debiasing(encoder, methods, arguments.debias_text, texts, opened)
        say("\n".join(debiaser.summary() for debiaser in debias.values()))
    say(f"evaluating {origin.folder}{f', step {origin.step},' if origin.is_run else ''} on {', '.join(opened)}")
    trec = TrecWriter(out / "trec", tag=origin.name) if "trec" in arguments.also else None
    stores = None
    if arguments.stores:
        layout = arguments.store_dtype, arguments.rows_per_shard or ROWS_PER_SHARD
        stores = Stores(arguments.stores, embedding_identity(encoder), origin.stated(), *layout)
    warn = partial(print, file=sys.stderr, flush=True)
    evaluation = job.measure(
        encoder,
        opened,
        say,
        debias=debias,
        csls=arguments.csls,
        cutoffs=arguments.cutoffs,
        trec=trec,
        stores=stores,
        warn=warn,
    )
    untrained = None
    if before is not None:
        untrained = job.measure(
            truncated(before, encoder.dim),
            opened,
            lambda line: say(f"untrained, {line}"),
            cutoffs=arguments.cutoffs,
        )
    report, paths = job.publish(
        encoder, evaluation, out, title=arguments.title, untrained=untrained, debias=debias, also=arguments.also
    )
    say(headline_table(report))
    if trec is not None and trec.paths:
        paths.append(out / "trec")
    for kind in arguments.also:
        if out / kind not in paths:
            say(f"--also {kind} wrote nothing: {NOTHING[kind]}")
    say("report: " + "  ".join(str(path) for path in paths))
    return 0


def _cutoffs(text: str) -> tuple[int, ...]:
    from hybrid_jax.eval.measures.cutoffs import parse

    try:
        return parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _also(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in ALSO]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(ALSO)}")
    return names


if __name__ == "__main__":
    use_huge_pages()
    leave(main())
