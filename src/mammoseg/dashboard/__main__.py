"""`python -m mammoseg.dashboard project=...`: a W&B workspace that compares the methods, saved or as a file."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from mammoseg import validate
from mammoseg.cli import command
from mammoseg.errors import UserError
from mammoseg.files import atomic_write_text


@command("dashboard", renamed={"out": "output"})
def main(cfg: DictConfig) -> None:
    from mammoseg.dashboard import workspace  # heavy imports here: --help must not wait for wandb

    validate.one_of("mode", cfg.mode, ("offline", "online"))
    if cfg.mode == "online" and cfg.entity is None:
        raise UserError("mode=online saves in somebody's account; say whose with entity=<user or team>")
    built = workspace.workspace(cfg.entity or "", cfg.project, cfg.name)
    if cfg.mode == "online":
        print(workspace.save(built))
        return
    out = Path(cfg.output).expanduser()
    atomic_write_text(out, workspace.specification(built) + "\n")
    print(f"written to {out}; mode=online entity=<user or team> saves the workspace on W&B")


if __name__ == "__main__":
    main()
