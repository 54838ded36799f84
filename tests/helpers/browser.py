"""Run scripts in pages with headless Chromium, controlled through its remote debugging pipe."""

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
    """A Chromium process; use it as a context manager.

    Args:
        profile: Folder for the user profile of the browser.
    """

    def __init__(self, profile: Path) -> None:
        self.profile = profile
        self.command_id = 0

    def __enter__(self) -> Browser:
        # Chromium reads commands from file descriptor 3 and writes messages to 4, each terminated by a null byte.
        command_reader, command_writer = os.pipe()
        message_reader, message_writer = os.pipe()
        shell_command = f'exec "$@" 3<&{command_reader} 4>&{message_writer}'
        flags = [*FLAGS, "--remote-debugging-pipe", f"--user-data-dir={self.profile}"]
        self.process = subprocess.Popen(
            ["/bin/bash", "-c", shell_command, "browser", str(CHROMIUM), *flags],
            pass_fds=(command_reader, message_writer),
            stderr=subprocess.DEVNULL,
        )
        os.close(command_reader)
        os.close(message_writer)
        self.commands = os.fdopen(command_writer, "wb", buffering=0)
        self.messages = os.fdopen(message_reader, "rb")
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self.commands.close()
        self.messages.close()

    def send_command(self, method: str, session_id: str | None = None, **params: Any) -> dict[str, Any]:
        """Send a command of the Chrome DevTools Protocol and return its result; events are ignored."""
        self.command_id += 1
        command = {"id": self.command_id, "method": method, "params": params}
        if session_id is not None:
            command["sessionId"] = session_id
        self.commands.write(json.dumps(command).encode() + b"\0")
        while True:
            message = json.loads(self.read_message())
            if message.get("id") == self.command_id:
                assert "error" not in message, message
                return dict(message["result"])

    def read_message(self) -> bytes:
        """Read one message, without the terminating null byte."""
        message = bytearray()
        while (byte := self.messages.read(1)) != b"\0":
            assert byte, "the browser has exited"
            message += byte
        return bytes(message)

    def run(self, page: Path, script: str, width: int = 1280) -> Any:
        """Open a page from disk and run a script in it; see `open_page` and `evaluate`."""
        return self.evaluate(self.open_page(page, width), script)

    def open_page(self, page: Path, width: int = 1280, colour_scheme: str = "light") -> str:
        """Open a page from disk in a window of 900 pixels height.

        Args:
            page: HTML file.
            width: Width of the window in pixels.
            colour_scheme: "light" or "dark".

        Returns:
            Identifier of the session, for `send_command` and `evaluate`.
        """
        target_id = self.send_command("Target.createTarget", url="about:blank")["targetId"]
        session_id = str(self.send_command("Target.attachToTarget", targetId=target_id, flatten=True)["sessionId"])
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.send_command("Emulation.setDeviceMetricsOverride", session_id, **metrics)
        scheme = {"name": "prefers-color-scheme", "value": colour_scheme}
        self.send_command("Emulation.setEmulatedMedia", session_id, features=[scheme])
        self.send_command("Page.navigate", session_id, url=page.as_uri())
        loaded = """await new Promise((resolve) => document.readyState === "complete" && location.protocol === "file:"
          ? resolve() : addEventListener("load", () => resolve()))"""
        self.evaluate(session_id, loaded)
        return session_id

    def evaluate(self, session_id: str, script: str) -> Any:
        """Run a script, the body of an async function, in an open page and return the value that it returns."""
        evaluation = self.send_command(
            "Runtime.evaluate",
            session_id,
            expression=f"(async () => {{ {script} }})()",
            awaitPromise=True,
            returnByValue=True,
        )
        assert "exceptionDetails" not in evaluation, evaluation
        return evaluation["result"].get("value")

    def drag(self, session_id: str, start: tuple[float, float], end: tuple[float, float], button: str = "left") -> None:
        """Press a mouse button at a position of the window, move the mouse to another one, and release the button."""
        buttons = {"left": 1, "right": 2}[button]
        events = [("mousePressed", start, buttons), ("mouseMoved", end, buttons), ("mouseReleased", end, 0)]
        for kind, (x, y), pressed in events:
            event = {"type": kind, "x": x, "y": y, "button": button, "buttons": pressed, "clickCount": 1}
            self.send_command("Input.dispatchMouseEvent", session_id, **event)

    def press(self, session_id: str, key: str, *, shift: bool = False) -> None:
        """Press and release a key, such as "j" or "ArrowDown"."""
        text = {"text": key} if len(key) == 1 else {}
        event = {"key": key, "modifiers": 8 if shift else 0}
        self.send_command("Input.dispatchKeyEvent", session_id, type="keyDown", **event, **text)
        self.send_command("Input.dispatchKeyEvent", session_id, type="keyUp", **event)
