"""python -m hybrid_jax.eval --ckpt RUN --tasks demo,xquad_r,mlqa_r --data-dir FOLDER"""

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from hybrid_jax.runtime.allocator import keep_freed_memory

if TYPE_CHECKING:
    from hybrid_jax.eval.tasks import RetrievalTask

DESCRIPTION = """Evaluates a run's checkpoint: exact full rankings in the monolingual (Mo.), cross-lingual (Cr.) and
multilingual (Mul.) settings, with the rank distance as a measure of language bias.

  demo      the held-out facts of the built-in corpus
  xquad_r   XQuAD-R (LAReQA), 11 languages: DATA_DIR/xquad-r/*.json
  mlqa_r    MLQA-R (LAReQA), 7 languages: DATA_DIR/mlqa-r/*.json

The last two are measured with sentence + paragraph candidates (the headline, as LAReQA) and with sentences alone.
Writes report.json, report.md and report.html."""


def main() -> int:
    parser = argparse.ArgumentParser(
        "python -m hybrid_jax.eval",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--ckpt", type=Path, required=True, metavar="RUN", help="the folder of a run (its --workdir)")
    parser.add_argument("--tasks", default="demo", help="task names, separated by commas (default: demo)")
    parser.add_argument(
        "--data-dir",
        type=Path,
        default=_default_data(),
        help="where the tasks' official files lie (default: $HYBRID_JAX_DATA or ../shared/data)",
    )
    parser.add_argument("--step", type=int, help="the checkpoint's step (default: the latest)")
    parser.add_argument("--out", type=Path, help="the report's folder (default: RUN/eval)")
    parser.add_argument("--title", help="the report's title (default: the run's name and step)")
    parser.add_argument("--untrained", action="store_true", help="evaluate the model before training too, side by side")
    arguments = parser.parse_args()
    keep_freed_memory()
    try:
        return _evaluate(arguments)
    except (ValueError, OSError) as error:  # what the parts raise on purpose, and a full disk
        print(f"error: {error}", file=sys.stderr)
        return 1


def _evaluate(arguments: argparse.Namespace) -> int:
    from hybrid_jax.config import ConfigError, parse_config  # jax and all of it: not needed to answer --help
    from hybrid_jax.eval.encode import RunEncoder
    from hybrid_jax.eval.report import build_report, headline_table, write_report
    from hybrid_jax.eval.runner import run
    from hybrid_jax.runtime.provenance import provenance

    folder: Path = arguments.ckpt
    if not (folder / "config.yaml").exists() or not (folder / "tokenizer").is_dir():
        raise ConfigError(
            f"{folder} is not a run (no config.yaml and tokenizer/): give the --workdir of a training run"
        )
    tasks = [make() for make in _tasks(arguments.tasks, arguments.data_dir)]
    config = parse_config((folder / "config.yaml").read_text(encoding="utf-8"))
    encoder = RunEncoder(folder, config.data, config.model, arguments.step, _warn)
    print(f"evaluating step {encoder.step} of {folder} on {', '.join(task.name for task in tasks)}", flush=True)
    found = run(encoder, tasks)
    untrained = run(encoder.untrained(config.model, config.seed), tasks) if arguments.untrained else None
    starts = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    facts = {
        "step": encoder.step,
        "dtype": config.model.encoder.dtype,
        "evaluated_with": provenance(),
        "trained_with": starts["starts"][0],
        "training_data": starts["data"],
        "config": config.model_dump(mode="json"),
    }
    title = arguments.title or f"{folder.resolve().name}, step {encoder.step}"
    report = build_report(title, found, facts, untrained)
    paths = write_report(arguments.out or folder / "eval", report)
    print(headline_table(report))
    print("report: " + "  ".join(str(path) for path in paths))
    return 0


def _tasks(names: str, data_dir: Path | None) -> list[Callable[[], "RetrievalTask"]]:
    from hybrid_jax.config import ConfigError
    from hybrid_jax.eval import tasks

    known = {"demo": tasks.demo, "xquad_r": lambda: tasks.xquad_r(data()), "mlqa_r": lambda: tasks.mlqa_r(data())}

    def data() -> Path:
        if data_dir is None:
            raise ConfigError("XQuAD-R and MLQA-R need their official files: give --data-dir (see docs/data.md)")
        return data_dir

    asked = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in asked if name not in known]
    if unknown or not asked:
        raise ConfigError(f"--tasks {names!r}: choose from {', '.join(known)}")
    return [known[name] for name in asked]


def _default_data() -> Path | None:
    named = os.environ.get("HYBRID_JAX_DATA")
    return Path(named) if named else Path("../shared/data") if Path("../shared/data").is_dir() else None


def _warn(line: str) -> None:
    print(f"warning: {line}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
