"""Exchange of exported models with the Hugging Face Hub; nothing is transferred unless the caller asks for it.

A model of the Hub passes the same checks as any other checkpoint, see `runs.checkpoint.load_checkpoint`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mammoseg
from mammoseg.errors import UserError
from mammoseg.exported_model import CARD_FILE, CONFIG_FILE, METADATA_KEY, WEIGHTS_FILE, read_card_metadata
from mammoseg.optional_imports import import_optional
from mammoseg.runs.checkpoint import load_checkpoint

FILES = (WEIGHTS_FILE, CONFIG_FILE, CARD_FILE)  # that are downloaded
PURPOSE, EXTRA = "the Hugging Face Hub", "hub"  # of the dependency
REPO_ID = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)  # owner/name


def download(repo_id: str, revision: str | None = None, token: str | None = None) -> Path:
    """Download an exported model to the cache of huggingface_hub, unless it is there.

    Args:
        repo_id: Repository, such as "owner/name".
        revision: Branch, tag or commit; None for the main branch. A commit makes sure that the model does not change.
        token: Access token for private repositories; None for that of `hf auth login`.

    Returns:
        Folder of the model.

    Raises:
        UserError: If huggingface_hub is not installed, or the model cannot be downloaded.
    """
    library = import_library()
    check_repo_id(repo_id)
    with reported_errors(repo_id, "downloaded from"):
        folder = library.snapshot_download(
            repo_id,
            revision=revision,
            token=token,
            allow_patterns=list(FILES),
            library_name="mammoseg",
            library_version=mammoseg.__version__,
        )
    return Path(folder)


def push_to_hub(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool = True,
    token: str | None = None,
    trusted_modules: Sequence[str] = (),
) -> str:
    """Check an exported model and upload its files to the Hugging Face Hub.

    Args:
        folder: Output folder of `mammoseg.export`.
        repo_id: Repository, such as "owner/name"; it is created if it does not exist.
        private: Whether a new repository is private.
        token: Access token; None for that of `hf auth login`.
        trusted_modules: Modules or classes that the model may instantiate, besides those that `conf/` names.

    Returns:
        URL of the commit.

    Raises:
        UserError: If the model is invalid or has no model card, huggingface_hub is missing, or the upload fails.

    Example:
        >>> import mammoseg
        >>> mammoseg.push_to_hub("my-model", "owner/my-model")  # doctest: +SKIP
        'https://huggingface.co/owner/my-model/commit/...'
    """
    folder = Path(folder).expanduser()
    check_repo_id(repo_id)
    check_complete(folder, trusted_modules)
    api = import_library().HfApi(token=token, library_name="mammoseg", library_version=mammoseg.__version__)
    message = f"Upload a model with mammoseg {mammoseg.__version__}"
    with reported_errors(repo_id, "uploaded to"):
        api.create_repo(repo_id, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo_id, folder_path=folder, allow_patterns=[*FILES, "model.onnx"], commit_message=message
        )
    return str(commit.commit_url)


def check_complete(folder: Path, trusted_modules: Sequence[str] = ()) -> None:
    """Check that a folder is an exported model with a model card.

    Args:
        folder: The folder.
        trusted_modules: See `push_to_hub`.

    Raises:
        UserError: If it is not, or the model contains a class that is not trusted.
    """
    if not (folder / WEIGHTS_FILE).is_file():
        raise UserError(f"{folder}: has no {WEIGHTS_FILE}; give the output folder of mammoseg.export")
    load_checkpoint(folder, ("model",), trusted_modules)
    if read_card_metadata(folder / CARD_FILE).get(METADATA_KEY, {}).get("sha256") is None:
        raise UserError(f"{folder / CARD_FILE}: must state the hash of the weights; export the checkpoint again")


def check_repo_id(repo_id: str) -> None:
    """Check the name of a repository.

    Raises:
        UserError: If it does not consist of an owner and a name.
    """
    if REPO_ID.fullmatch(repo_id) is None:
        raise UserError(f"a repository on the Hub must be given as owner/name, got {repo_id}")


def import_library() -> Any:
    """Import huggingface_hub, an optional dependency.

    Raises:
        UserError: If it is not installed.
    """
    return import_optional("huggingface_hub", PURPOSE, EXTRA)


@contextmanager
def reported_errors(repo_id: str, action: str) -> Iterator[None]:
    """Convert the errors of huggingface_hub and of its HTTP library to UserError during the block.

    Errors of the connection are those of requests before version 1.0 of huggingface_hub, and of httpx, which are not of
    the type OSError, in later versions. `HfHubHTTPError` has the same base class in each case.

    Args:
        repo_id: Repository, for the message.
        action: "downloaded from" or "uploaded to", for the message.

    Raises:
        UserError: If there is such an error.
    """
    errors = import_optional("huggingface_hub.errors", PURPOSE, EXTRA)
    try:
        yield
    except (*errors.HfHubHTTPError.__bases__, OSError, ValueError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UserError(f"{repo_id}: cannot be {action} the Hub ({reason})") from error
