// The image with labels, predicted classes and uncertainty over it, and the overview of long images.
import { pack, rgbOf } from "/assets/colors.js";
import { Viewer } from "/assets/viewer.js";

// Of uncertainty, from none to most.
const HEAT = [[0, [20, 12, 50, 0]], [64, [80, 18, 123, 120]], [140, [212, 72, 66, 210]], [200, [251, 155, 6, 240]], [255, [252, 255, 164, 255]]];

/** Colours of class values; nothing for those that are no class. */
export function palette(classes) {
  const colors = new Uint32Array(256);
  for (const { value, color } of classes) colors[value] = pack([...rgbOf(color), 255]);
  return colors;
}

/** The colours of uncertainty from least to most, in a canvas of 256 pixels. */
export function paintScale(canvas) {
  canvas.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(heat().buffer), 256, 1), 0, 0);
}

function heat() {
  const colors = new Uint32Array(256);
  for (let i = 0; i < HEAT.length - 1; i++) {
    const [[from, low], [to, high]] = [HEAT[i], HEAT[i + 1]];
    for (let at = from; at <= to; at++) {
      colors[at] = pack(low.map((part, j) => part + (high[j] - part) * (at - from) / (to - from)));
    }
  }
  return colors;
}

/** Draws values of an image by their colours, no finer than the screen; kept, and redrawn only where something changed. */
class Raster {
  constructor(samples) {
    this.samples = samples;
    this.canvas = document.createElement("canvas");
    this.drawn = "";
    // What changed since, in the view's pixels: [left, top, right, bottom].
    this.dirty = null;
  }

  /** Something changed: in an area, or anywhere. */
  touch(area) {
    if (!area) this.drawn = "";
    else if (!this.dirty) this.dirty = area;
    else this.dirty = [...area.slice(0, 2).map((at, i) => Math.min(at, this.dirty[i])), ...area.slice(2).map((at, i) => Math.max(at, this.dirty[i + 2]))];
  }

  /** `steps`, [origin, along u, along v], give the index of a pixel of the view, in which [x, y, width, height] is to be drawn. */
  update([x, y, width, height], step, values, colors, steps) {
    const [columns, rows] = [Math.max(Math.ceil(width / step), 1), Math.max(Math.ceil(height / step), 1)];
    const key = [x, y, width, height, step].join();
    let part = [0, 0, columns, rows];
    if (key !== this.drawn) {
      Object.assign(this.canvas, { width: columns, height: rows });
      this.context = this.canvas.getContext("2d");
      this.data = this.context.createImageData(columns, rows);
    } else if (this.dirty) {
      const [left, top, right, bottom] = this.dirty;
      part = [
        Math.max(Math.floor((left - x) / step), 0), Math.max(Math.floor((top - y) / step), 0),
        Math.min(Math.ceil((right - x) / step), columns), Math.min(Math.ceil((bottom - y) / step), rows),
      ];
    } else return;
    Object.assign(this, { drawn: key, dirty: null });
    this.#fill(part, step, values, colors, steps, [x, y, width, height]);
  }

  #fill([left, top, right, bottom], step, values, colors, [origin, alongU, alongV], [x, y, width, height]) {
    if (left >= right || top >= bottom) return;
    const out = new Uint32Array(this.data.data.buffer);
    // Thin strokes must not fall between the samples of a small view.
    const samples = Math.min(Math.ceil(step), this.samples);
    const places = (first, last, start, end) => Array.from({ length: (last - first) * samples },
      (_, i) => Math.min(Math.floor(start + step * (first + (i + 0.5) / samples)), end - 1));
    const us = Int32Array.from(places(left, right, x, x + width), u => u * alongU);
    const vs = Int32Array.from(places(top, bottom, y, y + height), v => origin + v * alongV);
    for (let row = top; row < bottom; row++) {
      for (let column = left; column < right; column++) {
        let color = 0;
        const [u, v] = [(column - left) * samples, (row - top) * samples];
        for (let i = 0; !color && i < samples; i++) {
          for (let j = 0; !color && j < samples; j++) color = colors[values[us[u + j] + vs[v + i]]];
        }
        out[row * this.data.width + column] = color;
      }
    }
    this.context.putImageData(this.data, 0, 0, left, top, right - left, bottom - top);
  }
}

/** An image with copies of half, a quarter, ... of its size, as a browser draws a large one small slowly. */
class Levels {
  constructor(source) {
    this.all = [source];
  }

  /** The smallest that is as fine as the screen. */
  at(scale) {
    const { all } = this;
    const wanted = Math.max(0, Math.floor(Math.log2(1 / scale)));
    while (all.length <= wanted && Math.min(all[all.length - 1].width, all[all.length - 1].height) > 64) all.push(halved(all[all.length - 1]));
    return all[Math.min(wanted, all.length - 1)];
  }
}

function halved(source) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [Math.ceil(source.width / 2), Math.ceil(source.height / 2)];
  canvas.getContext("2d").drawImage(source, 0, 0, canvas.width, canvas.height);
  return canvas;
}

