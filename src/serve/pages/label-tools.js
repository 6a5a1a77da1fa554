// Tools that paint: they turn presses, drags and the keyboard's crosshair into edits of the label map.
import { holes, polygon, rectangle, regionAt, stroke } from "./label-raster.js";
import { counted } from "/assets/words.js";
import { say } from "./label-messages.js";
import { outline } from "./label-view.js";

// Screen pixels within which two clicks are at the same place.
const NEAR = 7;

export class Tools {
  /** `host` gives { history, map, predicted, value, color, ready(), complete() }; ready() is false, and says why, where nothing can be painted. */
  constructor(view, host) {
    Object.assign(this, { view, host, name: "brush", size: 7, corners: [], pointer: null, last: null, pressed: null });
    view.sketch = (context, viewer) => this.#sketch(context, viewer);
    const { viewer } = view;
    viewer.addEventListener("press", ({ detail }) => {
      if (viewer.crosshair) viewer.setCrosshair(null);
      this.press(this.#point(detail), detail.event.shiftKey);
    });
    viewer.addEventListener("drag", ({ detail }) => this.#dragged(detail));
    viewer.addEventListener("release", ({ detail }) => this.release(this.#point(detail)));
    viewer.addEventListener("cancel", () => this.cancel());
    viewer.addEventListener("pointer", ({ detail }) => this.#hover(detail.event.pointerType === "touch" ? null : this.#point(detail)));
    viewer.addEventListener("leave", () => this.#hover(null));
    viewer.addEventListener("crosshair", ({ detail }) => this.#crosshair(detail));
  }

  choose(name) {
    this.giveUp();
    this.name = name;
    this.view.viewer.pan = name === "pan" ? "primary" : "secondary";
    this.view.viewer.place();
    this.view.viewer.element.dataset.tool = name;
  }

  get busy() {
    return Boolean(this.host.history?.edit);
  }

  get value() {
    return this.name === "eraser" ? 0 : this.host.value;
  }

  #point({ x, y }) {
    return this.view.toMap(x, y);
  }

  #hover(point) {
    this.pointer = point;
    this.view.viewer.invalidate();
  }

  // The brush follows the crosshair of the keyboard while space is held.
  #crosshair(detail) {
    const point = detail && this.view.toMap(detail.x + 0.5, detail.y + 0.5);
    this.#hover(point);
    if (point && this.byKey) this.drag([point]);
  }

  /** Space pressed and released on the crosshair; false if there is none. */
  key(down, shift) {
    const { crosshair } = this.view.viewer;
    if (!down && this.byKey) {
      this.byKey = false;
      this.release(this.pointer);
    } else if (down && crosshair && !this.byKey) {
      this.byKey = true;
      this.press(this.view.toMap(crosshair[0] + 0.5, crosshair[1] + 0.5), shift);
    }
    return Boolean(crosshair);
  }

  press(point, shift) {
    if (this.name === "pan" || !this.host.map || (this.name !== "eraser" && !this.host.ready())) return;
    this.pressed = point;
    switch (this.name) {
      case "brush":
      case "eraser":
        this.host.history.begin();
        this.#stroke(shift && this.last ? this.last : point, point);
        break;
      case "rectangle":
        this.corners = [this.corners[0] ?? point, point];
        break;
      case "point":
        this.#edit(edit => rectangle(point, point, (y, x0, x1) => edit.span(y, x0, x1, this.value)));
        break;
      case "fill":
        this.#fillPredicted(point);
        break;
      default:
        this.#corner(point);
    }
    this.view.viewer.invalidate();
  }

  #dragged({ event }) {
    const events = event.getCoalescedEvents?.() ?? [];
    const points = (events.length ? events : [event]).map(one => this.view.toMap(...this.view.viewer.at(one)));
    this.drag(points);
  }

  drag(points) {
    if (!this.pressed) return;
    const point = points[points.length - 1];
    if (this.busy) for (const next of points) this.#stroke(this.last, next);
    else if (this.corners.length) this.corners[this.corners.length - 1] = point;
    this.view.viewer.invalidate();
  }

  release(point) {
    if (!this.pressed) return;
    const moved = point && this.#apart(this.pressed, point) > NEAR;
    this.pressed = null;
    if (this.busy) this.host.history.commit();
    // Two clicks make a rectangle as well as a drag does.
    else if (this.name === "rectangle" && this.corners.length && (moved || this.#apart(...this.corners) > NEAR)) this.finish();
    else if (this.name === "rectangle") say("Press on the opposite corner.");
  }

  /** A second finger came, or the browser took the pointer: the stroke is taken back. */
  cancel() {
    if (this.busy) {
      this.host.history.cancel();
      this.view.touch();
    } else if (this.pressed) this.corners.pop();
    if (this.name === "rectangle") this.corners = [];
    this.pressed = null;
    this.view.viewer.invalidate();
  }

  /** Ends a line or closes a polygon. */
  finish() {
    const [corners, value] = [this.corners, this.value];
    this.corners = [];
    const span = edit => (y, x0, x1) => edit.span(y, x0, x1, value);
    if (this.name === "rectangle" && corners.length === 2) this.#edit(edit => rectangle(...corners, span(edit)));
    else if (this.name === "polygon" && corners.length > 2) this.#edit(edit => polygon(corners, span(edit)));
    else if (this.name === "line" && corners.length) {
      this.#edit(edit => corners.forEach((corner, i) => stroke(corners[i - 1] ?? corner, corner, this.size, span(edit))));
    }
    this.view.viewer.invalidate();
  }

  /** Takes back the last vertex or corner; false if there is none. */
  back() {
    const had = this.corners.length > 0;
    this.corners.pop();
    this.view.viewer.invalidate();
    return had;
  }

  /** Gives up the shape under way; false if there is none. */
  giveUp() {
    const had = this.corners.length > 0 || this.busy;
    if (this.busy) this.cancel();
    this.corners = [];
    this.pressed = null;
    this.view.viewer.invalidate();
    return had;
  }

  fillHoles() {
    if (!this.host.map) return;
    const found = holes(this.host.map);
    if (!found.length) return say("No unlabelled area is enclosed by one class.");
    this.#edit(edit => found.forEach(({ value, region }) => region.forEach(at => edit.pixel(at, value))));
    say(`${counted(found.length, "hole")} filled, ${counted(found.reduce((sum, { region }) => sum + region.length, 0), "pixel")}.`);
  }

  /** The predicted region at a point becomes labels where there are none. */
  async #fillPredicted([x, y]) {
    const { map, predicted } = this.host;
    if (!this.view.viewer.inside(...this.view.toView(x, y))) return;
    if (!predicted.classes[Math.floor(y) * map.width + Math.floor(x)]) return say("There is no prediction here yet: train first.");
    say("Filling the predicted region.");
    const whole = await this.host.complete();
    if (map !== this.host.map || this.busy) return say("Not filled: something else was begun meanwhile.");
    const { value, region } = regionAt({ width: map.width, height: map.height, data: predicted.classes }, x, y);
    const free = region.filter(at => !map.data[at]);
    this.#edit(edit => free.forEach(at => edit.pixel(at, value)));
    say(`${counted(free.length, "pixel")} filled from the prediction${whole ? "" : ", as far as it was shown"}.`);
  }

  /** An edit from values of the whole image, e.g. a model's prediction; the number of pixels changed. */
  fillFrom(values, onlyEmpty) {
    const { map } = this.host;
    let changed = 0;
    this.#edit(edit => values.forEach((value, at) => {
      if (!value || map.data[at] === value || (onlyEmpty && map.data[at])) return;
      edit.pixel(at, value);
      changed += 1;
    }));
    return changed;
  }

  #edit(change) {
    const edit = this.host.history.begin();
    change(edit);
    this.host.history.commit();
    this.view.touch();
  }

