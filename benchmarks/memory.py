"""Peak memory of a process; does not import torch, which would add to it."""

from __future__ import annotations

from pathlib import Path


def peak_memory() -> float:
    """Return the peak resident memory of this process in MiB.

    resource.getrusage would include the peak of the parent process before the fork.
    """
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024
