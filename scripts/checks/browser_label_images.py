"""Drive the label page of `segtool serve` in a browser with several images: answers out of order, and one that cannot be shown.

Usage: browser_label_images.py --url ADDRESS

Needs the packages playwright, numpy and pillow, and Chromium (/usr/bin/chromium, or env CHROMIUM). ADDRESS is what the
server wrote when it started with --label and a folder of three images or more, each at least 16 pixels wide and high and
without labels; a few pixels of the third one are labelled. Exits with 1 and says what is wrong if any check fails.
"""
import argparse
import base64
import sys

from playwright.sync_api import Error

from browser import Failed, check, chromium, origin
from label_desk import WAIT, Desk, until


def wait_shown(page, name):
    page.wait_for_selector(f"#stage[aria-label^='Image {name},']", timeout=WAIT)


def paint(desk, image):
    """Labels a few pixels of an image as another tab does."""
    state = desk.state
    values = base64.b64encode(bytes([state["classes"][0]["value"]]) * 16).decode()
    patch = {"x": 2, "y": 2, "width": 4, "height": 4, "values": values}
    body = {"revision": state["images"][image]["revision"], "tab": "another", "patches": [patch]}
    answer = desk.page.request.post(f"{origin(desk.page.url)}/api/label/images/{image}/patches", data=body)
    check(answer.ok, f"the patch is answered with {answer.status}: {answer.text()[:200]}")


def check_late_labels(context, address):
    """The labels of the second image come when the third one is shown already: the page goes on following the third one."""
    desk = Desk(context, address)
    names = [image["name"] for image in desk.state["images"]]
    wait_shown(desk.page, names[0])
    held = []
    desk.page.route("**/api/label/images/1/labels.bin", lambda route: held.append(route))
    desk.key("PageDown")
    until(lambda: desk.page.wait_for_timeout(30) or held, "the labels of the second image are not asked for")
    desk.key("PageDown")
    wait_shown(desk.page, names[2])
    held[0].continue_()
    desk.page.wait_for_timeout(500)
    paint(desk, 2)
    until(lambda: "another tab" in desk.text("#said"), "another tab's stroke in the image that is shown is not told")
    count = desk.page.locator("#classes .count").first
    until(lambda: count.inner_text() == "16", lambda: f"the page counts {count.inner_text()!r} pixels of the first class instead of 16")
    desk.done()
    desk.page.close()
    return names


def check_unreadable(context, url, names):
    """The first image cannot be shown: keys and the mouse do nothing there, and lead on to the next image."""
    page = context.new_page()
    faults = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.route("**/api/label/images/0/image.jpg", lambda route: route.abort())
    page.goto(url)
    page.wait_for_selector("#notice-image", timeout=WAIT)
    box = page.locator("#stage").bounding_box()
    for key in ["b", "e", "r", "f", "d", "z", "n", "t"]:
        page.keyboard.press(key)
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_timeout(500)
    told = page.locator("#trained").inner_text()
    check("Cannot read" not in told, f"without an image a training ends with {told!r}")
    page.keyboard.press("PageDown")
    wait_shown(page, names[1])
    check(not page.locator("#notice-image").count(), "the message about the first image stays while the second one is shown")
    check(not faults, "without an image the page fails:\n    " + "\n    ".join(faults[:5]))
    page.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True)
    arguments = parser.parse_args()
    try:
        with chromium() as browser:
            context = browser.new_context(viewport={"width": 1440, "height": 900})
            print("labels that come late")
            names = check_late_labels(context, arguments.url)
            print("an image that cannot be shown")
            check_unreadable(context, origin(arguments.url) + "/label", names)
    except (Failed, Error) as wrong:
        print(f"Wrong: {wrong}", file=sys.stderr)
        return 1
    print("All checks passed.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
