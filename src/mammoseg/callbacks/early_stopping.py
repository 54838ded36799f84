"""Early stopping that can be disabled with `patience: null`."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.callbacks import EarlyStopping


def early_stopping(patience: int | None, **options: Any) -> EarlyStopping | None:
    """Build Lightning's EarlyStopping, or return None if `patience` is None.

    Args:
        patience: Number of validations without an improvement of the monitored metric after which training stops.
        **options: Other arguments of `lightning.pytorch.callbacks.EarlyStopping`, such as `monitor` and `mode`.

    Returns:
        The callback, or None for no early stopping.

    Example:
        >>> early_stopping(20, monitor="val/dsc", mode="max").patience
        20
    """
    return None if patience is None else EarlyStopping(patience=patience, **options)
