"""Removal of the outputs of a previous evaluation in the same folder."""

from __future__ import annotations

from mammoseg.evaluate.native_report import FROC_FILE
from mammoseg.evaluate.native_resolution import CANDIDATES_FILE
from mammoseg.runs.folder import RunFolder
from mammoseg.runs.record import Status, read_record_or_skip
from mammoseg.runs.results import NATIVE_FILE

OUTPUTS = (
    *(RunFolder.record.name, RunFolder.results.name, RunFolder.summary.name, RunFolder.predictions.name),
    *(RunFolder.calibration.name, RunFolder.detection.name, NATIVE_FILE, CANDIDATES_FILE, FROC_FILE),
)


def remove_previous_outputs(output: RunFolder) -> None:
    """Remove the outputs of a previous evaluation, some of which the next one may not write.

    Otherwise, results.csv of one dataset could be in the same folder as run.json of another one.

    Args:
        output: Output folder. Nothing is removed if its record is not that of an evaluation.
    """
    record = read_record_or_skip(output)
    if record is not None and record.status is Status.EVALUATED:
        for name in OUTPUTS:
            (output.path / name).unlink(missing_ok=True)
