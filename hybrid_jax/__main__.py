"""The console script: `hybrid-jax train …` is `python -m hybrid_jax.train …`, and so for every command."""

import difflib
import runpy
import sys

from hybrid_jax.runtime.program import CONSOLE_SCRIPT

COMMANDS = {
    "train": "train the run that a config describes, or resume it; `train plan` says what it will need",
    "eval": "evaluate a run or a published model; `eval compare`, `eval watch` and `eval embed` as well",
    "ablate": "train and evaluate a config with a few fields varied, over several seeds, and compare the runs",
    "export": "write a run as a folder that sentence-transformers loads, with a model card",
    "data": "prepare, describe and preview the training data, and look for the evaluation in it (`data leakage`)",
}
"""The rooms that are commands, and what each does."""
HELP = f"""usage: {CONSOLE_SCRIPT} COMMAND … | --version | --help

Trains and evaluates multilingual dual encoders. `{CONSOLE_SCRIPT} COMMAND --help` describes a command;
`python -m hybrid_jax.train` is the same as `{CONSOLE_SCRIPT} train`, and so on.

{{commands}}

To begin: {CONSOLE_SCRIPT} train --example-config > my.yaml
          {CONSOLE_SCRIPT} train --config my.yaml --workdir runs/first"""


def main() -> int:
    """Runs the command that is named first. Returns the exit status of --help, --version and wrong names."""
    command, *words = sys.argv[1:] or ["--help"]
    if command in ("-h", "--help", "help"):
        print(HELP.format(commands="\n".join(f"  {name.ljust(8)}{text}" for name, text in COMMANDS.items())))
    elif command in ("-V", "--version"):
        import hybrid_jax

        print(f"hybrid_jax {hybrid_jax.__version__}")
    elif command in COMMANDS:
        sys.argv = [f"{CONSOLE_SCRIPT} {command}", *words]
        runpy.run_module(f"hybrid_jax.{command}", run_name="__main__")
    else:
        near = difflib.get_close_matches(command, COMMANDS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"the commands are {', '.join(COMMANDS)}"
        print(f"error: no command {command!r}: {hint}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
