"""A real Chromium, driven over its DevTools pipe: nothing to install but the browser itself.

Source: the Chrome DevTools Protocol (`--remote-debugging-pipe`: JSON, each message ends with NUL).
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import queue
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MISSING = (
    "no Chromium here: run scripts/bootstrap as root (or with sudo -n), "
    "apt-get install chromium, or set LLMITM_CHROMIUM to one"
)
PATIENCE_S = 20.0
_FLAGS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-renderer-backgrounding",
    "--disable-background-timer-throttling",
    "--force-color-profile=srgb",
    "--hide-scrollbars",
    "--proxy-server=direct://",
    "--lang=en-US",
)
_KEYS = {
    "Enter": (13, "\r"),
    "Escape": (27, ""),
    "Tab": (9, ""),
    "ArrowDown": (40, ""),
    "ArrowUp": (38, ""),
    "Backspace": (8, ""),
    "Home": (36, ""),
    "End": (35, ""),
}
_SHIFT, _CTRL = 8, 2


class BrowserError(AssertionError):
    """The browser said no, or nothing in time."""


def find_chromium() -> str | None:
    """The browser to test in; None = none is installed."""
    wanted = os.environ.get("LLMITM_CHROMIUM", "")
    if wanted:
        return wanted if os.access(wanted, os.X_OK) else None
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Browser:
    """One Chromium process. `page()` opens a tab in a context of its own."""

    def __init__(self, process: subprocess.Popen[bytes], read: int, write: int) -> None:
        self.process = process
        self._write = write
        self._serial = 0
        self._lock = threading.Lock()
        self._waiting: dict[int, queue.Queue[dict[str, Any]]] = {}
        self.pages: dict[str, Page] = {}
        self._reader = threading.Thread(target=self._read_all, args=(read,), daemon=True)
        self._reader.start()

    def _read_all(self, descriptor: int) -> None:
        with os.fdopen(descriptor, "rb") as pipe:
            kept = b""
            while chunk := os.read(pipe.fileno(), 1 << 16):
                *whole, kept = (kept + chunk).split(b"\0")
                for message in whole:
                    self._take(json.loads(message))

    def _take(self, message: dict[str, Any]) -> None:
        if "id" in message:
            self._waiting.pop(message["id"]).put(message)
        elif page := self.pages.get(message.get("sessionId", "")):
            page.heard(message["method"], message["params"])

    def tell(self, method: str, session: str = "", **params: Any) -> queue.Queue[dict[str, Any]]:
        """Sends one command; where its reply will be."""
        answer: queue.Queue[dict[str, Any]] = queue.Queue()
        with self._lock:
            self._serial += 1
            told: dict[str, Any] = {"id": self._serial, "method": method, "params": params}
            if session:
                told["sessionId"] = session
            self._waiting[self._serial] = answer
            message = json.dumps(told).encode() + b"\0"
            while message:
                message = message[os.write(self._write, message) :]
        return answer

    def call(self, method: str, session: str = "", **params: Any) -> dict[str, Any]:
        """The result of one command."""
        answer = self.tell(method, session, **params)
        try:
            reply = answer.get(timeout=PATIENCE_S)
        except queue.Empty:
            raise BrowserError(f"{method}: no reply in {PATIENCE_S} s") from None
        if "error" in reply:
            raise BrowserError(f"{method}: {reply['error']['message']}")
        return reply["result"]

    def page(self) -> Page:
        """A new tab, with storage of its own."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        made = self.call("Target.createTarget", url="about:blank", browserContextId=context)
        attached = self.call("Target.attachToTarget", targetId=made["targetId"], flatten=True)
        page = Page(self, attached["sessionId"], made["targetId"], context)
        self.pages[page.session] = page
        for domain in ("Page", "Runtime", "Log", "Accessibility", "DOM"):
            page.call(f"{domain}.enable")
        return page


