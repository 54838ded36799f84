"""`python -m mammoseg.view runs=...`: browse the predictions of a model image by image."""

from __future__ import annotations

import sys
import webbrowser

from omegaconf import DictConfig

from mammoseg.cli import command


@command("view")
def main(cfg: DictConfig) -> None:
    """Write the viewer, and open it in the browser if `open` is set."""
    from mammoseg.view.view import write_viewer  # imported here, so that --help does not import torch

    page = write_viewer(cfg)
    print(f"written to {page}; open it in a browser, no server is needed")
    if cfg.open and not webbrowser.open(page.resolve().as_uri()):
        print("no browser was found, so the page was not opened", file=sys.stderr)


if __name__ == "__main__":
    main()
