"""Helpers for the checks of pages in a browser: Chromium, accessibility, and how a check fails."""
import contextlib
import functools
import os
import pathlib

from playwright.sync_api import sync_playwright

FLAGS = ["--no-sandbox", "--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update"]
LOOKS = [(width, height, scheme) for width, height in [(1440, 900), (390, 844)] for scheme in ["light", "dark"]]


class Failed(Exception):
    """A check failed; says how."""


def check(holds, words):
    if not holds:
        raise Failed(words)


def origin(url):
    return "/".join(url.split("/")[:3])


@contextlib.contextmanager
def chromium():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=FLAGS)
        yield browser
        browser.close()


@functools.cache
def axe():
    """The script of axe-core; None, and a word, where AXE_JS does not name it."""
    file = os.environ.get("AXE_JS")
    if not file:
        print("AXE_JS does not name axe.min.js of the npm package axe-core: ACCESSIBILITY IS NOT CHECKED")
        return None
    return pathlib.Path(file).read_text(encoding="utf-8")


def check_accessible(page, where):
    """Nothing that axe-core finds is serious or critical; what else it finds is told."""
    if not axe():
        return
    page.evaluate(axe() + "; undefined")
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    heavy = []
    for fault in found:
        places = ", ".join(" ".join(node["target"]) for node in fault["nodes"][:3])
        words = f"axe-core, {fault['impact']}, on {where}: {fault['id']}: {fault['help']}: {places}"
        if fault["impact"] in ("serious", "critical"):
            heavy.append(words)
        else:
            print(f"  {words}")
    check(not heavy, "\n    ".join(heavy))
