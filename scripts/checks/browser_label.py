"""Drive the label page of `segtool serve` in a browser, as users do, and compare what it shows, keeps and saves.

Usage: browser_label.py (--url ADDRESS | --serve COMMAND) --out DIR [--segtool PROGRAM --image FILE] [--labels-folder DIR]

Needs the packages playwright, numpy and pillow, and Chromium (/usr/bin/chromium, or env CHROMIUM). axe-core checks
accessibility where env AXE_JS names its axe.min.js; without it the check says so and goes on. ADDRESS is what the server
wrote when it started. With --serve, COMMAND is started, killed and started again to show that nothing is lost; its port
must be fixed, as in --serve 'segtool serve --label cores --labels kept --port 5001'. The first image of the folder is
labelled: labels that it has are deleted. With --segtool, `segtool predict` with the saved run must give for FILE, that
first image, what the page showed. With --labels-folder, the label image there must hold the labels of the page.

DIR gets screenshots. Exits with 1 and says what is wrong if any check fails.
"""
import argparse
import contextlib
import pathlib
import shlex
import subprocess
import sys

import numpy
from PIL import Image
from playwright.sync_api import Error

from browser import LOOKS, Failed, check, check_accessible, chromium
from label_desk import WAIT, Desk, Server, capsule, region, same, until


def class_names(desk):
    return desk.page.locator("#classes .name").all_inner_texts()


def open_class(desk, name):
    """Opens the dialog of a class, once events of the last change have come."""
    desk.page.wait_for_timeout(200)
    desk.page.get_by_label(f"Change class {name}", exact=True).click()


def change_class(desk, name, new, color=None):
    open_class(desk, name)
    desk.page.fill("#class-name", new)
    if color:
        desk.page.fill("#class-color", color)
    desk.page.click("#class-keep")
    until(lambda: new in class_names(desk), f"class {name} is not renamed")


def make_classes(desk):
    """Three classes by the dialog, and one more that is renamed, recoloured and deleted."""
    old = [entry["name"] for entry in desk.state["classes"]]
    for name in old:
        change_class(desk, name, f"old {name}")
    for name in ["sandstone", "mudstone", "coal", "extra"]:
        desk.page.click("#add-class")
        desk.page.fill("#class-name", name)
        desk.key("Enter")
        until(lambda name=name: name in class_names(desk), f"class {name} is not added")
    change_class(desk, "extra", "Extra 2", "#123456")
    last = desk.state["classes"][-1]
    check((last["name"], last["color"]) == ("Extra 2", "#123456"), f"the class is {last} on the server")
    for name in [*(f"old {name}" for name in old), "Extra 2"]:
        open_class(desk, name)
        desk.page.click("#class-delete")
        desk.page.click("#confirm-yes")
        until(lambda name=name: name not in class_names(desk), f"class {name} is not deleted")
    names = [entry["name"] for entry in desk.state["classes"]]
    check(names == ["sandstone", "mudstone", "coal"], f"the server's classes are {names}")
    return [entry["value"] for entry in desk.state["classes"]]


def check_painting(desk, values):
    one, two, three = values
    labels = numpy.zeros_like(desk.labels())
    desk.stroke(labels, "1", (-160, -60), (-90, -40), one)
    desk.stroke(labels, "2", (-60, 50), (40, 70), two)
    desk.stroke(labels, "1", (80, -70), (150, -30), one)
    desk.rectangle(labels, "2", (90, 40), (140, 80), two)
    same(desk.labels(), labels, "labels painted by brush and rectangle")
    before = labels.copy()
    desk.rectangle(labels, "3", (-150, 40), (-100, 90), three)
    desk.page.mouse.move(*desk.screen(0, 0))
    desk.key("Control+z")
    same(desk.labels(), before, "after undo")
    desk.key("Control+Shift+z")
    same(desk.labels(), labels, "after redo")
    check_shapes(desk, labels, three)
    return labels


