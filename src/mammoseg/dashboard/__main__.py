"""`python -m mammoseg.dashboard project=...`: create a W&B workspace that compares the methods."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from mammoseg import validate
from mammoseg.cli import command
from mammoseg.errors import UserError
from mammoseg.files import atomic_write_text


@command("dashboard")
def main(cfg: DictConfig) -> None:
    """Save the workspace on W&B, or write its specification to a file; `cfg` is conf/dashboard.yaml."""
    from mammoseg.dashboard import workspace  # lazy: --help must not wait for wandb

    validate.one_of("mode", cfg.mode, ("offline", "online"))
    if cfg.mode == "online" and cfg.entity is None:
        raise UserError("entity must be a W&B user or team if mode=online, got null")
    built_workspace = workspace.build_workspace(cfg.entity or "", cfg.project, cfg.name)
    if cfg.mode == "online":
        print(workspace.save(built_workspace))
        return
    output = Path(cfg.output).expanduser()
    atomic_write_text(output, workspace.specification(built_workspace) + "\n")
    print(f"written to {output}; to save the workspace on W&B, add mode=online entity=<user or team>")


if __name__ == "__main__":
    main()
