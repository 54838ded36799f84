"""Directory traversal for everything that searches a folder of the user for images."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from mammoseg.errors import UserError

# Hidden entries, __MACOSX, and lock files of office programs.
IGNORED_FOLDERS = (".", "__")
IGNORED_FILES = (".", "~$")


def walk(
    root: Path,
    *,
    max_depth: int | None = None,
    skip_folder: Callable[[Path, Sequence[str]], bool] = lambda folder, names: False,
) -> Iterator[tuple[Path, list[str]]]:
    """Traverse a folder top-down in a fixed order.

    Symbolic links are followed; a folder that is reached again, through a link or a loop of links, is skipped. So are
    hidden files and folders.

    Args:
        root: Where to start, itself at depth 0.
        max_depth: Depth of the deepest folders to visit; None visits all.
        skip_folder: Called with each folder and the names of all its files, hidden ones included; True skips the
            folder and everything below it.

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
        if target in visited or skip_folder(folder, names):
            subfolders.clear()
            continue
        visited.add(target)
        if max_depth is not None and len(folder.relative_to(root).parts) >= max_depth:
            subfolders.clear()
        subfolders[:] = sorted(name for name in subfolders if not name.startswith(IGNORED_FOLDERS))
        yield folder, sorted(name for name in names if not name.startswith(IGNORED_FILES))


def require_folder(root: Path, hint: str) -> None:
    """Check that the root of a dataset is a folder.

    Args:
        root: Folder given by the user.
        hint: What the folder has to contain, or where to get it; completes the error message.

    Raises:
        UserError: If it is a file, such as an archive, or does not exist.
    """
    if root.is_file():
        raise UserError(f"{root}: a file, not a folder; unpack it with `unzip` or `tar`; {hint}")
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; {hint}")
