"""Atomic writes of files and folders: the target is either complete or unchanged."""

from __future__ import annotations

import os
import re
import shutil
import socket
import stat
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, Literal, overload

from mammoseg.errors import UserError

TMP_PREFIX = ".tmp-"
TMP_NAME = re.compile(re.escape(TMP_PREFIX) + r"(?P<pid>\d+)-[0-9a-f]+-(?P<host>.+)")
MAX_FOREIGN_AGE_S = 24 * 3600.0  # for temporary files of other hosts, whose processes cannot be checked


@overload
def atomic_write(
    path: Path, mode: Literal["w"] = "w", *, newline: str = "", fsync: bool = False
) -> AbstractContextManager[IO[str]]: ...


@overload
def atomic_write(path: Path, mode: Literal["wb"], *, fsync: bool = False) -> AbstractContextManager[IO[bytes]]: ...


@contextmanager
def atomic_write(path: Path, mode: str = "w", *, newline: str = "", fsync: bool = False) -> Iterator[IO[Any]]:
    """Open a temporary file that replaces `path` when the block succeeds and is removed when it raises.

    The temporary file is in the same folder, since a rename is atomic only within one file system. Parent folders are
    created, temporary files of killed processes are removed, and a symbolic link is replaced, not its target.

    Args:
        path: File to write.
        mode: "w" for UTF-8 text or "wb" for bytes.
        newline: As in `open`; by default line endings are not translated, as `csv` requires.
        fsync: Flush to disk before renaming, so that the file survives a power failure.

    Raises:
        OSError: If the file cannot be written; `path` is then unchanged.
        UserError: If `path` is a special file, such as a device, or no files can be created in its folder.
        ValueError: If `mode` is invalid.
    """
    if mode not in ("w", "wb"):
        raise ValueError(f"mode must be 'w' or 'wb', got {mode!r}")
    path = _writable(path)
    text: dict[str, Any] = {"encoding": "utf-8", "newline": newline} if mode == "w" else {}
    temporary = path.parent / _temporary_name()
    with _created_folder(path.parent):
        _remove_stale_once(path.parent)
        opened = temporary.open(mode, **text)
    try:
        with opened as file:
            yield file
            file.flush()
            if fsync:
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        if isinstance(error, OSError) and error.errno is not None and error.filename is None:
            error.filename = str(path)  # torch.save, for example, raises OSError without it
        # An error of the removal must not replace the original error, such as a full disk.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def atomic_write_text(path: Path, text: str) -> None:
    """Write UTF-8 `text` to `path` atomically; see `atomic_write`.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "results.csv"
        >>> atomic_write_text(path, "case,dsc")
        >>> path.read_text()
        'case,dsc'
    """
    with atomic_write(path) as file:
        file.write(text)


