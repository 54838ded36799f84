"""`python -m mammoseg.prepare download=true`, from a local server in the role of the archive."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.archive_server import Archive, serve
from helpers.commands import assert_one_sentence, run, succeed
from mammoseg.phantom.cbis_ddsm import write_cbis_ddsm
from mammoseg.prepare import download, nbia

CASES = 8


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("original") / "CBIS-DDSM"
    write_cbis_ddsm(root, cases=CASES, height=128, layout="tcia_old")
    return root


@pytest.fixture
def archive(original: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    """A server with the images and tables of `original`."""
    series: list[dict[str, object]] = []
    archives = {}
    for folder in sorted({path.parent for path in original.rglob("*.dcm")}):
        patient, study, uid = folder.relative_to(original).parts
        series.append({"SeriesInstanceUID": uid, "StudyInstanceUID": study, "PatientID": patient})
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as zipped:
            hashes = []
            for path in sorted(folder.iterdir()):
                zipped.write(path, path.name)
                hashes.append(f"{path.name},{hashlib.md5(path.read_bytes()).hexdigest()}\n")
            zipped.writestr("md5hashes.csv", "".join(hashes))
        archives[uid] = content.getvalue()
    with serve() as server:
        server.add_series(archives, series)
        for path in original.glob("*.csv"):
            server.files[f"/tables/{path.name}"] = path.read_bytes()
        monkeypatch.setattr(nbia, "SERVER", f"{server.url}/nbia")
        monkeypatch.setattr(download, "TABLES_OF_CBIS_DDSM", f"{server.url}/tables")
        yield server


def images_of(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*.dcm")}


def test_the_dataset_is_downloaded_and_prepared(archive: Archive, original: Path, tmp_path: Path) -> None:
    root = tmp_path / "CBIS-DDSM"
    arguments = ["dataset=cbis_ddsm", f"dataset.root={root}", "dataset.size=32", "dataset.workers=1", "download=true"]
    output = succeed("prepare", *arguments, folder=tmp_path)
    assert images_of(root / "CBIS-DDSM") == images_of(original)
    assert "CC BY 3.0" in output
    assert f"cbis_ddsm: {CASES} images, 0 skipped" in output
    n_requests = len(archive.requests)
    succeed("prepare", *arguments, folder=tmp_path)
    assert len(archive.requests) == n_requests + 1  # the list of series


def test_nothing_is_downloaded_without_being_requested(archive: Archive, tmp_path: Path) -> None:
    arguments = ["dataset=cbis_ddsm", f"dataset.root={tmp_path / 'CBIS-DDSM'}"]
    assert_one_sentence(run("prepare", *arguments, folder=tmp_path), "no such folder")
    assert archive.requests == []
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ("inbreast", "available from its authors on request"),
        ("phantom", "only CBIS-DDSM"),
        ("folder", "only CBIS-DDSM"),
    ],
)
def test_other_datasets_are_not_downloaded(archive: Archive, tmp_path: Path, dataset: str, message: str) -> None:
    completed = run("prepare", f"dataset={dataset}", "dataset.root=data", "download=true", folder=tmp_path)
    assert_one_sentence(completed, "download must be false", message)
    assert archive.requests == []
    assert not any(tmp_path.iterdir())
