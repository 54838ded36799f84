"""Peak memory of a process, without importing torch, which would add to it; peak memory on a GPU."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path


def peak_memory() -> float:
    """Return the peak resident memory of this process in MiB.

    resource.getrusage would include the peak of the parent process before the fork.
    """
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def peak_gpu_memory(function: Callable[[], object]) -> float:
    """Return the peak memory in MiB of all tensors on the GPU, and of the workspaces of libraries, during a call."""
    import torch

    gc.collect()  # tensors of earlier calls
    torch.cuda.reset_peak_memory_stats()
    function()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() / 2**20
