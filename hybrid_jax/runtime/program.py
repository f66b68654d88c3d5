"""The words that started this command, for its usage line."""

import sys

CONSOLE_SCRIPT = "hybrid-jax"


def program(command: str) -> str:
    """ "hybrid-jax COMMAND" if the console script started this process, else "python -m hybrid_jax.COMMAND"."""
    from_script = sys.argv[0].startswith(f"{CONSOLE_SCRIPT} ")
    return f"{CONSOLE_SCRIPT} {command}" if from_script else f"python -m hybrid_jax.{command}"
