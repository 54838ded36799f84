"""Conditions on several arguments of one target."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Rule = Callable[[str, Mapping[str, Any]], str | None]  # (name of the section, arguments) -> error message


def fold_in_range(name: str, arguments: Mapping[str, Any]) -> str | None:
    """Check that `fold` is below `folds`."""
    fold, folds = arguments.get("fold", 0), arguments.get("folds", 5)
    return None if fold < folds else f"{name}.fold must be from 0 to {folds - 1} with {name}.folds={folds}, got {fold}"


def some_weight(*terms: str) -> Rule:
    """Return a rule that checks that not all of these weights are 0."""

    def rule(name: str, arguments: Mapping[str, Any]) -> str | None:
        if any(arguments.get(term, 1) != 0 for term in terms):
            return None
        names = ", ".join(f"{name}.{term}" for term in terms)
        return f"{names} must not all be 0, since nothing would remain to be minimised"

    return rule


def weights_of_terms(name: str, arguments: Mapping[str, Any]) -> str | None:
    """Check that the weights of a criterion are those of its terms, and not all 0."""
    terms, weights = arguments.get("terms") or {}, arguments.get("weights") or {}
    if unknown := sorted(set(weights) - set(terms)):
        return f"{name}.weights must be weights of the terms {', '.join(sorted(terms))}, got {unknown[0]}"
    return some_weight(*terms)(f"{name}.weights", weights) if terms else f"{name}.terms must contain one or more terms"


def validation_happens(name: str, arguments: Mapping[str, Any]) -> str | None:
    """Check that at least one epoch ends with a validation, which selects the best checkpoint."""
    every, epochs = arguments.get("check_val_every_n_epoch"), arguments.get("max_epochs")
    if every is None or epochs is None or every <= epochs:
        return None
    return f"{name}.check_val_every_n_epoch must be at most the number of epochs, {epochs}, got {every}"


def min_epochs_in_range(name: str, arguments: Mapping[str, Any]) -> str | None:
    """Check that the smallest number of epochs is not above the number of epochs."""
    smallest, epochs = arguments.get("min_epochs"), arguments.get("max_epochs")
    if smallest is None or epochs is None or smallest <= epochs:
        return None
    return f"{name}.min_epochs must be at most the number of epochs, {epochs}, got {smallest}"


def cpu_has_no_indices(name: str, arguments: Mapping[str, Any]) -> str | None:
    """Check that devices are not selected by index on a CPU."""
    devices = arguments.get("devices", "auto")
    if arguments.get("accelerator") != "cpu" or devices == "auto" or (isinstance(devices, int) and devices > 0):
        return None
    return f"{name}.devices must be auto or a number of processes with {name}.accelerator=cpu, got {devices}"


def equal_lengths(name: str, arguments: Mapping[str, Any]) -> str | None:
    """Check that all terms of a table have the same number of weights."""
    table = arguments.get("table") or {}
    if len({len(row) for row in table.values()}) <= 1:
        return None
    return f"{name}.table must have the same number of weights for each term"
