"""Download of files over HTTP, which can be interrupted and continued."""

from __future__ import annotations

import http.client
import logging
import shutil
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path

import mammoseg
from mammoseg.errors import UserError

log = logging.getLogger(__name__)

ATTEMPTS = 4
WAIT_S = 5.0  # before the second attempt; twice as long before each further one
TIMEOUT_S = 60.0  # without any data
CHUNK = 1 << 20  # bytes
RANGE_NOT_SATISFIABLE = 416
RETRIED = (408, 429, 500, 502, 503, 504)  # status codes of temporary failures
PARTIAL_CONTENT = 206
CONNECTION_ERRORS = (
    *(urllib.error.URLError, http.client.HTTPException, ssl.SSLError),
    *(TimeoutError, ConnectionError),
)


def partial_path(path: Path) -> Path:
    """Return the file that contains the beginning of a download."""
    return path.with_name(f"{path.name}.part")


def download_file(url: str, path: Path) -> None:
    """Download a file; an interrupted download is continued if the server supports it, otherwise repeated.

    The file is complete, as far as the server states its size, but its content is not verified.

    Args:
        url: Address.
        path: File to write; its folder is created.

    Raises:
        UserError: If the file cannot be downloaded in several attempts.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for attempt in range(ATTEMPTS):
        try:
            continue_download(url, partial_path(path))
            partial_path(path).replace(path)
            return
        except CONNECTION_ERRORS as error:
            if attempt == ATTEMPTS - 1 or not is_temporary(error):
                raise UserError(
                    f"{url}: cannot be downloaded ({reason(error)}); check the connection and repeat the command, "
                    "which continues the download"
                ) from error
            log.info("%s: %s, trying again", url, reason(error))
            time.sleep(WAIT_S * 2**attempt)


def continue_download(url: str, partial: Path) -> None:
    """Download a file, or the rest of it.

    Args:
        url: Address.
        partial: File with the beginning, if it exists; it contains the whole file afterwards.

    Raises:
        OSError: If the server cannot be reached or responds with an error, or the file cannot be written.
        http.client.HTTPException: If the connection ends before the file is complete.
    """
    start = partial.stat().st_size if partial.is_file() else 0
    try:
        with request(url, start) as response:
            continues = response.status == PARTIAL_CONTENT and starts_at(response, start)
            if not continues and start:
                partial.unlink()
            with partial.open("ab") as file:
                shutil.copyfileobj(response, file, CHUNK)
            if response.length:  # copyfileobj ends without an error if the connection was closed
                raise http.client.IncompleteRead(b"", response.length)
    except urllib.error.HTTPError as error:
        if error.code == RANGE_NOT_SATISFIABLE and start:  # not a beginning of this file
            partial.unlink()
        raise


def request(url: str, start: int = 0) -> http.client.HTTPResponse:
    """Request a file from a byte on.

    Args:
        url: Address.
        start: First byte.

    Raises:
        OSError: If the server cannot be reached or responds with an error.
    """
    headers = {"User-Agent": f"mammoseg/{mammoseg.__version__}", **({"Range": f"bytes={start}-"} if start else {})}
    response: http.client.HTTPResponse = urllib.request.urlopen(
        urllib.request.Request(url, headers=headers), timeout=TIMEOUT_S
    )
    return response


def starts_at(response: http.client.HTTPResponse, start: int) -> bool:
    """Return whether a response contains the part of a file from the byte `start` on."""
    return (response.headers.get("Content-Range") or "").startswith(f"bytes {start}-")


def is_temporary(error: Exception) -> bool:
    """Return whether another attempt may succeed after one of `CONNECTION_ERRORS`."""
    return not isinstance(error, urllib.error.HTTPError) or error.code in (*RETRIED, RANGE_NOT_SATISFIABLE)


def reason(error: Exception) -> str:
    """Return a short reason for a failure."""
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code} {error.reason}".rstrip()
    if isinstance(error, http.client.IncompleteRead):
        return "the connection was closed too early"
    if isinstance(error, urllib.error.URLError):
        return str(error.reason)
    return str(error) or type(error).__name__
