"""`mammoseg.models`, and pretrained models in the other commands; the network of the fixtures is not trained."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from helpers import confidential_dicom
from helpers.commands import SMALL, run, succeed
from helpers.documented_data import write_cbis_ddsm
from helpers.exported_models import CHECKPOINT, FILMS, install_models, write_model
from mammoseg.exported_model import CARD_FILE, WEIGHTS_FILE
from mammoseg.pretrained import registry
from mammoseg.runs.checkpoint import file_digest

CPU = ("accelerator=cpu", "segmentation=none", "workers=1")


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of two pretrained models."""
    install_models(tmp_path / "weights", monkeypatch, "small_net", "net")
    return tmp_path / "weights"


def table(folder: Path, name: str = "predictions.csv") -> list[dict[str, str]]:
    with (folder / name).open(newline="") as lines:
        return list(csv.DictReader(lines))


def test_models_are_listed_one_per_line(models: Path, tmp_path: Path) -> None:
    lines = succeed("models", "verify=true", folder=tmp_path).splitlines()
    assert [line[:11] for line in lines] == ["net        ", "small_net  "]
    assert all("parameters" in line and line.endswith(" MB") for line in lines)
    card = succeed("models", "name=net", folder=tmp_path)
    assert card == f"{models / 'net'}\n\n{(models / 'net' / CARD_FILE).read_text()}"
    (models / "net" / WEIGHTS_FILE).write_bytes(b"damaged")
    for arguments, message in (
        (["verify=true"], "SHA-256 hash must be"),
        (["name=smal_net"], "name=smal_net: no such pretrained model; did you mean small_net?"),
    ):
        failed = run("models", *arguments, folder=tmp_path)
        assert failed.returncode == 2
        assert message in failed.stderr
    (models / "net" / CARD_FILE).write_text("---\nmammoseg: [unfinished\n---\n")
    failed = run("models", folder=tmp_path)
    assert failed.returncode == 2
    assert failed.stdout.splitlines() == ["net        damaged", lines[1]]
    assert failed.stderr.count("\n") == 1
    assert f"{CARD_FILE}: its metadata is damaged" in failed.stderr


def test_a_package_without_models_lists_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "MODELS", tmp_path / "absent")
    assert succeed("models", folder=tmp_path) == "no pretrained models are installed\n"
    for command in ("predict", "export"):
        failed = run(command, "ckpt_path=net", "input=x" if command == "predict" else "output=x", folder=tmp_path)
        assert failed.returncode == 2
        assert failed.stderr.endswith("no such file, folder or pretrained model; no pretrained models are installed\n")
    failed = run("predict", "input=x", folder=tmp_path)
    assert failed.returncode == 2
    assert "ckpt_path is required, since no pretrained models are installed" in failed.stderr
    assert list(tmp_path.iterdir()) == []


def test_predict_uses_the_default_model_and_resumes(models: Path, tmp_path: Path) -> None:
    confidential_dicom.write(tmp_path / "a.dcm")
    output = succeed("predict", "input=a.dcm", *CPU, folder=tmp_path)
    assert "ckpt_path is not set; using the default pretrained model small_net" in output
    made_of = json.loads((tmp_path / "predictions" / "predictions.json").read_text())["made_of"]
    assert made_of["checkpoints"] == [file_digest(models / "small_net")]
    assert "resuming: 1 of 1 image already predicted" in succeed("predict", "input=a.dcm", *CPU, folder=tmp_path)
    # a model is the same in all of its forms
    succeed("predict", "input=a.dcm", f"ckpt_path={CHECKPOINT}", "output=other", *CPU, folder=tmp_path)
    files = [tmp_path / name / "probabilities" / "a.png" for name in ("predictions", "other")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert [row["warning"] for row in table(tmp_path / "other")] == [""] * len(table(tmp_path / "other"))


def test_export_and_train_accept_the_name_of_a_model(models: Path, tmp_path: Path) -> None:
    succeed("export", "ckpt_path=net", "output=copy", folder=tmp_path)
    assert (tmp_path / "copy" / WEIGHTS_FILE).read_bytes() == (models / "net" / WEIGHTS_FILE).read_bytes()
    failed = run("train", *SMALL, "init_from=nett", "hydra.run.dir=run", folder=tmp_path)
    assert failed.returncode == 2
    assert "init_from=nett: no such file, folder or pretrained model; did you mean net?" in failed.stderr


def test_evaluate_tests_a_model_of_the_package_on_the_files_of_its_dataset(tmp_path: Path) -> None:
    """Its training images had another format, and are recognised by their official part."""
    write_cbis_ddsm(tmp_path / "CBIS-DDSM")
    arguments = ("ckpt_path=efficientnet_unet_cbis_ddsm", "dataset=cbis_ddsm", "dataset.root=CBIS-DDSM", "part=all")
    output = succeed("evaluate", *arguments, "hydra.run.dir=tested", folder=tmp_path)
    seen = {row["case"]: row["seen"] for row in table(tmp_path / "tested", "results.csv")}
    assert seen == {case: "no" if case.startswith("Mass-Test") else "train" for case in seen}
    n_train = list(seen.values()).count("train")
    assert 0 < n_train < len(seen)
    assert f"{n_train} of the {len(seen)} test images are not independent of the training" in output


def test_images_unlike_the_training_data_have_a_warning(tmp_path: Path) -> None:
    write_model(tmp_path / "model", FILMS)
    confidential_dicom.write(tmp_path / "in" / "a.dcm")
    output = succeed("predict", "ckpt_path=model", "input=in", *CPU, folder=tmp_path)
    warnings = {row["warning"] for row in table(tmp_path / "predictions")}
    (warning,) = warnings
    assert re.fullmatch(
        r"breast fraction of the padded image 0\.\d\d, in training at least 0\.90; "
        "an image of a digital detector, in training a digitised film",
        warning,
    )
    assert "1 of 1 image unlike the training data:" in output
    assert warning in output
    write_model(tmp_path / "unknown")
    succeed("predict", "ckpt_path=unknown", "input=in", "output=other", *CPU, folder=tmp_path)
    assert {row["warning"] for row in table(tmp_path / "other")} == {""}
