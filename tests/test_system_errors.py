"""Errors of the system become one sentence with a remedy; other exceptions remain bugs."""

from __future__ import annotations

import errno
from concurrent.futures.process import BrokenProcessPool

import pytest
import torch

from mammoseg.cli import user_message
from mammoseg.system_errors import system_error_message


def cpu_allocation_error() -> RuntimeError:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**50)
    return raised.value


@pytest.mark.parametrize("command", ["train", "prepare", "predict", "view", "export"])
@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError("Unable to allocate 2.00 TiB for an array"), "out of memory; "),
        (cpu_allocation_error(), "out of memory; "),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 4 bytes."), "out of memory; "),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."), "out of GPU memory; "),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "out of GPU memory; "),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "out of memory; "),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "), "a worker process was killed"),
        (BrokenProcessPool("A process in the process pool was terminated abruptly"), "a worker process was killed"),
        (PermissionError(errno.EACCES, "Permission denied"), "/dev/shm"),  # of a semaphore
        (OSError(errno.EMFILE, "Too many open files"), "ulimit -n"),
        (RuntimeError("Too many open files. Communication with the workers is no longer possible."), "ulimit -n"),
        (RuntimeError("received 0 items of ancdata"), "ulimit -n"),
    ],
)
def test_errors_of_the_system_are_one_sentence(command: str, error: Exception, message: str) -> None:
    text = user_message(error, command)
    assert text is not None
    assert message in text
    assert "\n" not in text
    if message.startswith("out of"):
        remedies = {"train": "batch_size", "prepare": "dataset.workers", "predict": "batch_size", "view": "fewer runs"}
        assert remedies.get(command, "more memory") in text


@pytest.mark.parametrize("error", [RuntimeError("size mismatch"), ValueError("out of memory"), KeyError("key")])
def test_other_exceptions_are_bugs(error: Exception) -> None:
    assert system_error_message(error, "train") is None
