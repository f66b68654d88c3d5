"""The words that started this command, for its usage line."""

import sys

CONSOLE_SCRIPT = "hybrid-jax"


def program(command: str) -> str:
    """What was typed to start a command such as "eval compare": by the console script, or by python -m."""
    from_script = sys.argv[0].startswith(f"{CONSOLE_SCRIPT} ")
    return f"{CONSOLE_SCRIPT} {command}" if from_script else f"python -m hybrid_jax.{command}"
