"""Open a page in a real browser that has no network, and look at what came of it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

from attrs import frozen

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",  # which root may not use, in a container
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--enable-logging=stderr",
    "--virtual-time-budget=10000",
    "--hide-scrollbars",
)
_TIMEOUT_S = 300
_PROBE = """
<script>
addEventListener("load", () => {
  const found = {blocked: window.blocked};
  try {
    found.result = (() => { %s })();
  } catch (error) {
    found.error = String(error);
  }
  const out = document.createElement("pre");
  out.id = "probe";
  out.textContent = JSON.stringify(found);
  document.body.append(out);
});
</script>
"""
_WATCH = """
<script>
window.blocked = [];
addEventListener("securitypolicyviolation", (event) => window.blocked.push(event.blockedURI));
addEventListener("error", (event) => window.blocked.push(event.message || "not loaded"), true);
</script>
"""


@frozen(kw_only=True)
class Visit:
    """What a browser has made of a page."""

    result: Any
    """What the probe has returned."""
    complaints: list[str]
    """Lines of its console, scripts that failed, and what its policy or the network blocked."""
    requests: list[str]
    """All URLs that it asked for, the page itself and data: aside."""


def find_chromium() -> str | None:
    """Return the path of a browser; None if there is none: see scripts/setup-chromium."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class Chromium:
    """A headless browser; each page is opened in a process and a profile of its own.

    Args:
        folder: For profiles and copies of pages.
    """

    def __init__(self, program: str, folder: Path) -> None:
        self._program = program
        self._folder = folder

    def visit(self, page: Path, probe: str, *, width: int = 1280, height: int = 900) -> Visit:
        """Open a page, and run a probe in it once it is loaded.

        Args:
            probe: The body of a JavaScript function; its result must be plain data. It cannot wait
                for anything: the browser's clock runs ahead.
        """
        text = page.read_text()
        assert "</body>" in text and "<head>" in text
        text = text.replace("<head>", f"<head>{_WATCH}", 1)
        text = text.replace("</body>", f"{_PROBE % probe}</body>")
        copy, log = self._folder / "probed.html", self._folder / "net-log.json"
        copy.write_text(text)
        done = self._run(
            "--dump-dom", f"--log-net-log={log}", f"--window-size={width},{height}", copy.as_uri()
        )
        match = re.search(r'<pre id="probe">(.*?)</pre>', done.stdout, re.DOTALL)
        assert match, f"the page has not ended its work:\n{done.stderr[-2000:]}"
        found = json.loads(unescape(match[1]))
        console = re.findall(r"INFO:CONSOLE.*", done.stderr)
        failure = [found["error"]] if "error" in found else []
        return Visit(
            result=found.get("result"),
            complaints=[*console, *failure, *found["blocked"]],
            requests=_requests(log),
        )

    def screenshot(self, page: Path, picture: Path, *, width: int, height: int) -> None:
        """Write a PNG of the top of a page."""
        size = f"--window-size={width},{height}"
        self._run(f"--screenshot={picture}", size, page.as_uri())

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        profile = self._folder / "profile"
        shutil.rmtree(profile, ignore_errors=True)
        return subprocess.run(
            [self._program, *_ARGUMENTS, f"--user-data-dir={profile}", *arguments],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=True,
        )


def _requests(log: Path) -> list[str]:
    """Return the URLs that a page asked for; others in a net log are the browser's own."""
    asked = [event.get("params", {}) for event in json.loads(log.read_text())["events"]]
    of_page = [each for each in asked if "file:" in str(each.get("network_isolation_key"))]
    urls = {each["url"] for each in of_page if "url" in each}
    return sorted(url for url in urls if not url.startswith(("file:", "data:")))
