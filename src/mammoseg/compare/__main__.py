"""`python -m mammoseg.compare runs=...`: compare methods with uncertainty, as in the paper's tables and figures."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from mammoseg.cli import command, parse_paths


@command("compare", renamed={"out": "output", "store": "dataset.store"})
def main(cfg: DictConfig) -> None:
    """Compare the runs in `cfg.runs` and write a report; `cfg` is conf/compare.yaml."""
    from mammoseg.compare.report import write_comparison_reports  # lazy: --help must not wait for torch
    from mammoseg.runs.discovery import expand_latest

    folders = expand_latest(parse_paths(cfg.runs, "runs"))
    output = folders[0] / "comparison" if cfg.output is None else Path(cfg.output).expanduser()
    for report in write_comparison_reports(folders, output, cfg):
        print((report.with_name("report.md")).read_text().split("## Uncertainty")[0].rstrip())
        print(f"\nwritten to {report.parent}: report.html, tables (md, tex, csv) and figures (png, svg)")


if __name__ == "__main__":
    main()
