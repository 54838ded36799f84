"""Download of a collection of The Cancer Imaging Archive (TCIA) with the REST API of NBIA, version 4.

An archive of a series contains its DICOM files, their MD5 hashes and the license.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import logging
import re
import shutil
import urllib.parse
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mammoseg.errors import UserError
from mammoseg.files import atomic_dir, atomic_write
from mammoseg.prepare.http_files import download_file
from mammoseg.terminal import Progress

log = logging.getLogger(__name__)

SERVER = "https://services.cancerimagingarchive.net/nbia-api/services/v4"
HASHES = "md5hashes.csv"
HASH = re.compile(r"[0-9a-f]{32}", re.IGNORECASE)
UID = re.compile(r"[0-9.]+")
PATIENT = re.compile(r"\w[\w-]*", re.ASCII)
LIST_FILE = ".series.json"


@dataclass(frozen=True)
class Series:
    """A series of a collection.

    Attributes:
        uid: Series instance UID.
        study: Study instance UID.
        patient: Patient ID.
        size: Size in bytes; 0 if unknown.
    """

    uid: str
    study: str
    patient: str
    size: int = 0

    @property
    def folder(self) -> Path:
        """Folder of the files, relative to that of the collection."""
        return Path(self.patient) / self.study / self.uid


def download_collection(collection: str, patients: Sequence[str], root: Path) -> None:
    """Download the series of a collection that are not complete; an interrupted download is continued.

    Args:
        collection: Name of the collection.
        patients: Beginnings of the IDs of the patients whose series are downloaded.
        root: Folder of the collection. A series is in <patient>/<study UID>/<series UID>.

    Raises:
        UserError: If the list of series is invalid, the disk is too small, or a series cannot be downloaded.
    """
    listed = [series for series in list_series(collection, root) if series.patient.startswith(tuple(patients))]
    if not listed:
        raise UserError(f"{SERVER}: lists no series of {collection}; download the dataset by hand, see docs/data.md")
    missing = [series for series in listed if not (root / series.folder).is_dir()]
    check_space(missing, root)
    log.info("%s: %d of %d series are missing", collection, len(missing), len(listed))
    with Progress("downloading", len(missing), "series") as progress:
        for series in missing:
            download_series(series, root)
            progress.advance()


def list_series(collection: str, root: Path) -> list[Series]:
    """Return the series of a collection, sorted by folder.

    Args:
        collection: Name of the collection.
        root: Folder in which the list is stored while it is read.

    Raises:
        UserError: If the server does not return a list of series.
    """
    url = f"{SERVER}/getSeries?{urllib.parse.urlencode({'Collection': collection, 'format': 'json'})}"
    path = root / LIST_FILE
    path.unlink(missing_ok=True)
    download_file(url, path)
    content = path.read_bytes()
    path.unlink()
    try:
        rows = json.loads(content)
        return sorted((parse_series(row) for row in rows), key=lambda series: series.folder)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UserError(f"{url}: must return a list of series in JSON; try again later") from error


def parse_series(row: Mapping[str, Any]) -> Series:
    """Read a series of the list; raises ValueError if an identifier is not valid as the name of a folder."""
    uid, study, patient = str(row["SeriesInstanceUID"]), str(row["StudyInstanceUID"]), str(row["PatientID"])
    if not (is_uid(uid) and is_uid(study) and PATIENT.fullmatch(patient)):
        raise ValueError(f"invalid identifiers {uid}, {study}, {patient}")
    return Series(uid, study, patient, int(row.get("FileSize") or 0))


def is_uid(text: str) -> bool:
    """Return whether a text is a UID, which is also the name of a folder."""
    return UID.fullmatch(text) is not None and not text.startswith(".")


def check_space(missing: Sequence[Series], root: Path) -> None:
    """Check that the files fit on the disk.

    Args:
        missing: Series to download.
        root: Folder of the collection, which exists.

    Raises:
        UserError: If they do not.
    """
    needed, free = sum(series.size for series in missing), shutil.disk_usage(root).free
    if needed > free:
        raise UserError(
            f"dataset.root={root}: the download requires {needed / 1e9:.1f} GB of free space, got {free / 1e9:.1f} GB; "
            "choose another folder"
        )


def download_series(series: Series, root: Path) -> None:
    """Download the archive of a series, verify the MD5 hashes and extract the files.

    An archive that was continued and is damaged is downloaded again.

    Args:
        series: The series.
        root: Folder of the collection.

    Raises:
        UserError: If the archive cannot be downloaded, or is damaged.
    """
    folder = root / series.folder
    archive = folder.with_name(f"{folder.name}.zip")
    url = f"{SERVER}/getImageWithMD5Hash?{urllib.parse.urlencode({'SeriesInstanceUID': series.uid})}"
    for attempt in range(2):
        download_file(url, archive)
        try:
            extract(archive, folder)
            return
        except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError) as error:
            if attempt:
                raise UserError(f"{url}: the archive is damaged ({error}); repeat the command later") from error
            log.info("%s: damaged (%s), downloading it again", url, error)
        finally:
            archive.unlink(missing_ok=True)


def extract(path: Path, folder: Path) -> None:
    """Extract the DICOM files of an archive, after their hashes have been verified.

    Args:
        path: A zip file.
        folder: Folder to create.

    Raises:
        zipfile.BadZipFile: If the archive is damaged.
        ValueError: If a file has no hash or another one, or there is no DICOM file.
    """
    with zipfile.ZipFile(path) as archive, atomic_dir(folder) as temporary:
        hashes = read_hashes(archive)
        for name, expected in hashes.items():
            digest = hashlib.md5(usedforsecurity=False)
            with archive.open(name) as file, atomic_write(temporary / name, "wb") as target:
                while chunk := file.read(1 << 20):
                    digest.update(chunk)
                    target.write(chunk)
            if digest.hexdigest() != expected:
                raise ValueError(f"the MD5 hash of {name} differs")


def read_hashes(archive: zipfile.ZipFile) -> dict[str, str]:
    """Return the MD5 hash of each DICOM file of an archive.

    Args:
        archive: The archive.

    Raises:
        ValueError: If the table of hashes is missing or does not list all DICOM files.
    """
    names = archive.namelist()
    if HASHES not in names:
        raise ValueError(f"it contains no {HASHES}")
    rows = csv.reader(io.StringIO(archive.read(HASHES).decode("utf-8")))
    listed = {row[0].strip(): row[1].strip().lower() for row in rows if len(row) > 1 and HASH.fullmatch(row[1].strip())}
    files = [name for name in names if name.lower().endswith(".dcm")]
    if not files or not {*files} <= listed.keys():
        raise ValueError(f"{HASHES} does not list all DICOM files")
    if invalid := [name for name in files if Path(name).name != name]:
        raise ValueError(f"it contains the path {invalid[0]}")
    return {name: listed[name] for name in files}
