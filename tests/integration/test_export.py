"""`python -m mammoseg.export`: exported weights, ONNX model and model card."""

from __future__ import annotations

import re
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import mammoseg
from helpers import confidential_dicom
from helpers.commands import run, succeed
from mammoseg.data.split_result import read_parts
from mammoseg.data.store import PreparedStore
from mammoseg.ensemble import load_network
from mammoseg.errors import UserError
from mammoseg.export.export import export
from mammoseg.exported_model import read_card_metadata
from mammoseg.metrics import PIXEL_METRICS
from mammoseg.predict.options import PredictOptions
from mammoseg.predict.pipeline import predict
from mammoseg.runs import checkpoint, results
from mammoseg.runs.discovery import read_run
from mammoseg.runs.folder import RunFolder
from mammoseg.statistics.alignment import align_runs
from mammoseg.statistics.comparison import Comparison


@pytest.fixture(scope="module")
def exported(best: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    workdir = tmp_path_factory.mktemp("export")
    completed = run("export", f"ckpt_path={best}", "output=model", "onnx=true", folder=workdir)
    assert completed.returncode == 0, completed.stderr
    assert completed.stderr == ""
    assert completed.stdout == "model: model.safetensors, config.yaml, model.onnx, README.md\n"
    return workdir / "model"


def test_weights_equal_those_of_the_checkpoint(exported: Path, best: Path) -> None:
    from safetensors.torch import load_file

    stored = torch.load(best, weights_only=True)["state_dict"]
    weights = load_file(exported / "model.safetensors")
    assert {f"net.{name}" for name in weights} == {name for name in stored if name.startswith("net.")}
    assert all(torch.equal(value, stored[f"net.{name}"]) for name, value in weights.items())


def test_config_equals_that_of_the_checkpoint(exported: Path, best: Path) -> None:
    provenance = torch.load(best, weights_only=True)["mammoseg"]
    exported_config = yaml.safe_load((exported / "config.yaml").read_text())
    provenance["config"]["dataset"]["source"] = None  # generates a dataset, so it is not exported
    measured = exported_config.pop("input_range")
    assert exported_config == {name: provenance[name] for name in ("config", "run_info")}
    assert 100 < measured["box_side"][0] <= measured["box_side"][1] <= 208, "phantoms have 208x160 pixels"
    assert measured["acquisitions"] == ["digital"]


def test_onnx_outputs_equal_those_of_torch_for_any_batch_size(exported: Path, best: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(exported / "model.onnx", providers=["CPUExecutionProvider"])
    network = load_network(checkpoint.load_checkpoint(best), best)
    for batch_size in (1, 3):
        image = torch.rand(batch_size, 1, 64, 64, generator=torch.Generator().manual_seed(batch_size))
        with torch.inference_mode():
            expected = network(image).numpy()
        assert expected.std() > 0.1, "constant logits would make the comparison meaningless"
        (logits,) = session.run(["logits"], {"image": image.numpy()})
        np.testing.assert_allclose(logits, expected, atol=1e-4, rtol=1e-4)


def test_predict_accepts_the_exported_folder(exported: Path, best: Path, tmp_path: Path) -> None:
    confidential_dicom.write(tmp_path / "a.dcm")
    for name, ckpt_path in (("checkpoint", best), ("exported", exported)):
        options = PredictOptions(
            tta=False, threshold=None, segmentation="none", accelerator="cpu", batch_size=1, workers=1
        )
        predict([ckpt_path], tmp_path / "a.dcm", tmp_path / name, options)
    files = [tmp_path / name / "probabilities" / "a.png" for name in ("checkpoint", "exported")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_the_model_card_lists_data_and_metrics_with_intervals(exported: Path, trained: Path) -> None:
    card = (exported / "README.md").read_text()
    assert "not a medical device" in card
    assert "trained on synthetic mammograms" in card
    parts = [line.rsplit(",", 1)[1] for line in (trained / "split.csv").read_text().splitlines()[1:]]
    for part, label in (("train", "training"), ("test", "test")):
        assert re.search(rf"\| {label} \| {parts.count(part)} \|", card), part
    rows = results.read_results(trained / "results.csv")
    pooled = results.pooled_metrics(rows)
    (line,) = [line for line in card.splitlines() if line.startswith("| all |")]
    cells = [cell.strip() for cell in line.split("|")[2:-1]]
    assert cells[0] == str(len(rows))
    values = [cell.split(" ")[0] for cell in cells[1:]]
    assert values == [f"{100 * pooled[name]:.2f}" for name in ("dsc", "area_difference", "sensitivity", "accuracy")]
    estimate = Comparison(align_runs([read_run(RunFolder(trained))]), 5000, 0.95, 0).overall[rows[0]["method"]]["dsc"]
    assert f"[{100 * estimate.low:.2f}, {100 * estimate.high:.2f}]" in cells[1] or "[–, –]" in cells[1]


def test_the_range_of_the_training_images_is_that_of_the_training_part(exported: Path, trained: Path) -> None:
    training = {row["case"] for row in read_parts(trained / "split.csv") if row["part"] == "train"}
    store = next((trained.parent / "data" / "prepared").glob("phantom-*"))
    fractions = [
        case.breast_fraction * 208 * 160 / 208**2 for case in PreparedStore.open(store).cases if case.case in training
    ]
    assert len(fractions) == len(training)
    measured = yaml.safe_load((exported / "config.yaml").read_text())["input_range"]["square_fraction"]
    assert measured == pytest.approx(np.quantile(fractions, [0.005, 0.995]), abs=1e-4)


def test_the_metadata_of_the_card_contain_the_results_and_the_hash(exported: Path, trained: Path) -> None:
    metadata = read_card_metadata(exported / "README.md")
    rows = results.read_results(trained / "results.csv")
    pooled = results.pooled_metrics(rows)
    (entry,) = metadata["model-index"]
    (result,) = entry["results"]
    scale = {name: metric.scale() for name, metric in PIXEL_METRICS.items()}
    values = {metric["type"]: metric["value"] for metric in result["metrics"]}
    assert values == {name: pytest.approx(scale[name] * pooled[name], abs=0.005) for name in PIXEL_METRICS}
    own = metadata["mammoseg"]
    assert own["sha256"] == checkpoint.file_digest(exported)
    estimates = {row["metric"]: row for row in own["estimates"] if row["images"] == "all"}
    assert {name: row["value"] for name, row in estimates.items()} == values
    assert own["result"].startswith(f"DSC {values['dsc']:.2f} [")
    assert own["result"].endswith(f"on {len(rows)} test images")
    parts = [row["part"] for row in read_parts(trained / "split.csv")]
    assert own["training_data"] == f"synthetic mammograms ({parts.count('train')} images)"


def test_the_card_contains_the_metrics_by_mass_size(exported: Path, trained: Path) -> None:
    card = (exported / "README.md").read_text()
    rows = results.read_results(trained / "results.csv")
    section = card.partition("| mass pixels | n |")[2].partition("\n\n")[0]
    groups = [[cell.strip() for cell in line.split("|")[1:4]] for line in section.splitlines()[2:]]
    assert len(groups) > 1
    n_images = 0
    for label, n, cell in groups:
        low, _, high = label.partition("–")
        group = [row for row in rows if int(low) <= row["tp"] + row["fn"] <= int(high or low)]
        assert len(group) == int(n)
        assert cell.split(" ")[0] == f"{100 * results.pooled_metrics(group)['dsc']:.2f}"
        n_images += len(group)
    assert n_images == len(rows)
    assert "## Credit" in card
    assert "the results do not show false positives in mammograms without one" in card


def test_exported_files_contain_no_local_paths_or_host_names(exported: Path, trained: Path) -> None:
    package = str(Path(mammoseg.__file__).parent)
    secrets = [str(trained.parent).encode(), str(Path.home()).encode() + b"/", package.encode()]
    if len(socket.gethostname()) > 4:  # a shorter name could occur by chance
        secrets.append(socket.gethostname().encode())
    for path in exported.iterdir():
        for secret in secrets:
            assert secret not in path.read_bytes(), f"{secret!r} in {path}"
        assert not re.search(rb"\.py\b", path.read_bytes()), f"{path} contains source locations"


def test_metrics_of_another_checkpoint_are_not_listed(best: Path, sibling: Path, tmp_path: Path) -> None:
    last = best.with_name("last.ckpt")
    export(last, tmp_path / "last", onnx=False)
    assert (
        "belongs to its best checkpoint, but another one was exported" in (tmp_path / "last" / "README.md").read_text()
    )
    moved = tmp_path / "somewhere" / "checkpoints" / "best.ckpt"
    moved.parent.mkdir(parents=True)
    shutil.copyfile(sibling, moved)
    export(moved, tmp_path / "moved", onnx=False)
    card = (tmp_path / "moved" / "README.md").read_text()
    assert "split.csv was not available at export" in card
    assert "results.csv was not available at export" in card


def test_invalid_arguments_are_rejected(best: Path, tmp_path: Path) -> None:
    (tmp_path / "junk.ckpt").write_bytes(b"junk")
    (tmp_path / "file").touch()
    for arguments, expected in (
        (("ckpt_path=junk.ckpt", "output=out"), "junk.ckpt"),
        ((f"ckpt_path={best}", "output=file"), "file"),
    ):
        completed = run("export", *arguments, folder=tmp_path)
        assert completed.returncode == 2, completed.stderr
        assert completed.stderr.count("\n") == 1
        assert expected in completed.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("module", ["onnxscript", "onnx"])
def test_missing_packages_are_reported_before_anything_is_written(
    best: Path, tmp_path: Path, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(UserError, match=r"\.\[export\]"):
        export(best, tmp_path / "out", onnx=True)
    assert not (tmp_path / "out").exists()


def test_an_incomplete_exported_folder_is_rejected(exported: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(exported, folder)
    (folder / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(UserError, match=r"model\.safetensors"):
        checkpoint.load_checkpoint(folder)
    (folder / "config.yaml").unlink()
    with pytest.raises(UserError, match=r"config\.yaml"):
        checkpoint.load_checkpoint(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match="model"):
        checkpoint.load_checkpoint(folder)


def test_untrusted_targets_in_an_exported_config_are_rejected(exported: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(exported, folder)
    provenance = yaml.safe_load((folder / "config.yaml").read_text())
    provenance["config"]["model"]["_target_"] = "subprocess.run"
    (folder / "config.yaml").write_text(yaml.safe_dump(provenance))
    with pytest.raises(UserError, match=r"subprocess\.run"):
        checkpoint.load_checkpoint(folder, ["model"])


def test_further_evaluations_and_the_effect_of_half_precision_are_in_the_card(
    best: Path, trained: Path, sibling: Path, tmp_path: Path
) -> None:
    paths = RunFolder(trained).data_paths()
    for name, ckpt_path in (("tta", best), ("other", sibling)):
        data = (f"dataset.root={paths.root}", f"dataset.store={paths.store}")
        succeed("evaluate", f"ckpt_path={ckpt_path}", "tta=true", *data, f"hydra.run.dir={name}", folder=tmp_path)
    options = (f"ckpt_path={best}", "output=model", "half=true")
    succeed("export", *options, "evaluations=[tta]", "data_description=Labels were removed.", folder=tmp_path)
    metadata = read_card_metadata(tmp_path / "model" / "README.md")["mammoseg"]
    rows = results.read_results(tmp_path / "tta" / "results.csv")
    (evaluation,) = metadata["evaluations"]
    assert (evaluation["dataset"], evaluation["part"], evaluation["tta"]) == ("phantom", "test", True)
    assert evaluation["dsc"] == pytest.approx(100 * results.pooled_metrics(rows)["dsc"], abs=0.005)
    rounding = metadata["rounding"]
    assert (rounding["images"], rounding["pixels"]) == (len(rows), len(rows) * 64 * 64)
    assert 0 < rounding["max_probability_change"] < 0.05
    card = (tmp_path / "model" / "README.md").read_text()
    assert f"On {len(rows)} test images, the rounding changes the probability of a pixel by at most" in card
    assert "## Further evaluations" in card
    assert "\n\nLabels were removed.\n\n## Training procedure" in card
    before = (tmp_path / "model" / "README.md").read_bytes()
    failed = run("export", *options, "evaluations=[other]", folder=tmp_path)
    assert failed.returncode == 2
    assert "evaluations: other must contain the results of" in failed.stderr
    assert (tmp_path / "model" / "README.md").read_bytes() == before
