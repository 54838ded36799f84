"""`python -m mammoseg.sweep_report runs=...`: best settings of a hyperparameter sweep and effect of each setting."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from mammoseg.cli import command, parse_paths


@command("sweep_report")
def main(cfg: DictConfig) -> None:
    """Write the report of the sweeps in `cfg.runs`; `cfg` is conf/sweep_report.yaml."""
    from mammoseg.runs.discovery import expand_latest
    from mammoseg.sweep_report.sweep_report import write_sweep_report  # lazy: --help must not wait for torch

    folders = expand_latest(parse_paths(cfg.runs, "runs"))
    output = (folders or [Path()])[0] / "sweep_report" if cfg.output is None else Path(cfg.output).expanduser()
    report = write_sweep_report(folders, output, cfg.top)
    print(report.with_name("report.md").read_text(encoding="utf-8").rstrip())
    print(f"\nwritten to {output}: report.html, tables (md, tex, csv) and figures (png, svg)")


if __name__ == "__main__":
    main()
