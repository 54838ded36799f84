"""Contract: a wheel contains the code, conf/, the pretrained models and the licenses."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from helpers import confidential_dicom
from helpers.documented_commands import runs_documentation

REPOSITORY = Path(__file__).resolve().parents[2]
MODEL = ("model.safetensors", "config.yaml", "README.md")


def test_pretrained_models_and_licenses_are_in_the_wheel(tmp_path: Path) -> None:
    wheel = pytest.importorskip("hatchling.builders.wheel", reason="make setup installs hatchling")
    for name in ("pyproject.toml", "hatch_build.py", ".gitignore", "README.md", "LICENSE", "NOTICE"):
        if (REPOSITORY / name).is_file():  # .gitignore is not in an sdist
            shutil.copyfile(REPOSITORY / name, tmp_path / name)
    package = tmp_path / "src" / "mammoseg"
    weights = package / "pretrained" / "weights" / "net"
    weights.mkdir(parents=True)
    (tmp_path / "src" / "hydra_plugins").mkdir()
    shutil.copyfile(REPOSITORY / "src" / "mammoseg" / "__init__.py", package / "__init__.py")
    for name in MODEL:
        (weights / name).touch()
    (weights.parent / "default.txt").touch()
    builder = wheel.WheelBuilder(str(tmp_path))
    included = {file.distribution_path for file in builder.recurse_included_files()}
    folder = "mammoseg/pretrained/weights"
    assert {f"{folder}/net/{name}" for name in MODEL} | {f"{folder}/default.txt"} <= included
    assert {"LICENSE", "NOTICE"} <= {*builder.metadata.core.license_files}


@runs_documentation
def test_the_default_model_of_the_wheel_predicts(tmp_path: Path) -> None:
    wheel = pytest.importorskip("hatchling.builders.wheel", reason="make setup installs hatchling")
    (path,) = wheel.WheelBuilder(str(REPOSITORY)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "installed")
    confidential_dicom.write(tmp_path / "film.dcm")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "installed")}

    def python(*arguments: str) -> str:
        return subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        ).stdout

    assert python("-c", "import mammoseg; print(mammoseg.__path__[0])").startswith(str(tmp_path / "installed"))
    assert "efficientnet_unet_cbis_ddsm" in python("-m", "mammoseg.models", "verify=true")
    python("-m", "mammoseg.predict", "input=film.dcm")
    assert (tmp_path / "predictions" / "masks" / "film.png").is_file()
