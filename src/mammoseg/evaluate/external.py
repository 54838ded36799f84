"""What the results of an evaluation contain beyond those of a run: trained on, tested on, seen images, networks."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from omegaconf import DictConfig

from mammoseg.evaluate.members import Member
from mammoseg.evaluate.test_plan import TestPlan
from mammoseg.reports.run_summary import notes_markdown
from mammoseg.runs import checkpoint
from mammoseg.runs.results import ENSEMBLE, RUN_COLUMNS
from mammoseg.runs.seen_images import count_seen, seen_sentence

log = logging.getLogger(__name__)


class ExternalEvaluation:
    """Description of an evaluation that does not repeat the test of a run.

    Args:
        members: The checkpoints.
        plan: Which checkpoints predict which images.
        cfg: Config of the test.
        tta: Whether test-time augmentation is used.

    Attributes:
        run_info: Values of `RUN_COLUMNS`; the dataset is the tested one.
        settings: Settings of the first checkpoint, with the threshold and the test-time augmentation of the test.
    """

    def __init__(self, members: Sequence[Member], plan: TestPlan, cfg: DictConfig, tta: bool) -> None:
        self.members = members
        self.plan = plan
        self.run_info = evaluation_identity([member.run_info for member in members], str(cfg.dataset.name))
        self.settings = {**members[0].config, "threshold": float(cfg.threshold), "tta": tta}

    @property
    def trained_on(self) -> str:
        """Names of the datasets of the training, such as "cbis_ddsm+inbreast"."""
        return "+".join(sorted({member.names.name for member in self.members}))

    @property
    def columns(self) -> dict[int, dict[str, Any]]:
        """Further columns of results.csv, by row of the store."""
        n_networks = self.plan.n_networks
        return {
            row: {"trained_on": self.trained_on, "part": self.plan.part, "seen": seen, "networks": n_networks[row]}
            for row, seen in self.plan.seen.items()
        }

    @cached_property
    def seen_counts(self) -> dict[str, int]:
        """Numbers of tested images that the checkpoints have seen; see `count_seen`."""
        return count_seen([*self.plan.seen.values()])

    @property
    def record(self) -> dict[str, Any]:
        """Values for run.json."""
        return {
            "trained_on": self.trained_on,
            "tested_on": self.run_info["dataset"],
            "part": self.plan.part,
            "threshold": self.settings["threshold"],
            "tta": self.settings["tta"],
            "checkpoints": [checkpoint.file_digest(member.path) for member in self.members],
            "seen": self.seen_counts,
            "notes": list(self.plan.notes),
        }

    @property
    def description(self) -> str:
        """A sentence on the datasets, the part and the options, and one on the number of networks of an ensemble."""
        numbers = sorted(set(self.plan.n_networks.values()))
        tta = " and test-time augmentation" if self.settings["tta"] else ""
        sentence = (
            f"Trained on {self.trained_on}, tested on {self.run_info['dataset']} (part {self.plan.part}), with "
            f"threshold {self.settings['threshold']:g}{tta}."
        )
        if len(self.members) == 1:
            return sentence
        used = " or ".join(map(str, numbers))
        return f"{sentence} Each image is predicted by {used} of {len(self.members)} networks."

    @property
    def warnings(self) -> list[str]:
        """Sentences on the images that the checkpoints have seen, and on what is not known about them."""
        sentence = seen_sentence(self.seen_counts, len(self.plan.seen))
        return [*([sentence] if sentence else []), *self.plan.notes]

    @property
    def notes(self) -> str:
        """Description and warnings as paragraphs of summary.md."""
        return notes_markdown([self.description, *self.warnings])

    def log_notes(self) -> None:
        """Log the description and the warnings."""
        log.info(self.description)
        for warning in self.warnings:
            log.warning(warning)


def evaluation_identity(run_infos: Sequence[Mapping[str, Any]], dataset: str) -> dict[str, Any]:
    """Return the identity of an evaluation, as written to results.csv.

    Args:
        run_infos: Identity of the run of each checkpoint.
        dataset: Name of the tested dataset.

    Returns:
        The identity of the run. If there are several runs, the values in which they differ are empty, except that
        differing methods are joined, and an ensemble of N networks is a method of its own, "<method>-ensemble<N>".

    Example:
        >>> infos = [dict.fromkeys(RUN_COLUMNS, "a") | {"fold": fold} for fold in (0, 1)]
        >>> identity = evaluation_identity(infos, "clinic")
        >>> identity["method"], identity["fold"], identity["dataset"]
        ('a-ensemble2', '', 'clinic')
    """
    if all(info == run_infos[0] for info in run_infos):
        return {**{name: run_infos[0][name] for name in RUN_COLUMNS}, "dataset": dataset}
    values = {name: list(dict.fromkeys(str(info[name]) for info in run_infos)) for name in RUN_COLUMNS}
    common: dict[str, Any] = {name: found[0] if len(found) == 1 else "" for name, found in values.items()}
    method = f"{'+'.join(values['method'])}{ENSEMBLE}{len(run_infos)}"
    return {**common, "method": method, "run": f"{values['dataset'][0]}-{method}", "dataset": dataset}
