"""Uploads an exported folder to the Hugging Face hub; what it would upload can be listed without a token or network."""

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from hybrid_jax.export.settings import ExportError

_REASON = 200
"""Characters of the hub's own message that are shown."""


def check_can_push(repository: str, dry_run: bool) -> None:
    """Raises ExportError for a name that the hub does not allow and, unless it is a dry run, without a token or where
    HF_HUB_OFFLINE is set: before a long export rather than after it."""
    from huggingface_hub import constants, get_token
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repository)
        allowed = repository.count("/") == 1  # the hub allows names without a user, and takes the token's
    except HFValidationError:
        allowed = False
    if not allowed:
        raise ExportError(f"--push-to-hub {repository} is not a user and a name as the hub allows them: give USER/NAME")
    if dry_run:
        return
    if constants.is_offline_mode():
        raise ExportError(f"--push-to-hub {repository}: HF_HUB_OFFLINE is set: unset it, or add --dry-run")
    if get_token() is None:
        raise ExportError(
            f"--push-to-hub {repository}: no token of the Hugging Face hub: type `hf auth login`, or set HF_TOKEN to "
            "one that may write (huggingface.co/settings/tokens); or add --dry-run"
        )


def listed(folder: Path) -> Iterator[tuple[str, int]]:
    """The files of a folder as (path, bytes), sorted: what `push` uploads."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.relative_to(folder).as_posix(), path.stat().st_size


def push(folder: Path, repository: str, private: bool) -> str:
    """Uploads the folder's files to a model repository in one commit, and returns its address.

    The repository is created if there is none. Files of it that the folder does not have stay. Raises ExportError for
    what the hub refuses, when it cannot be reached, and, where `private` is set, for a repository that is public.
    """
    from huggingface_hub import HfApi

    # HTTPError is that of the HTTP library, which is another one in each major version of huggingface_hub.
    from huggingface_hub.errors import HfHubHTTPError, HTTPError  # pyright: ignore[reportPrivateImportUsage]

    api = HfApi(library_name="hybrid_jax")
    command = f"hf upload {repository} {shlex.quote(str(folder))}" + (" --private" if private else "")
    try:
        address = api.create_repo(repository, private=private or None, exist_ok=True)
        if private and not api.repo_info(repository).private:
            raise ExportError(
                f"{repository} is public already, and --private makes only a new repository private: nothing was "
                f"uploaded, and {folder} is complete; make it private ({address}/settings) and type `{command}`, or "
                "upload to another name"
            )
        api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Upload with hybrid_jax")
    except HfHubHTTPError as error:
        status = error.response.status_code
        token = ": the token may not write there" if status in (401, 403) else ""
        raise ExportError(
            f"the hub refused {repository} (status {status}{token}): {_reason(error)}: {folder} is complete; upload it "
            f"with `{command}`"
        ) from None
    except (HTTPError, OSError) as error:
        endpoint = os.environ.get("HF_ENDPOINT", "huggingface.co")
        raise ExportError(
            f"{endpoint} cannot be reached ({_reason(error)}): {folder} is complete; upload it from elsewhere "
            f"with `{command}`"
        ) from None
    return str(address)


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:_REASON].rstrip(".")