  #stroke(from, to) {
    const { edit } = this.host.history;
    stroke(from, to, this.size, (y, x0, x1) => edit.span(y, x0, x1, this.value));
    const room = this.size / 2 + 1;
    const [[left, right], [top, bottom]] = [0, 1].map(i => [Math.min(from[i], to[i]) - room, Math.max(from[i], to[i]) + room]);
    this.last = to;
    this.view.touch([left, top, right, bottom]);
  }

  #corner(point) {
    const { corners } = this;
    const again = corners.length > 1 && this.#apart(corners[corners.length - 1], point) < NEAR;
    const closes = this.name === "polygon" && corners.length > 2 && this.#apart(corners[0], point) < 1.5 * NEAR;
    if (again || closes) {
      this.pressed = null;
      this.finish();
      return;
    }
    corners.push(point);
    if (corners.length > 1) return;
    say(this.name === "line" ? "Click on the last vertex again, or press Enter, to end the line." : "Click on the first vertex, or press Enter, to close and fill the polygon.");
  }

  #apart(a, b) {
    return Math.hypot(a[0] - b[0], a[1] - b[1]) * this.view.viewer.scale;
  }

  #sketch(context, viewer) {
    const screen = point => viewer.toScreen(...this.view.toView(...point));
    const corners = this.pointer && !this.pressed && this.name !== "rectangle" ? [...this.corners, this.pointer] : this.corners;
    if (this.corners.length) this.#shape(context, corners.map(screen), viewer.scale);
    const brush = ["brush", "eraser", "line"].includes(this.name);
    if (!this.pointer || !brush) return;
    context.beginPath();
    context.arc(...screen(this.pointer), Math.max(this.size * viewer.scale / 2, 1.5), 0, 7);
    outline(context, 1.5);
  }

  #shape(context, corners, scale) {
    context.beginPath();
    if (this.name === "rectangle") {
      const end = this.pressed || !this.pointer ? corners[1] : this.view.viewer.toScreen(...this.view.toView(...this.pointer));
      context.rect(...corners[0], end[0] - corners[0][0], end[1] - corners[0][1]);
    } else {
      corners.forEach((corner, i) => context[i ? "lineTo" : "moveTo"](...corner));
      if (this.name === "polygon") context.closePath();
    }
    if (this.name === "line") {
      context.lineCap = context.lineJoin = "round";
      context.globalAlpha = 0.45;
      context.strokeStyle = this.host.color;
      context.lineWidth = Math.max(this.size * scale, 1);
      context.stroke();
    } else {
      context.globalAlpha = 0.3;
      context.fillStyle = this.host.color;
      context.fill("evenodd");
    }
    context.globalAlpha = 1;
    outline(context, 1.5, this.host.color);
    if (this.name === "rectangle") return;
    for (const corner of corners) {
      context.beginPath();
      context.arc(...corner, 3.5, 0, 7);
      outline(context, 2);
    }
  }
}
