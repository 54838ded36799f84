"""The link outputs/latest to the newest finished run."""

from __future__ import annotations

from pathlib import Path

import pytest

from mammoseg.runs.discovery import latest_run
from mammoseg.runs.folder import RunFolder, folders_with
from mammoseg.runs.latest_link import link_latest
from mammoseg.runs.record import RunRecord, Status, write_record
from mammoseg.train.resume import find_run


def finished_run(folder: Path, started: str) -> RunFolder:
    run = RunFolder(folder)
    folder.mkdir(parents=True)
    write_record(run, RunRecord(settings={"seed": 0}, status=Status.FINISHED, started=started))
    link_latest(run, started)
    return run


def test_the_link_is_the_run_that_was_started_last(tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    finished_run(outputs / "phantom" / "a", "2026-01-01")
    assert (outputs / "latest").resolve() == outputs / "phantom" / "a"
    finished_run(outputs / "inbreast" / "c", "2026-01-03")
    finished_run(outputs / "phantom" / "b", "2026-01-02")
    assert (outputs / "latest").readlink() == Path("inbreast/c")


def test_runs_are_found_at_their_own_path(tmp_path: Path) -> None:
    run = finished_run(tmp_path / "outputs" / "phantom" / "a", "2026-01-01")
    assert (tmp_path / "outputs" / "latest").is_symlink()
    assert [found.path for found in folders_with(tmp_path, RunFolder.record.name)] == [run.path]
    assert latest_run(finished=True, top=tmp_path).path == run.path


def test_a_run_is_resumed_at_its_own_path(tmp_path: Path) -> None:
    run = finished_run(tmp_path / "outputs" / "phantom" / "a", "2026-01-01")
    assert find_run(str(tmp_path / "outputs" / "latest")).path == run.path


def test_a_link_to_a_deleted_run_is_replaced(tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    outputs.mkdir()
    (outputs / "latest").symlink_to("phantom/deleted")
    finished_run(outputs / "phantom" / "a", "2026-01-01")
    assert (outputs / "latest").readlink() == Path("phantom/a")


def test_runs_in_other_folders_have_no_link(tmp_path: Path) -> None:
    finished_run(tmp_path / "multirun" / "sweep" / "0", "2026-01-01")
    assert not list(tmp_path.rglob("latest"))


def test_a_folder_called_latest_is_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    latest = tmp_path / "outputs" / "latest"
    latest.mkdir(parents=True)
    (latest / "notes.txt").touch()
    finished_run(tmp_path / "outputs" / "phantom" / "a", "2026-01-01")
    assert [path.name for path in latest.iterdir()] == ["notes.txt"]
    assert "the link to the newest run cannot be written" in caplog.text
    assert {path.name for path in latest.parent.iterdir()} == {"latest", "phantom"}
