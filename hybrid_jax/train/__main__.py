"""python -m hybrid_jax.train --config FILE --workdir FOLDER [--mixture.monolingual_fraction 0.3 …]"""

import argparse
import errno
import logging
import signal
import sys
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from hybrid_jax.disk.addresses import refuse_addresses
from hybrid_jax.disk.without_torch import leave_torch_out
from hybrid_jax.runtime.allocator import keep_freed_memory, use_huge_pages
from hybrid_jax.runtime.faults import retry_faults
from hybrid_jax.runtime.late_writes import ignore_late_writes
from hybrid_jax.runtime.leave import STOPPED, leave
from hybrid_jax.runtime.processes import add_distributed, start_distributed
from hybrid_jax.runtime.program import program

if TYPE_CHECKING:
    from hybrid_jax.config import Config

DESCRIPTION = """Trains the run that a config describes; resumes it if the workdir has a part of it.

  python -m hybrid_jax.train plan --config FILE …   what it will need: memory of each device, programs, collectives
  python -m hybrid_jax.train summary WORKDIR        what it has done, and where its time went

SIGTERM, SIGINT (Ctrl-C) and SIGUSR1 save the next step and end with status 75: the same command goes on from there. A
second signal ends at once. docs/reliability.md says more.

Any field of the config can be overridden: --mixture.monolingual_fraction 0.3, --optimizer.learning_rate 1e-4 …
All fields with their values: --help-config. A config to start from: --example-config > my.yaml"""

PLAN = """Compiles the steps of a run, without training, and says what they need on each device.

Prepares the data as training does. The exit status is 1 if a step does not fit, and the message names the settings to
change. To pretend 8 devices, set JAX_PLATFORMS=cpu and XLA_FLAGS=--xla_force_host_platform_device_count=8."""

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def main() -> int:
    if sys.argv[1:2] == ["summary"]:
        return _summary()
    planning = sys.argv[1:2] == ["plan"]
    parser = argparse.ArgumentParser(
        program("train plan" if planning else "train"),
        description=PLAN if planning else DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    training = not {"--help-config", "--example-config"} & set(sys.argv)
    parser.add_argument("--config", type=Path, required=training, help="a YAML file, such as configs/demo.yaml")
    if not planning:
        parser.add_argument("--workdir", type=Path, required=training, help="the run's folder; a run there is resumed")
        add_distributed(parser)
        parser.add_argument("--example-config", action="store_true", help="print a commented config to start from")
    parser.add_argument("--skip-bad-rows", action="store_true", help="skip bad rows of the data, and list them")
    parser.add_argument("--help-config", action="store_true", help="list every field, with its default or FILE's value")
    arguments, overrides = parser.parse_known_args(sys.argv[1 + planning :])
    if not planning and arguments.example_config:
        sys.stdout.write((files("hybrid_jax.train") / "example.yaml").read_text(encoding="utf-8"))
        return 0
    try:
        refuse_addresses(arguments)
        return (_plan if planning else _train)(arguments, overrides, parser.prog)
    except (ValueError, OSError) as error:  # mistakes in config or data, and a full disk
        full = isinstance(error, OSError) and error.errno in _FULL
        hint = ": make room, and give the same command again" if full else ""
        print(f"error: {error}{hint}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # before `Signals.listen`, or while planning
        print(f"stopped; the same command {'plans' if planning else 'begins'} again", file=sys.stderr)
        return 128 + signal.SIGINT


def _train(arguments: argparse.Namespace, overrides: list[str], prog: str) -> int:
    config = _start(arguments, overrides, prog)
    import jax

    from hybrid_jax.runs.checkpoint import steps
    from hybrid_jax.runtime.peers import Peers
    from hybrid_jax.runtime.signals import Signals
    from hybrid_jax.train.loop import train

    peers = Peers(lambda: max(steps(arguments.workdir / "checkpoints"), default=None), lambda: signals.clean_up())
    signals = Signals(f"the same command resumes {arguments.workdir} from its last checkpoint", peers.announce)
    signals.listen()
    peers.watch()
    with peers.explained():
        complete = train(config, arguments.workdir, arguments.skip_bad_rows, signals)
    status = 0 if complete else STOPPED
    peers.finished(status)
    signals.finished(status)
    jax.distributed.shutdown()  # waits for the other processes, which would take an earlier end for a failure
    return status


def _plan(arguments: argparse.Namespace, overrides: list[str], prog: str) -> int:
    config = _start(arguments, overrides, prog)
    from hybrid_jax.train.plan import plan

    plan(config, arguments.skip_bad_rows, lambda line: print(line, flush=True))
    return 0


def _summary() -> int:
    parser = argparse.ArgumentParser(
        program("train summary"),
        description="Says what a run has done so far, and where its time went: training, waiting for input, compiling, "
        "saving, measuring the held-out loss, starting, and steps that were done again.",
        allow_abbrev=False,
    )
    parser.add_argument("run", type=Path, help="the workdir of a run, finished or not")
    arguments = parser.parse_args(sys.argv[2:])
    from hybrid_jax.train.summary import summary

    try:
        refuse_addresses(arguments)
        for line in summary(arguments.run):
            print(line)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _start(arguments: argparse.Namespace, overrides: list[str], prog: str) -> "Config":
    """The config; and jax, connected to the other processes and with its cache of compiled programs."""
    keep_freed_memory()
    leave_torch_out()
    retry_faults()
    ignore_late_writes()
    logging.getLogger("absl").setLevel(logging.CRITICAL)  # Orbax also logs the tracebacks of errors that it raises
    from hybrid_jax.config import load_config, show_fields  # imported late: jax is not needed for --help
    from hybrid_jax.runtime.compilation import give_back_after_compiling, keep_compiled

    if arguments.help_config:
        show_fields(arguments.config, overrides, prog)
    config = load_config(arguments.config, overrides, prog)
    start_distributed(getattr(arguments, "distributed", None))  # which `train plan` has not
    give_back_after_compiling()
    keep_compiled(Path(config.data.cache_dir), lambda line: print(f"warning: {line}", file=sys.stderr))
    return config


if __name__ == "__main__":
    use_huge_pages()
    leave(main())
