"""Drives the segmentation page of `segtool serve` in Chromium, as users do, and fails if it does not do what it shows.

    segtool serve --run RUN --port 5000 &
    python scripts/checks/browser_serve.py --url http://127.0.0.1:5000/ --image photo.png --out screenshots [--scene large.tif]

IMAGE is a small image that the model takes, SCENE one that takes several seconds, for progress and cancelling. Needs Python's playwright
and Chromium (/usr/bin/chromium, or env CHROMIUM); with env AXE_JS, the path of axe.js of the npm package axe-core, accessibility is
checked, too. Screenshots at 390 and 1440 pixels, light and dark, are written to OUT.
"""

import argparse
import ast
import base64
import json
import re
import struct
import sys
import time
from pathlib import Path

from playwright.sync_api import Error as BrowserError
from playwright.sync_api import expect

from browser import LOOKS, Failed, check, check_accessible, chromium
from segment_page import SLOW, Result, Session, percent, rgb

NO_DATA = 65535


def check_upload(session):
    """Upload; the readout under the pointer equals classes.bin and probability.bin, zoomed or not."""
    session.open()
    session.upload(session.options.image)
    session.wait_for_result(Path(session.options.image).name)
    result = Result(session)
    page = session.page
    readout = page.locator("#readout")
    for x, y in result.spread():
        page.mouse.move(*result.place(x, y))
        shown = [int(readout.get_attribute(f"data-{key}")) for key in ("x", "y", "index")]
        # A border between two pixels may fall to either side of it.
        check(abs(shown[0] - x) <= 1 and abs(shown[1] - y) <= 1, f"the pointer at {x}, {y} is told as {shown[0]}, {shown[1]}")
        compare_readout(page, result, shown)
    page.mouse.move(*result.place(result.width // 3, result.height // 3))
    check_wheel(page)
    for _ in range(5):
        page.mouse.move(*result.place(result.width // 3 + 5 * _, result.height // 3))
        compare_readout(page, result, [int(readout.get_attribute(f"data-{key}")) for key in ("x", "y", "index")])
    check_legend(page, result)


def check_wheel(page):
    """The wheel scrolls the page, and says how it zooms; with Ctrl it zooms."""
    whole = page.locator("#zoom-value").text_content()
    page.mouse.wheel(0, 300)
    expect(page.locator("#wheel-hint")).to_be_visible()
    page.wait_for_timeout(200)
    check(page.locator("#zoom-value").text_content() == whole, "the wheel zooms though the image has no focus")
    scrolls = page.evaluate("document.documentElement.scrollHeight > innerHeight + 20")
    check(not scrolls or page.evaluate("scrollY") > 0, "the wheel over the image does not scroll the page")
    page.evaluate("scrollTo(0, 0)")
    page.keyboard.down("Control")
    for _ in range(6):
        page.mouse.wheel(0, -60)
    page.keyboard.up("Control")
    check(page.locator("#zoom-value").text_content() != whole, "Ctrl and the wheel do not zoom")


def compare_readout(page, result, shown):
    x, y, index = shown
    check(index == result.at(x, y), f"at {x}, {y} the page shows class {index}, classes.bin has {result.at(x, y)}")
    if index == NO_DATA:
        return
    name = result.known[index]["name"]
    check(page.locator("#readout-class").text_content() == name, f"at {x}, {y} the name is not {name}")
    wanted = percent(result.probability[y * result.width + x] / 255)
    told = page.locator("#readout-probability").text_content()
    check(told == wanted, f"at {x}, {y} the probability is {told}, probability.bin has {wanted}")


def check_legend(page, result):
    rows = page.locator("#legend .class")
    names = page.locator("#legend .class .name").all_text_contents()
    wanted = [result.known[c["index"]]["name"] for c in result.result["classes"]]
    check(names == wanted, f"the legend lists {names}, the result {wanted}")
    pixels = [c["pixels"] for c in result.result["classes"]]
    check(pixels == sorted(pixels, reverse=True), "the classes are not sorted by area")
    counted = sum(1 for value in result.classes if value == result.result["classes"][0]["index"])
    check(counted == pixels[0], f"the largest class has {counted} pixels in classes.bin, {pixels[0]} in the result")
    check(percent(result.result["classes"][0]["share"]) in rows.first.text_content(), "the legend does not show the share")


def check_views(session):
    """Each view, the slider, the divider and an isolated class change the canvas as they must."""
    session.open()
    session.upload(session.options.image)
    session.wait_for_result()
    result = Result(session)
    page = session.page
    page.mouse.move(5, 5)
    found = [(c["index"], result.inside(c["index"])) for c in result.result["classes"]]
    found = [(index, result.place(*point)) for index, point in found if point]
    check(found, "no class covers a few pixels: give another --image")
    index, place = found[0]
    color = rgb(result.known[index]["color"])
    session.choose_view("classes")
    check(session.pixel(*place)[:3] == color, f"view Classes shows {session.pixel(*place)} for the colour {color}")
    session.choose_view("image")
    plain = session.pixel(*place)
    session.choose_view("overlay")
    session.set_opacity(0)
    check(session.pixel(*place) == plain, "an overlay of opacity 0 is not the image")
    session.set_opacity(50)
    half = session.pixel(*place)
    check(all(abs(h - (p + c) / 2) <= 3 for h, p, c in zip(half, plain, color)), f"opacity 50 % mixes {plain} and {color} to {half}")
    session.set_opacity(100)
    check(session.pixel(*place)[:3] == color, "an overlay of opacity 100 is not the classes")
    session.choose_view("probability")
    check(session.pixel(*place)[:3] != color, "view Probability shows the classes")
    check_divider(session, result, plain, place)
    check_isolating(session, found, result)


def check_divider(session, result, plain, place):
    page = session.page
    color = session.pixel(*place)
    session.choose_view("compare")
    divider = page.locator("#divider")
    divider.press("End")
    page.wait_for_timeout(80)
    check(session.pixel(*place) == plain, "left of the divider is not the image")
    divider.press("Home")
    page.wait_for_timeout(80)
    check(session.pixel(*place) != plain, "right of the divider is the image")
    box, stage = divider.bounding_box(), page.locator("#stage").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2 + 5, stage["y"] + 30)
    page.mouse.down()
    page.mouse.move(stage["x"] + stage["width"] * 0.25, stage["y"] + 30, steps=4)
    page.mouse.up()
    check(divider.get_attribute("aria-valuenow") == "25", f"the divider does not follow the pointer: {divider.get_attribute('aria-valuenow')}")


def check_isolating(session, found, result):
    page = session.page
    session.choose_view("classes")
    index, place = found[0]
    row = page.locator("#legend .class").first
    row.click()
    page.wait_for_timeout(100)
    check(row.get_attribute("aria-pressed") == "true", "a click on a class does not press it")
    check(session.pixel(*place)[:3] == rgb(result.known[index]["color"]), "the isolated class loses its colour")
    for other, there in found[1:]:
        shown = session.pixel(*there)
        check(shown[:3] != rgb(result.known[other]["color"]) or shown[3] < 255, f"class {other} is shown though {index} is isolated")
    page.click("#everything")
    page.wait_for_timeout(100)
    page.mouse.click(*place)
    check(row.get_attribute("aria-pressed") == "true", "a click on the image does not isolate its class")
    page.mouse.click(*place)
    check(row.get_attribute("aria-pressed") == "false", "a second click does not show all classes")
    page.mouse.move(5, 5)
    page.wait_for_timeout(100)
    for other, there in found:
        check(session.pixel(*there)[:3] == rgb(result.known[other]["color"]), f"class {other} stays hidden")


def check_sample(session):
    """A sample by a click; the result survives a reload, and the back button leads to the start."""
    session.open()
    page = session.page
    page.wait_for_timeout(200)
    if not page.locator("#thumbnails button").count():
        print("  no samples: the run's data set is not there; not checked")
        return
    page.locator("#thumbnails img").first.evaluate("async image => image.decode()")
    page.locator("#thumbnails button").first.click()
    session.wait_for_result()
    title = page.locator("#result-title").text_content()
    page.reload()
    session.wait_for_result(title)
    page.go_back()
    expect(page.locator("#start")).to_be_visible()
    page.locator("#results a").first.click()
    session.wait_for_result(title)
    with session.forgiving():
        page.click("#forget")
        page.keyboard.press("Escape")
        expect(page.locator("#result")).to_be_visible()
        page.click("#forget")
        page.click("#confirm-yes")
        expect(page.locator("#start")).to_be_visible()
        expect(page.locator("#history")).to_be_hidden()


def check_drop_and_paste(session):
    """The same image dropped on the page and pasted."""
    session.open()
    page = session.page
    data = base64.b64encode(Path(session.options.image).read_bytes()).decode()
    make = """([data, name]) => {
      const transfer = new DataTransfer();
      transfer.items.add(new File([Uint8Array.from(atob(data), c => c.charCodeAt())], name));
      return transfer;
    }"""
    ending = Path(session.options.image).suffix
    for kind in ["drop", "paste"]:
        name = f"{kind}ed{ending}"
        transfer = page.evaluate_handle(make, [data, name])
        page.evaluate(
            """([kind, transfer]) => {
              const more = { bubbles: true, cancelable: true };
              const event = kind === "drop" ? new DragEvent(kind, { dataTransfer: transfer, ...more })
                : new ClipboardEvent(kind, { clipboardData: transfer, ...more });
              document.body.dispatchEvent(event);
            }""",
            [kind, transfer],
        )
        session.wait_for_result(name)
    check(page.locator("#results li").count() == 2, "the history does not list both results")


def check_downloads(session):
    """Each download has content of its format; the NumPy array has the image's shape."""
    session.open()
    session.upload(session.options.image)
    session.wait_for_result()
    result = Result(session)
    page = session.page
    with page.expect_download() as waiting:
        page.click("#downloads a[data-format=npy]")
    path = waiting.value.path()
    data = Path(path).read_bytes()
    check(data[:6] == b"\x93NUMPY", "the .npy does not begin with NumPy's mark")
    length, start = (struct.unpack("<H", data[8:10])[0], 10) if data[6] == 1 else (struct.unpack("<I", data[8:12])[0], 12)
    header = ast.literal_eval(data[start : start + length].decode("latin1"))
    check(tuple(header["shape"]) == (result.height, result.width), f"the .npy has shape {header['shape']}")
    item = int(re.search(r"\d+$", header["descr"])[0])
    check(len(data) == start + length + item * result.width * result.height, "the .npy has the wrong length")
    signs = {"png": b"\x89PNG", "overlay": b"\x89PNG", "tif": (b"II", b"MM"), "tiff": (b"II", b"MM")}
    for link in page.locator("#downloads a").all():
        kind, path = link.get_attribute("data-format"), link.get_attribute("href")
        answer = session.api(path)
        check(answer.ok and answer.body(), f"{path}: status {answer.status}")
        check(answer.body().startswith(signs.get(kind, b"")), f"{path} is no {kind}")
        if kind == "geojson":
            check(json.loads(answer.body())["type"] == "FeatureCollection", f"{path} is no collection of features")


def check_errors(session):
    """A file that is not an image is refused with a message, and the page keeps working."""
    session.open()
    page = session.page
    with session.forgiving():
        page.set_input_files("#file", {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no image at all"})
        expect(page.locator("#alerts .notice")).to_be_visible(timeout=SLOW)
    check(len(page.locator("#alerts .notice p").text_content()) > 20, "the error has no words")
    expect(page.locator("#start")).to_be_visible()
    page.click("#alerts .notice .quiet")
    with session.forgiving():
        page.evaluate("location.hash = 'forgotten'")
        expect(page.locator("#alerts .notice")).to_be_visible()
    check("again" in page.locator("#alerts .notice p").text_content(), "a forgotten result is not told as such")
    page.click("#alerts .notice .quiet")
    expect(page.locator("#alerts .notice")).to_have_count(0)
    session.upload(session.options.image)
    session.wait_for_result()


def check_batch(session):
    """Of several files, the valid ones are segmented, and each of the others is named."""
    limit = Path(session.options.image).stat().st_size + 1000

    def limited(route):
        models = route.fetch().json()
        for model in models:
            model["limits"]["bytes"] = limit
        route.fulfill(json=models)

    page = session.page
    page.route("**/api/models", limited)
    session.open()
    image = Path(session.options.image)

    def file(name, data):
        return {"name": name, "mimeType": "image/png", "buffer": data}

    large = [file(name, bytes(limit + 1)) for name in ("first.png", "second.png")]
    page.set_input_files("#file", [large[0], file(image.name, image.read_bytes()), large[1]])
    session.wait_for_result(image.name)
    told = page.locator("#alerts .notice p").text_content()
    check("first.png" in told and "second.png" in told, f"files that are too large are not all named: {told}")
    page.click("#again")
    with session.forgiving():
        page.set_input_files("#file", [file(f"{name}.png", b"no image") for name in ("one", "two", "three")])
        expect(page.locator("#alerts .notice")).to_have_count(3, timeout=SLOW)
    for name, told in zip(("one", "two", "three"), page.locator("#alerts .notice p").all_text_contents()):
        check(told.startswith(f"{name}.png"), f"the failure of {name}.png begins otherwise: {told}")
    inspect(session, "errors")


def check_cancel(session):
    """A large image shows its progress, and cancelling stops it on the server."""
    if not session.options.scene:
        print("  no --scene: progress and cancelling are not checked")
        return
    session.open()
    page = session.page
    session.upload([session.options.scene, session.options.image, session.options.image])
    expect(page.locator("#stage-text")).to_contain_text("window", timeout=SLOW)
    job = page.locator("#work").get_attribute("data-job")
    first = float(page.locator("#bar").get_attribute("value"))
    page.wait_for_function("first => document.getElementById('bar').value > first", arg=first, timeout=SLOW)
    inspect(session, "progress")
    expect(page.locator("#cancel-all")).to_have_text("Cancel all (2 waiting)")
    page.click("#cancel-all")
    expect(page.locator("#start")).to_be_visible()
    end = time.monotonic() + 30
    while (state := (session.api(f"/api/jobs/{job}").json()).get("state")) in ("queued", "running") and time.monotonic() < end:
        time.sleep(0.2)
    check(state in ("cancelled", None), f"the cancelled job is {state}")
    session.upload(session.options.image)
    session.wait_for_result()
    check_waiting(session)


def check_waiting(session):
    """Behind the large image of another client, the place in the queue is shown."""
    page = session.page
    page.click("#again")
    model = page.locator("#model").input_value()
    scene = Path(session.options.scene)
    first = page.request.post(
        f"{session.origin}/api/jobs?model={model}&name={scene.name}", data=scene.read_bytes(),
        headers={"Content-Type": "application/octet-stream"}, timeout=SLOW,
    )
    check(first.ok, f"the server does not take the large image: status {first.status}")
    session.upload(session.options.image)
    expect(page.locator("#stage-text")).to_contain_text("Waiting")
    page.click("#cancel")
    expect(page.locator("#start")).to_be_visible()
    page.request.delete(f"{session.origin}/api/jobs/{first.json()['id']}")


def check_keyboard(session):
    """From the start to a pixel's class without a mouse."""
    page = session.page
    # Before the page opens, so that the browser has surely heard of it when the button is pressed.
    page.on("filechooser", lambda chooser: chooser.set_files(session.options.image))
    session.open()
    tab_to(page, "#choose")
    page.keyboard.press("Enter")
    session.wait_for_result()
    tab_to(page, "#views input:checked")
    page.keyboard.press("ArrowLeft")
    check(page.locator("#views input:checked").get_attribute("value") == "classes", "the arrow keys do not change the view")
    tab_to(page, "#stage")
    for key in ["ArrowRight", "ArrowRight", "ArrowDown"]:
        page.keyboard.press(key)
    result = Result(session)
    shown = [int(page.locator("#readout").get_attribute(f"data-{key}")) for key in ("x", "y", "index")]
    compare_readout(page, result, shown)
    page.wait_for_timeout(400)
    check(page.locator("#pixel").text_content(), "the class of the crosshair is not told to screen readers")
    before = page.locator("#zoom-value").text_content()
    page.keyboard.press("+")
    check(page.locator("#zoom-value").text_content() != before, "+ does not zoom")
    page.keyboard.press("0")
    check(page.locator("#zoom-value").text_content() == before, "0 does not fit the image to the window")
    page.keyboard.press("3")
    check(page.locator("#views input:checked").get_attribute("value") == "overlay", "3 does not show the overlay")
    page.keyboard.press("Enter")
    check(page.locator("#legend [aria-pressed=true]").count() == 1, "Enter does not isolate the class under the crosshair")
    page.keyboard.press("Enter")
    tab_to(page, "#legend .class")
    page.keyboard.press("Enter")
    check(page.evaluate("document.activeElement.getAttribute('aria-pressed')") == "true", "Enter does not isolate a class")
    check(page.locator("#status").text_content(), "nothing is told to screen readers")


def tab_to(page, selector):
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    raise Failed(f"the Tab key does not reach {selector}")


def check_looks(session):
    """Accessibility and width of the start, a result in each view, and an error; with screenshots."""
    session.open()
    page = session.page
    page.wait_for_load_state("networkidle")
    inspect(session, "start")
    session.upload(session.options.image)
    session.wait_for_result()
    for view in ["overlay", "classes", "probability", "compare"]:
        session.choose_view(view)
        inspect(session, f"result-{view}")
    page.locator("#legend .class").first.click()
    session.choose_view("overlay")
    page.locator("#stage").press("ArrowRight")
    inspect(session, "result-isolated")
    page.click("#again")
    with session.forgiving():
        page.set_input_files("#file", {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no image"})
        expect(page.locator("#alerts .notice")).to_be_visible(timeout=SLOW)
    inspect(session, "error")


def inspect(session, name):
    page = session.page
    page.wait_for_timeout(250)
    screenshot(session, name)
    wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    check(wide <= 0, f"{name}: the page is {wide} pixels wider than the window")
    check_accessible(page, name)


def screenshot(session, name):
    size = session.page.viewport_size["width"]
    scheme = "dark" if session.page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") else "light"
    session.page.screenshot(path=Path(session.options.out) / f"app-{name}-{size}-{scheme}.png", full_page=True)


CHECKS = [
    check_upload, check_views, check_sample, check_drop_and_paste, check_downloads, check_errors, check_batch, check_cancel,
    check_keyboard,
]


def run(name, job):
    start = time.monotonic()
    try:
        job()
    except (Failed, AssertionError, BrowserError) as error:
        print(f"FAILED {name}: {error}", flush=True)
        return False
    print(f"ok     {name} ({time.monotonic() - start:.1f} s)", flush=True)
    return True


def with_session(browser, options, act, *look):
    session = Session(browser, options, *look)
    try:
        act(session)
    except (Failed, AssertionError, BrowserError) as error:
        screenshot(session, "failed")
        session.context.close()
        raise Failed(f"{error}; page faults: {session.faults}") from error
    session.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True, help="address that segtool serve writes, with its token where it has one")
    parser.add_argument("--image", required=True, help="small image to segment")
    parser.add_argument("--out", required=True, help="folder of the screenshots")
    parser.add_argument("--scene", help="large image, to be cancelled")
    parser.add_argument("--only", help="run the checks whose name contains this")
    options = parser.parse_args()
    Path(options.out).mkdir(parents=True, exist_ok=True)
    with chromium() as browser:
        jobs = [(act.__name__, lambda act=act: with_session(browser, options, act)) for act in CHECKS]
        for look in LOOKS:
            name = f"check_looks {look[0]} {look[2]}"
            jobs.append((name, lambda look=look: with_session(browser, options, check_looks, *look)))
        wanted = [(name, job) for name, job in jobs if not options.only or options.only in name]
        passed = [run(name, job) for name, job in wanted]
    print(f"{sum(passed)} of {len(passed)} checks passed")
    return 0 if passed and all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