/** A copy turned clockwise by 90 degrees. */
function turnedCopy(source) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [source.height, source.width];
  const context = canvas.getContext("2d");
  context.setTransform(0, 1, -1, 0, source.height, 0);
  context.drawImage(source, 0, 0);
  return canvas;
}

/** A line that is seen on any ground. */
export function outline(context, width = 1.5, color = "#fff") {
  context.lineJoin = "round";
  context.strokeStyle = "rgb(0 0 0 / .75)";
  context.lineWidth = width + 2;
  context.stroke();
  context.strokeStyle = color;
  context.lineWidth = width;
  context.stroke();
}

export class LabelView {
  constructor(stage, overview) {
    this.viewer = new Viewer(stage, { pan: "secondary" });
    this.overview = overview;
    Object.assign(this, { map: null, bitmap: null, predicted: null, turned: false, show: "labels", opacity: 0.55, places: [], place: -1, conflicts: [], sketch: null });
    this.colors = new Uint32Array(256);
    this.heat = heat();
    this.labels = new Raster(3);
    this.over = new Raster(1);
    this.strip = { labels: new Raster(3), over: new Raster(1) };
    this.viewer.addEventListener("view", () => this.drawOverview());
    for (const name of ["pointerdown", "pointermove"]) overview.addEventListener(name, event => this.#jump(event));
    new ResizeObserver(() => this.drawOverview()).observe(overview);
  }

  /** Another image, with its label map and arrays { classes, uncertainty } of predictions. */
  setImage(bitmap, map, predicted) {
    Object.assign(this, { bitmap, map, predicted, places: [], place: -1, conflicts: [], image: new Levels(bitmap) });
    const [long, short] = [Math.max(map.width, map.height), Math.min(map.width, map.height)];
    this.overview.hidden = long < 3 * short;
    this.overview.style.height = `${Math.max(34, Math.min(52, this.overview.clientWidth * short / long))}px`;
    this.#arrange();
    if (long > 6 * short) this.fitShort();
  }

  /** Turns the view by 90 degrees, keeping the middle and zoom. */
  turn() {
    const middle = this.toMap(...this.viewer.toImage(this.viewer.element.clientWidth / 2, this.viewer.element.clientHeight / 2));
    const { scale } = this.viewer;
    this.turned = !this.turned;
    this.#arrange();
    this.viewer.zoom(scale / this.viewer.scale);
    this.viewer.center(...this.toView(...middle));
  }

  #arrange() {
    const { viewer, map } = this;
    const levels = this.turned ? new Levels(turnedCopy(this.bitmap)) : this.image;
    const image = { get source() { return levels.at(viewer.scale * (devicePixelRatio || 1)); } };
    viewer.layers = [image, { draw: context => this.#drawOver(context) }, { draw: context => this.#drawLabels(context) }, { draw: context => this.#drawMarks(context) }];
    this.touch();
    this.repredict();
    viewer.setSize(...(this.turned ? [map.height, map.width] : [map.width, map.height]));
  }

  /** Fills the view with the short side of the image, at most 8 times enlarged. */
  fitShort() {
    const { viewer } = this;
    const { clientWidth, clientHeight } = viewer.element;
    const wide = viewer.width / clientWidth > viewer.height / clientHeight;
    const scale = Math.min(8, wide ? clientHeight / viewer.height : clientWidth / viewer.width);
    const middle = viewer.fitted ? [0, 0] : viewer.toImage(clientWidth / 2, clientHeight / 2);
    viewer.zoom(scale / viewer.scale);
    viewer.center(...middle);
  }

  toMap(u, v) {
    return this.turned ? [v, this.map.height - u] : [u, v];
  }

  toView(x, y) {
    return this.turned ? [this.map.height - y, x] : [x, y];
  }

  /** The visible part of the image, [x, y, width, height]. */
  visible() {
    const [u, v, width, height] = this.viewer.visible();
    return this.turned ? [v, this.map.height - u - width, height, width] : [u, v, width, height];
  }

  /** Labels have changed: within [left, top, right, bottom] of the image, or anywhere. */
  touch(area) {
    this.labels.touch(area && this.#inView(area));
    this.strip.labels.touch(area);
    this.refresh();
  }

  #inView([left, top, right, bottom]) {
    const { height } = this.map;
    return this.turned ? [height - bottom, left, height - top, right] : [left, top, right, bottom];
  }

  /** Predictions, colours or what is shown have changed. */
  repredict() {
    this.over.touch();
    this.strip.over.touch();
    this.refresh();
  }

  refresh() {
    this.viewer.invalidate();
    this.drawOverview();
  }

  setClasses(classes) {
    this.colors = palette(classes);
    if (!this.map) return;
    this.touch();
    this.repredict();
  }

  #index() {
    const { width, height } = this.map;
    return this.turned ? [(height - 1) * width, -width, 1] : [0, 1, width];
  }

  #overlay() {
    return this.show === "uncertainty" ? [this.predicted.uncertainty, this.heat] : [this.predicted.classes, this.colors];
  }

