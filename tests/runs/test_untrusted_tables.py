"""Values in the tables and records of a run folder of somebody else are checked and escaped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from helpers.results_files import rows_of, write_run
from mammoseg.data.split_result import read_parts
from mammoseg.errors import UserError
from mammoseg.evaluate.members import check_settings
from mammoseg.reports.table import Table, latex_escape
from mammoseg.runs import checkpoint
from mammoseg.runs.discovery import read_run
from mammoseg.runs.folder import RunFolder
from mammoseg.runs.prediction_folder import read_prediction_tables
from mammoseg.runs.record import read_record
from mammoseg.runs.results import RUN_COLUMNS, read_results
from mammoseg.safe_yaml import load_yaml_file
from mammoseg.train.resume import check_config_dirs


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *(("dataset", value) for value in ("../../x", "/etc", "*", "")),
        *(("density", value) for value in (0, 9, -1)),
        *(("tp", value) for value in (-1, 10**30)),
        *(("method", value) for value in ("", "a\nb")),
        ("run", "a\x1b[2J"),
    ],
)
def test_invalid_values_in_results(tmp_path: Path, column: str, value: Any) -> None:
    folder = RunFolder(write_run(tmp_path / "run", rows_of("au_net", quality=0.5)))
    lines = folder.results.read_text(encoding="utf-8").splitlines()
    index = lines[0].split(",").index(column)
    cells = lines[1].split(",")
    cells[index] = f'"{value}"'
    folder.results.write_text("\n".join([lines[0], ",".join(cells), *lines[2:]]), encoding="utf-8")
    with pytest.raises(UserError, match=r"results\.csv"):
        read_run(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"score": 10**400},
        {"minutes": 10**400},
        {"settings": {"loss": {"alpha": 10**400}}},
        {"run_info": {"method": ["a"]}},
        {"run_info": {"method": None}},
    ],
)
def test_invalid_values_in_a_record(tmp_path: Path, change: dict[str, Any]) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"status": "finished", "format": 2, **change}), encoding="utf-8")
    with pytest.raises(UserError, match=r"run\.json: damaged"):
        read_record(RunFolder(tmp_path))


def test_methods_cannot_run_latex_commands_or_change_a_table() -> None:
    assert latex_escape("^^5cinput{/etc/passwd}$") == r"\textasciicircum \textasciicircum 5cinput\{/etc/passwd\}\$"
    text = Table("t", "Results", ["Method", "p"], [["a|b\n<script>", "< 0.001"]]).markdown()
    assert text.splitlines()[2] == r"| a\|b &lt;script> | < 0.001 |"


@pytest.mark.parametrize("content", ["root: [1, 2]", "root: 5", "store: {a: 1}", "tables: 5"])
def test_invalid_locations_of_the_data(tmp_path: Path, content: str) -> None:
    run = RunFolder(tmp_path)
    run.hydra.mkdir()
    (run.hydra / "data.yaml").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=r"data\.yaml: (root|store|tables) must be a path"):
        run.data_paths()


@pytest.mark.parametrize("sources", [5, [5], {"a": 1}])
def test_invalid_sources_of_the_config(sources: Any) -> None:
    from omegaconf import OmegaConf

    check_config_dirs(OmegaConf.create({"runtime": {"config_sources": sources}}), [])


@pytest.mark.parametrize("row", ["../x,a.png,0,", "/x,a.png,0,", "x,../a.png,0,", "x,a.png,many,", "x,a.png,1,nan"])
def test_invalid_rows_of_predictions(tmp_path: Path, row: str) -> None:
    (tmp_path / "predictions.json").write_text('{"made_of": {"threshold": 0.5}}', encoding="utf-8")
    (tmp_path / "predictions.csv").write_text(f"name,file,masses,area_mm2\n{row}\n", encoding="utf-8")
    with pytest.raises(UserError, match="its tables are damaged"):
        read_prediction_tables(tmp_path)


@pytest.mark.parametrize("text", ['{"made_of": {"threshold": NaN}}', '{"made_of": {"threshold": -5}}', "[" * 100_000])
def test_invalid_provenance_of_predictions(tmp_path: Path, text: str) -> None:
    (tmp_path / "predictions.json").write_text(text, encoding="utf-8")
    (tmp_path / "predictions.csv").write_text("name,file,masses,area_mm2\nx,a.png,0,\n", encoding="utf-8")
    with pytest.raises(UserError, match="its tables are damaged"):
        read_prediction_tables(tmp_path)


def test_patients_in_split_are_unescaped(tmp_path: Path) -> None:
    path = tmp_path / "split.csv"
    path.write_text("case,patient,density,part\na,'=1+1,1,train\nb,p,1,test\n", encoding="utf-8")
    assert [(row["part"], row["patient"]) for row in read_parts(path)] == [("train", "=1+1"), ("test", "p")]
    for text in ("case,patient,density,part\na,p,1,other\n", "a,b\n"):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(UserError, match="damaged; restore the file or remove it"):
            read_parts(path)


def test_an_invalid_count_is_named(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    path.write_text("case,density,tp,fp,fn,tn\na,1,1e3,0,0,0\n", encoding="utf-8")
    with pytest.raises(ValueError, match="tp of case a must be an integer, got 1e3"):
        read_results(path)
    path.write_text("case,density,tp\na,1\n", encoding="utf-8")
    with pytest.raises(ValueError, match="tp of case a must be an integer, got nothing"):
        read_results(path)


def test_large_yaml_files_are_rejected(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("x: 1" + ":11" * 300_000, encoding="utf-8")  # a number in base 60, quadratic time
    with pytest.raises(ValueError, match="larger than"):
        load_yaml_file(path)


VALID = {
    **{"batch_size": 4, "num_workers": 0, "seed": 0, "threshold": 0.5, "channels_last": True},
    **{"trainer": {"accelerator": "cpu", "precision": "32-true"}},
    **{"dataset": {"name": "phantom", "size": 64, "reader": {}}},
}


@pytest.mark.parametrize(
    "change",
    [
        *({name: "text"} for name in ("batch_size", "num_workers", "seed", "threshold", "channels_last")),
        *({name: -1} for name in ("batch_size", "num_workers", "threshold")),
        {"trainer": {}},
        {"dataset": {"name": "phantom", "size": 64}},
    ],
)
def test_settings_of_an_evaluation_are_checked(change: dict[str, Any]) -> None:
    check_settings(VALID, Path("best.ckpt"))
    with pytest.raises(UserError):
        check_settings({**VALID, **change}, Path("best.ckpt"))


@pytest.mark.parametrize("run_info", [None, {}, 5, {**dict.fromkeys(RUN_COLUMNS, "a"), "run": "a\n\n# Title"}])
def test_identity_in_a_checkpoint_is_checked(run_info: Any) -> None:
    with pytest.raises(UserError, match="run_info"):
        checkpoint.check_run_info(run_info, Path("best.ckpt"))


@pytest.mark.parametrize("weights", [None, {5: torch.zeros(1)}, {"a": 1.0}, {"a": torch.zeros(1, dtype=torch.cfloat)}])
def test_weights_in_a_checkpoint_are_checked(weights: Any) -> None:
    with pytest.raises(UserError, match="weights"):
        checkpoint.check_weights(weights, Path("best.ckpt"))
