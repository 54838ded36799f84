"""Damaged DICOM, XML, CSV, JPEG and PNG files end in a clean record, a listed skip or a one-sentence error.

200 mutants in `make test`; `make fuzz` tries 2000 (MUTANTS=... for more). Mutant n is the same each time.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from mammoseg.data.dataset import build_dataset
from mammoseg.data.readers import cbis_ddsm, image_folder, inbreast
from mammoseg.data.readers.mammogram import Reader
from mammoseg.data.store import PreparedStore
from mammoseg.errors import UserError
from mammoseg.phantom.cbis_ddsm import write_cbis_ddsm
from mammoseg.phantom.write import write_inbreast

MUTANTS = int(os.environ.get("MUTANTS", "200"))
KINDS = (
    "dicom",
    "xml",
    "inbreast-csv",
    "cbis-dicom",
    "cbis-csv",
    "kaggle-jpeg",
    "dicom-info",
    "folder-png",
    "folder-csv",
)
NASTY = [b"", b"\x00", b"\xff" * 8, b"-1", b"1e308", b"nan", b"NaN", b'"', b"\n", b";" * 50, b",", b"../../etc/passwd"]
NASTY += [b"9" * 40, b"\xf0\x9f\xa9\xbb", b"<!ENTITY a 'b'>", b"<key>", b"</array>", b"(1, 2)", b"%s%s", b"\\", b"/"]


def mutate(content: bytes, rng: np.random.Generator) -> bytes:
    """One to four damages: cut, flipped bits, an overwritten, doubled, moved or lost stretch, something nasty."""
    for _ in range(int(rng.integers(1, 5))):
        # Headers are where it hurts: half of all damages hit the first kilobyte.
        reach = len(content) if rng.random() < 0.5 else min(len(content), 1024)
        at, length = int(rng.integers(0, max(reach, 1))), int(rng.integers(1, 64))
        choice = rng.integers(0, 7)
        if choice == 0:
            content = content[:at]
        elif choice == 1:
            flipped = bytearray(content)
            for place in rng.integers(0, max(reach, 1), 6).tolist():
                if place < len(flipped):
                    flipped[place] ^= 1 << int(rng.integers(0, 8))
            content = bytes(flipped)
        elif choice == 2:
            content = content[:at] + rng.bytes(length) + content[at + length :]
        elif choice == 3:
            content = content[:at] + content[at + length :]
        elif choice == 4:
            content = content[:at] + content[at : at + length] * 2 + content[at + length :]
        elif choice == 5:
            content = content[:at] + NASTY[int(rng.integers(len(NASTY)))] + content[at:]
        else:
            stretch = content[at : at + length]
            content = stretch + content[:at] + content[at + length :]
    return content


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("originals")
    write_inbreast(root / "inbreast", cases=8, seed=1, height=128)
    write_cbis_ddsm(root / "cbis", cases=8, seed=1, height=128, layout="tcia")
    write_cbis_ddsm(root / "kaggle", cases=8, seed=1, height=128, layout="kaggle")
    (root / "folder").mkdir()
    rows = ["case,image,mask,patient,density,side,view,split"]
    for n in range(8):
        y, x = np.mgrid[:40, :32]
        image = np.where((y - 20) ** 2 + x**2 < 300, 20000 + 100 * x, 100).astype(np.uint16)
        cv2.imwrite(str(root / "folder" / f"{n}.png"), image)
        cv2.imwrite(str(root / "folder" / f"{n}-mask.png"), ((y > 15) & (y < 22) & (x < 9)).astype(np.uint8) * 255)
        rows.append(f"c{n},{n}.png,{n}-mask.png,p{n},{n % 4 + 1},LEFT,CC,train")
    (root / "folder" / "cases.csv").write_text("\n".join(rows))
    return root


# kind -> folder, reader, files that may be damaged
TARGETS: dict[str, tuple[str, Reader, str]] = {
    "dicom": ("inbreast", inbreast.read, "AllDICOMs/*.dcm"),
    "xml": ("inbreast", inbreast.read, "AllXML/*.xml"),
    "inbreast-csv": ("inbreast", inbreast.read, "INbreast.csv"),
    "cbis-dicom": ("cbis", cbis_ddsm.read, "**/*.dcm"),
    "cbis-csv": ("cbis", cbis_ddsm.read, "*.csv"),
    "kaggle-jpeg": ("kaggle", cbis_ddsm.read, "jpeg/*/*.jpg"),
    "dicom-info": ("kaggle", cbis_ddsm.read, "csv/*.csv"),
    "folder-png": ("folder", image_folder.read, "*.png"),
    "folder-csv": ("folder", image_folder.read, "cases.csv"),
}


def check_record(store: PreparedStore) -> None:
    assert np.isfinite(store.images).all()
    assert store.images.min() >= 0
    assert store.images.max() <= 1
    assert set(np.unique(store.masks)) <= {0, 1}
    for case in store.cases:
        assert case.density in (1, 2, 3, 4)
        assert case.patient
        assert 0 <= case.top < case.bottom <= case.height
        assert 0 <= case.left < case.right <= case.width


@pytest.fixture
def quiet_fork() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # libraries may warn of what we then refuse
        yield


@pytest.mark.usefixtures("quiet_fork")
@pytest.mark.parametrize("kind", KINDS)
def test_mutants(kind: str, originals: Path, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    name, reader, pattern = TARGETS[kind]
    root = tmp_path / name
    shutil.copytree(originals / name, root)
    targets = sorted(root.glob(pattern))
    assert targets
    outcomes: Counter[str] = Counter()
    for number in range(-(-MUTANTS // len(KINDS))):
        rng = np.random.default_rng([number, KINDS.index(kind)])
        target = targets[int(rng.integers(len(targets)))]
        original = target.read_bytes()
        target.write_bytes(mutate(original, rng))
        dataset = build_dataset(
            name, str(root), reader, size=16, store=str(tmp_path / "store"), workers=1, on_error="skip",
            missing_density="estimate",
        )  # fmt: skip
        try:
            store = dataset.open_store()
            check_record(store)
            outcomes["skipped" if store.skipped else "clean"] += 1
        except UserError as error:
            outcomes["refused" if 0 < len(str(error).splitlines()[0]) < 600 else "refused at length"] += 1
        except Exception as error:
            raise AssertionError(f"mutant {number} of {kind}, {target.name}") from error
        finally:
            target.write_bytes(original)
            shutil.rmtree(tmp_path / "store", ignore_errors=True)
    record_property("outcomes", dict(outcomes))
    assert not outcomes["refused at length"]
    assert sum(outcomes.values()) >= MUTANTS // len(KINDS)
