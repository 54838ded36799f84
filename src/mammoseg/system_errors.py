"""Plain messages for errors of the system: full disks, permissions, memory and open files."""

from __future__ import annotations

import errno
import re

OTHER_FOLDER_HINT = "or choose another folder (hydra.run.dir, dataset.store, output)"
OPEN_FILES_HINT = "raise the limit with `ulimit -n 4096`, or decrease num_workers and dataset.workers"
OS_ERROR_HINTS = {
    errno.ENOSPC: f"free some space, {OTHER_FOLDER_HINT}",
    errno.EDQUOT: f"free some space, {OTHER_FOLDER_HINT}",
    errno.EFBIG: f"raise the limit on the size of files, {OTHER_FOLDER_HINT}",
    errno.ENOTDIR: "choose a folder (hydra.run.dir, dataset.store, output)",
    errno.EEXIST: "choose a folder (hydra.run.dir, dataset.store, output)",
    errno.EISDIR: f"a folder has the name of a file; move it, {OTHER_FOLDER_HINT}",
    errno.ENAMETOOLONG: "shorten the name",
    errno.EACCES: f"check the permissions, {OTHER_FOLDER_HINT}",
    errno.EPERM: f"check the permissions, {OTHER_FOLDER_HINT}",
    errno.EROFS: f"make the file system writable, {OTHER_FOLDER_HINT}",
    errno.ELOOP: f"remove the symbolic link, {OTHER_FOLDER_HINT}",
    errno.EMFILE: OPEN_FILES_HINT,
    errno.ENFILE: OPEN_FILES_HINT,
}
# How each command can use less memory. The settings of `train` in the second part may change with resume=.
MEMORY_HINTS = {
    "train": (
        "decrease batch_size, width or dataset.size, or set trainer.precision=bf16-mixed; a started run can be resumed "
        "with model.gradient_checkpointing=true, dataset.on_device=false, num_workers=0 or dataset.workers=1"
    ),
    "prepare": "decrease dataset.workers or dataset.size",
    "evaluate": "close other programs, or evaluate on a machine with more memory",
    "predict": "decrease batch_size or workers, or set accelerator=cpu if the memory of the GPU is exhausted",
    "compare": "decrease resamples, or give fewer runs",
    "view": "give fewer runs",
}
OTHER_MEMORY_HINT = "close other programs, or use a machine with more memory"
# Messages of torch, cuDNN, oneDNN, OpenCV and numpy; torch raises RuntimeError if memory of the CPU is exhausted.
OUT_OF_MEMORY = re.compile(
    r"out of memory|not enough memory|(?:can't|can not|cannot|unable to|failed to) allocate|insufficient memory"
    r"|ALLOC_FAILED|bad_alloc|could not create a (?:primitive|memory)",
    re.IGNORECASE,
)
KILLED_WORKER = re.compile(r"DataLoader worker .* (?:killed|exited unexpectedly)|process pool (?:was|were) terminated")
OPEN_FILES = re.compile(r"too many open files|received \d+ items of ancdata", re.IGNORECASE)


def system_error_message(error: BaseException, command: str) -> str | None:
    """Return one sentence about an error of the system, or None for other exceptions.

    Args:
        error: The exception.
        command: Name of the command, whose settings are suggested.
    """
    text = str(error)
    memory_hint = MEMORY_HINTS.get(command, OTHER_MEMORY_HINT)
    if isinstance(error, PermissionError) and not error.filename:  # semaphores of worker processes
        return f"{error.strerror}; make /dev/shm, which worker processes use, writable; finished work is kept"
    if isinstance(error, OSError) and error.errno in OS_ERROR_HINTS:
        location = f"{error.filename}: " if error.filename else ""
        return f"{location}{error.strerror}; {OS_ERROR_HINTS[error.errno]}; finished work is kept"
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return f"out of memory; {memory_hint}; finished work is kept"
    if not _is_library_error(error):
        return None
    if OUT_OF_MEMORY.search(text):
        memory = "GPU memory" if re.search(r"CUDA|CUBLAS|CUDNN|HIP|MPS", text) else "memory"
        return f"out of {memory}; {memory_hint}; finished work is kept"
    if KILLED_WORKER.search(text):
        return f"a worker process was killed, probably since memory was exhausted; {memory_hint}; finished work is kept"
    if OPEN_FILES.search(text):
        return f"too many open files; {OPEN_FILES_HINT}; finished work is kept"
    return None


def _is_library_error(error: BaseException) -> bool:
    """Return True for RuntimeError, which torch and process pools raise, and for the exception of OpenCV."""
    return isinstance(error, RuntimeError) or type(error).__module__.partition(".")[0] == "cv2"
