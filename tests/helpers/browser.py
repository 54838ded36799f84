"""Pages in a headless Chromium, where one is installed, spoken to through its debugging pipe."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]


class Browser:
    """`with Browser(folder for its profile) as browser: browser.run(page, script)`."""

    def __init__(self, profile: Path) -> None:
        self.profile = profile
        self.number = 0

    def __enter__(self) -> Browser:
        # Chromium reads commands from descriptor 3 and answers on 4, each ended by a zero byte.
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        os.set_inheritable(theirs_in, True)
        os.set_inheritable(theirs_out, True)
        line = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
        flags = [*FLAGS, "--remote-debugging-pipe", f"--user-data-dir={self.profile}"]
        self.process = subprocess.Popen(
            ["/bin/bash", "-c", line, "browser", str(CHROMIUM), *flags],
            pass_fds=(theirs_in, theirs_out),
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self.commands, self.answers = os.fdopen(ours_out, "wb", buffering=0), os.fdopen(ours_in, "rb")
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self.commands.close()
        self.answers.close()

    def ask(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """One command of the Chrome DevTools Protocol, and its answer; events are passed over."""
        self.number += 1
        command = {"id": self.number, "method": method, "params": parameters}
        command |= {"sessionId": session} if session else {}
        self.commands.write(json.dumps(command).encode() + b"\0")
        while True:
            heard = json.loads(self.message())
            if heard.get("id") == self.number:
                assert "error" not in heard, heard
                return heard["result"]

    def message(self) -> bytes:
        parts = bytearray()
        while (byte := self.answers.read(1)) != b"\0":
            assert byte, "the browser has ended"
            parts += byte
        return bytes(parts)

    def run(self, page: Path, script: str, width: int = 1280) -> Any:
        """Open `page` from disk in a window of this width, and return what the body of an async function returns."""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.ask("Emulation.setDeviceMetricsOverride", session, **size)
        self.ask("Page.navigate", session, url=page.as_uri())
        ready = """new Promise((go) => document.readyState === "complete" && location.protocol === "file:"
          ? go(true) : addEventListener("load", () => go(true)))"""
        self.ask("Runtime.evaluate", session, expression=ready, awaitPromise=True)
        done = self.ask(
            "Runtime.evaluate",
            session,
            expression=f"(async () => {{ {script} }})()",
            awaitPromise=True,
            returnByValue=True,
        )
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")
