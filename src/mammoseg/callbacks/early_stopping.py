"""Early stopping, disabled by `patience: null`."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.callbacks import EarlyStopping


def early_stopping(patience: int | None, **options: Any) -> EarlyStopping | None:
    """Build Lightning's EarlyStopping, or nothing if `patience` is None.

    Args:
        patience: Validations without an improvement of the monitored metric after which training stops.
        **options: Further arguments of `lightning.pytorch.callbacks.EarlyStopping`, such as `monitor` and `mode`.

    Returns:
        The callback, or None to train to the last epoch.
    """
    return None if patience is None else EarlyStopping(patience=patience, **options)
