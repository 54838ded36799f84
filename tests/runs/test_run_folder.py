"""Run folders: paths of files and data, discovery of runs, and resolution of checkpoint names."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from helpers.results_files import rows_of, write_run
from mammoseg.data.split_result import HALVES
from mammoseg.errors import UserError
from mammoseg.runs.checkpoint_paths import resolve_checkpoint, resolve_checkpoints
from mammoseg.runs.discovery import find_runs, latest_run, run_folders
from mammoseg.runs.folder import RunFolder
from mammoseg.runs.record import RunRecord, Status, write_record


def run_at(folder: Path, started: str, status: Status) -> RunFolder:
    run = RunFolder(folder)
    write_record(run, RunRecord(settings={"seed": 0}, status=status, started=started))
    run.best_checkpoint.parent.mkdir(parents=True)
    run.best_checkpoint.touch()
    return run


def test_files_are_described_by_the_class_and_are_paths_on_the_instance(tmp_path: Path) -> None:
    assert RunFolder(tmp_path).results == tmp_path / "results.csv"
    assert RunFolder.results.name == "results.csv"
    names = [file.name for file in RunFolder.files()]
    assert len(names) == len(set(names)) > 10
    assert RunFolder.of_checkpoint(RunFolder(tmp_path).last_checkpoint).path == tmp_path


def test_data_paths_do_not_depend_on_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    RunFolder(tmp_path / "run").write_data_paths({"root": "data/x", "store": "prepared", "reader": {"tables": None}})
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    paths = RunFolder(Path(os.path.relpath(tmp_path / "run"))).data_paths()
    assert (paths.root, paths.store, paths.tables) == (tmp_path / "data/x", tmp_path / "prepared", None)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("data.yaml", "root: 3", "data.yaml: root must be a path, got int"),
        ("data.yaml", "store: [a]", "data.yaml: store must be a path, got ListConfig"),
        ("hydra.yaml", "hydra: {runtime: {cwd: 1}}", "hydra.yaml: hydra.runtime.cwd must be a path, got int"),
    ],
)
def test_a_path_of_another_type_is_rejected(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / name).write_text(content)
    with pytest.raises(UserError, match=message):
        RunFolder(tmp_path).data_paths()


def test_a_section_of_another_type_is_ignored(tmp_path: Path) -> None:
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "hydra.yaml").write_text("hydra: 3")
    assert RunFolder(tmp_path).launch_dir is None


def test_data_paths_of_a_run_of_version_0_1(tmp_path: Path) -> None:
    """Version 0.1 stored the composed config and the working directory."""
    hydra = tmp_path / "run" / ".hydra"
    hydra.mkdir(parents=True)
    (hydra / "hydra.yaml").write_text(yaml.safe_dump({"hydra": {"runtime": {"cwd": "/start"}}}))
    config = {"dataset": {"root": "data/cbis", "store": "${oc.env:NO_SUCH,prepared}", "reader": {"tables": "/tables"}}}
    (hydra / "config.yaml").write_text(yaml.safe_dump(config))
    paths = RunFolder(tmp_path / "run").data_paths()
    assert paths.root == Path("/start/data/cbis")
    assert paths.store == Path("/start/prepared")
    assert paths.tables == Path("/tables")


def test_data_paths_of_an_evaluation_of_version_0_1_are_those_of_its_run(tmp_path: Path) -> None:
    RunFolder(tmp_path / "run").write_data_paths({"root": "/data/x", "store": "/prepared"})
    hydra = tmp_path / "evaluation" / ".hydra"
    hydra.mkdir(parents=True)
    (hydra / "hydra.yaml").write_text(yaml.safe_dump({"hydra": {"runtime": {"cwd": str(tmp_path)}}}))
    config = {"ckpt": "run/checkpoints/best.ckpt", "root": None, "store": "/s"}
    (hydra / "config.yaml").write_text(yaml.safe_dump(config))
    paths = RunFolder(tmp_path / "evaluation").data_paths()
    assert (paths.root, paths.store) == (Path("/data/x"), Path("/s"))


def test_data_paths_of_a_folder_without_a_run_are_none(tmp_path: Path) -> None:
    assert RunFolder(tmp_path).data_paths().root is None


def test_a_damaged_data_file_raises(tmp_path: Path) -> None:
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "data.yaml").write_text("root: [")
    with pytest.raises(UserError, match=r"data\.yaml: cannot be read"):
        RunFolder(tmp_path).data_paths()


def test_latest_run_is_the_newest_finished_or_unfinished_run(tmp_path: Path) -> None:
    for name, started, status in [
        ("outputs/a", "2026-01-01", Status.FINISHED),
        ("multirun/x/0", "2026-01-02", Status.FINISHED),
        ("outputs/b", "2026-01-03", Status.RUNNING),
        ("outputs/c", "2026-01-04", Status.FAILED),
        ("outputs/d", "2026-01-05", Status.PRUNED),
        ("outputs/failed-early", "2026-01-07", Status.FAILED),
        (".hidden/e", "2026-01-06", Status.FINISHED),
    ]:
        run_at(tmp_path / name, started, status)
    RunFolder(tmp_path / "outputs" / "c").last_checkpoint.touch()
    assert len(list(run_folders(tmp_path))) == 6
    assert latest_run(finished=False, top=tmp_path).path == tmp_path / "outputs/c"
    assert latest_run(finished=True, top=tmp_path).path == tmp_path / "multirun/x/0"
    with pytest.raises(UserError, match="no unfinished run"):
        latest_run(finished=False, top=tmp_path / "multirun")


def test_a_run_that_tests_both_halves_has_two_best_checkpoints(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    paths = [run.best_checkpoint_of(selection) for selection in HALVES]
    assert paths == [run.best_half1_checkpoint, run.best_half2_checkpoint]
    assert run.best_checkpoint_of("") == run.best_checkpoint
    paths[0].parent.mkdir()
    for path in paths:
        path.touch()
    assert resolve_checkpoints(tmp_path) == run.best_checkpoints() == paths
    with pytest.raises(UserError, match=r"ckpt_path=.*/best_half1\.ckpt or ckpt_path=.*/best_half2\.ckpt"):
        resolve_checkpoint(tmp_path)
    assert resolve_checkpoint(paths[1]) == paths[1]


def test_resolve_checkpoint_accepts_latest_folders_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_at(tmp_path / "run", "2026-01-01", Status.FINISHED)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").touch()
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    assert resolve_checkpoint("latest") == run.best_checkpoint
    assert resolve_checkpoint("run") == Path("run/checkpoints/best.ckpt")
    assert resolve_checkpoint("model") == Path("model/model.safetensors")
    assert resolve_checkpoint("run/checkpoints/last.ckpt") == Path("run/checkpoints/last.ckpt")
    with pytest.raises(UserError, match="ckpt_path=empty: the folder has neither"):
        resolve_checkpoint("empty")


def test_latest_run_ignores_runs_that_are_locked_by_another_process(tmp_path: Path) -> None:
    older = run_at(tmp_path / "a", "2026-01-01", Status.RUNNING)
    newer = run_at(tmp_path / "b", "2026-01-02", Status.RUNNING)
    code = (
        "import sys, pathlib; from mammoseg.processes import exclusive_lock\n"
        "with exclusive_lock(pathlib.Path(sys.argv[1]), ''): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(newer.lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert latest_run(finished=False, top=tmp_path).path == older.path
        holder.kill()
    assert latest_run(finished=False, top=tmp_path).path == newer.path


def test_find_runs_skips_evaluations_if_their_run_is_present(tmp_path: Path) -> None:
    for name in ("run", "evaluate/evaluation"):
        write_run(tmp_path / name, rows_of("au_net", quality=0.5))
    write_record(
        RunFolder(tmp_path / "evaluate" / "evaluation"), RunRecord(settings={"seed": 0}, status=Status.EVALUATED)
    )
    assert [run.folder.path.name for run in find_runs([tmp_path])] == ["run"]
    for folder in (tmp_path / "evaluate", tmp_path / "evaluate" / "evaluation"):
        assert [run.folder.path.name for run in find_runs([folder])] == ["evaluation"]


def test_run_folders_follows_links_once(tmp_path: Path) -> None:
    run = run_at(tmp_path / "elsewhere" / "run", "2026-01-01", Status.FINISHED)
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "linked").symlink_to(run.path, target_is_directory=True)
    (tmp_path / "outputs" / "loop").symlink_to(tmp_path / "outputs", target_is_directory=True)
    assert [folder.path.name for folder in run_folders(tmp_path / "outputs")] == ["linked"]


@pytest.mark.parametrize("status", [Status.RUNNING, Status.FAILED, Status.STOPPED])
def test_find_runs_skips_unfinished_runs(tmp_path: Path, status: Status) -> None:
    for name, seed in (("finished", 0), ("other", 1)):
        write_run(tmp_path / name, rows_of("au_net", quality=0.5, seed=seed))
    write_record(RunFolder(tmp_path / "other"), RunRecord(settings={"seed": 1}, status=status))
    assert [run.folder.path.name for run in find_runs([tmp_path])] == ["finished"]
