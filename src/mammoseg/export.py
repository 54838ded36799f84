"""`python -m mammoseg.export ckpt=... output=...`: a checkpoint as safetensors, with a model card, and as ONNX."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from mammoseg.cli import command


@command("export")
def main(cfg: DictConfig) -> None:
    from mammoseg.exporting import export  # heavy imports here: --help must not wait for torch

    files = export(Path(cfg.ckpt).expanduser(), Path(cfg.output).expanduser(), cfg.onnx, cfg.trust)
    print(f"{cfg.output}: {', '.join(files)}")


if __name__ == "__main__":
    main()
