"""Debian's Chromium without a window, steered through a pipe (Chrome DevTools Protocol), as tests look at pages."""

import base64
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

PROGRAM = shutil.which("chromium")

# The text of a page, that of components with a document of their own (shadow roots) included.
_TEXT = """(() => {
  const read = node => {
    if (node.nodeType === Node.TEXT_NODE) return node.data;
    if (['SCRIPT', 'STYLE', 'TEMPLATE', 'DOM-MODULE'].includes(node.nodeName)) return '';
    const style = node.nodeType === Node.ELEMENT_NODE ? getComputedStyle(node) : null;
    if (style && style.display === 'none') return '';
    const within = node.nodeName === 'SLOT' ? node.assignedNodes() : (node.shadowRoot || node).childNodes;
    return Array.from(within, read).join(style && style.display.startsWith('inline') ? '' : '\\n');
  };
  return read(document.body).replace(/\\u200b/g, '').replace(/\\s*\\n\\s*/g, '\\n');
})()"""

# All elements of a kind, wherever they are.
_FIND = """(selector => {
  const found = [], look = root => {
    found.push(...root.querySelectorAll(selector));
    root.querySelectorAll('*').forEach(node => node.shadowRoot && look(node.shadowRoot));
  };
  look(document);
  return found;
})(%s)"""


class Browser:
    """One page of given size; a context manager that ends the program.

    Args:
        width: of the page in pixels.
        height: likewise.
        profile: an empty folder of its own.
    """

    def __init__(self, width: int, height: int, profile: Path) -> None:
        assert PROGRAM is not None
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()
        command = [
            "bash",
            "-c",
            # The protocol is spoken on the files 3 and 4.
            f'exec "$0" "$@" 3<&{to_browser} 4>&{from_browser}',
            PROGRAM,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--no-first-run",
            "--hide-scrollbars",
            f"--window-size={width},{height}",
            f"--user-data-dir={profile}",
            "--remote-debugging-pipe",
            "about:blank",
        ]
        self.process = subprocess.Popen(
            command, pass_fds=(to_browser, from_browser), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(to_browser)
        os.close(from_browser)
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        targets = self._call("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        self._session = self._call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._call("Emulation.setDeviceMetricsOverride", **size)

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        self.process.terminate()
        self.process.wait(timeout=30)
        os.close(self._out)
        os.close(self._in)

    def open(self, url: str) -> None:
        """Go to a page, afresh also where only what follows its # differs."""
        self._call("Page.navigate", url="about:blank")
        self._call("Page.navigate", url=url)

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        found = self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def text(self) -> str:
        """What the page says."""
        return str(self.run(f"document.body ? {_TEXT} : ''"))

    def wait_for(self, *texts: str, seconds: float = 200) -> str:
        """The page's text once it has all of these, white space aside; fails where that takes too long."""

        def is_there() -> bool:
            found = "".join(self.text().split())
            return all("".join(text.split()) in found for text in texts)

        return self.wait_until(is_there, f"{texts}", seconds)

    def wait_until(self, condition: Any, what: str, seconds: float = 200) -> str:
        """The page's text once ``condition()`` is true."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"no {what} within {seconds} s on:\n{self.text()[:3000]}"
            time.sleep(0.3)
        return self.text()

    def find(self, selector: str, expression: str) -> Any:
        """A JavaScript expression over ``found``, the elements that a CSS selector finds anywhere on the page."""
        return self.run(f"(found => {expression})({_FIND % json.dumps(selector)})")

    def screenshot(self, file: Path) -> Path:
        """What the page looks like, a PNG file."""
        picture = self._call("Page.captureScreenshot", format="png")["data"]
        file.write_bytes(base64.b64decode(picture))
        return file

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._buffer:
                piece = os.read(self._in, 1 << 20)
                assert piece, "Chromium has ended"
                self._buffer += piece
            text, _, self._buffer = self._buffer.partition(b"\0")
            answer = json.loads(text)
            if answer.get("id") == self._number:
                assert "error" not in answer, answer["error"]
                return answer.get("result", {})
