"""`python -m helpers.interrupted_predict N SIGNAL ...`: mammoseg.predict, which signals itself after N images."""

from __future__ import annotations

import os
import sys
from typing import Any

from mammoseg.predict.__main__ import main
from mammoseg.predict.journal import Journal


def interrupt_after(n_images: int, signum: int) -> None:
    """Send this process a signal when that many images have been recorded."""
    add = Journal.add
    n_recorded = 0

    def add_and_interrupt(self: Journal, key: str, entry: Any) -> None:
        nonlocal n_recorded
        add(self, key, entry)
        n_recorded += 1
        if n_recorded == n_images:
            os.kill(os.getpid(), signum)

    Journal.add = add_and_interrupt  # type: ignore[method-assign]


if __name__ == "__main__":
    interrupt_after(int(sys.argv[1]), int(sys.argv[2]))
    del sys.argv[1:3]
    main()
