"""Helpers for the check of the segmentation page of `segtool serve`: errors in the browser, and the result expected."""

import array
import re
from contextlib import contextmanager
from urllib.parse import urlsplit

from playwright.sync_api import expect

from browser import check, origin

SLOW = 120_000


class Session:
    """A page and the errors that occurred in it."""

    def __init__(self, browser, options, width=1440, height=900, scheme="light"):
        phone = width < 500
        self.context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, has_touch=phone, is_mobile=phone
        )
        self.options = options
        self.page = self.context.new_page()
        self.page.set_default_timeout(15_000)
        self.faults = []
        self.forgiven = False
        self.origin = origin(options.url)
        page = self.page
        page.on("console", lambda m: m.type in ("error", "warning") and self.fault(f"console: {m.text}"))
        page.on("pageerror", lambda error: self.faults.append(f"exception: {error}"))
        page.on("requestfailed", self.on_failed)
        page.on("response", lambda r: r.status >= 400 and self.fault(f"{r.request.method} {r.url}: status {r.status}"))
        page.on("request", lambda r: r.url.startswith((self.origin, "data:", "blob:")) or self.faults.append(f"outside: {r.url}"))

    def on_failed(self, request):
        # The page itself closes the stream of events of a finished job, and gives up what another image replaced.
        if "ERR_ABORTED" not in (request.failure or ""):
            self.fault(f"{request.method} {request.url}: {request.failure}")

    def fault(self, text):
        if not self.forgiven:
            self.faults.append(text)

    @contextmanager
    def forgiving(self):
        """Ignores error responses, which the check provokes."""
        self.forgiven = True
        yield
        self.page.wait_for_timeout(200)
        self.forgiven = False

    def open(self):
        self.page.goto(self.options.url)
        expect(self.page.locator("#start")).to_be_visible()

    def api(self, path):
        return self.page.request.get(self.origin + path)

    def job_id(self):
        return urlsplit(self.page.url).fragment

    def upload(self, path):
        self.page.set_input_files("#file", path)

    def wait_for_result(self, name=None):
        expect(self.page.locator("#legend .class").first).to_be_visible(timeout=SLOW)
        if name:
            expect(self.page.locator("#result-title")).to_have_text(name, timeout=SLOW)
        expect(self.page).to_have_title(re.compile(r" · segtool$"))
        self.page.wait_for_timeout(100)

    def choose_view(self, name):
        self.page.check(f"input[name=view][value={name}]", force=True)
        self.page.wait_for_timeout(80)

    def set_opacity(self, value):
        self.page.locator("#opacity").evaluate(
            "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input')); }", value
        )
        self.page.wait_for_timeout(80)

    def pixel(self, x, y):
        """The colour on the canvas at a place of the page."""
        return self.page.locator("#stage canvas").evaluate(
            """(canvas, [x, y]) => {
              const box = canvas.getBoundingClientRect();
              const ratio = canvas.width / box.width;
              const context = new OffscreenCanvas(1, 1).getContext("2d");
              context.drawImage(canvas, -Math.floor((x - box.left) * ratio), -Math.floor((y - box.top) * ratio));
              return [...context.getImageData(0, 0, 1, 1).data];
            }""",
            [x, y],
        )

    def close(self):
        self.context.close()
        check(not self.faults, "faults on the page: " + "; ".join(dict.fromkeys(self.faults)))


class Result:
    """What the server says of a finished job, and where the page draws it while the whole image is in view."""

    def __init__(self, session):
        page = session.page
        answer = session.api(f"/api/jobs/{session.job_id()}")
        check(answer.ok, f"the job in the address is not known to the server: status {answer.status}")
        self.job = answer.json()
        self.result = self.job["result"]
        self.width, self.height = self.result["width"], self.result["height"]
        check(max(self.width, self.height) <= 4096, "--image must have at most 4096 pixels a side")
        body = session.api(f"/api/jobs/{self.job['id']}/classes.bin?max=4096").body()
        self.classes = array.array("H", body)
        self.probability = session.api(f"/api/jobs/{self.job['id']}/probability.bin?max=4096").body()
        pixels = self.width * self.height
        check(len(self.classes) == len(self.probability) == pixels, "classes.bin or probability.bin has the wrong size")
        model = next(m for m in session.api("/api/models").json() if m["id"] == self.job["model"])
        self.known = {c["index"]: c for c in model["classes"]}
        box = page.locator("#stage").bounding_box()
        self.scale = min(box["width"] / self.width, box["height"] / self.height, 64)
        self.left = box["x"] + (box["width"] - self.width * self.scale) / 2
        self.top = box["y"] + (box["height"] - self.height * self.scale) / 2

    def place(self, x, y):
        return self.left + (x + 0.5) * self.scale, self.top + (y + 0.5) * self.scale

    def at(self, x, y):
        return self.classes[y * self.width + x]

    def spread(self, count=25):
        """Pixels all over the image."""
        side = round(count**0.5)
        steps = [(i + 0.5) / side for i in range(side)]
        return [(int(u * self.width), int(v * self.height)) for v in steps for u in steps]

    def inside(self, index):
        """A pixel whose neighbours on the screen have its class, too."""
        radius = max(1, round(1.5 / self.scale))
        for y in range(radius, self.height - radius):
            for x in range(radius, self.width - radius):
                near = [(x + dx, y + dy) for dx in (-radius, 0, radius) for dy in (-radius, 0, radius)]
                if all(self.at(*point) == index for point in near):
                    return x, y
        return None


def rgb(color):
    return [int(color[at : at + 2], 16) for at in (1, 3, 5)]


def percent(share):
    if 0 < share < 0.001:
        return "< 0.1 %"
    if 0.999 < share < 1:
        return "> 99.9 %"
    return f"{100 * share:.1f} %"
