"""The examples of docs/extend.md run as printed, the pages build without warnings, and links and names are valid."""

from __future__ import annotations

import importlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

import mammoseg
from helpers import commands
from helpers.documented_commands import runs_documentation
from mammoseg import losses, metrics
from mammoseg.compare.difference_tables import CSV_COLUMNS
from mammoseg.data.store import Case
from mammoseg.evaluate import native_resolution
from mammoseg.predict import prediction_table
from mammoseg.predict.exams import EXAM_COLUMNS
from mammoseg.runs import results
from mammoseg.runs.folder import RunFolder
from mammoseg.runs.settings import ROLES

REPOSITORY = Path(__file__).resolve().parents[1]
DOCS = REPOSITORY / "docs"
SMALL = [
    *("dataset.size=64", "trainer.accelerator=cpu", "trainer.max_epochs=1", "logger=csv", "width=2"),
    "hydra.run.dir=run",
]
APPEND = "append to "
PHANTOM = ["dataset.source.cases=30", "dataset.source.height=208"]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (DOCS / "extend.md").read_text(), re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def user_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a user with the files of docs/extend.md and a dataset of 20 patients with two images each.

    package/ is a copy of the source, to which the code is appended that the page adds to mammoseg.
    """
    folder = tmp_path_factory.mktemp("user")
    for name in ("src", "conf"):
        shutil.copytree(REPOSITORY / name, folder / "package" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for text in (*blocks("python"), *blocks("yaml")):
        name = text.partition("\n")[0].removeprefix("# ")
        if name.startswith(APPEND):
            with (folder / "package" / name.removeprefix(APPEND)).open("a") as file:
                file.write(f"\n\n{text}")
            continue
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    rng = np.random.default_rng(0)
    for patient in range(20):
        patient_folder = folder / "clinic" / f"{patient:04}_acr{patient % 4 + 1}"
        patient_folder.mkdir(parents=True)
        for view in ("CC", "MLO"):
            image = np.zeros((128, 96), np.uint8)
            cv2.ellipse(image, (0, 64), (80, 60), 0, 0, 360, 90, -1)
            mask = np.zeros_like(image)
            cv2.circle(mask, (int(rng.integers(20, 50)), int(rng.integers(40, 90))), 8, 255, -1)
            image[mask > 0] = 200
            cv2.imwrite(str(patient_folder / f"{view}.png"), image)
            cv2.imwrite(str(patient_folder / f"{view}_mask.png"), mask)
    (folder / "clinic" / "0000_acr1" / "MLO_mask.png").unlink()
    return folder


def run(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    python, *arguments = shlex.split(line)
    assert python == "python"
    trains = "mammoseg.train" in arguments
    # Settings of the line take precedence.
    small = [setting for setting in SMALL if f" {setting.partition('=')[0]}=" not in line.replace("'", "")]
    extra = small if trains else [SMALL[0]] if "mammoseg.prepare" in arguments else []
    # One mask of the dataset is missing.
    extra = [*extra, *(["dataset.on_error=skip"] if "dataset=clinic" in arguments else PHANTOM if trains else [])]
    if arguments[:2] == ["-m", "mammoseg.compare"]:
        # The metric of the page is only part of the copy; the runs are trained without it.
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(folder / "package" / "src")},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    module, *settings = arguments[1:]
    return commands.run(module.removeprefix("mammoseg."), *settings, *extra, folder=folder)


@pytest.fixture
def importable(user_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Modules of the user's folder can be imported, as from the working directory of `python -m`."""
    loaded = set(sys.modules)
    monkeypatch.syspath_prepend(user_folder)
    yield
    for name in set(sys.modules) - loaded:
        if getattr(sys.modules[name], "__file__", None) and str(user_folder) in str(sys.modules[name].__file__):
            del sys.modules[name]


@runs_documentation
@pytest.mark.usefixtures("importable")
def test_examples_of_the_extension_guide_run(user_folder: Path) -> None:
    lines = [line.removeprefix("$ ") for block in blocks("console") for line in block.splitlines()]
    assert len(lines) == 12
    for line in lines:
        if "mammoseg.evaluate" in line:
            rejected = run(line.replace(" 'trusted_modules=[mine]'", ""), user_folder)
            assert rejected.returncode == 2
            assert "and not trusted" in rejected.stderr
        elif "mammoseg.train" in line and (user_folder / "run").exists():
            (user_folder / "run").rename(user_folder / f"run-{len(list(user_folder.glob('run-*')))}")
        completed = run(line, user_folder)
        assert completed.returncode == 0, f"{line}\n{completed.stderr}{completed.stdout}"
    metrics = [json.loads(row) for path in user_folder.rglob("metrics.jsonl") for row in path.read_text().splitlines()]
    assert {"val/dsc", "test/dsc"} <= {name for row in metrics for name in row}
    assert any("train/weight_norm" in path.read_text() for path in user_folder.rglob("metrics.csv"))
    comparison = next(user_folder.glob("run*/comparison"))
    assert "Specificity ↑" in (comparison / "report.md").read_text()
    assert "specificity" not in (comparison.parent / "results.csv").read_text()
    assert "has no mask" in "".join(path.read_text() for path in user_folder.rglob("data_report.md"))
    assert "identical to the results of the training run" in completed.stdout


