"""The report in a real browser, wide and as narrow as a phone; skipped where there is no Chromium."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs Chromium: apt-get install chromium")
# Goes into the page, clicks through the first table, and leaves what it saw in the document.
PROBE = """
<script>
addEventListener("load", async () => {
  const table = document.querySelector("table.sortable");
  const column = () => [...table.tBodies[0].rows].map(row => row.cells[0].textContent);
  const click = index => { table.querySelectorAll("th button")[index].click(); return column(); };
  const videos = [...document.querySelectorAll("video")];
  await Promise.all(videos.map(video => video.readyState >= 2 || new Promise(resolve => {
    video.onloadeddata = video.onerror = resolve; })));
  const seen = {
    images: [...document.images].map(image => image.complete && image.naturalWidth > 0),
    videos: videos.map(video => video.error === null && video.videoWidth > 0),
    before: column(), up: click(0), down: click(0),
    aria: table.querySelector("th").getAttribute("aria-sort"),
    overflow: document.documentElement.scrollWidth - innerWidth,
  };
  const result = document.createElement("pre");
  result.id = "seen";
  result.textContent = JSON.stringify(seen);
  document.body.append(result);
});
</script>
</body>"""


@pytest.mark.parametrize("width", [1280, 500])
def test_the_report_works_in_a_browser(results: Path, tmp_path: Path, width: int) -> None:
    page = (results / "report.html").read_text()
    probed = tmp_path / "page.html"
    probed.write_text(page.replace("</body>", PROBE))
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    command = [
        str(BROWSER), "--headless", *sandbox, "--disable-gpu", f"--window-size={width},900", "--enable-logging=stderr",
        f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=20000", "--dump-dom", probed.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    found = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr
    seen = json.loads(found[1])
    assert "CONSOLE" not in done.stderr, done.stderr
    assert seen["images"] == [True] * 3
    assert seen["videos"] == [True] * 4
    assert seen["up"] == sorted(seen["before"])
    assert seen["down"] == sorted(seen["before"], reverse=True)
    assert seen["up"] != seen["down"]
    assert seen["aria"] == "descending"
    assert seen["overflow"] <= 0, "the page scrolls sideways"
