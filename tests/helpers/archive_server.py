"""A local HTTP server in the role of an archive, which can close connections too early or report temporary errors."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class Archive:
    """Files of a server by path, and the requests it has received.

    Attributes:
        files: Content by path, or a function of the query.
        requests: (path with query, value of the header Range) of each request.
        truncate: Number of bytes after which the next response is cut off, one entry for each response.
        errors: Status codes of the next responses.
        ranges: Whether requests for a part of a file are answered with this part.
    """

    def __init__(self) -> None:
        self.url = ""
        self.files: dict[str, bytes | Callable[[dict[str, str]], bytes]] = {}
        self.requests: list[tuple[str, str | None]] = []
        self.truncate: list[int] = []
        self.errors: list[int] = []
        self.ranges = True

    def add_series(self, archives: dict[str, bytes], series: list[dict[str, object]]) -> None:
        """Serve the NBIA API: the list of series, and the archive of each series by its UID."""
        self.files["/nbia/getSeries"] = lambda query: json.dumps(series).encode()
        self.files["/nbia/getImageWithMD5Hash"] = lambda query: archives[query["SeriesInstanceUID"]]


@contextlib.contextmanager
def serve() -> Iterator[Archive]:
    """Start a server on a free port of this machine, and stop it at the end of the block."""
    archive = Archive()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            respond(self, archive)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    archive.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield archive
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def respond(handler: BaseHTTPRequestHandler, archive: Archive) -> None:
    """Answer a request."""
    requested = handler.headers.get("Range")
    archive.requests.append((handler.path, requested))
    address = urlsplit(handler.path)
    found = archive.files.get(address.path)
    if archive.errors or found is None:
        handler.send_error(archive.errors.pop(0) if archive.errors else 404)
        return
    content = found({key: values[0] for key, values in parse_qs(address.query).items()}) if callable(found) else found
    start = int(re.fullmatch(r"bytes=(\d+)-", requested)[1]) if requested and archive.ranges else 0  # type: ignore[index]
    if start >= len(content) > 0 and start:
        handler.send_error(416)
        return
    handler.send_response(206 if start else 200)
    if start:
        handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
    handler.send_header("Content-Length", str(len(content) - start))
    handler.end_headers()
    end = archive.truncate.pop(0) if archive.truncate else len(content)
    handler.wfile.write(content[start : start + end])
    handler.close_connection = True
