"""`python -m mammoseg.compare runs=...`: compare methods with confidence intervals and significance tests."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from mammoseg.cli import command, parse_paths


@command("compare")
def main(cfg: DictConfig) -> None:
    """Compare runs and write a report.

    Args:
        cfg: Settings as in conf/compare.yaml.
    """
    from mammoseg.compare.report import write_comparison_reports  # lazy, so that --help does not import torch
    from mammoseg.runs.discovery import expand_latest

    folders = expand_latest(parse_paths(cfg.runs, "runs"))
    output = folders[0] / "comparison" if cfg.output is None else Path(cfg.output).expanduser()
    for report in write_comparison_reports(folders, output, cfg):
        title, summary, results, *_ = report.with_name("report.md").read_text(encoding="utf-8").split("\n## ")
        print("\n## ".join([title, summary, results]).rstrip())
        print(f"\nwritten to {report.parent}: report.html, tables (md, tex, csv) and figures (png, svg)")


if __name__ == "__main__":
    main()
