"""Downloads from a local server: continued, repeated, and complete."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.archive_server import Archive, serve
from mammoseg.errors import UserError
from mammoseg.prepare import http_files
from mammoseg.prepare.http_files import ATTEMPTS, download_file, partial_path

CONTENT = np.random.default_rng(0).bytes(5000)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_files, "WAIT_S", 0.0)


@pytest.fixture(scope="module")
def server() -> Iterator[Archive]:
    with serve() as archive:
        yield archive


@pytest.fixture
def archive(server: Archive) -> Archive:
    server.requests.clear()
    server.ranges = True
    server.files = {"/file": CONTENT}
    return server


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_is_complete_after_interruptions(archive: Archive, tmp_path: Path, ranges: bool) -> None:
    archive.ranges = ranges
    archive.truncate = [1000, 2000]
    archive.errors = [503]
    download_file(f"{archive.url}/file", tmp_path / "folder" / "file")
    assert (tmp_path / "folder" / "file").read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["file"]
    continued = ["bytes=1000-", "bytes=3000-"] if ranges else ["bytes=1000-", "bytes=2000-"]
    assert [part for _, part in archive.requests] == [None, None, *continued]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, len(CONTENT)), max_size=ATTEMPTS - 1), ranges=st.booleans())
def test_any_interruptions_give_the_same_file(archive: Archive, tmp_path: Path, cuts: list[int], ranges: bool) -> None:
    archive.ranges, archive.truncate = ranges, list(cuts)
    download_file(f"{archive.url}/file", tmp_path / "file")
    archive.truncate = []
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_later_command_continues_the_download(archive: Archive, tmp_path: Path) -> None:
    archive.errors = [404]
    partial_path(tmp_path / "file").write_bytes(CONTENT[:4000])
    with pytest.raises(UserError, match="HTTP 404"):
        download_file(f"{archive.url}/file", tmp_path / "file")
    assert not (tmp_path / "file").exists()
    download_file(f"{archive.url}/file", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert archive.requests[-1][1] == "bytes=4000-"


def test_the_beginning_of_a_longer_file_is_replaced(archive: Archive, tmp_path: Path) -> None:
    partial_path(tmp_path / "file").write_bytes(bytes(6000))
    download_file(f"{archive.url}/file", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT


@pytest.mark.parametrize(("status", "attempts"), [(404, 1), (403, 1), (503, ATTEMPTS), (429, ATTEMPTS)])
def test_only_temporary_errors_are_followed_by_further_attempts(
    archive: Archive, tmp_path: Path, status: int, attempts: int
) -> None:
    archive.errors = [status] * attempts
    with pytest.raises(UserError, match=f"/file: cannot be downloaded .HTTP {status}"):
        download_file(f"{archive.url}/file", tmp_path / "file")
    assert archive.errors == []
    assert not any(tmp_path.iterdir())


def test_a_server_that_cannot_be_reached_is_one_sentence(tmp_path: Path) -> None:
    with serve() as stopped:
        url = stopped.url
    with pytest.raises(UserError, match=r"cannot be downloaded \(.*refused.*\); check the connection"):
        download_file(f"{url}/file", tmp_path / "file")