def check_shapes(desk, labels, value):
    """A ring of four lines encloses a hole, which is filled; then all is undone. A polygon, a point and the eraser."""
    before = labels.copy()
    desk.key("l")
    desk.key("3")
    corners = [(-60, -185), (55, -185), (55, -85), (-60, -85)]
    for place in [*corners, corners[0]]:
        desk.page.mouse.click(*desk.screen(*place))
    desk.key("Enter")
    (x0, y0), (x1, y1) = desk.place(*corners[0]), desk.place(*corners[2])
    area = slice(y0, y1 + 1), slice(x0, x1 + 1)
    check((desk.labels()[area] != value).any(), "a ring of lines encloses nothing")
    desk.key("f")
    check((desk.labels()[area] == value).all(), f"the hole in a ring is not filled; the page says {desk.text('#said')!r}")
    desk.key("Control+z")
    desk.key("Control+z")
    same(desk.labels(), before, "after a ring and its hole were undone")
    desk.key("p")
    for place in [(-40, -40), (40, -40), (0, 20)]:
        desk.page.mouse.click(*desk.screen(*place))
    desk.key("Enter")
    inside = desk.place(0, -20)
    check(desk.labels()[inside[1], inside[0]] == value, "the polygon's middle is not labelled")
    desk.key("Control+z")
    desk.key("o")
    point = desk.place(0, 0)
    desk.page.mouse.click(*desk.screen(0, 0))
    before[point[1], point[0]] = value
    same(desk.labels(), before, "after a point")
    desk.key("e")
    desk.page.mouse.click(*desk.screen(0, 0))
    capsule(before, point, point, 0)
    same(desk.labels(), before, "after the eraser")
    desk.key("Control+z")
    desk.key("Control+z")
    same(desk.labels(), labels, "after point and eraser were undone")


def check_keyboard(desk, labels, value):
    """A stroke by keyboard alone: focus, arrows, space; then undone."""
    desk.page.focus("#stage")
    desk.key("b")
    desk.key("1")
    desk.key("ArrowRight")
    start = tuple(int(part) for part in desk.text("#place").split(" · ")[0].split(", "))
    desk.page.keyboard.down(" ")
    for _ in range(6):
        desk.key("ArrowRight")
    desk.page.keyboard.up(" ")
    end = tuple(int(part) for part in desk.text("#place").split(" · ")[0].split(", "))
    check(end[0] > start[0], f"the crosshair did not move: {start} to {end}")
    wanted = labels.copy()
    capsule(wanted, start, end, value)
    same(desk.labels(), wanted, "a stroke by keyboard")
    desk.key("Control+z")
    desk.key("Escape")
    same(desk.labels(), labels, "after the keyboard's stroke was undone")


def check_touch(desk, labels, value):
    """One finger paints, two fingers zoom without painting."""
    touch = desk.page.context.new_cdp_session(desk.page)

    def send(kind, *points):
        points = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(desk.screen(*point) for point in points)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    desk.key("b")
    desk.key("1")
    start, end = desk.place(-20, -20), desk.place(30, -20)
    send("touchStart", (-20, -20))
    send("touchMove", (30, -20))
    send("touchEnd")
    wanted = labels.copy()
    capsule(wanted, start, end, value)
    same(desk.labels(), wanted, "a stroke by finger")
    desk.key("Control+z")
    send("touchStart", (-50, 0))
    send("touchMove", (-40, 0))
    send("touchStart", (-40, 0), (50, 0))
    for apart in range(0, 60, 20):
        send("touchMove", (-40 - apart, 0), (50 + apart, 0))
    send("touchEnd")
    same(desk.labels(), labels, "after two fingers zoomed")
    desk.key("0")
    desk.key("z")
    check(desk.place(0, 0) is not None, "the view is lost after a zoom")


def check_no_model(desk):
    """Saving before there is a model saves the labels, and says so."""
    desk.key("s")
    desk.shown("#save-dialog")
    told = desk.text("#save-dialog")
    check("No model was saved" in told, f"without a model the page says {told!r}")
    desk.key("Escape")


