"""`python -m mammoseg.export`: files that give the same numbers elsewhere, and a card that tells the truth."""

from __future__ import annotations

import re
import shutil
import socket
from pathlib import Path

import numpy as np
import planted
import pytest
import torch
import yaml
from commands import command

from mammoseg.ensemble import load_network
from mammoseg.errors import UserError
from mammoseg.export import export as exporting
from mammoseg.predict.pipeline import Options, predict
from mammoseg.runs import checkpoint, results
from mammoseg.runs.discovery import read_run
from mammoseg.runs.folder import RunFolder
from mammoseg.statistics.alignment import align_runs
from mammoseg.statistics.comparison import Comparison

pytest.importorskip("safetensors")


@pytest.fixture(scope="module")
def exported(best: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("export")
    done = command("export", f"ckpt_path={best}", "output=model", "onnx=true", folder=place)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout == "model: model.safetensors, config.yaml, model.onnx, README.md\n"
    return place / "model"


def test_the_weights_are_those_of_the_checkpoint(exported: Path, best: Path) -> None:
    from safetensors.torch import load_file

    stored = torch.load(best, weights_only=True)["state_dict"]
    weights = load_file(exported / "model.safetensors")
    assert {f"net.{name}" for name in weights} == {name for name in stored if name.startswith("net.")}
    assert all(torch.equal(value, stored[f"net.{name}"]) for name, value in weights.items())


def test_the_config_is_the_checkpoints(exported: Path, best: Path) -> None:
    stored = torch.load(best, weights_only=True)["mammoseg"]
    exported_config = yaml.safe_load((exported / "config.yaml").read_text())
    assert exported_config == {name: stored[name] for name in ("config", "run_info")}


def test_onnx_gives_the_same_numbers_for_any_batch(exported: Path, best: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(exported / "model.onnx", providers=["CPUExecutionProvider"])
    network = load_network(checkpoint.load_checkpoint(best), best)
    for number in (1, 3):
        image = torch.rand(number, 1, 64, 64, generator=torch.Generator().manual_seed(number))
        with torch.inference_mode():
            expected = network(image).numpy()
        assert expected.std() > 0.1, "or nothing is compared"
        (logits,) = session.run(["logits"], {"image": image.numpy()})
        np.testing.assert_allclose(logits, expected, atol=1e-4, rtol=1e-4)


def test_predict_takes_the_folder_as_it_takes_the_checkpoint(exported: Path, best: Path, tmp_path: Path) -> None:
    planted.write(tmp_path / "a.dcm")
    for name, given in (("one", best), ("two", exported)):
        options = Options(tta=False, threshold=None, segmentation="none", accelerator="cpu", batch_size=1, workers=1)
        predict([given], tmp_path / "a.dcm", tmp_path / name, options)
    one, two = ((tmp_path / name / "probabilities" / "a.png").read_bytes() for name in ("one", "two"))
    assert one == two


def test_the_card_tells_the_data_and_the_metrics_with_their_intervals(exported: Path, trained: Path) -> None:
    card = (exported / "README.md").read_text()
    assert "not a medical device" in card
    assert "trained on synthetic mammograms" in card
    parts = [line.rsplit(",", 1)[1] for line in (trained / "split.csv").read_text().splitlines()[1:]]
    for part, text in (("train", "training"), ("test", "test")):
        assert re.search(rf"\| {text} \| {parts.count(part)} \|", card), part
    rows = results.read_results(trained / "results.csv")
    pooled = results.pooled_metrics(rows)
    (line,) = [line for line in card.splitlines() if line.startswith("| all |")]
    cells = [cell.strip() for cell in line.split("|")[2:-1]]
    assert cells[0] == str(len(rows))
    told = [cell.split(" ")[0] for cell in cells[1:]]
    assert told == [f"{100 * pooled[name]:.2f}" for name in ("dsc", "area_difference", "sensitivity", "accuracy")]
    estimate = Comparison(align_runs([read_run(RunFolder(trained))]), 5000, 0.95, 0).estimates(rows[0]["method"])["dsc"]
    assert f"[{100 * estimate.low:.2f}, {100 * estimate.high:.2f}]" in cells[1] or "[–, –]" in cells[1]


def test_nothing_of_the_machine_is_in_it(exported: Path, trained: Path) -> None:
    secrets = [str(trained.parent).encode(), str(Path.home()).encode() + b"/", str(Path(exporting.__file__)).encode()]
    if len(socket.gethostname()) > 4:  # a shorter name would be found by chance
        secrets.append(socket.gethostname().encode())
    for path in exported.iterdir():
        for secret in secrets:
            assert secret not in path.read_bytes(), f"{secret!r} in {path}"
        assert not re.search(rb"\.py\b", path.read_bytes()), f"a line of code is named in {path}"


def test_metrics_of_another_checkpoint_are_not_told(best: Path, sibling: Path, tmp_path: Path) -> None:
    last = best.with_name("last.ckpt")
    exporting.export(last, tmp_path / "last", onnx=False)
    assert "that of its best checkpoint, and this is another" in (tmp_path / "last" / "README.md").read_text()
    alone = tmp_path / "somewhere" / "checkpoints" / "best.ckpt"
    alone.parent.mkdir(parents=True)
    shutil.copyfile(sibling, alone)
    exporting.export(alone, tmp_path / "alone", onnx=False)
    card = (tmp_path / "alone" / "README.md").read_text()
    assert "the run's split.csv does not lie beside" in card
    assert "results.csv does not lie beside" in card


def test_mistakes_are_told_in_a_sentence(best: Path, exported: Path, tmp_path: Path) -> None:
    (tmp_path / "junk.ckpt").write_bytes(b"junk")
    (tmp_path / "file").touch()
    for arguments, expected in (
        (("ckpt_path=junk.ckpt", "output=out"), "not a checkpoint"),
        ((f"ckpt_path={best}", "output=file"), "choose a folder"),
    ):
        done = command("export", *arguments, folder=tmp_path)
        assert done.returncode == 2, done.stderr
        assert done.stderr.count("\n") == 1
        assert expected in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("module", ["safetensors.torch", "onnxscript", "onnx"])
def test_a_missing_extra_is_named_before_anything_is_written(
    best: Path, tmp_path: Path, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(UserError, match=r"\.\[export\]"):
        exporting.export(best, tmp_path / "out", onnx=True)
    assert not (tmp_path / "out").exists()


def test_an_exported_folder_that_is_not_whole(exported: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(exported, folder)
    (folder / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(UserError, match="damaged; export the checkpoint again"):
        checkpoint.load_checkpoint(folder)
    (folder / "config.yaml").unlink()
    with pytest.raises(UserError, match=r"config\.yaml is missing"):
        checkpoint.load_checkpoint(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match="no such checkpoint"):
        checkpoint.load_checkpoint(folder)


def test_an_exported_config_may_not_call_anything_either(exported: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(exported, folder)
    carried = yaml.safe_load((folder / "config.yaml").read_text())
    carried["config"]["model"]["_target_"] = "subprocess.run"
    (folder / "config.yaml").write_text(yaml.safe_dump(carried))
    with pytest.raises(UserError, match=r"subprocess\.run, which is not trusted"):
        checkpoint.load_checkpoint(folder)
