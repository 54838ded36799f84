"""Checklist for Artificial Intelligence in Medical Imaging (CLAIM, 2024 update), filled in from the compared runs.

Tejani et al., Radiology: Artificial Intelligence 6(4):e240300 (2024), https://doi.org/10.1148/ryai.240300. Items that
the runs do not determine are left to the authors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from mammoseg import __version__
from mammoseg.compare import summary
from mammoseg.metrics import PIXEL_METRICS
from mammoseg.reports.table import format_count
from mammoseg.runs.discovery import RunResults
from mammoseg.runs.record import read_record_or_skip
from mammoseg.statistics.comparison import Comparison
from mammoseg.statistics.secondary_outcomes import SecondaryOutcomes

# Number of the first item of each section, and short titles of its items.
SECTIONS: Mapping[str, tuple[int, Sequence[str]]] = {
    "Title and abstract": (1, ("identification as a study of AI methodology", "structured summary")),
    "Introduction": (3, ("background, intended use and clinical role", "aims, objectives and hypotheses")),
    "Methods: study design": (5, ("prospective or retrospective study", "goal of the study")),
    "Methods: data": (
        7,
        (
            *("sources of the data", "inclusion and exclusion criteria", "preprocessing", "selection of subsets"),
            *("de-identification", "missing data", "image acquisition"),
        ),
    ),
    "Methods: reference standard": (
        14,
        (
            *("definition", "rationale for its choice", "source of the annotations", "annotation of the test set"),
            "variability between and within annotators",
        ),
    ),
    "Methods: partitions": (19, ("assignment of the data", "level at which the partitions are disjoint")),
    "Methods: test data": (21, ("intended sample size",)),
    "Methods: model": (22, ("description of the model", "software", "initialisation of the parameters")),
    "Methods: training": (25, ("details of the training", "selection of the final model", "ensembles")),
    "Methods: evaluation": (
        28,
        (
            *("metrics", "statistical significance and uncertainty", "robustness or sensitivity analysis"),
            *("explainability", "evaluation on internal data", "testing on external data", "trial registration"),
        ),
    ),
    "Results: data": (35, ("numbers of patients and examinations", "characteristics of the cases in each partition")),
    "Results: performance": (
        37,
        ("performance with measures of uncertainty", "diagnostic performance and its precision", "failure analysis"),
    ),
    "Discussion": (40, ("limitations", "implications for practice")),
    "Other information": (42, ("full protocol or technical details", "availability", "funding")),
}
PREPROCESSING = ("dataset.size", "dataset.crop", "dataset.aspect", "dataset.normalise", "dataset.flip")
TRAINING = ("trainer.max_epochs", "batch_size", "optimizer._target_", "optimizer.lr", "scheduler.scheduler._target_")
SELECTIONS = {"best": "weights of the epoch with the highest validation DSC", "last": "weights of the last epoch"}
TO_DO = "*to be completed by the authors*"


def claim_markdown(
    comparison: Comparison, names: Mapping[str, str], metric: str, pairs: Sequence[tuple[str, str]]
) -> str:
    """Create the checklist.

    Args:
        comparison: The comparison.
        names: Display names of the methods.
        metric: Key of the primary metric.
        pairs: Pairs of the primary comparison.

    Returns:
        Markdown.
    """
    runs = comparison.data.all_runs
    answers = {
        **_data_answers(comparison, runs),
        **_model_answers(comparison, runs, names),
        **_evaluation_answers(comparison, runs, names, metric, pairs),
    }
    lines = [
        "# CLAIM checklist (2024 update)",
        "",
        f"Filled in from {format_count(len(runs), 'run')} by mammoseg {__version__}. Check these entries, and complete "
        "the others, which cannot be determined from the runs.",
    ]
    for section, (first, titles) in SECTIONS.items():
        lines += ["", f"## {section}", "", "| item | topic | entry |", "|---|---|---|"]
        for number, title in enumerate(titles, first):
            answer = answers.get(number, "").replace("|", "\\|")
            lines.append(f"| {number} | {title} | {answer or TO_DO} |")
    lines += ["", "Checklist: Tejani et al., Radiology: Artificial Intelligence 6(4):e240300 (2024).", ""]
    return "\n".join(lines)


def _values(runs: Sequence[RunResults], key: str) -> str:
    """Return the distinct values of a setting, or an empty string if no run has it."""
    values = dict.fromkeys(run.setting(key) for run in runs)
    return ", ".join(
        str(value).rsplit(".", 1)[-1] if "_target_" in key else str(value) for value in values if value is not None
    )


def _settings(runs: Sequence[RunResults], keys: Sequence[str]) -> str:
    """Return settings with their values: "batch_size: 4; optimizer.lr: 0.001"."""
    listed = {key.removesuffix("._target_"): _values(runs, key) for key in keys}
    return "; ".join(f"{key}: {value}" for key, value in listed.items() if value)


def _data_answers(comparison: Comparison, runs: Sequence[RunResults]) -> dict[int, str]:
    """Return the answers on data and partitions."""
    trained_on = ", ".join(dict.fromkeys(run.trained_on for run in runs))
    splits = _values(runs, "split._target_")
    n_patients, n_images = comparison.resampler.n_patients(), len(comparison.rows)
    by_density = Counter(int(row["density"]) for row in comparison.rows)
    density = ", ".join(f"ACR {category}: {by_density[category]}" for category in sorted(by_density))
    answers = {
        7: f"trained on {trained_on}; tested on {comparison.data.dataset}; describe their origin",
        9: _settings(runs, PREPROCESSING),
        19: _settings(runs, ("split._target_", "split.seed", "split.val_share", "split.n_folds", "split.stratify")),
        35: f"test set: {format_count(n_images, 'image')} of {format_count(n_patients, 'patient')}; "
        "split.csv of each run lists the images of all partitions; give the numbers of excluded cases",
        36: f"test images by breast density: {density}; add demographic and clinical characteristics",
    }
    if splits and "ImageKFold" not in splits:
        answers[20] = "patient: all images of a patient are in the same partition"
    elif splits:
        answers[20] = "image: images of a patient can be in different partitions"
    if negatives := _values(runs, "dataset.negatives"):
        answers[10] = f"images without a mass (dataset.negatives): {negatives}"
    if missing := _values(runs, "dataset.missing_density"):
        answers[12] = f"images without a density category (dataset.missing_density): {missing}"
    return answers


def _model_answers(comparison: Comparison, runs: Sequence[RunResults], names: Mapping[str, str]) -> dict[int, str]:
    """Return the answers on models, software and training."""
    models = []
    for method, by_fold_seed in comparison.data.runs.items():
        method_runs = list(by_fold_seed.values())
        parts = _settings(method_runs, ("model._target_", "model.width", "loss._target_"))
        models.append(f"{names.get(method, method)} ({parts})" if parts else names.get(method, method))
    record = read_record_or_skip(runs[0].folder)
    versions: Mapping[str, Any] = record.versions if record is not None else {}
    answers = {
        22: "; ".join(models) + "; runs.csv lists the main settings",
        23: ", ".join(f"{name} {version}" for name, version in versions.items()),
        24: f"{_initialisation(comparison, names)}; seeds: {_values(runs, 'seed')}",
        25: _settings(runs, TRAINING),
        27: "networks of several runs" if any(run.is_ensemble for run in runs) else "none",
    }
    if selection := {run.setting("model_selection") for run in runs} - {None}:
        answers[26] = " or ".join(sorted(SELECTIONS[str(name)] for name in selection))
    return answers


def _initialisation(comparison: Comparison, names: Mapping[str, str]) -> str:
    """Return the initialisation of the parameters, with the methods if it differs between them."""
    methods: dict[str, list[str]] = {}
    for method, by_fold_seed in comparison.data.runs.items():
        pretrained = any(run.setting("init_from") or run.setting("encoder_weights") for run in by_fold_seed.values())
        methods.setdefault("pretrained weights" if pretrained else "random", []).append(names.get(method, method))
    if len(methods) == 1:
        return next(iter(methods))
    return "; ".join(f"{words} ({', '.join(of_words)})" for words, of_words in methods.items())


def _evaluation_answers(
    comparison: Comparison,
    runs: Sequence[RunResults],
    names: Mapping[str, str],
    metric: str,
    pairs: Sequence[tuple[str, str]],
) -> dict[int, str]:
    """Return the answers on evaluation and results."""
    external = any(run.is_external for run in runs)
    missed = {
        names.get(method, method): 100 * SecondaryOutcomes.of_runs(list(method_runs.values()))[0].images_missed
        for method, method_runs in comparison.data.runs.items()
        if comparison.has_mass.any()
    }
    listed = ", ".join(f"{name} {share:.1f} %" for name, share in missed.items())
    where = f"{comparison.data.dataset}: report.md, tables of results"
    return {
        21: "section Statistical power of report.md, if there are several runs per method",
        28: f"{', '.join(each.title for each in PIXEL_METRICS.values())}; primary: {PIXEL_METRICS[metric].title}",
        29: " ".join(summary.methods_sentences(comparison, names, metric, pairs)),
        32: "" if external else where,
        33: where if external else "",
        37: "table.md, uncertainty.md",
        38: "secondary.md",
        39: f"images with a mass and DSC 0, mean over the runs: {listed}; images.csv, figure2.png" if listed else "",
        42: "settings of all runs: run.json of each run",
        43: f"mammoseg {__version__}, Apache License 2.0; state the availability of the trained networks and the data",
    }