def check_predictions(desk, values):
    """What is shown is what the server predicts: the class under the pointer, and its colour over the image."""
    number = desk.train()
    predicted = desk.predicted(number)
    check(set(numpy.unique(predicted)) <= set(values), f"predicted values {numpy.unique(predicted)} are not those of the classes")
    names = {entry["value"]: entry["name"] for entry in desk.state["classes"]}
    for dx in range(-150, 151, 60):
        x, y = desk.place(dx, 10)
        wanted = f"predicted {names[int(predicted[y, x])]}"
        desk.page.wait_for_timeout(30)
        check(wanted in desk.text("#place"), f"at {x}, {y} the page says {desk.text('#place')!r} instead of {wanted!r}")
    check(desk.page.locator("#view-classes").is_checked(), "the predicted classes are not shown after the first training")
    desk.page.wait_for_selector("#score-panel:not([hidden])", timeout=WAIT)
    def next_place():
        desk.key("n")
        desk.page.wait_for_timeout(200)
        return desk.text("#said").startswith("Place ")

    desk.page.focus("#next")
    until(next_place, lambda: f"no place to label next: {desk.text('#said')!r}")
    before = desk.labels()
    desk.key("b")
    desk.key("1")
    desk.key(" ")
    check((desk.labels() != before).any(), "space does not paint at the place to label next")
    desk.key("Control+z")
    same(desk.labels(), before, "after a point at the place to label next was undone")
    desk.key("Escape")
    return number


def check_correction(desk, labels, values):
    """Painting another class where the model is wrong changes the labels, and the next model follows."""
    one, two, _ = values
    desk.key("0")
    desk.key("z")
    desk.stroke(labels, "2", (-120, -10), (-60, -10), two)
    same(desk.labels(), labels, "after a correction")
    predicted = desk.predicted(desk.train())
    right = (predicted[labels > 0] == labels[labels > 0]).mean()
    check(right > 0.8, f"the model agrees with {right:.0%} of the labelled pixels only")


def check_filling(desk, labels):
    """A predicted region, then a whole image from a model of --run, become labels where there are none; both undone."""
    predicted = desk.predicted(desk.state["model"]["number"])
    desk.key("g")
    x, y = desk.place(-30, -30)
    desk.page.mouse.click(*desk.screen(-30, -30))
    until(lambda: "filled from" in desk.text("#said"), lambda: f"no region is filled; the page says {desk.text('#said')!r}")
    filled = region(predicted, x, y) & (labels == 0)
    same(desk.labels(), numpy.where(filled, predicted[y, x], labels), "after a region was filled from the prediction")
    desk.key("Control+z")
    for run in desk.state["models"][:1]:
        values = numpy.frombuffer(desk.api(f"/images/0/filled.bin?run={run}").body(), numpy.uint8).reshape(labels.shape)
        desk.page.click("#prefill")
        until(lambda: "filled by" in desk.text("#said"), "the image is not filled from the run")
        same(desk.labels(), numpy.where(labels == 0, values, labels), f"after unlabelled pixels were filled by {run}")
        desk.key("Control+z")
        desk.page.check("input[name=prefill][value=all]")
        desk.page.click("#prefill")
        desk.shown("#confirm-dialog")
        asked = desk.text("#confirm-text")
        check(f"{(labels > 0).sum():,} labelled" in asked, f"before labels are replaced the page asks {asked!r}")
        desk.key("Escape")
    same(desk.labels(), labels, "after fillings were undone")


def check_turned(desk, labels, value):
    """Labels painted in the view turned by 90 degrees are where the pointer was."""
    desk.key("d")
    desk.page.wait_for_timeout(200)
    wanted = labels.copy()
    desk.rectangle(wanted, "1", (-60, -100), (40, 60), value)
    same(desk.labels(), wanted, "a rectangle in the turned view")
    desk.key("Control+z")
    desk.key("d")


def check_following(desk, labels, value):
    """With the box ticked, a stroke is followed by a model."""
    before = desk.state["model"]["number"]
    desk.page.check("#follow")
    desk.stroke(labels, "1", (-160, -150), (-100, -150), value)
    until(lambda: desk.state["model"]["number"] > before, "no model follows a stroke")
    desk.page.uncheck("#follow")
    same(desk.labels(), labels, "after a stroke that a model followed")


