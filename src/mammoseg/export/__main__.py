"""`python -m mammoseg.export ckpt=... output=...`: a checkpoint as safetensors, with a model card, and as ONNX."""

from __future__ import annotations

from omegaconf import DictConfig

from mammoseg.cli import choice, command, place


@command("export")
def main(cfg: DictConfig) -> None:
    from mammoseg.export.export import export  # heavy imports here: --help must not wait for torch

    files = export(place(cfg.ckpt, "ckpt"), place(cfg.output, "output"), choice(cfg.onnx, "onnx"), cfg.trust or ())
    print(f"{cfg.output}: {', '.join(files)}")


if __name__ == "__main__":
    main()
