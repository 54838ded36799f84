"""`python -m mammoseg.export ckpt_path=... output=...`: export a checkpoint, or the images of a dataset for nnU-Net."""

from __future__ import annotations

from omegaconf import DictConfig

from mammoseg.cli import command, parse_path, parse_paths


@command("export")
def main(cfg: DictConfig) -> None:
    """Export the checkpoint `cfg.ckpt_path` or the dataset `cfg.dataset`; `cfg` is conf/export.yaml."""
    output = parse_path(cfg.output, "output")
    if cfg.format == "nnunet":
        from mammoseg.export.nnunet import export_nnunet  # lazy: --help must not wait for torch

        print(f"written to {export_nnunet(cfg, output, cfg.dataset_id)}")
        return
    from mammoseg.export.export import export
    from mammoseg.runs.checkpoint_paths import resolve_checkpoint

    files = export(
        resolve_checkpoint(parse_path(cfg.ckpt_path, "ckpt_path")),
        output,
        cfg.onnx,
        cfg.trusted_modules or (),
        half=cfg.half,
        license_name=cfg.license,
        evaluations=parse_paths(cfg.evaluations, "evaluations"),
        data_description=cfg.data_description,
    )
    print(f"{cfg.output}: {', '.join(files)}")


if __name__ == "__main__":
    main()