def check_reload(desk, labels):
    desk.load()
    same(desk.labels(), labels, "after a reload")
    counts = [int(text.replace(",", "")) for text in desk.page.locator("#classes .count").all_inner_texts()]
    wanted = [int((labels == entry["value"]).sum()) for entry in desk.state["classes"]]
    check(counts == wanted, f"after a reload the page counts {counts} pixels instead of {wanted}")


def check_tabs(desk, context, labels, values, out):
    """A second tab's strokes appear in the first; a pixel that both changed is asked about."""
    one, two, three = values
    other = Desk(context, desk.address)
    other.stroke(labels, "3", (-20, 90), (20, 90), three)
    other.saved()
    x, y = other.place(0, 90)
    until(lambda: "another tab" in desk.text("#said"), "the first tab does not tell of the second one's stroke")
    desk.place(0, 90)
    check("coal" in desk.text("#place"), f"the first tab shows {desk.text('#place')!r} at {x}, {y}, where the second painted coal")
    for choice, key in [("Take theirs", 2), ("Keep mine", 3)]:
        conflict(desk, other, labels, values, choice, key, out)
    other.done()
    other.page.close()


def conflict(desk, other, labels, values, choice, key, out):
    """The second tab paints the first class while it is cut off, the first tab another one there."""
    cut = "**/api/label/images/0/patches"
    other.quiet = False
    other.page.route(cut, lambda route: route.abort())
    theirs, ours = labels.copy(), labels.copy()
    other.stroke(ours, "1", (-30, 100), (30, 100), values[0])
    other.page.wait_for_selector("#state[data-kind=warn]", timeout=WAIT)
    desk.stroke(theirs, str(key), (0, 90), (50, 100), values[key - 1])
    same(desk.labels(), theirs, "the first tab's stroke while the second is cut off")
    other.page.unroute(cut)
    other.page.get_by_role("button", name=choice).wait_for(timeout=WAIT)
    same(desk.labels(), theirs, "before the choice nothing is overwritten")
    other.page.screenshot(path=out / "label-conflict.png")
    other.page.get_by_role("button", name=choice).click()
    both = (theirs != labels) & (ours != labels)
    labels[:] = numpy.where((ours != labels) & ((choice == "Keep mine") | ~both), ours, theirs)
    same(other.labels(), labels, f"after {choice!r}")
    x, y = other.place(10, 98)
    check(other.text("#place").split(" · ")[1] == {v["value"]: v["name"] for v in other.state["classes"]}[int(labels[y, x])],
          f"after {choice!r} the second tab shows {other.text('#place')!r} at {x}, {y}")
    desk.page.wait_for_timeout(300)


def check_killed(desk, server, context, labels, values):
    """The server is killed right after a stroke, and away during others; a tab is closed while it is away."""
    desk.quiet = False
    desk.stroke(labels, "3", (100, -110), (140, -110), values[2])
    server.kill()
    desk.stroke(labels, "1", (-150, 110), (-110, 110), values[0])
    desk.page.wait_for_selector("#state[data-kind=warn]", timeout=WAIT)
    check("offline" in desk.text("#state"), f"the page says {desk.text('#state')!r} while the server is away")
    server.start()
    same(desk.labels(), labels, "after the server was killed and started again")
    server.kill()
    desk.stroke(labels, "2", (-90, 110), (-60, 110), values[1])
    desk.page.close()
    server.start()
    again = Desk(context, server.address)
    again.page.wait_for_timeout(4000)
    same(again.labels(), labels, "after a tab was closed while the server was away")
    return again


