"""Train the network of experiment=pretrained with one change at a time, at 128x128 pixels and for fewer epochs.

python benchmarks/train_ablations.py FOLDER [--seeds 2] [--jobs 2] [--epochs 12] [setting ...]

The settings are those of the dataset, such as dataset=folder dataset.root=DIR. The file with the weights of the encoder
must be in the working directory, as for experiment=pretrained. FOLDER will contain a run folder
NAME-seed0, NAME-seed1, ... for each configuration; finished runs are skipped and interrupted ones resumed. To compare
them: python benchmarks/ablation.py FOLDER --base recipe
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mammoseg.schema.overrides import quote

CONFIGURATIONS: dict[str, Sequence[str]] = {
    "recipe": [],
    "random_encoder": ["encoder_weights=null"],
    "density_asp": ["loss=density_asp"],
    "dice_focal": ["loss=dice_focal"],
    "no_augmentation": ["augment=none"],
    "strong_augmentation": ["augment=strong"],
    "no_horizontal_flip": ["augment.transforms.0.p=0"],
    "no_ema": ["callbacks=[default,auto_clip]"],
    "clipping_at_norm_1": ["callbacks=[default,ema]"],
    "sgd": ["optimizer=sgd", "lr=1e-2"],
    "lr_3e-4": ["lr=3e-4"],
    "lr_3e-3": ["lr=3e-3"],
    "layer_decay": ["layer_decay=0.7"],
    "batch_size_4": ["batch_size=4"],
    "no_deep_supervision": ["model.deep_supervision=1"],
    "seg_res_net": ["model=seg_res_net", "width=16", "encoder_weights=null"],
    "au_net": ["model=au_net", "width=8", "encoder_weights=null"],
}


def train(folder: Path, settings: Sequence[str]) -> bool:
    """Start or resume a run, or skip it if it is finished; returns whether it has succeeded."""
    command = [
        *(sys.executable, "-m", "mammoseg.train", "experiment=pretrained", "hydra.mode=RUN", "dataset.size=128"),
        *("logger=csv", "trainer.enable_progress_bar=false", *settings, f"hydra.run.dir={quote(folder)}"),
    ]
    log = folder.parent / f"{folder.name}.log"
    with log.open("a", encoding="utf-8") as output:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        status = subprocess.run(command, stdout=output, stderr=output, env=environment, check=False).returncode
    print(f"{folder.name}: {'finished' if status == 0 else f'exit status {status}, see {log}'}", flush=True)
    return status == 0


def main() -> None:
    """Train all configurations."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=12)
    args, settings = parser.parse_known_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    runs = [(name, seed) for seed in range(args.seeds) for name in CONFIGURATIONS]
    with ThreadPoolExecutor(args.jobs) as pool:
        jobs = [
            pool.submit(
                train,
                args.folder.resolve() / f"{name}-seed{seed}",
                [f"epochs={args.epochs}", f"seed={seed}", *settings, *CONFIGURATIONS[name]],
            )
            for name, seed in runs
        ]
    sys.exit(not all(job.result() for job in jobs))


if __name__ == "__main__":
    main()
