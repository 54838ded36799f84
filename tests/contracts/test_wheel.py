"""Contract: a wheel contains the code, conf/, the pretrained models and the licenses."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

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