def test_the_text_of_the_third_notebook_agrees_with_its_output() -> None:
    cells = json.loads((REPOSITORY / "notebooks" / "3_table.ipynb").read_text(encoding="utf-8"))["cells"]
    tables = [
        "".join(output["data"].get("text/markdown", ""))
        for cell in cells
        for output in cell.get("outputs", [])
        if "data" in output
    ]
    (pairs,) = (
        re.findall(r"^\| DSC ↑ .*\[(.*), (.*)\].* \| (\S+) \|$", table, re.MULTILINE)
        for table in tables
        if "p (Holm)" in table
    )
    ((low, high, p_holm),) = [tuple(float(number.replace("−", "-")) for number in row) for row in pairs]
    assert "interval of the difference in DSC includes 0" in "".join(line for cell in cells for line in cell["source"])
    assert low < 0 < high
    assert p_holm > 0.05


@runs_documentation
def test_documentation_builds_without_warnings(tmp_path: Path) -> None:
    pytest.importorskip("furo", reason="furo is not installed; make setup installs it")
    completed = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html", "-d", tmp_path / "trees", DOCS, tmp_path / "html"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    assert "theta.values" in (tmp_path / "html" / "configuration.html").read_text()
    runs = (tmp_path / "html" / "runs.html").read_text()
    assert all(file.name in runs for file in RunFolder.files())
    assert all(key in runs for key in ROLES)


def test_each_page_is_in_one_of_four_parts_and_in_the_table_of_the_index() -> None:
    text = (DOCS / "index.md").read_text()
    parts = dict(
        re.findall(
            r"^```{toctree}\n(?::(?!caption)[^\n]*\n)*:caption: ([^\n]*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE
        )
    )
    assert list(parts) == ["Tutorials", "How-to guides", "Reference", "Explanation"]
    listed = [name for names in parts.values() for name in names.split()]
    pages = {page.stem for page in DOCS.glob("*.md")} - {"index"}
    assert sorted(listed) == sorted({*pages, "configuration", "decisions/*"})
    links = re.findall(r"^\|.*\]\((\w+)\.md\)", text, re.MULTILINE)
    assert sorted(links) == sorted({*pages, "configuration"})


def test_columns_of_csv_files_are_documented() -> None:
    tables = (DOCS / "tables.md").read_text()
    columns = {
        *results.columns(),
        *(*native_resolution.NATIVE_COLUMNS, *native_resolution.CANDIDATE_COLUMNS),
        *CSV_COLUMNS,
        *(field.name for field in fields(Case)),
    }
    assert {column for column in columns if f"`{column}`" not in tables} == set()
    prediction = (DOCS / "predict.md").read_text()
    columns = {*prediction_table.PREDICTION_COLUMNS, *prediction_table.MASS_COLUMNS, *EXAM_COLUMNS}
    assert {column for column in columns if f"`{column}`" not in prediction} == set()


def test_the_tables_of_runs_are_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`make docs` updates them."""
    monkeypatch.syspath_prepend(DOCS)
    page = tmp_path / "runs.md"
    shutil.copy(DOCS / "runs.md", page)
    importlib.import_module("configuration").update_run_tables(page)
    assert page.read_text() == (DOCS / "runs.md").read_text()


def slug(heading: str) -> str:
    """Return the anchor that GitHub and MyST generate for a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return {slug(heading) for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}


GENERATED = {DOCS / "configuration.md"}
PAGES = sorted(
    page for page in {*REPOSITORY.glob("*.md"), *DOCS.rglob("*.md")} - GENERATED if "_build" not in page.parts
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_resolve(page: Path) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        name, _, anchor = link.partition("#")
        target = page if not name else (page.parent / name).resolve()
        if link.startswith(("https:", "http:")) or target in GENERATED:
            continue
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("module", [mammoseg, losses, metrics])
def test_public_names_are_in_the_api_reference(module: ModuleType) -> None:
    page = (DOCS / "api.md").read_text()
    assert {name for name in module.__all__ if not re.search(rf"\b{name}\b", page)} == set()


def test_names_imported_in_the_extension_guide_are_in_the_api_reference() -> None:
    page = (DOCS / "api.md").read_text()
    imports = re.findall(r"^from mammoseg\S* import (.*)$", "".join(blocks("python")), re.MULTILINE)
    names = {name for line in imports for name in line.split(", ")}
    assert {"Term", "Splitter", "Mammogram"} <= names
    assert {name for name in names if not re.search(rf"\b{name}\b", page)} == set()
