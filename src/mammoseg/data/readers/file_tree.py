"""Directory traversal for finding images."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn, TypeVar

from mammoseg.errors import UserError

# Hidden files and folders, __MACOSX, and lock files of office software.
IGNORED_FOLDERS = (".", "__")
IGNORED_FILES = (".", "~$")
Key = TypeVar("Key")


def walk(
    root: Path,
    *,
    max_depth: int | None = None,
    skip_folder: Callable[[Path, Sequence[str]], bool] | None = None,
) -> Iterator[tuple[Path, list[str]]]:
    """Traverse a folder top-down in sorted order.

    Symbolic links are followed, but each folder is visited only once. Hidden files and folders are skipped.

    Args:
        root: Folder to start from, at depth 0.
        max_depth: Depth of the deepest folders to visit; None for no limit.
        skip_folder: Called with each folder and the names of all its files, including hidden ones; if it returns True,
            the folder and its subfolders are skipped.

    Yields:
        Each folder and the sorted names of its files.

    Raises:
        UserError: If a folder cannot be listed.
    """

    def fail(error: OSError) -> NoReturn:
        raise UserError(f"{error.filename}: cannot be listed ({error.strerror}); check its permissions")

    visited: set[str] = set()
    for name, subfolders, names in os.walk(root, onerror=fail, followlinks=True):
        folder, target = Path(name), os.path.realpath(name)
        if target in visited or (skip_folder is not None and skip_folder(folder, names)):
            subfolders.clear()
            continue
        visited.add(target)
        if max_depth is not None and len(folder.relative_to(root).parts) >= max_depth:
            subfolders.clear()
        subfolders[:] = sorted(name for name in subfolders if not name.startswith(IGNORED_FOLDERS))
        yield folder, sorted(name for name in names if not name.startswith(IGNORED_FILES))


def add_first(files: dict[Key, Path], key: Key, path: Path, ignored: Counter[str]) -> None:
    """Add a file, unless another file has the same key, such as a copy in a second folder.

    Args:
        files: Receives the file.
        key: What the file describes, such as the name of an image.
        path: The file.
        ignored: Counts files that are not added.
    """
    if files.setdefault(key, path) != path:
        ignored["files with the name of another one, of which the first is used"] += 1


def require_single(root: Path, name: str, files: Sequence[Path]) -> None:
    """Check that a dataset contains a table only once, since copies may differ.

    Args:
        root: Folder of the dataset.
        name: Name of the table in the error message.
        files: The files that were found.

    Raises:
        UserError: If there are several.
    """
    if len(files) > 1:
        found = " and ".join(str(file.relative_to(root)) for file in files)
        raise UserError(f"{root}: must contain one {name}, got {found}; keep the one to use")


def require_folder(root: Path, hint: str) -> None:
    """Check that the root of a dataset is a folder.

    Args:
        root: Folder set by the user.
        hint: Required content or download location, appended to the error message.

    Raises:
        UserError: If `root` does not exist or is a file, such as an archive.
    """
    if root.is_file():
        raise UserError(f"{root}: a file, not a folder; unpack it with `unzip` or `tar`; {hint}")
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; {hint}")
