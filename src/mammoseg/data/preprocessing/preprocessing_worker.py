"""Initialisation of the worker processes of the preprocessing."""

from __future__ import annotations

import multiprocessing
import os
import threading
from multiprocessing.connection import wait


def init_preprocessing_worker() -> None:
    """Initialise a worker process: one OpenCV thread, terminated with its parent."""
    import cv2

    cv2.setNumThreads(1)
    threading.Thread(target=exit_with_parent, daemon=True).start()


def exit_with_parent() -> None:
    """Terminate this worker when its parent dies; otherwise it would block on the task queue forever."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "called in worker processes only"
    wait([parent.sentinel])
    os._exit(1)
