// A zoomable view of layers that share the coordinates of one image.
//
// Image coordinates are in pixels of the image, x to the right and y down; pixel (0, 0) covers 0 to 1. Screen coordinates are CSS
// pixels from the top left corner of the viewer's element.

const MOST = 64; // Screen pixels that a pixel of the image covers at most.
const STEP = 1.25; // Of a key or button.
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

export class Viewer extends EventTarget {
  // pan: "primary" (a drag with the main button or one finger moves the image) or "secondary" (such a drag is told as press, drag
  // and release; the middle or right button, the space bar held or two fingers move the image).
  // scrolls: the wheel scrolls the page, and zooms only with Ctrl or Cmd, or while the element has the focus.
  constructor(element, { pan = "primary", scrolls = false } = {}) {
    super();
    this.element = element;
    this.pan = pan;
    this.canvas = document.createElement("canvas");
    this.context = this.canvas.getContext("2d");
    element.classList.add("viewer");
    element.prepend(this.canvas);
    // { source, visible, opacity, smooth, clip, draw }: see `draw`.
    this.layers = [];
    this.width = 0;
    this.height = 0;
    this.scale = 1;
    this.offset = [0, 0];
    this.fitted = true;
    this.crosshair = null;
    this.scrolls = scrolls;
    this.pointers = new Map();
    this.listen();
  }

  // The size of the image that the layers belong to.
  setSize(width, height) {
    this.width = width;
    this.height = height;
    this.crosshair = null;
    this.fit();
  }