class Page:
    """One tab. trouble: exceptions, errors of the console, broken content policies; asked: kinds of
    the dialogs that the browser showed and that were confirmed."""

    def __init__(self, browser: Browser, session: str, target: str, context: str) -> None:
        self.browser = browser
        self.session = session
        self.target = target
        self.context = context
        self.trouble: list[str] = []
        self.asked: list[str] = []

    def heard(self, method: str, params: dict[str, Any]) -> None:
        """One event of the browser."""
        if method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.trouble.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Page.javascriptDialogOpening":
            self.asked.append(params["type"])
            self.browser.tell("Page.handleJavaScriptDialog", self.session, accept=True)
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.trouble.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of one command for this tab."""
        return self.browser.call(method, self.session, **params)

    def close(self) -> None:
        """The tab and what it had stored are gone."""
        self.browser.pages.pop(self.session, None)
        self.browser.call("Target.closeTarget", targetId=self.target)
        self.browser.call("Target.disposeBrowserContext", browserContextId=self.context)

    def goto(self, url: str, ready: str = "document.readyState === 'complete'") -> None:
        """Opens an address and waits until `ready` is true there."""
        self.call("Page.navigate", url=url)
        self.until(f"location.href.startsWith({json.dumps(url)}) && ({ready})")

    def js(self, expression: str) -> Any:
        """The value of an expression, awaited."""
        told = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in told:
            details = told["exceptionDetails"]
            raise BrowserError(details.get("exception", {}).get("description", details["text"]))
        return told["result"].get("value")

    def until(self, expression: str) -> Any:
        """Waits until an expression is true in the page; its value."""
        watching = f"""new Promise((found, lost) => {{
            const end = Date.now() + {int(PATIENCE_S * 900)};
            const look = () => {{
                let value;
                try {{ value = {expression}; }} catch (error) {{ value = false; }}
                if (value) found(value === true ? true : JSON.parse(JSON.stringify(value)));
                else if (Date.now() > end) lost(new Error("never true"));
                else setTimeout(look, 20);
            }};
            look();
        }})"""
        for _ in range(5):
            try:
                return self.js(watching)
            except BrowserError as error:
                # A page that goes elsewhere takes its promises along.
                gone = ("navigated", "context was destroyed", "Cannot find context", "collected")
                if not any(word in str(error) for word in gone):
                    raise BrowserError(f"{error}: {expression}\n{self.trouble}") from None
        raise BrowserError(f"the page never came to rest: {expression}")

    def press(self, key: str, *, ctrl: bool = False, shift: bool = False) -> None:
        """One key, down and up, as a keyboard sends it."""
        # Only letters and digits have codes that are their characters': 46, a dot, is Delete.
        plain = len(key) == 1 and key.isascii() and key.isalnum()
        code, text = _KEYS[key] if key in _KEYS else (ord(key.upper()) if plain else 0, key)
        modifiers = (_CTRL if ctrl else 0) | (_SHIFT if shift or key.isupper() else 0)
        told: dict[str, Any] = {
            "key": key,
            "modifiers": modifiers,
            "windowsVirtualKeyCode": code,
            "code": key if len(key) > 1 else "",
        }
        down = {**told, "text": text} if text and not ctrl else told
        self.call("Input.dispatchKeyEvent", type="keyDown", **down)
        self.call("Input.dispatchKeyEvent", type="keyUp", **told)

    def type(self, text: str) -> None:
        """Text into what has the focus, as an input method gives it."""
        self.call("Input.insertText", text=text)

    def click(self, selector: str) -> None:
        """A click of the mouse in the middle of the first element that is shown."""
        place = self.until(
            f"""(() => {{
            const found = [...document.querySelectorAll({json.dumps(selector)})]
                .find((one) => one.checkVisibility());
            if (!found) return false;
            found.scrollIntoView({{block: "nearest"}});
            const {{x, y, width, height}} = found.getBoundingClientRect();
            return {{x: x + width / 2, y: y + height / 2}};
        }})()"""
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)

    def view(self, width: int, height: int, *, mobile: bool = False, scale: float = 1) -> None:
        """The size of the window in CSS pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=mobile,
        )
        self.call("Emulation.setTouchEmulationEnabled", enabled=mobile)

    def prefer(self, **features: str) -> None:
        """Media features: `prefer(prefers_color_scheme="dark")`."""
        told = [{"name": k.replace("_", "-"), "value": v} for k, v in features.items()]
        self.call("Emulation.setEmulatedMedia", media="screen", features=told)

    def shot(self, file: Path) -> None:
        """A picture of the window."""
        data = self.call("Page.captureScreenshot", format="png")["data"]
        file.write_bytes(base64.b64decode(data))

    def accessible(self) -> list[dict[str, Any]]:
        """The accessibility tree: {role, name, focusable, ...} of what is not ignored."""
        nodes = self.call("Accessibility.getFullAXTree")["nodes"]
        return [
            {
                "role": node.get("role", {}).get("value", ""),
                "name": node.get("name", {}).get("value", ""),
                **{each["name"]: each["value"].get("value") for each in node.get("properties", [])},
            }
            for node in nodes
            if not node.get("ignored")
        ]


@contextmanager
def chromium(program: str, folder: Path) -> Iterator[Browser]:
    """A browser with a profile below `folder`; ends with the block."""
    # High numbers: 3 and 4 are given away below and must not be taken already.
    ours_read, theirs_write = (_high(end) for end in os.pipe())
    theirs_read, ours_write = (_high(end) for end in os.pipe())
    flags = [*_FLAGS, f"--user-data-dir={folder / 'profile'}"]
    if os.geteuid() == 0:
        flags.append("--no-sandbox")
    script = f'exec "$0" "$@" 3<&{theirs_read} 4>&{theirs_write}'
    log = (folder / "chromium.log").open("wb")
    process = subprocess.Popen(
        ["bash", "-c", script, program, *flags, "about:blank"],
        pass_fds=(theirs_read, theirs_write),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env={**os.environ, "HOME": str(folder)},
    )
    log.close()
    os.close(theirs_read)
    os.close(theirs_write)
    browser = Browser(process, ours_read, ours_write)
    try:
        yield browser
    finally:
        try:
            browser.call("Browser.close")
            process.wait(PATIENCE_S)
        except (BrowserError, OSError, subprocess.TimeoutExpired):
            process.kill()
            process.wait()
        os.close(ours_write)


def _high(descriptor: int) -> int:
    """The same file under a number of at least ten, not inherited unless asked for."""
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(descriptor)
    return moved
