"""`mammoseg <command> ...`, the same as `python -m mammoseg.<command> ...`."""

from __future__ import annotations

import sys
from importlib import import_module

import mammoseg

COMMANDS = {
    "train": "train and test a network",
    "evaluate": "evaluate a checkpoint on its test split",
    "predict": "segment masses in new mammograms",
    "compare": "compare methods: tables, figures and significance tests",
    "sweep_report": "report on a sweep or search over settings",
    "view": "browse predictions image by image",
    "export": "export a trained network as safetensors and ONNX",
    "models": "list the pretrained models",
    "prepare": "preprocess a dataset and report on it",
    "fit_density": "fit the model that estimates the breast density",
    "phantom": "generate synthetic mammograms in the layout of a real dataset",
    "dashboard": "create a W&B workspace that compares the methods",
}
HELP = "\n".join(
    [
        "usage: mammoseg <command> [key=value ...]",
        "",
        mammoseg.__doc__.splitlines()[0] if mammoseg.__doc__ else "",
        "",
        "commands:",
        *(f"  {name:<14}{text}" for name, text in COMMANDS.items()),
        "",
        "mammoseg <command> --help lists its settings; mammoseg --version prints the version.",
        "For research use only; not a medical device.",
    ]
)


def main() -> None:
    """Run the command named by the first command-line argument."""
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help", "help"):
        print(HELP)
    elif name in ("-V", "--version"):
        print(f"mammoseg {mammoseg.__version__}")
    elif name in COMMANDS:
        sys.argv = [f"mammoseg {name}", *arguments]
        import_module(f"mammoseg.{name}.__main__").main()
    else:
        from mammoseg.schema.types import did_you_mean  # lazy: --help needs no YAML

        hint = did_you_mean(name, COMMANDS)
        print(f"mammoseg: command must be one of {', '.join(COMMANDS)}, got {name}{hint}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
