"""Tiny datasets in the layout of INbreast: 64x48 pixels, OsiriX property lists, the columns of the real table."""

from __future__ import annotations

import plistlib
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

HEIGHT, WIDTH = 64, 48
PATIENT = "6c613a14b80a8591"
PLANTED = "Planted^Jane"  # a name that no message may contain
SQUARE = ((10.0, 20.0), (30.5, 20.0), (30.5, 40.25), (10.0, 40.25))
COLUMNS = ["Patient ID", "Patient age", "Laterality", "View", "Acquisition date", "File Name", "ACR", "Bi-Rads"]
BLANKS = " " * 193  # the ACR cell of 53582540


def grey(seed: int = 0, n_levels: int = 4096) -> NDArray[np.uint16]:
    return np.random.default_rng(seed).integers(0, n_levels, (HEIGHT, WIDTH)).astype(np.uint16)


def dicom(pixels: NDArray[Any], *, syntax: UID = ExplicitVRLittleEndian, **elements: Any) -> FileDataset:
    """A mammogram in memory; `elements` replace or, where None, remove header elements."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.1.2")
    meta.MediaStorageSOPInstanceUID = UID("1.2.3.4")
    meta.TransferSyntaxUID = syntax
    encoding = {"is_implicit_VR": syntax.is_implicit_VR, "is_little_endian": syntax.is_little_endian}
    header = FileDataset("", {}, preamble=b"\0" * 128, file_meta=meta, **encoding)
    header.SOPClassUID = meta.MediaStorageSOPClassUID
    header.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    header.Modality = "MG"
    header.PatientName = PLANTED
    header.StudyDescription = PLANTED
    header.Rows, header.Columns = pixels.shape[:2]
    header.SamplesPerPixel = 1 if pixels.ndim == 2 else pixels.shape[2]
    header.PhotometricInterpretation = "MONOCHROME2"
    header.BitsAllocated = header.BitsStored = 8 * pixels.dtype.itemsize
    header.PixelRepresentation = int(pixels.dtype.kind == "i")
    header.PixelData = pixels.tobytes()
    for name, value in elements.items():
        if value is None:
            delattr(header, name)
        else:
            setattr(header, name, value)
    header.HighBit = header.get("BitsStored", 16) - 1
    return header


def save(header: FileDataset, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    header.save_as(path, enforce_file_format=True)
    return path


def roi(name: str | None, points: Iterable[Any] = SQUARE) -> dict[str, Any]:
    """One lesion as written by OsiriX; points are pairs, or strings that are written unchanged."""
    coordinates = [point if isinstance(point, str) else f"({point[0]:f}, {point[1]:f})" for point in points]
    region = {"Area": 1.0, "IndexInImage": 0, "NumberOfPoints": len(coordinates), "Point_px": coordinates, "Type": 15}
    return region if name is None else {**region, "Name": name}


def outlines(*rois: dict[str, Any]) -> bytes:
    return plistlib.dumps({"Images": [{"ImageIndex": 0, "NumberOfROIs": len(rois), "ROIs": list(rois)}]})


class Release:
    """An INbreast release in `root`; `add` adds an image, `table` writes the rows added so far."""

    def __init__(self, root: Path, dicoms: str = "AllDICOMs", xmls: str = "AllXML") -> None:
        self.root, self.dicoms, self.xmls = root, root / dicoms, root / xmls
        self.rows: list[list[str]] = []
        for folder in (self.dicoms, self.xmls):
            folder.mkdir(parents=True, exist_ok=True)

    def add(
        self,
        case: str = "22678622",
        *rois: dict[str, Any],
        patient: str = PATIENT,
        side: str = "L",
        view: str = "CC",
        acr: str = "2",
        birads: str = "4a",
        name: str | None = None,
    ) -> Release:
        """Add an image with its row, and an XML file if there are `rois`."""
        token = {"MLO": "ML"}.get(view, view)
        self.dicom(name or f"{case}_{patient}_MG_{side}_{token}_ANON.dcm")
        if rois:
            self.xml(case, outlines(*rois))
        self.rows.append(["removed", "removed", side, view, "201001", case, acr, birads])
        return self

    def dicom(self, name: str) -> None:
        """Write an image."""
        save(dicom(grey(seed=zlib.crc32(name.encode())), BitsStored=12), self.dicoms / name)

    def xml(self, case: str, content: bytes) -> None:
        """Write an XML file."""
        (self.xmls / f"{case}.xml").write_bytes(content)

    def table(self, separator: str = ";", encoding: str = "ascii", name: str = "INbreast.csv") -> Release:
        """Write the CSV table."""
        lines = [separator.join(row) for row in [COLUMNS, *self.rows]]
        (self.root / name).write_bytes("".join(line + "\r\n" for line in lines).encode(encoding))
        return self

    def spreadsheet(self, columns: Sequence[str] = (*COLUMNS, "Mass ")) -> Release:
        """Write the .xls as in the release: numbers as floats, a mass flag, a blank row and a row of totals."""
        import xlwt

        workbook = xlwt.Workbook()
        sheet = workbook.add_sheet("Sheet1")
        for column, header in enumerate(columns):
            sheet.write(0, column, header)
        for line, row in enumerate(self.rows, start=1):
            for column, value in enumerate([*row, "X"]):
                sheet.write(line, column, float(value) if value.isdigit() else value)
        for column in range(3):
            sheet.write(len(self.rows) + 2, column, 28.0 + column)
        workbook.save(str(self.root / "INbreast.xls"))
        return self
