"""Helpers for the check of the label page: a server, a tab with the page, and comparisons of label maps."""
import shlex
import subprocess
import time
from urllib.parse import urlsplit

import numpy
from playwright.sync_api import TimeoutError

from browser import Failed, check, origin

WAIT = 60_000
BRUSH = 7


def until(holds, words):
    """Waits for a condition; `words` says what is wrong if it does not come true."""
    deadline = time.monotonic() + WAIT / 1000
    while not holds():
        check(time.monotonic() < deadline, words() if callable(words) else words)
        time.sleep(0.03)


class Server:
    """A server that this check starts and kills."""

    def __init__(self, command):
        self.command = shlex.split(command)
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, text=True)
        self.address = self.process.stdout.readline().strip()
        check(self.address.startswith("http"), f"the server's first line is {self.address!r}, not its address")

    def kill(self):
        self.process.kill()
        self.process.wait()


class Desk:
    """The label page in one tab."""

    def __init__(self, context, address):
        self.page = context.new_page()
        self.faults = []
        self.quiet = True
        self.page.on("console", self.heard)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.address = address
        self.load()

    def heard(self, message):
        address = message.location.get("url", "")
        # The browser tells of failed requests whatever the page does about them: those to a server that is down, conflicts,
        # and questions about a model whose place a newer one has taken.
        known = not self.quiet and "net::ERR" in message.text or "409" in message.text or "404" in message.text and "model=" in address
        if message.type == "error" and not known:
            self.faults.append(f"{message.text} {address}")

    def load(self):
        if self.page.url.startswith("http"):
            self.page.reload()
        else:
            self.page.goto(self.address)
        if urlsplit(self.page.url).path != "/label":
            self.page.goto(origin(self.page.url) + "/label")
        try:
            self.page.wait_for_selector("main.desk:not([hidden])", timeout=WAIT)
        except TimeoutError as error:
            raise Failed(f"the page does not open. It says {self.text('body')!r}; the console: {self.faults}") from error
        self.page.wait_for_selector("#stage:not([aria-busy])", timeout=WAIT)
        self.page.wait_for_selector("#stage[aria-label^='Image ']:not([aria-label='Image to label'])", timeout=WAIT)
        self.page.wait_for_timeout(300)

    def api(self, path):
        return self.page.request.get(origin(self.page.url) + "/api/label" + path)

    @property
    def state(self):
        return self.api("").json()

    def labels(self):
        """What the server has."""
        self.saved()
        image = self.state["images"][0]
        answer = self.api("/images/0/labels.bin")
        return numpy.frombuffer(answer.body(), numpy.uint8).reshape(image["height"], image["width"]).copy()

    def saved(self):
        self.page.wait_for_timeout(50)
        self.page.wait_for_selector("#state[data-kind=good]", timeout=WAIT)

    def shown(self, dialog):
        self.page.wait_for_selector(f"{dialog}[open]", timeout=WAIT)

    def text(self, selector):
        return self.page.locator(selector).inner_text()

    def screen(self, dx, dy):
        """A place relative to the middle of the image's view, in screen pixels."""
        box = self.page.locator("#stage").bounding_box()
        return box["x"] + box["width"] / 2 + dx, box["y"] + box["height"] / 2 + dy

    def place(self, dx, dy):
        """The pixel of the image there, as the page tells it: (x, y)."""
        self.page.mouse.move(*self.screen(dx, dy))
        words = self.text("#place").split(" · ")[0]
        check("," in words, f"the page tells no pixel under the pointer at {dx}, {dy}: {words!r}")
        return tuple(int(part) for part in words.split(", "))

    def key(self, key):
        self.page.keyboard.press(key)

    def drag(self, start, end):
        self.page.mouse.move(*self.screen(*start))
        self.page.mouse.down()
        self.page.mouse.move(*self.screen(*end))
        self.page.mouse.up()

    def stroke(self, labels, key, start, end, value):
        """Paints with the brush, and paints the same into `labels` by its definition."""
        self.key("b")
        self.key(key)
        from_, to = self.place(*start), self.place(*end)
        self.drag(start, end)
        capsule(labels, from_, to, value)

    def rectangle(self, labels, key, start, end, value):
        self.key("r")
        self.key(key)
        (x0, y0), (x1, y1) = self.place(*start), self.place(*end)
        self.drag(start, end)
        labels[min(y0, y1):max(y0, y1) + 1, min(x0, x1):max(x0, x1) + 1] = value

    def train(self):
        before = self.text("#trained")
        started = time.monotonic()
        self.key("t")
        until(lambda: self.text("#trained") != before and self.text("#trained").startswith("Model "),
              lambda: f"no model after a minute; the page says {self.text('#trained')!r}")
        number = self.state["model"]["number"]
        print(f"  model {number} after {time.monotonic() - started:.2f} s")
        check(self.text("#trained").startswith(f"Model {number},"), f"the page says {self.text('#trained')!r} of model {number}")
        self.page.wait_for_timeout(500)
        return number

    def predicted(self, number):
        image = self.state["images"][0]
        width, height = image["width"], image["height"]
        answer = self.api(f"/images/0/prediction.bin?model={number}&x=0&y=0&width={width}&height={height}")
        check(answer.ok, f"prediction.bin answers {answer.status}: {answer.text()[:200]}")
        return numpy.frombuffer(answer.body(), numpy.uint8)[:width * height].reshape(height, width)

    def done(self):
        check(not self.faults, "the browser's console tells of errors:\n    " + "\n    ".join(self.faults[:5]))


def capsule(labels, start, end, value, size=BRUSH):
    """All pixels with their centre within half the brush's size of the line between two pixels' centres."""
    rows, columns = numpy.mgrid[:labels.shape[0], :labels.shape[1]]
    (x0, y0), (x1, y1) = start, end
    dx, dy = x1 - x0, y1 - y0
    along = numpy.clip(((columns - x0) * dx + (rows - y0) * dy) / max(dx * dx + dy * dy, 1), 0, 1)
    labels[numpy.hypot(columns - x0 - along * dx, rows - y0 - along * dy) <= size / 2 + 1e-6] = value


def region(values, x, y):
    """The pixels of one value that are connected with x, y by their edges."""
    found = numpy.zeros(values.shape, bool)
    todo = [(y, x)]
    found[y, x] = True
    while todo:
        row, column = todo.pop()
        for near in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
            within = 0 <= near[0] < values.shape[0] and 0 <= near[1] < values.shape[1]
            if within and not found[near] and values[near] == values[y, x]:
                found[near] = True
                todo.append(near)
    return found


def same(found, wanted, words):
    count = int((found != wanted).sum())
    if not count:
        return
    row, column = (int(part[0]) for part in numpy.nonzero(found != wanted))
    raise Failed(f"{words}: {count} pixels differ, first at {column}, {row}: {found[row, column]} instead of {wanted[row, column]}")