  // Draws in the next frame, once for any number of calls.
  invalidate() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.draw();
    });
  }

  // Layers from the bottom to the top. `source` (canvas, ImageBitmap, ...) fills the image's rectangle whatever its own size;
  // `opacity` 0 to 1; `smooth: false` keeps pixels as they are from one screen pixel a pixel on, as label maps want; `clip` is
  // [left, right] in shares of the view's width; `draw(context, viewer)` draws by hand in screen coordinates.
  draw() {
    const { context, canvas, offset: [left, top], scale } = this;
    const ratio = canvas.width / Math.max(this.element.clientWidth, 1);
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    for (const layer of this.layers) {
      if (layer.visible === false) continue;
      context.save();
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      context.globalAlpha = layer.opacity ?? 1;
      if (layer.clip) clipTo(context, layer.clip, this.element);
      if (layer.source && this.width) {
        // Photographs stay smooth a little longer: their pixels matter only from two screen pixels a pixel on.
        context.imageSmoothingEnabled = scale * ratio < (layer.smooth === false ? 1 : 2);
        context.imageSmoothingQuality = "medium";
        this.drawSource(layer.source, left, top);
      }
      layer.draw?.(context, this);
      context.restore();
    }
    if (this.crosshair) this.drawCrosshair(ratio);
  }

  // Only the visible part of a source: browsers draw large canvases enlarged far beyond the view slowly, or not at all.
  drawSource(source, left, top) {
    const [x, y, width, height] = this.visible(1);
    if (width <= 0 || height <= 0) return;
    const [sx, sy] = [source.width / this.width, source.height / this.height];
    this.context.drawImage(
      source, x * sx, y * sy, width * sx, height * sy,
      left + x * this.scale, top + y * this.scale, width * this.scale, height * this.scale,
    );
  }

  drawCrosshair(ratio) {
    const { context } = this;
    const [x, y] = this.toScreen(Math.floor(this.crosshair[0]) + 0.5, Math.floor(this.crosshair[1]) + 0.5);
    const half = Math.max(this.scale / 2, 3);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      context.moveTo(x + dx * half, y + dy * half);
      context.lineTo(x + dx * (half + 12), y + dy * (half + 12));
    }
    context.rect(x - half, y - half, 2 * half, 2 * half);
    for (const [color, width] of [["#fff", 4], ["#000", 1.5]]) {
      context.strokeStyle = color;
      context.lineWidth = width;
      context.stroke();
    }
  }

  toImage(x, y) {
    return [(x - this.offset[0]) / this.scale, (y - this.offset[1]) / this.scale];
  }

  toScreen(x, y) {
    return [x * this.scale + this.offset[0], y * this.scale + this.offset[1]];
  }

  // The place of a mouse or pointer event in the image.
  at(event) {
    const box = this.canvas.getBoundingClientRect();
    return this.toImage(event.clientX - box.left, event.clientY - box.top);
  }

  inside(x, y) {
    return x >= 0 && y >= 0 && x < this.width && y < this.height;
  }

  // The visible part of the image, [x, y, width, height] in whole pixels.
  visible(margin = 0) {
    const [x0, y0] = this.toImage(0, 0).map(Math.floor);
    const [x1, y1] = this.toImage(this.element.clientWidth, this.element.clientHeight).map(Math.ceil);
    const [left, top] = [clamp(x0 - margin, 0, this.width), clamp(y0 - margin, 0, this.height)];
    return [left, top, clamp(x1 + margin, 0, this.width) - left, clamp(y1 + margin, 0, this.height) - top];
  }

  // The whole image, as large as it fits.
  fit() {
    this.fitted = true;
    this.scale = this.fitScale();
    this.place();
  }

  // A point of the image in the middle of the view.
  center(x, y) {
    this.fitted = false;
    this.offset = [this.element.clientWidth / 2 - x * this.scale, this.element.clientHeight / 2 - y * this.scale];
    this.place();
  }

  // Zooms by a factor about a point of the screen, which keeps its place; the middle (or the crosshair) by default.
  zoom(factor, about) {
    const middle = [this.element.clientWidth / 2, this.element.clientHeight / 2];
    const [x, y] = about ?? (this.crosshair ? this.toScreen(...this.crosshair) : middle);
    const [imageX, imageY] = this.toImage(x, y);
    this.scale = clamp(this.scale * factor, this.least(), MOST);
    this.fitted = this.scale <= this.fitScale();
    this.offset = [x - imageX * this.scale, y - imageY * this.scale];
    this.place();
  }

  zoomIn() { this.zoom(STEP); }
  zoomOut() { this.zoom(1 / STEP); }

  move(dx, dy) {
    this.offset = [this.offset[0] + dx, this.offset[1] + dy];
    this.place();
  }

  // Puts the crosshair on a pixel and keeps it in view; null removes it.
  setCrosshair(point) {
    if (point) {
      point = [clamp(Math.floor(point[0]), 0, this.width - 1), clamp(Math.floor(point[1]), 0, this.height - 1)];
      const [x, y] = this.toScreen(point[0] + 0.5, point[1] + 0.5);
      const [width, height] = [this.element.clientWidth, this.element.clientHeight];
      const room = Math.min(40, width / 4, height / 4);
      this.crosshair = point;
      this.move(clamp(x, room, width - room) - x, clamp(y, room, height - room) - y);
    }
    this.crosshair = point;
    this.invalidate();
    this.tell("crosshair", point && { x: point[0], y: point[1] });
  }

  fitScale() {
    const { clientWidth, clientHeight } = this.element;
    return clamp(Math.min(clientWidth / this.width, clientHeight / this.height) || 1, 1e-4, MOST);
  }

  least() {
    return Math.min(this.fitScale(), 1);
  }

  // Keeps the image within reach: centred along a side where it is smaller than the view, else without a gap. An image that the
  // crosshair or the pointer of a zoom needs elsewhere is not smaller than the view.
  place() {
    const room = [this.element.clientWidth, this.element.clientHeight];
    const size = [this.width * this.scale, this.height * this.scale];
    this.offset = this.offset.map((at, i) => (size[i] <= room[i] ? (room[i] - size[i]) / 2 : clamp(at, room[i] - size[i], 0)));
    // One finger scrolls the page while the whole image is in view.
    this.element.style.touchAction = this.pan === "primary" && this.fitted ? "pan-y" : "none";
    this.invalidate();
    this.tell("view", { scale: this.scale });
  }

  resize() {
    const { clientWidth, clientHeight } = this.element;
    const ratio = devicePixelRatio || 1;
    const middle = this.toImage(this.canvas.clientWidth / 2, this.canvas.clientHeight / 2);
    this.canvas.width = Math.max(Math.round(clientWidth * ratio), 1);
    this.canvas.height = Math.max(Math.round(clientHeight * ratio), 1);
    this.canvas.style.width = `${clientWidth}px`;
    this.canvas.style.height = `${clientHeight}px`;
    if (this.fitted) this.fit();
    else this.center(...middle);
    // Without waiting for a frame: setting the size has cleared the canvas, which would flash.
    this.draw();
  }

  tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  tellPointer(name, event) {
    const [x, y] = this.at(event);
    this.tell(name, { x, y, inside: this.inside(x, y), event });
  }

  listen() {
    const { element } = this;
    new ResizeObserver(() => this.resize()).observe(element);
    element.addEventListener("wheel", event => this.onWheel(event), { passive: false });
    element.addEventListener("pointerdown", event => this.onDown(event));
    element.addEventListener("pointermove", event => this.onMove(event));
    element.addEventListener("pointerup", event => this.onUp(event));
    element.addEventListener("pointercancel", event => this.onUp(event));
    element.addEventListener("pointerleave", () => this.tell("leave"));
    element.addEventListener("lostpointercapture", event => this.pointers.delete(event.pointerId));
    element.addEventListener("contextmenu", event => {
      if (this.pan === "secondary") event.preventDefault();
    });
    element.addEventListener("keydown", event => this.onKey(event));
    element.addEventListener("keyup", event => this.holdSpace(event, false));
    element.addEventListener("blur", () => { this.space = false; });
  }

  onWheel(event) {
    if (this.scrolls && !event.ctrlKey && !event.metaKey && document.activeElement !== this.element) {
      this.tell("scroll");
      return;
    }
    event.preventDefault();
    const box = this.canvas.getBoundingClientRect();
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
    // A pinch on a trackpad comes as a wheel with Ctrl and small steps.
    const speed = (event.ctrlKey ? 0.01 : 0.0015) * lines;
    this.zoom(Math.exp(-clamp(event.deltaY * speed, -0.5, 0.5)), [event.clientX - box.left, event.clientY - box.top]);
    this.tellPointer("pointer", event);
  }

  onDown(event) {
    if (event.target !== this.canvas || !this.width) return;
    this.element.focus({ preventScroll: true });
    this.element.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
    if (this.pointers.size > 1) {
      if (this.mode === "press") this.tell("cancel");
      this.mode = "pan";
      return;
    }
    const secondary = event.button !== 0 || this.space;
    this.start = [event.clientX, event.clientY];
    this.mode = this.pan === "primary" || secondary ? "pan" : "press";
    event.preventDefault();
    if (this.mode === "press") this.tellPointer("press", event);
  }

  onMove(event) {
    const before = this.pointers.get(event.pointerId);
    if (before && this.mode === "press") {
      this.tellPointer("drag", event);
    } else if (before) {
      this.drag(event, before);
    }
    if (this.pointers.size < 2) this.tellPointer("pointer", event);
  }

  // Moves with one pointer; with two, zooms by the distance between them as well.
  drag(event, before) {
    const now = [event.clientX, event.clientY];
    const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1];
    this.pointers.set(event.pointerId, now);
    if (!other) {
      this.move(now[0] - before[0], now[1] - before[1]);
      return;
    }
    const box = this.canvas.getBoundingClientRect();
    const apart = point => Math.hypot(point[0] - other[0], point[1] - other[1]);
    this.move((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
    this.zoom(
      apart(now) / Math.max(apart(before), 1),
      [(now[0] + other[0]) / 2 - box.left, (now[1] + other[1]) / 2 - box.top],
    );
  }

  onUp(event) {
    if (!this.pointers.delete(event.pointerId)) return;
    const still = Math.hypot(event.clientX - this.start[0], event.clientY - this.start[1]) < 5;
    if (this.mode === "press") {
      if (event.type === "pointercancel") this.tell("cancel");
      else this.tellPointer("release", event);
    } else if (still && event.type === "pointerup" && event.button === 0 && !this.pointers.size) {
      this.tellPointer("tap", event);
    }
    if (!this.pointers.size) this.mode = null;
  }

  holdSpace(event, held) {
    if (event.key !== " " || this.pan !== "secondary") return false;
    this.space = held;
    return true;
  }

  onKey(event) {
    if (event.target !== this.element || event.altKey || event.ctrlKey || event.metaKey || !this.width) return;
    if (!this.holdSpace(event, true) && !this.act(event)) return;
    event.preventDefault();
  }

  act(event) {
    const arrow = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (arrow) this.arrow(arrow, event.shiftKey);
    else if (event.key === "+" || event.key === "=") this.zoomIn();
    else if (event.key === "-") this.zoomOut();
    else if (event.key === "0") this.fit();
    else if (event.key === "Escape" && this.crosshair) this.setCrosshair(null);
    else return false;
    return true;
  }

  // Arrows move the crosshair, with Shift the image.
  arrow([dx, dy], shift) {
    if (shift) {
      this.move(-60 * dx, -60 * dy);
      return;
    }
    const [x, y] = this.crosshair ?? this.toImage(this.element.clientWidth / 2, this.element.clientHeight / 2);
    // A pixel where it can be seen, else a few screen pixels.
    const step = this.crosshair ? Math.max(1, Math.round(6 / this.scale)) : 0;
    this.setCrosshair([x + dx * step, y + dy * step]);
  }
}

function clipTo(context, [left, right], { clientWidth, clientHeight }) {
  context.beginPath();
  context.rect(left * clientWidth, 0, (right - left) * clientWidth, clientHeight);
  context.clip();
}
