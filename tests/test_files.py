"""`mammoseg.files`: an interrupted write keeps the old file and leaves no temporary file."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mammoseg.errors import UserError
from mammoseg.files import (
    TMP_PREFIX,
    atomic_dir,
    atomic_write,
    atomic_write_bytes,
    atomic_write_text,
    check_no_links,
    remove_stale,
)


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def pid_of_ended_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_atomic_write_replaces_the_file_and_creates_parents(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "report.md"
    atomic_write_text(path, "ΔA\n")
    atomic_write_bytes(path, "ΔA ↓\r\n".encode())
    assert path.read_bytes() == "ΔA ↓\r\n".encode()
    assert listing(path.parent) == ["report.md"]


def test_atomic_write_does_not_translate_line_endings(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "table.csv") as file:
        file.write("a\r\nb\n")
    assert (tmp_path / "table.csv").read_bytes() == b"a\r\nb\n"


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), ValueError("invalid row"), KeyboardInterrupt()]
)
def test_atomic_write_that_raises_keeps_the_old_file(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "results.csv"
    path.write_text("old")

    def write_part() -> None:
        with atomic_write(path) as file:
            file.write("part of the new")
            file.flush()
            raise error

    with pytest.raises(type(error)):
        write_part()
    assert path.read_text() == "old"
    assert listing(tmp_path) == ["results.csv"]


def test_atomic_write_on_a_full_device_keeps_the_old_file(tmp_path: Path) -> None:
    """RLIMIT_FSIZE makes the kernel refuse the write, as a full disk does."""
    path = tmp_path / "results.csv"
    path.write_text("old")
    code = (
        "import resource, signal, pathlib, mammoseg.files as files\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        f"files.atomic_write_bytes(pathlib.Path({str(path)!r}), bytes(5000))\n"
    )
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert completed.returncode == 1
    assert "OSError" in completed.stderr
    assert path.read_text() == "old"
    assert listing(tmp_path) == ["results.csv"]


def test_atomic_write_with_invalid_mode_raises(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="mode must be 'w' or 'wb', got 'a'"), atomic_write(tmp_path / "x", "a"):  # type: ignore[call-overload]
        pass
    assert listing(tmp_path) == []


def test_atomic_write_replaces_symbolic_links_and_applies_the_umask(tmp_path: Path) -> None:
    target, link = tmp_path / "target.csv", tmp_path / "link.csv"
    target.write_text("old")
    link.symlink_to(target)
    previous = os.umask(0o027)
    try:
        atomic_write_text(link, "new")
    finally:
        os.umask(previous)
    assert not link.is_symlink()
    assert (link.read_text(), target.read_text()) == ("new", "old")
    assert stat.S_IMODE(link.stat().st_mode) == 0o640


def test_atomic_write_does_not_replace_special_files(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    with pytest.raises(UserError, match=r"fifo must be a regular file, got a FIFO"):
        atomic_write_text(path, "x")
    assert stat.S_ISFIFO(path.lstat().st_mode)


@pytest.mark.parametrize("name", ["summary.md", "masks/a.png"])
def test_links_in_an_output_folder_are_found(tmp_path: Path, name: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    folder = tmp_path / "link-to-folder"
    folder.symlink_to(tmp_path / "elsewhere")
    check_no_links(folder, [name])  # the folder itself may be a link
    first = folder / Path(name).parts[0]
    first.symlink_to(tmp_path / "target")
    with pytest.raises(UserError, match=rf"{first.name} must be a regular file or folder, got a symbolic link"):
        check_no_links(folder, [name])


def test_atomic_write_supports_the_longest_file_name(tmp_path: Path) -> None:
    atomic_write_text(tmp_path / ("n" * 255), "x")
    assert (tmp_path / ("n" * 255)).read_text() == "x"


def test_killed_writer_keeps_the_old_file_and_the_next_write_removes_the_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    path.write_text("old")
    code = (
        "import pathlib, sys, mammoseg.files as files, time\n"
        f"with files.atomic_write(pathlib.Path({str(path)!r})) as file:\n"
        "    file.write('part'); file.flush(); print('written', flush=True); time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "written\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert path.read_text() == "old"
    assert len(listing(tmp_path)) == 2
    atomic_write_text(path, "new")
    assert listing(tmp_path) == ["results.csv"]


def test_remove_stale_keeps_files_of_running_processes(tmp_path: Path) -> None:
    hostname, ended = socket.gethostname(), pid_of_ended_process()
    names = {
        "this process": f"{TMP_PREFIX}{os.getpid()}-0-{hostname}",
        "ended process": f"{TMP_PREFIX}{ended}-0-{hostname}",
        "other host": f"{TMP_PREFIX}{ended}-0-other-{hostname}",
        "other host, old": f"{TMP_PREFIX}{ended}-1-other-{hostname}",
        "other file": f"{TMP_PREFIX}notes",
    }
    for name in names.values():
        (tmp_path / name).mkdir()
        (tmp_path / name / "images.npy").touch()
    two_days_ago = time.time() - 2 * 24 * 3600
    for path in (tmp_path / names["other host, old"] / "images.npy", tmp_path / names["other host, old"]):
        os.utime(path, (two_days_ago, two_days_ago))
    remove_stale(tmp_path)
    assert listing(tmp_path) == sorted([names["this process"], names["other host"], names["other file"]])


def test_atomic_dir_creates_the_complete_folder_or_none(tmp_path: Path) -> None:
    folder = tmp_path / "parent" / "store"

    def create_part() -> None:
        with atomic_dir(folder) as tmp_dir:
            (tmp_dir / "part").touch()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        create_part()
    assert listing(folder.parent) == []
    with atomic_dir(folder) as tmp_dir:
        (tmp_dir / "cases.csv").touch()
        assert not folder.exists()
    assert listing(folder.parent) == ["store"]
    assert listing(folder) == ["cases.csv"]


@pytest.mark.parametrize(("replace", "expected"), [(False, "first"), (True, "second")])
def test_atomic_dir_keeps_or_replaces_an_existing_folder(tmp_path: Path, replace: bool, expected: str) -> None:
    for name in ("first", "second"):
        with atomic_dir(tmp_path / "store", replace=replace) as tmp_dir:
            (tmp_dir / name).touch()
    assert listing(tmp_path) == ["store"]
    assert listing(tmp_path / "store") == [expected]


def test_atomic_dir_restores_the_old_folder_if_the_rename_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "viewer"
    folder.mkdir()
    (folder / "old").touch()
    rename = os.replace

    def refuse_new(source: Path, target: Path) -> None:
        if (Path(source) / "new").exists():
            raise PermissionError(13, "Permission denied")
        rename(source, target)

    monkeypatch.setattr(os, "replace", refuse_new)

    def create() -> None:
        with atomic_dir(folder, replace=True) as tmp_dir:
            (tmp_dir / "new").touch()

    with pytest.raises(PermissionError):
        create()
    assert listing(tmp_path) == ["viewer"]
    assert listing(folder) == ["old"]


def test_remove_stale_descends_only_if_recursive(tmp_path: Path) -> None:
    stale = tmp_path / "masks" / f"{TMP_PREFIX}{pid_of_ended_process()}-0-{socket.gethostname()}"
    stale.parent.mkdir()
    stale.touch()
    remove_stale(tmp_path)
    assert stale.exists()
    remove_stale(tmp_path, recursive=True)
    assert not stale.exists()


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="requires /proc")
@pytest.mark.parametrize("path", [Path("/proc/file"), Path("/proc/folder/file")])
def test_a_file_system_without_new_files_is_a_user_error(path: Path) -> None:
    with pytest.raises(UserError, match="no files can be created in this folder"):
        atomic_write_text(path, "")
    with pytest.raises(UserError, match="no files can be created in this folder"), atomic_dir(path):
        pass
