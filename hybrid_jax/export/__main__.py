"""python -m hybrid_jax.export --ckpt RUN_OR_MODEL --out DIR"""

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hybrid_jax.disk.addresses import refuse_addresses
from hybrid_jax.embed.model_options import add_checkpoint, add_truncation, warn
from hybrid_jax.runtime.allocator import keep_freed_memory
from hybrid_jax.runtime.program import program

if TYPE_CHECKING:
    from hybrid_jax.embed.origin import Origin
    from hybrid_jax.export.results import Results

DESCRIPTION = """Writes a run's checkpoint, or a model that hybrid_jax reads, as a folder that others load without code
of ours, and a model card written from the run: what it saw, its data with hashes, its config, its evaluation.

  sentence-transformers   transformer, tokenizer, pooling, projection, normalisation, prompts (versions 5 and 6)
  hf                      transformer and tokenizer alone; whoever loads it must state the pooling and the prompts

The folder is read back and its embeddings are compared before it appears under its name: it is written completely or
not at all."""


def main() -> int:
    parser = argparse.ArgumentParser(
        program("export"),
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_checkpoint(parser)
    parser.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="the folder to write, which must be new or empty"
    )
    parser.add_argument(
        "--format",
        default="sentence-transformers",
        choices=("sentence-transformers", "hf"),
        help="default: %(default)s",
    )
    parser.add_argument(
        "--dtype",
        default="float32",
        choices=("float32", "float16", "bfloat16"),
        help="precision of the weights in the files; 16 bits change the embeddings a little (default: %(default)s)",
    )
    parser.add_argument(
        "--tower", choices=("query", "passage"), help="the tower to export, of a run with two (model.tied false)"
    )
    add_truncation(parser)
    parser.add_argument(
        "--debias",
        type=Path,
        metavar="FILE.npz",
        help="a linear debiasing (lsar) fitted on this model, as `eval --debias` writes it: the exported model gives "
        "debiased vectors",
    )
    parser.add_argument(
        "--report",
        type=Path,
        metavar="report.json",
        help="an evaluation of this checkpoint, for the card (default: RUN/eval/report.json where it is of this step)",
    )
    hub = parser.add_argument_group("the Hugging Face hub")
    hub.add_argument(
        "--push-to-hub",
        metavar="USER/NAME",
        help="then upload the folder to this model repository, which is created if there is none",
    )
    hub.add_argument("--private", action="store_true", help="create it as a private one, or refuse a public one")
    hub.add_argument("--dry-run", action="store_true", help="write the folder, list what would be uploaded, and stop")
    arguments = parser.parse_args()
    for option in ("private", "dry_run"):
        if getattr(arguments, option) and arguments.push_to_hub is None:
            parser.error(f"--{option.replace('_', '-')} is for --push-to-hub USER/NAME: name it too")
    keep_freed_memory()
    try:
        refuse_addresses(arguments)
        return _export(arguments)
    except (ValueError, OSError) as error:  # mistakes in the options or files, and a full disk
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"stopped; {arguments.out} is complete or absent", file=sys.stderr)
        return 128 + signal.SIGINT


def _export(arguments: argparse.Namespace) -> int:
    from hybrid_jax.debias.methods import Debiaser  # imports jax, which --help does not need
    from hybrid_jax.disk.tables import aligned
    from hybrid_jax.embed.load import load
    from hybrid_jax.export.card import write_card
    from hybrid_jax.export.elsewhere import differences
    from hybrid_jax.export.folder import check_free, plan, write_folder
    from hybrid_jax.export.publish import check_can_push, listed, push
    from hybrid_jax.export.verify import BOUNDS
    from hybrid_jax.runs.provenance import provenance
    from hybrid_jax.runs.trained_on import read_trained_on

    out, dtype, repository = arguments.out, arguments.dtype, arguments.push_to_hub
    check_free(out)  # before a large model is read
    if repository is not None:
        check_can_push(repository, arguments.dry_run)
    debias = None if arguments.debias is None else Debiaser.load(arguments.debias)
    encoder = load(arguments.ckpt, step=arguments.step, truncate_dim=arguments.truncate_dim, warn=warn)
    origin = encoder.origin
    what = plan(encoder, format=arguments.format, dtype=dtype, tower=arguments.tower, debias=debias)
    trained_on = read_trained_on(origin.folder / "metrics.jsonl", origin.step) if origin.step is not None else None
    name = out.resolve().name if repository is None else repository
    card = write_card(what, name, trained_on, _results(arguments.report, origin), provenance())
    here = Path.cwd()
    is_here = out.resolve() == here
    distance = write_folder(what, out, card=card)
    print(f"wrote {out} for {arguments.format}, {dtype}; read back and checked")
    original = "the original's" if debias is None else f"the original's debiased ({debias.name})"
    computed = f"{distance:.2g}, computed in float32 (allowed: {BOUNDS[dtype]:g})"
    print(f"largest cosine distance to {original} embeddings: {computed}")
    if is_here:
        os.chdir(here)  # until now this process is in the empty folder that was replaced
        print("note: the folder that you are in was replaced: type `cd .` to see its files")
    for line in differences(what):
        print(f"note: {line}")
    if repository is None:
        return 0
    if arguments.dry_run:
        print(f"would upload to {repository}:")
        print("\n".join(aligned([[f"  {path}", f"{size:,}"] for path, size in listed(out)])))
    else:
        print(f"uploaded to {push(out, repository, arguments.private)}")
    return 0


def _results(report: Path | None, origin: "Origin") -> "Results | None":
    """The evaluation in `report`; if that is None, the run's own, unless it is missing or of another step."""
    from hybrid_jax.export.results import difference, read_results
    from hybrid_jax.export.settings import ExportError

    cut = "" if origin.truncate_dim is None else f"-{origin.truncate_dim}"
    path = origin.folder / f"eval{cut}" / "report.json" if report is None else report
    if report is None and not (origin.is_run and path.is_file()):
        return None
    results = read_results(path)
    mismatch = difference(results, origin)
    if mismatch is None:
        return results
    problem = f"{path} is of another model ({mismatch})"
    if report is not None:
        raise ExportError(f"{problem}: name the report of an evaluation of what is exported")
    warn(f"{problem}: the model card has no evaluation")
    return None


if __name__ == "__main__":
    sys.exit(main())