def atomic_write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically; see `atomic_write`."""
    with atomic_write(path, "wb") as file:
        file.write(content)


@contextmanager
def atomic_dir(folder: Path, *, replace: bool = False) -> Iterator[Path]:
    """Create a temporary folder that is renamed to `folder` when the block succeeds and removed when it raises.

    Args:
        folder: Folder to create; an empty one may exist.
        replace: Whether to replace an existing folder that is not empty. If False, the existing folder remains and the
            new one is discarded without an error, so that two processes can create the same content concurrently.

    Yields:
        The temporary folder, next to `folder`.

    Raises:
        OSError: If the folder cannot be created or renamed.
        UserError: If the file system of its parent does not support new folders.
    """
    folder = folder.resolve()
    temporary = folder.parent / _temporary_name()
    with _created_folder(folder.parent):
        remove_stale(folder.parent)
        temporary.mkdir()  # mkdtemp would ignore the umask and remove permissions of other users
    try:
        yield temporary
        if replace and folder.exists():
            # Folders cannot be exchanged atomically: rename the old one first, then the new one.
            replaced = folder.parent / _temporary_name()
            folder.replace(replaced)
            try:
                temporary.replace(folder)
            except BaseException:
                replaced.replace(folder)
                raise
            shutil.rmtree(replaced, ignore_errors=True)
        else:
            try:
                temporary.replace(folder)
            except OSError:
                if not folder.is_dir():
                    raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def replace_link(link: Path, target: Path) -> None:
    """Create a symbolic link atomically, in place of an existing one.

    Args:
        link: Path of the link.
        target: Target, relative to the folder of the link.

    Raises:
        OSError: If the file system supports no links, or `link` is a folder.
    """
    temporary = link.with_name(_temporary_name())
    temporary.symlink_to(target, target_is_directory=True)
    try:
        temporary.replace(link)
    except OSError:
        temporary.unlink()
        raise


def check_no_links(folder: Path, names: Iterable[str]) -> None:
    """Check that files of an output folder are not symbolic links or special files, as they are written directly.

    A folder of somebody else may contain a link to a file elsewhere, which would be overwritten, or a FIFO, for which
    the command would wait indefinitely.

    Args:
        folder: Output folder, which can be a link.
        names: Files and subfolders relative to it, which need not exist.

    Raises:
        UserError: If a file, or a subfolder that contains it, is a link or a special file.
    """
    for path in dict.fromkeys(folder / part for name in names for part in (*Path(name).parents, Path(name))):
        if path != folder and _kind(path) not in (None, "folder"):
            raise UserError(
                f"{path} must be a regular file or folder, got a {_kind(path)}; remove it, or choose another folder"
            )


def _writable(path: Path) -> Path:
    """Return the absolute path of a file to write, without resolving a link in its last component.

    Raises:
        UserError: If it is a special file.
    """
    path = path.parent.resolve() / path.name
    if _kind(path) not in (None, "symbolic link", "folder"):
        raise UserError(f"{path} must be a regular file, got a {_kind(path)}; remove it, or choose another folder")
    return path


def _kind(path: Path) -> str | None:
    """Return what a path is, without following a link; None for a regular file or if it does not exist."""
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    kinds = {stat.S_IFLNK: "symbolic link", stat.S_IFDIR: "folder", stat.S_IFIFO: "FIFO", stat.S_IFSOCK: "socket"}
    return None if stat.S_ISREG(mode) else kinds.get(stat.S_IFMT(mode), "device")


def remove_stale(folder: Path, *, recursive: bool = False) -> None:
    """Remove temporary files and folders of processes that no longer exist.

    Processes of this host are identified by their process id. Temporary files of other hosts, which may use the same
    network file system, are removed if they have not changed for a day.

    Args:
        folder: Folder to clean.
        recursive: Whether to clean all subfolders as well.
    """
    pattern = f"{TMP_PREFIX}*"
    for temporary in list(folder.rglob(pattern) if recursive else folder.glob(pattern)):
        if _is_stale(temporary):
            if temporary.is_dir() and not temporary.is_symlink():
                shutil.rmtree(temporary, ignore_errors=True)
            else:
                with suppress(OSError):  # already removed by another process, or without permission
                    temporary.unlink()


@lru_cache(maxsize=4096)
def _remove_stale_once(folder: Path) -> None:
    """Call `remove_stale` once per folder and process, since listing a large folder before every write is slow."""
    remove_stale(folder)


@contextmanager
def _created_folder(folder: Path) -> Iterator[None]:
    """Create a folder; raise UserError if its file system supports no new files, as /proc."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except FileNotFoundError as error:
        raise UserError(f"{folder}: no files can be created in this folder; choose another one") from error


def _temporary_name() -> str:
    # Does not contain the name of the target, which may already have the maximum length.
    return f"{TMP_PREFIX}{os.getpid()}-{uuid.uuid4().hex[:12]}-{socket.gethostname()}"


def _is_stale(temporary: Path) -> bool:
    match = TMP_NAME.fullmatch(temporary.name)
    if match is None:
        return False
    if match["host"] == socket.gethostname():
        return not _is_alive(int(match["pid"]))
    try:
        modified = max(path.stat().st_mtime for path in (temporary, *temporary.glob("*")))
    except OSError:
        return False
    return time.time() - modified > MAX_FOREIGN_AGE_S


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # process of another user
        return True
    return True
