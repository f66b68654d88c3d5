"""python -m hybrid_jax.eval --ckpt RUN_OR_MODEL --tasks demo,xquad_r,mlqa_r --data-dir FOLDER"""

import argparse
import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hybrid_jax.embed.arguments import add_checkpoint, add_model, load_asked
from hybrid_jax.runtime.allocator import keep_freed_memory

if TYPE_CHECKING:
    from hybrid_jax.eval.tasks import Task

DESCRIPTION = """Evaluates a run's checkpoint or a published model: exact full rankings in the monolingual (Mo.),
cross-lingual (Cr.) and multilingual (Mul.) settings, with the rank distance as a measure of language bias.

  demo       the held-out facts of the built-in corpus
  xquad_r    XQuAD-R (LAReQA), 11 languages: DATA_DIR/xquad-r/*.json
  mlqa_r     MLQA-R (LAReQA), 7 languages: DATA_DIR/mlqa-r/*.json
  xquad      XQuAD paragraphs, 12 languages: DATA_DIR/xquad/xquad.*.json (or xquad-r/); Mo. is mteb's figure
  mlqa_dev   MLQA paragraphs, a task per question language: DATA_DIR/MLQA_V1/ (or mlqa-r/); a pair's figure is mteb's
  mlqa_test  the same on the test split: DATA_DIR/MLQA_V1/
  tydiqa     TyDiQA-GoldP passages, 9 languages: DATA_DIR/tydiqa-goldp-v1.1-dev.json; bias is the drop from Mo. to Mul.
  pooled:FOLDER   corpus.jsonl, queries.jsonl and qrels/test.tsv as in BEIR, with "lang" on each line

  beir:FOLDER     the same, searched for nDCG@10, R@100, mAP@100 and MRR@10 of any size of corpus, graded qrels
  miracl, miracl_hn, miracl_LANG, miracl_hn_LANG   MIRACL, 18 languages: the full corpora, or the hard-negatives pool
  flores, ntrex, tatoeba   bitext mining: accuracy, F1, margin-based F1

xquad_r and mlqa_r are measured with sentence + paragraph candidates (the headline, as LAReQA) and with sentences alone.
Writes report.json, report.md, report.html, and per_query.npz with every query's values, which another command reads:

  python -m hybrid_jax.eval compare RUN OTHER_RUN   intervals, and which differences are evidence (see its --help)
  python -m hybrid_jax.eval embed …                 a corpus' embeddings on disk, resumable (see its --help)"""


def main() -> int:
    if sys.argv[1:2] == ["compare"]:
        from hybrid_jax.eval.compare import main as compare

        return compare(sys.argv[2:])
    if sys.argv[1:2] == ["embed"]:
        from hybrid_jax.eval.embed import main as embed

        return embed(sys.argv[2:])
    parser = argparse.ArgumentParser(
        "python -m hybrid_jax.eval",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_checkpoint(parser)
    parser.add_argument("--tasks", default="demo", help="task names, separated by commas (default: demo)")
    parser.add_argument(
        "--data-dir",
        type=Path,
        default=_default_data(),
        help="where the tasks' official files lie (default: $HYBRID_JAX_DATA or ../shared/data)",
    )
    parser.add_argument(
        "--out", type=Path, help="the report's folder (default: RUN/eval for a run, eval-NAME here for a model)"
    )
    parser.add_argument("--title", help="the report's title (default: the run's name and step)")
    parser.add_argument(
        "--untrained", action="store_true", help="evaluate the run before its first step too, side by side"
    )
    add_model(parser)
    arguments = parser.parse_args()
    keep_freed_memory()
    try:
        return _evaluate(arguments)
    except (ValueError, OSError) as error:  # what the parts raise on purpose, and a full disk
        print(f"error: {error}", file=sys.stderr)
        return 1


def _evaluate(arguments: argparse.Namespace) -> int:
    from hybrid_jax.embed.load import load_untrained  # jax and all of it: not needed to answer --help
    from hybrid_jax.embed.run import is_run, read_config
    from hybrid_jax.eval import mining, per_query, searching, tasks
    from hybrid_jax.eval.report import build_report, headline_table, write_report
    from hybrid_jax.eval.runner import run
    from hybrid_jax.runtime.provenance import provenance

    say = partial(print, flush=True)
    named = _tasks(arguments.tasks, arguments.data_dir)
    ranked = [task for made in named.values() for task in made if isinstance(task, tasks.RetrievalTask)]
    encoder = load_asked(arguments)
    folder = Path(encoder.facts["folder"])
    if arguments.untrained:
        read_config(folder)  # says so when it is not a run
    step = f"step {encoder.facts['step']}" if is_run(folder) else ""
    name = f"{folder.name}, {step}" if step else folder.name
    print(f"evaluating {step and step + ' of '}{folder} on {', '.join(named)}", flush=True)
    found = run(encoder, ranked, say)
    for key, made in named.items():
        pools = [searching.evaluate(encoder, task) for task in made if isinstance(task, tasks.SearchTask)]
        if pools:
            about = f"{key}, the mean over {len(pools)} pools" if len(pools) > 1 else pools[0]["about"]
            found.setdefault("searches", {})[key] = searching.together(about, pools)
        for task in made:
            if isinstance(task, tasks.BitextTask):
                found.setdefault("bitext", {})[key] = mining.evaluate(encoder, task)
    untrained = None
    if arguments.untrained:
        untrained = run(load_untrained(folder), ranked, lambda line: say(f"untrained, {line}"))
    facts = {**encoder.facts, "evaluated_with": provenance()}
    report = build_report(arguments.title or name, found, facts, untrained)
    out = arguments.out or (folder / "eval" if is_run(folder) else Path(f"eval-{folder.name}"))
    paths = write_report(out, report)
    per_query.write(out / per_query.FILE_NAME, found["per_query"])
    print(headline_table(report))
    print("report: " + "  ".join(str(path) for path in paths))
    return 0


def _tasks(names: str, data_dir: Path | None) -> dict[str, tuple["Task", ...]]:
    """The tasks behind each name asked for."""
    from hybrid_jax.config import ConfigError
    from hybrid_jax.eval import tasks

    def data() -> Path:
        if data_dir is None:
            raise ConfigError(f"--tasks {names!r}: they need their official files: give --data-dir (see docs/data.md)")
        return data_dir

    asked = [name.strip() for name in names.split(",") if name.strip()]
    makers = {name: tasks.maker(name) for name in asked or [names]}
    return {name: make(data) for name, make in makers.items()}


def _default_data() -> Path | None:
    named = os.environ.get("HYBRID_JAX_DATA")
    return Path(named) if named else Path("../shared/data") if Path("../shared/data").is_dir() else None


if __name__ == "__main__":
    sys.exit(main())
