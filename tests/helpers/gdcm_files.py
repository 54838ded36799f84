"""Compression of DICOM files with GDCM, which has encoders that pydicom lacks."""

from __future__ import annotations

from pathlib import Path

import pytest


def gdcm_compress(path: Path, syntax: str) -> None:
    """Compress a DICOM file in place; skips the test if GDCM is not installed.

    Args:
        path: The file.
        syntax: Name of a transfer syntax in `gdcm.TransferSyntax`.
    """
    gdcm = pytest.importorskip("gdcm")
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(path))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
