"""Write plans of nnU-Net v2 for a smaller 2D network and batch.

Usage: python benchmarks/nnunet/write_plans.py PLANS.json --name NAME [--width 16] [--max-width 80] [--batch-size 8]

PLANS.json is a file of nnUNetv2_plan_and_preprocess; NAME.json is written to its folder, for nnUNetv2_train -p NAME.
The preprocessed images are those of PLANS.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def main() -> None:
    """Write the plans."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plans", type=Path, metavar="PLANS.json")
    parser.add_argument("--name", required=True, help="name of the new plans")
    parser.add_argument(
        "--width", type=int, default=16, help="channels of the first stage, doubled in the following ones"
    )
    parser.add_argument("--max-width", type=int, default=80, help="largest number of channels of a stage")
    parser.add_argument("--batch-size", type=int, default=8)
    arguments = parser.parse_args()
    plans = json.loads(arguments.plans.read_text(encoding="utf-8"))
    configuration = plans["configurations"]["2d"]
    network = configuration["architecture"]["arch_kwargs"]
    network["features_per_stage"] = [
        min(arguments.width * 2**stage, arguments.max_width) for stage in range(network["n_stages"])
    ]
    configuration["batch_size"] = arguments.batch_size
    plans["plans_name"] = arguments.name
    path = arguments.plans.with_name(f"{arguments.name}.json")
    path.write_text(json.dumps(plans, indent=4) + "\n", encoding="utf-8")
    print(f"written to {path}: features per stage {network['features_per_stage']}, batch size {arguments.batch_size}")


if __name__ == "__main__":
    main()