def check_saved(desk, labels, arguments, out):
    number = desk.train()
    desk.stroke(labels, "1", (-160, 150), (-130, 150), desk.state["classes"][0]["value"])
    desk.key("s")
    desk.shown("#confirm-dialog")
    asked = desk.text("#confirm-text")
    check("latest strokes" in asked, f"before an older model is saved the page asks {asked!r}")
    desk.page.click("#confirm-yes")
    desk.shown("#save-dialog")
    number, before = desk.state["model"]["number"], number
    check(number > before, f"model {number} is saved, which does not include the latest strokes")
    predicted = desk.predicted(number)
    desk.page.screenshot(path=out / "saved.png")
    command = desk.text("#command")
    print(f"  {command}")
    check(command.startswith("segtool predict"), f"the command is {command!r}")
    words = shlex.split(command)
    run = words[words.index("--run") + 1]
    desk.key("Escape")
    if not (arguments.segtool and arguments.image):
        print("  not compared with `segtool predict`: give --segtool and --image")
        return
    to = out / "predicted"
    result = subprocess.run([arguments.segtool, "predict", "--run", run, "--output-path", str(to), "--overwrite", arguments.image],
                            capture_output=True, text=True, check=False)
    check(result.returncode == 0, f"segtool predict ended with {result.returncode}: {result.stderr[-600:]}")
    file = to / (pathlib.Path(arguments.image).stem + ".npy")
    same(numpy.load(file), predicted, f"{file} of `segtool predict` and the page")


def check_folder(labels, folder, name):
    """The label image on disk has the same labelled pixels, whatever its value of unlabelled ones."""
    files = [file for file in pathlib.Path(folder).rglob("*.png") if file.stem == pathlib.Path(name).stem]
    check(len(files) == 1, f"{folder} holds {len(files)} label images of {name}")
    stored = numpy.asarray(Image.open(files[0]))
    count = int((stored[labels > 0] != labels[labels > 0]).sum())
    check(not count, f"{files[0]}: {count} labelled pixels differ from the page")


def check_appearance(browser, address, out):
    for width, height, scheme in LOOKS:
        with contextlib.closing(browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)) as context:
            desk = Desk(context, address)
            where = f"{width} px, {scheme}"
            while not desk.page.is_checked("#view-classes"):
                desk.key("v")
            desk.page.wait_for_timeout(1500)
            desk.page.screenshot(path=out / f"label-{width}-{scheme}.png")
            check_accessible(desk.page, where)
            wide = desk.page.evaluate("document.documentElement.scrollWidth")
            check(wide <= width, f"the page is {wide} px wide at {where}")
            for key, name in [("?", "help"), (None, "class")]:
                desk.key(key) if key else desk.page.click("#add-class")
                desk.page.wait_for_selector(f"#{name}-dialog[open]")
                desk.page.screenshot(path=out / f"label-{name}-{width}-{scheme}.png")
                check_accessible(desk.page, f"{name} dialog, {where}")
                desk.key("Escape")
            desk.done()


def run(browser, server, arguments, out):
    address = server.address if server else arguments.url
    context = browser.new_context(viewport={"width": 1440, "height": 900}, has_touch=True)
    desk = Desk(context, address)
    print("classes")
    values = make_classes(desk)
    print("painting")
    labels = check_painting(desk, values)
    print("keyboard and touch")
    check_keyboard(desk, labels, values[0])
    check_touch(desk, labels, values[0])
    print("training")
    check_no_model(desk)
    check_predictions(desk, values)
    check_correction(desk, labels, values)
    check_following(desk, labels, values[0])
    print("filling and turning")
    check_filling(desk, labels)
    check_turned(desk, labels, values[0])
    print("reload and second tab")
    check_reload(desk, labels)
    check_tabs(desk, context, labels, values, out)
    desk.done()
    if server:
        print("killed server")
        desk = check_killed(desk, server, context, labels, values)
    print("saved run")
    check_saved(desk, labels, arguments, out)
    if arguments.labels_folder:
        check_folder(labels, arguments.labels_folder, desk.state["images"][0]["name"])
    desk.done()
    context.close()
    print("appearance")
    check_appearance(browser, address, out)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--url")
    source.add_argument("--serve")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--segtool")
    parser.add_argument("--image")
    parser.add_argument("--labels-folder")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    server = None
    try:
        server = Server(arguments.serve) if arguments.serve else None
        with chromium() as browser:
            run(browser, server, arguments, arguments.out)
    except (Failed, Error) as wrong:
        print(f"Wrong: {wrong}", file=sys.stderr)
        return 1
    finally:
        if server:
            server.kill()
    print("All checks passed.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
