"""``python -m tests.report_picture report.html picture.png``: table and plots of all levels, as a picture."""

import argparse
import importlib
import sys
from pathlib import Path

import pytest

from tests.editors import tools

_ONLY_ALL_LEVELS = """() => {
  let shown = false;
  for (const part of document.querySelector("section").children) {
    if (/^H[23]$/.test(part.tagName)) shown = part.textContent === "all";
    if (!shown || part.tagName === "P") part.style.display = "none";
  }
}"""


def main(page: Path, picture: Path) -> None:
    """Take a picture of a report."""
    if not page.is_file():
        sys.exit(f"error: no page at {page}\nhint: make one with: codefilter report RUN --out {page}")
    try:
        chromium = tools.chromium()
    except pytest.skip.Exception as missing:
        sys.exit(f"error: {missing.msg}")
    with importlib.import_module("playwright.sync_api").sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1440, "height": 600})
        tab.goto(page.resolve().as_uri())
        tab.evaluate(_ONLY_ALL_LEVELS)
        tab.locator("section").first.screenshot(path=picture)
        browser.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.report_picture", description=main.__doc__)
    parser.add_argument("page", type=Path, help="of codefilter report")
    parser.add_argument("picture", type=Path, help="a PNG file")
    arguments = parser.parse_args()
    main(arguments.page, arguments.picture)
