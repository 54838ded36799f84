"""Download of a collection with the API of NBIA, from a local server."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from helpers.archive_server import Archive, serve
from mammoseg.errors import UserError
from mammoseg.prepare import http_files, nbia
from mammoseg.prepare.nbia import download_collection

FILES = {"1.2.3": {"1-1.dcm": b"first image" * 300}, "1.2.4": {"1-1.dcm": b"crop", "1-2.dcm": b"mask"}}
SERIES: list[dict[str, object]] = [
    {"SeriesInstanceUID": "1.2.3", "StudyInstanceUID": "1.1", "PatientID": "Mass-Test_P_1", "FileSize": 3300},
    {"SeriesInstanceUID": "1.2.4", "StudyInstanceUID": "1.1", "PatientID": "Mass-Test_P_1_1"},
    {"SeriesInstanceUID": "1.2.5", "StudyInstanceUID": "1.1", "PatientID": "Calc-Test_P_1"},
]


def zipped(files: Mapping[str, bytes], hashes: Mapping[str, bytes] | None = None) -> bytes:
    """The archive of a series as NBIA sends it; `hashes` are the contents of which it contains the hashes."""
    rows = [f"{name},{hashlib.md5(content).hexdigest()}" for name, content in (hashes or files).items()]
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("LICENSE", "CC BY 3.0")
        for name, data in files.items():
            archive.writestr(name, data)
        archive.writestr("md5hashes.csv", "\n".join(["Filename,MD5Hash", *rows, ""]))
    return content.getvalue()


@pytest.fixture
def archive(monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    monkeypatch.setattr(http_files, "WAIT_S", 0.0)
    with serve() as server:
        server.add_series({uid: zipped(files) for uid, files in FILES.items()}, SERIES)
        monkeypatch.setattr(nbia, "SERVER", f"{server.url}/nbia")
        yield server


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


EXPECTED = {
    "Mass-Test_P_1/1.1/1.2.3/1-1.dcm": FILES["1.2.3"]["1-1.dcm"],
    "Mass-Test_P_1_1/1.1/1.2.4/1-1.dcm": b"crop",
    "Mass-Test_P_1_1/1.1/1.2.4/1-2.dcm": b"mask",
}


def test_only_the_requested_patients_are_downloaded_and_only_once(archive: Archive, tmp_path: Path) -> None:
    download_collection("CBIS-DDSM", ["Mass-"], tmp_path)
    assert content_of(tmp_path) == EXPECTED
    assert archive.requests[0][0] == "/nbia/getSeries?Collection=CBIS-DDSM&format=json"
    assert [path for path, _ in archive.requests[1:]] == [
        f"/nbia/getImageWithMD5Hash?SeriesInstanceUID={uid}" for uid in FILES
    ]
    download_collection("CBIS-DDSM", ["Mass-"], tmp_path)
    assert [path.partition("?")[0] for path, _ in archive.requests[3:]] == ["/nbia/getSeries"]


def test_a_series_is_continued_after_an_interruption(archive: Archive, tmp_path: Path) -> None:
    archive.truncate = [10_000, 100]
    download_collection("CBIS-DDSM", ["Mass-"], tmp_path)
    assert content_of(tmp_path) == EXPECTED
    assert archive.requests[2][1] == "bytes=100-"


def test_an_archive_that_changed_during_the_interruption_is_downloaded_again(archive: Archive, tmp_path: Path) -> None:
    partial = tmp_path / "Mass-Test_P_1" / "1.1" / "1.2.3.zip.part"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(bytes(500))
    download_collection("CBIS-DDSM", ["Mass-"], tmp_path)
    assert content_of(tmp_path) == EXPECTED


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (zipped({"1-1.dcm": b"image"}, {"1-1.dcm": b"other"}), "the MD5 hash of 1-1.dcm differs"),
        (zipped({"1-1.dcm": b"image"}, {"1-2.dcm": b"image"}), "md5hashes.csv does not list all DICOM files"),
        (zipped({"../1-1.dcm": b"image"}), "it contains the path ../1-1.dcm"),
        (zipped({"1-1.dcm": b"image"})[:150], "File is not a zip file"),
        (b"<html>busy</html>", "File is not a zip file"),
    ],
)
def test_a_damaged_archive_leaves_no_series(archive: Archive, tmp_path: Path, content: bytes, message: str) -> None:
    archive.add_series({"1.2.3": content}, SERIES[:1])
    with pytest.raises(UserError, match=r"SeriesInstanceUID=1\.2\.3: the archive is damaged") as raised:
        download_collection("CBIS-DDSM", ["Mass-"], tmp_path)
    assert message in str(raised.value)
    assert content_of(tmp_path) == {}


@pytest.mark.parametrize(
    "series",
    [
        {},
        {**SERIES[0], "PatientID": "../Mass-1"},
        {**SERIES[0], "SeriesInstanceUID": ".."},
        {**SERIES[0], "StudyInstanceUID": None},
        {**SERIES[0], "FileSize": "large"},
    ],
)
def test_an_invalid_list_of_series_is_one_sentence(archive: Archive, tmp_path: Path, series: dict[str, object]) -> None:
    archive.add_series({}, [series])
    with pytest.raises(UserError, match="must return a list of series in JSON"):
        download_collection("CBIS-DDSM", ["Mass-"], tmp_path)
    assert content_of(tmp_path) == {}


def test_an_unknown_collection_is_one_sentence(archive: Archive, tmp_path: Path) -> None:
    archive.add_series({}, [])
    with pytest.raises(UserError, match="lists no series of CBIS-DDSM"):
        download_collection("CBIS-DDSM", ["Mass-"], tmp_path)


def test_the_free_space_is_checked_first(archive: Archive, tmp_path: Path) -> None:
    archive.add_series({}, [{**SERIES[0], "FileSize": 10**18}])
    with pytest.raises(UserError, match=r"requires 1000000000\.0 GB of free space, got"):
        download_collection("CBIS-DDSM", ["Mass-"], tmp_path)
