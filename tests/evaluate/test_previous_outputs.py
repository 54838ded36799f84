"""Removal of the outputs of a previous evaluation."""

from __future__ import annotations

from pathlib import Path

import pytest

from mammoseg.evaluate.previous_outputs import OUTPUTS, remove_previous_outputs
from mammoseg.runs.folder import RunFolder
from mammoseg.runs.record import RunRecord, Status, write_record


@pytest.mark.parametrize("status", [Status.EVALUATED, Status.FINISHED, None])
def test_only_outputs_of_an_evaluation_are_removed(tmp_path: Path, status: Status | None) -> None:
    for name in (*OUTPUTS, "notes.txt"):
        (tmp_path / name).touch()
    RunFolder(tmp_path).record.unlink()
    if status is not None:
        write_record(RunFolder(tmp_path), RunRecord(status=status))
    before = {path.name for path in tmp_path.iterdir()}
    remove_previous_outputs(RunFolder(tmp_path))
    after = {path.name for path in tmp_path.iterdir()}
    assert after == ({"notes.txt"} if status is Status.EVALUATED else before)
