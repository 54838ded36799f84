"""`python -m mammoseg.export ckpt_path=... output=...`: export a checkpoint to safetensors and ONNX."""

from __future__ import annotations

from omegaconf import DictConfig

from mammoseg.cli import command, parse_path


@command("export")
def main(cfg: DictConfig) -> None:
    """Export the checkpoint `cfg.ckpt_path`; `cfg` is conf/export.yaml."""
    from mammoseg.export.export import export  # lazy: --help must not wait for torch
    from mammoseg.runs.checkpoint_paths import resolve_checkpoint

    ckpt_path = resolve_checkpoint(parse_path(cfg.ckpt_path, "ckpt_path"))
    files = export(
        ckpt_path,
        parse_path(cfg.output, "output"),
        cfg.onnx,
        cfg.trusted_modules or (),
        half=cfg.half,
        license_name=cfg.license,
    )
    print(f"{cfg.output}: {', '.join(files)}")


if __name__ == "__main__":
    main()
