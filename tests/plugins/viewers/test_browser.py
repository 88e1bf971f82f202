"""The App in a real browser: it opens on the mistakes, draws the boxes, and asks nobody else."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tlx.mistakes import find_mistakes

pytestmark = pytest.mark.browser

_ARGUMENTS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
_DRAWN = "[data-cy=looker] canvas[canvas-loaded=true]"
# How many pixels of all tiles have the colour of a class, give or take 14 of 255.
_COUNT_COLOR = """
([red, green, blue]) => [...document.querySelectorAll('[data-cy=looker] canvas')].reduce((n, c) => {
  if (!c.width || !c.height) return n;
  const p = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
  for (let i = 0; i < p.length; i += 4) {
    n += p[i + 3] > 200 && Math.abs(p[i] - red) < 14 && Math.abs(p[i + 1] - green) < 14
      && Math.abs(p[i + 2] - blue) < 14;
  }
  return n;
}, 0)
"""


@pytest.fixture
def chromium() -> Iterator[Any]:
    """A function that opens a fresh browser profile; yields Playwright's browser contexts."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("chromium is not installed")
    if importlib.util.find_spec("playwright") is None:
        pytest.skip("the package playwright is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield lambda profile: playwright.chromium.launch_persistent_context(
            profile,
            executable_path=program,
            args=list(_ARGUMENTS),
            viewport={"width": 1500, "height": 900},
        )


def test_opens_on_the_mistakes(open_viewer: Any, chromium: Any, drive: Any, tmp_path: Path) -> None:
    expected = find_mistakes(drive.dataset, drive.predictions)
    images = len(expected.worst_images)
    missed = int((expected.misses_per_image > 0).sum())
    with open_viewer() as session:
        own = session.ready["url"].partition("/datasets")[0]
        foreign: list[str] = []
        failures: list[str] = []
        browser = chromium(tmp_path / "profile")
        browser.add_init_script("localStorage.setItem('fiftyone-enterprise-tooltip-seen','true')")
        browser.route(
            lambda url: not url.startswith((f"{own}/", "data:", "blob:")),
            lambda route: (foreign.append(route.request.url), route.abort()),
        )
        page = browser.pages[0]
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: failures.append(str(error)))
        page.on(
            "response",
            lambda r: failures.append(f"{r.status} {r.url}") if r.status >= 400 else None,
        )
        try:
            page.goto(session.ready["url"])
            page.wait_for_selector(_DRAWN)
            assert "token" not in page.url
            assert page.inner_text("[data-cy=entry-counts]") == f"{images} samples"
            _boxes_are_drawn(page)

            page.click("[data-cy=saved-views-selection]")
            page.click("[data-cy=saved-views-missed-objects-selection-option]")
            page.wait_for_function(
                "text => document.querySelector('[data-cy=entry-counts]')?.innerText === text",
                arg=f"{missed} samples",
            )
            page.wait_for_selector(_DRAWN)
            page.screenshot(path=tmp_path / "page.png")
            # The page stays open: its connections must not keep the server from ending.
            assert foreign == []
            assert failures == []
            session.process.terminate()
            assert session.process.wait(15) == 0
            assert session.gone(0.0)
        except BaseException:
            page.screenshot(path=tmp_path / "failure.png")
            raise
        finally:
            browser.close()


def _boxes_are_drawn(page: Any) -> None:
    """With both fields off, no pixel of a tile has the colour of the class "stop"."""
    red = [0xEE, 0x22, 0x22]
    page.wait_for_function(f"color => ({_COUNT_COLOR})(color) > 200", arg=red)
    for name in ("ground_truth", "predictions"):
        page.click(f"[data-cy=checkbox-{name}]")
    page.wait_for_function(f"color => ({_COUNT_COLOR})(color) === 0", arg=red)
    for name in ("ground_truth", "predictions"):
        page.click(f"[data-cy=checkbox-{name}]")
    page.wait_for_function(f"color => ({_COUNT_COLOR})(color) > 200", arg=red)
