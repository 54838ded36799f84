"""Run the examples in the docstrings of mammoseg."""

from __future__ import annotations

import doctest
import random
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch

import mammoseg

SOURCE = Path(mammoseg.__file__).parent


def modules_with_examples() -> list[str]:
    """Return the dotted names of the modules that contain doctests."""
    files = [path for path in sorted(SOURCE.rglob("*.py")) if ">>>" in path.read_text(encoding="utf-8")]
    return [".".join(("mammoseg", *path.relative_to(SOURCE).with_suffix("").parts)) for path in files]


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples_print_the_documented_output(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tests = [test for test in doctest.DocTestFinder().find(import_module(name)) if test.examples]
    assert tests
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    with torch.random.fork_rng(devices=[]):
        for test in tests:
            random.seed(0)
            np.random.seed(0)
            torch.manual_seed(0)
            runner.run(test)
    assert runner.summarize(verbose=False).failed == 0
