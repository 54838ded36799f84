"""Damaged DICOM, XML, CSV, JPEG and PNG files give a valid store, a skipped case or a short error message.

`make test` runs 100 mutants and `make fuzz` 2000 (or MUTANTS=...). The seed of a mutant is its index.
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

MUTANTS = int(os.environ.get("MUTANTS", "100"))
TARGET_NAMES = (
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
HOSTILE_VALUES = [b"", b"\x00", b"\xff" * 8, b"-1", b"1e308", b"nan", b"NaN", b'"', b"\n", b";" * 50, b","]
HOSTILE_VALUES += [b"../../etc/passwd", b"9" * 40, b"\xf0\x9f\xa9\xbb", b"<!ENTITY a 'b'>", b"<key>", b"</array>"]
HOSTILE_VALUES += [b"(1, 2)", b"%s%s", b"\\", b"/"]


def mutate(content: bytes, rng: np.random.Generator) -> bytes:
    """Apply one to four changes: truncate, flip bits, overwrite, repeat, move or delete, insert a hostile value."""
    for _ in range(int(rng.integers(1, 5))):
        # Headers are the most sensitive part: half of all changes are in the first kilobyte.
        end = len(content) if rng.random() < 0.5 else min(len(content), 1024)
        start, length = int(rng.integers(0, max(end, 1))), int(rng.integers(1, 64))
        choice = rng.integers(0, 7)
        if choice == 0:
            content = content[:start]
        elif choice == 1:
            mutated = bytearray(content)
            for position in rng.integers(0, max(end, 1), 6).tolist():
                if position < len(mutated):
                    mutated[position] ^= 1 << int(rng.integers(0, 8))
            content = bytes(mutated)
        elif choice == 2:
            content = content[:start] + rng.bytes(length) + content[start + length :]
        elif choice == 3:
            content = content[:start] + content[start + length :]
        elif choice == 4:
            content = content[:start] + content[start : start + length] * 2 + content[start + length :]
        elif choice == 5:
            content = content[:start] + HOSTILE_VALUES[int(rng.integers(len(HOSTILE_VALUES)))] + content[start:]
        else:
            segment = content[start : start + length]
            content = segment + content[:start] + content[start + length :]
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


# name -> folder, reader, files to damage
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


def check_store(store: PreparedStore) -> None:
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
def ignore_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # libraries may warn about files that are then rejected
        yield


@pytest.mark.usefixtures("ignore_warnings")
@pytest.mark.parametrize("target_name", TARGET_NAMES)
def test_mutants(
    target_name: str, originals: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    folder, reader, pattern = TARGETS[target_name]
    root = tmp_path / folder
    shutil.copytree(originals / folder, root)
    targets = sorted(root.glob(pattern))
    assert targets
    outcomes: Counter[str] = Counter()
    for mutant in range(-(-MUTANTS // len(TARGET_NAMES))):
        rng = np.random.default_rng([mutant, TARGET_NAMES.index(target_name)])
        target = targets[int(rng.integers(len(targets)))]
        original = target.read_bytes()
        target.write_bytes(mutate(original, rng))
        dataset = build_dataset(
            folder, str(root), reader, size=16, store=str(tmp_path / "store"), workers=1, on_error="skip",
            missing_density="estimate",
        )  # fmt: skip
        try:
            store = dataset.open_store()
            check_store(store)
            outcomes["skipped" if store.skipped else "valid"] += 1
        except UserError as error:
            outcomes["error" if 0 < len(str(error).splitlines()[0]) < 600 else "long error"] += 1
        except Exception as error:
            raise AssertionError(f"mutant {mutant} of {target_name}, {target.name}") from error
        finally:
            target.write_bytes(original)
            shutil.rmtree(tmp_path / "store", ignore_errors=True)
    record_property("outcomes", dict(outcomes))
    assert not outcomes["long error"]
    assert sum(outcomes.values()) >= MUTANTS // len(TARGET_NAMES)
