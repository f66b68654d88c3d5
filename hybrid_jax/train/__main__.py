"""python -m hybrid_jax.train --config FILE --workdir FOLDER [--mixture.monolingual_fraction 0.3 …]"""

import argparse
import errno
import logging
import signal
import sys
from pathlib import Path

from hybrid_jax.runtime.allocator import keep_freed_memory, use_huge_pages
from hybrid_jax.runtime.leave import leave

DESCRIPTION = """Trains the run that a config describes; resumes it if the workdir has a part of it.

Any field of the config can be overridden: --mixture.monolingual_fraction 0.3, --optimizer.learning_rate 1e-4 …
All fields with their values: add --help-config."""

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def main() -> int:
    parser = argparse.ArgumentParser(
        "python -m hybrid_jax.train",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--config", type=Path, required=True, help="a YAML file, such as configs/demo.yaml")
    parser.add_argument("--workdir", type=Path, required=True, help="the run's folder; a run that is there is resumed")
    parser.add_argument("--skip-bad-rows", action="store_true", help="skip bad rows of the data, and list them")
    parser.add_argument("--help-config", action="store_true", help="list every field of the config")
    arguments, overrides = parser.parse_known_args()
    try:
        _train(arguments, overrides, parser.prog)
    except (ValueError, OSError) as error:  # mistakes in config or data, and a full disk
        full = isinstance(error, OSError) and error.errno in _FULL
        hint = f": make room, and the same command resumes {arguments.workdir}" if full else ""
        print(f"error: {error}{hint}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        print(f"stopped; the same command resumes {arguments.workdir} from its last checkpoint", file=sys.stderr)
        return 128 + (stop.args[0] if stop.args else signal.SIGINT)
    return 0


def _train(arguments: argparse.Namespace, overrides: list[str], prog: str) -> None:
    keep_freed_memory()
    logging.getLogger("absl").setLevel(logging.CRITICAL)  # Orbax also logs the tracebacks of errors that it raises
    from hybrid_jax.config import load_config  # imported late: jax is not needed for --help
    from hybrid_jax.runtime.compilation import keep_compiled
    from hybrid_jax.runtime.mesh import start_distributed
    from hybrid_jax.train.loop import train

    config = load_config(arguments.config, [*overrides, "--help"] if arguments.help_config else overrides, prog)
    start_distributed()
    keep_compiled(Path(config.data.cache_dir), lambda line: print(f"warning: {line}", file=sys.stderr))
    signal.signal(signal.SIGTERM, _stop)  # after jax, whose own handler would not stop the run
    train(config, arguments.workdir, arguments.skip_bad_rows)


def _stop(number: int, frame: object) -> None:
    raise KeyboardInterrupt(number)


if __name__ == "__main__":
    use_huge_pages()
    leave(main())