  #draw(context, raster, values, colors) {
    const { viewer } = this;
    const visible = viewer.visible(1);
    const step = Math.max(1, 1 / (viewer.scale * (devicePixelRatio || 1)));
    if (visible[2] <= 0 || visible[3] <= 0) return;
    raster.update(visible, step, values, colors, this.#index());
    context.imageSmoothingEnabled = false;
    const { width, height } = raster.canvas;
    context.drawImage(raster.canvas, ...viewer.toScreen(visible[0], visible[1]), width * step * viewer.scale, height * step * viewer.scale);
  }

  get hasOver() {
    return this.show === "classes" || this.show === "uncertainty";
  }

  #drawOver(context) {
    if (!this.hasOver) return;
    context.globalAlpha = this.opacity;
    this.#draw(context, this.over, ...this.#overlay());
  }

  #drawLabels(context) {
    if (this.show === "image") return;
    context.globalAlpha = this.hasOver ? 0.95 : Math.max(this.opacity, 0.2);
    this.#draw(context, this.labels, this.map.data, this.colors);
  }

  #drawMarks(context) {
    const { viewer } = this;
    for (const { x, y, width, height } of this.conflicts) {
      const corners = [this.toView(x, y), this.toView(x + width, y + height)].map(point => viewer.toScreen(...point));
      context.beginPath();
      context.rect(corners[0][0], corners[0][1], corners[1][0] - corners[0][0], corners[1][1] - corners[0][1]);
      outline(context, 2, "#ffd54a");
    }
    this.places.forEach(({ x, y }, i) => this.#mark(context, viewer.toScreen(...this.toView(x + 0.5, y + 0.5)), i));
    this.sketch?.(context, viewer);
  }

  #mark(context, [x, y], i) {
    context.beginPath();
    context.arc(x, y, i === this.place ? 13 : 9, 0, 7);
    outline(context, i === this.place ? 3 : 2);
    context.fillStyle = "#fff";
    context.strokeStyle = "rgb(0 0 0 / .8)";
    context.lineWidth = 3;
    context.font = "600 11px system-ui, sans-serif";
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.strokeText(i + 1, x, y + 0.5);
    context.fillText(i + 1, x, y + 0.5);
  }

  // The overview lies on its long side.
  get #upright() {
    return this.map.height > this.map.width;
  }

  drawOverview() {
    const { overview, map } = this;
    if (!map || overview.hidden || !overview.clientWidth) return;
    this.overviewFrame ??= requestAnimationFrame(() => {
      this.overviewFrame = null;
      this.#drawOverview();
    });
  }

  #drawOverview() {
    const { overview, map } = this;
    const ratio = devicePixelRatio || 1;
    const [width, height] = [overview.clientWidth, overview.clientHeight];
    Object.assign(overview, { width: width * ratio, height: height * ratio });
    const context = overview.getContext("2d");
    const [long, short] = this.#upright ? [map.height, map.width] : [map.width, map.height];
    context.scale(width * ratio / long, height * ratio / short);
    // An upright image is laid on its side: its top is left.
    if (this.#upright) context.transform(0, 1, 1, 0, 0, 0);
    context.imageSmoothingQuality = "medium";
    context.drawImage(this.image.at(width * ratio / long), 0, 0, map.width, map.height);
    const step = Math.max(1, long / (width * ratio));
    const part = (raster, values, colors) => {
      raster.update([0, 0, map.width, map.height], step, values, colors, [0, 1, map.width]);
      context.drawImage(raster.canvas, 0, 0, raster.canvas.width * step, raster.canvas.height * step);
    };
    context.globalAlpha = this.opacity;
    if (this.hasOver) part(this.strip.over, ...this.#overlay());
    context.globalAlpha = 1;
    if (this.show !== "image") part(this.strip.labels, map.data, this.colors);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.#frame(context, width / long, height / short);
  }

  #frame(context, sx, sy) {
    const along = (x, y) => this.#upright ? [y * sx, x * sy] : [x * sx, y * sy];
    for (const { x, y } of this.places) {
      const [left, top] = along(x, y);
      const room = this.overview.clientHeight - 5;
      context.beginPath();
      context.arc(left, Math.min(Math.max(top, 5), room), 2.5, 0, 7);
      outline(context, 2);
    }
    const [x, y, width, height] = this.visible();
    const [[left, top], [right, bottom]] = [along(x, y), along(x + width, y + height)];
    context.beginPath();
    context.rect(left + 1.5, top + 1.5, Math.max(right - left - 3, 3), bottom - top - 3);
    outline(context, 2);
  }

  #jump(event) {
    if (!event.buttons || !this.map) return;
    const { overview, map } = this;
    const box = overview.getBoundingClientRect();
    const along = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    const [x, y] = this.#upright ? [along[1], along[0]] : along;
    overview.setPointerCapture(event.pointerId);
    this.viewer.center(...this.toView(x * map.width, y * map.height));
  }
}
