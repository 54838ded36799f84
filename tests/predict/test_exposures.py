"""FOR PROCESSING images are skipped if the FOR PRESENTATION image of the exposure is also in the input."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import DigitalMammographyXRayImageStorageForProcessing

from helpers import confidential_dicom
from mammoseg.errors import UserError
from mammoseg.predict.exposures import read_exposures, skipped_exposures
from mammoseg.predict.inputs import Input, find_images
from mammoseg.predict.options import PredictOptions

PIXELS = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)


def add(folder: Path, name: str, intent: str | None, **attributes: Any) -> str:
    """Write an image and return its SOP Instance UID."""
    elements = {"StudyInstanceUID": "1.2.3", "ImageLaterality": "L", "ViewPosition": "CC", **attributes}
    confidential_dicom.write(folder / name, PIXELS, PresentationIntentType=intent, **elements)
    return str(pydicom.dcmread(folder / name).SOPInstanceUID)


def skipped(folder: Path, mode: str = "auto") -> list[str]:
    return sorted(skipped_exposures(read_exposures(find_images(folder, folder / "output")), mode))


def test_pairs_of_one_view(tmp_path: Path) -> None:
    add(tmp_path, "raw_cc", "FOR PROCESSING")
    add(tmp_path, "cc", "FOR PRESENTATION")
    add(tmp_path, "raw_mlo", "FOR PROCESSING", ViewPosition="MLO")
    add(tmp_path, "raw_right", "FOR PROCESSING", ImageLaterality="R")
    add(tmp_path, "raw_other_study", "FOR PROCESSING", StudyInstanceUID="1.2.4")
    add(tmp_path, "raw_unknown", "FOR PROCESSING", ViewPosition=None)
    add(tmp_path, "no_intent", None, SOPClassUID=DigitalMammographyXRayImageStorageForProcessing)
    (tmp_path / "damaged.dcm").write_bytes(b"damaged")
    assert skipped(tmp_path) == ["no_intent", "raw_cc"]
    assert skipped(tmp_path, "include") == []
    raw = ["no_intent", "raw_cc", "raw_mlo", "raw_other_study", "raw_right", "raw_unknown"]
    assert skipped(tmp_path, "skip") == raw


def test_the_source_of_the_processed_image(tmp_path: Path) -> None:
    """Of two exposures of a view, the reference decides."""
    first = add(tmp_path, "raw1", "FOR PROCESSING")
    add(tmp_path, "raw2", "FOR PROCESSING")
    source = pydicom.Dataset()
    source.ReferencedSOPInstanceUID = first
    add(tmp_path, "processed", "FOR PRESENTATION", SourceImageSequence=pydicom.Sequence([source]))
    assert skipped(tmp_path) == ["raw1"]


def test_messages(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    add(tmp_path, "raw", "FOR PROCESSING")
    images = [Input(tmp_path / "raw", "raw")]
    with caplog.at_level(logging.WARNING):
        assert skipped_exposures(read_exposures(images), "auto") == {}
    assert "predicting 1 FOR PROCESSING image (detector values)" in caplog.text
    add(tmp_path, "processed", "FOR PRESENTATION")
    images.append(Input(tmp_path / "processed", "processed"))
    (reason,) = skipped_exposures(read_exposures(images), "auto").values()
    assert "for_processing=include" in reason
    assert not any(secret.decode() in reason + caplog.text for secret in confidential_dicom.SECRETS)


def test_an_unknown_mode_is_an_error() -> None:
    options = PredictOptions(False, None, "none", "cpu", 1, 1, for_processing="raw")
    with pytest.raises(UserError, match="for_processing must be one of auto, include, skip, got raw"):
        options.check()
