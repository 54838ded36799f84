"""Training at higher resolution: images of 512x512 pixels that keep their aspect ratio."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from helpers.commands import succeed
from mammoseg.data.store import PreparedStore
from mammoseg.ensemble import preprocessing_settings
from mammoseg.runs import checkpoint, results


def test_seg_res_net_is_trained_and_tested_at_512_pixels_with_padding(tmp_path: Path) -> None:
    options = (
        *(
            "dataset=phantom",
            "dataset.source.cases=12",
            "dataset.source.height=208",
            "dataset.source.appearance=simple",
        ),
        *("dataset.size=512", "dataset.aspect=pad", "dataset.workers=1", "method=seg_res_net", "width=2"),
        *(
            "batch_size=1",
            "split.folds=2",
            "debug=fast_dev_run",
            "trainer.accelerator=cpu",
            "logger=csv",
            "hydra.run.dir=run",
        ),
    )
    succeed("train", *options, folder=tmp_path)
    store = PreparedStore.open(next((tmp_path / "data" / "prepared").glob("phantom-*")))
    assert store.images.shape[1:] == (512, 512)
    for image, case in zip(store.images, store.cases, strict=True):
        height, width = case.bottom - case.top, case.right - case.left
        padding = 512 - round(512 * min(height, width) / max(height, width))
        is_constant = np.ptp(image, axis=0 if height > width else 1) == 0
        assert is_constant.sum() >= padding - 1
    rows = results.read_results(tmp_path / "run" / "results.csv")
    assert all(sum(row[name] for name in results.COUNTS) == 512 * 512 for row in rows)
    loaded = checkpoint.load_checkpoint(tmp_path / "run" / "checkpoints" / "best.ckpt", ["model"])
    assert preprocessing_settings(checkpoint.config_of(loaded)).aspect == "pad"
    assert all(value.isfinite().all() for value in loaded["state_dict"].values() if torch.is_tensor(value))
