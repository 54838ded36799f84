"""One thread per process, so that values do not depend on the number of cores, and the markers `fast` and `slow`.

Examples of Hypothesis have no time limit, since other processes may use the same cores.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported

settings.register_profile("mammoseg", deadline=None)
settings.load_profile("mammoseg")

TESTS = Path(__file__).parent
# Folders and modules that run commands, train networks or take many seconds, the longest first; others are fast.
SLOW = (
    *(
        "test_docs.py",
        "test_documented_commands.py",
        "integration/test_restart.py",
        "integration/test_search.py",
        "integration/test_sweep.py",
    ),
    *("integration", "slurm", "fuzz", "contracts/test_training_choices.py", "test_cli.py", "view/test_page.py"),
    *(
        "benchmarks",
        "gpu_benchmarks",
        "contracts/test_accelerator_training.py",
        "contracts/test_accelerator_components.py",
    ),
    *("contracts/test_settings.py", "contracts/test_metrics.py", "compare/test_compare_report.py"),
    *("losses/test_fast_paths.py", "models/test_au_net.py", "phantom", "runs/test_old_checkpoints.py"),
    *("data/preprocessing/test_density_estimate.py", "data/images/test_dicom_encodings.py"),
    *(
        "data/test_balanced_assignment.py",
        "data/readers/test_cbis_ddsm.py",
        "data/preprocessing/test_breast.py",
        "data/preprocessing/test_preprocess.py",
    ),
    *("reports/test_run_figures.py", "statistics/test_statistics.py", "launch/test_study_storage.py", "sweep_report"),
    *("schema/test_check.py", "schema/test_renamed.py", "runs/test_untrusted_config.py", "test_doctests.py"),
)


def pytest_configure() -> None:
    """Accept Ctrl-C in subprocesses, which inherit from a job in the background that it is ignored."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)  # before pytest selects by marker
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test as fast or slow, and run slow modules first, so that parallel processes end together."""
    ranks = {TESTS / name: rank for rank, name in enumerate(SLOW)}

    def rank(item: pytest.Item) -> int:
        return next((ranks[path] for path in ranks if item.path.is_relative_to(path)), len(ranks))

    for item in items:
        item.add_marker("slow" if rank(item) < len(ranks) else "fast")
    items.sort(key=rank)
