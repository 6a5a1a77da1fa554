// A finished result: its views, the pixel under the pointer, bands and downloads.

import { getBitmap, getBytes } from "/assets/api.js";
import { NO_DATA, paintClasses, paintProbability, paintRamp } from "/assets/colors.js";
import { Legend } from "/assets/legend.js";
import { Viewer } from "/assets/viewer.js";
import { counted, element, find, percent, seconds, whole } from "/assets/words.js";

const VIEWS = ["image", "classes", "overlay", "probability", "compare"];
const FORMATS = {
  npy: ["NumPy array", ".npy"],
  png: ["Label image", ".png"],
  overlay: ["Overlay", ".png"],
  geojson: ["Polygons", ".geojson"],
  tiff: ["Georeferenced labels", ".tif"],
};
// Phones give a canvas less memory.
const MOST = matchMedia("(max-width: 40rem)").matches ? 2048 : 4096;

export class ResultView {
  constructor(announce) {
    this.announce = announce;
    this.viewer = new Viewer(find("stage"), { scrolls: true });
    this.legend = new Legend(only => this.isolate(only));
    this.data = null;
    this.split = 0.5;
    this.layers = { image: {}, classes: { smooth: false }, probability: { smooth: false } };
    this.viewer.layers = Object.values(this.layers);
    paintRamp(find("ramp-bar"));
    this.listen();
  }

  get view() {
    return document.querySelector("input[name=view]:checked").value;
  }

  // Shows the result of a job; false where another one was asked for in the meantime.
  async open(job, model) {
    const { id, result } = job;
    this.id = id;
    const files = ["classes.bin", "probability.bin"].map(name => getBytes(`/api/jobs/${id}/${name}?max=${MOST}`));
    const [image, classes, probability] = await Promise.all([getBitmap(this.imagePath(id)), ...files]);
    if (this.id !== id) return false;
    this.job = job;
    this.classes = new Map(model.classes.map(entry => [entry.index, entry]));
    this.least = 1 / model.classes.length;
    this.data = {
      width: image.width,
      height: image.height,
      classes: new Uint16Array(classes.bytes.buffer),
      probability: probability.bytes,
    };
    this.setImage(image);
    this.layers.classes.painted = this.layers.probability.painted = null;
    this.only = null;
    this.describe(job, model);
    this.legend.open(result, this.classes);
    this.viewer.setSize(result.width, result.height);
    this.update();
    this.probe(null);
    return true;
  }

  setImage(image) {
    this.layers.image.source?.close();
    this.layers.image.source = image;
  }

  imagePath(id, bands) {
    return `/api/jobs/${id}/image.jpg?max=${MOST}${bands ? `&bands=${bands}` : ""}`;
  }

  describe({ name, result, seconds: taken, id }, model) {
    find("result-title").textContent = name;
    find("stage").setAttribute("aria-label", `Segmented image ${name}`);
    find("stage").style.setProperty("--aspect", result.width / result.height);
    const facts = [
      ["Size", `${whole(result.width)} × ${whole(result.height)} px`],
      ["Bands", whole(result.bands)],
      ["Coordinates", result.georeferenced ? result.crs ?? "georeferenced" : null],
      ["Model", model.name],
      ["Time", seconds(taken)],
    ];
    find("meta").replaceChildren(...facts.filter(([, value]) => value).map(([term, value]) =>
      element("div", {}, element("dt", {}, term), element("dd", { className: "number" }, value))));
    find("ramp-low").textContent = `${Math.round(100 * this.least)} %`;
    find("downloads").replaceChildren(...result.downloads.map(file => {
      const [label, ending] = FORMATS[file.format] ?? [file.name, ""];
      const link = element("a", { href: file.path, download: file.name }, label, element("span", { className: "faint" }, ending));
      link.dataset.format = file.format;
      return element("li", {}, link);
    }));
    this.offerBands(result, name, id);
  }

  offerBands({ bands, shown_bands: shown }, name, id) {
    // Grey and colour images have nothing to choose, nor has a fourth band that is the transparency of a PNG.
    find("shown-bands").hidden = bands === 1 || bands === 3 || /\.(png|webp|gif)$/i.test(name);
    for (const [place, select] of this.bandSelects().entries()) {
      const options = Array.from({ length: bands }, (_, i) => element("option", { value: i + 1 }, `band ${i + 1}`));
      select.replaceChildren(...options);
      select.value = shown[place] ?? shown[0];
      select.onchange = () => this.showBands(id);
    }
  }

  bandSelects() {
    return ["red", "green", "blue"].map(find);
  }

  async showBands(id) {
    const bands = this.bandSelects().map(select => select.value).join(",");
    this.bands = bands;
    try {
      const image = await getBitmap(this.imagePath(id, bands));
      // The newest choice wins, whichever image comes last.
      if (this.id !== id || this.bands !== bands) return;
      this.setImage(image);
      this.viewer.invalidate();
    } catch (error) {
      this.announce(error.message, true);
    }
  }

  // Only what is shown and was not painted like this before: large images take a moment.
  paint(name) {
    const layer = this.layers[name];
    const wanted = `${this.id} ${this.only}`;
    if (layer.painted === wanted) return;
    layer.painted = wanted;
    layer.source ??= document.createElement("canvas");
    const colors = [...this.classes].map(([index, { color }]) => [index, color]);
    if (name === "classes") paintClasses(layer.source, this.data, colors, this.only);
    else paintProbability(layer.source, this.data, this.least, this.only);
  }

  // The class of a pixel alone, or all classes where that is so already.
  isolateAt(point) {
    const index = point ? this.pixel(...point).index : NO_DATA;
    if (this.classes.has(index)) this.legend.toggle(index);
    else if (this.only !== null) this.legend.isolate(null);
  }

  isolate(only) {
    this.only = only;
    this.update();
    this.announce(only === null ? "All classes are shown." : `Only ${this.classes.get(only).name} is shown.`);
  }

  update() {
    const { view, layers, split } = this;
    const opacity = find("opacity").value / 100;
    const compares = view === "compare";
    const blends = view === "overlay" || compares;
    if (!this.data) return;
    // An isolated class on its ground, which shows where it is.
    layers.image.visible = view === "image" || blends || this.only !== null;
    layers.image.opacity = blends || view === "image" ? 1 : 0.35;
    layers.classes.visible = view === "classes" || blends;
    layers.classes.opacity = blends ? opacity : 1;
    layers.classes.clip = compares ? [split, 1] : null;
    layers.probability.visible = view === "probability";
    for (const name of ["classes", "probability"]) {
      if (layers[name].visible) this.paint(name);
    }
    find("opacity-line").hidden = !blends;
    find("opacity-value").textContent = `${find("opacity").value} %`;
    find("ramp").hidden = view !== "probability";
    find("divider").hidden = !compares;
    find("divider").style.left = `${100 * split}%`;
    find("divider").setAttribute("aria-valuenow", Math.round(100 * split));
    find("divider").setAttribute("aria-valuetext", `${Math.round(100 * split)} % image`);
    this.viewer.invalidate();
  }

  // Class and probability of a pixel of the image; null outside.
  pixel(x, y) {
    const { width, height, classes, probability } = this.data;
    const column = Math.floor((x * width) / this.viewer.width);
    const row = Math.floor((y * height) / this.viewer.height);
    const at = row * width + column;
    return { index: classes[at], probability: probability[at] / 255 };
  }

  probe(point) {
    const readout = find("readout");
    const pixel = point && this.pixel(...point);
    readout.classList.toggle("empty", !pixel);
    if (!pixel) {
      const taps = matchMedia("(pointer: coarse)").matches;
      find("readout-class").textContent = taps ? "Tap the image for class and probability; pinch to zoom"
        : "Point at the image for class and probability; a click shows only that class";
      find("readout-probability").textContent = find("readout-place").textContent = "";
      delete readout.dataset.index;
      return "";
    }
    const [x, y] = point.map(Math.floor);
    const known = this.classes.get(pixel.index);
    find("readout-swatch").style.background = known?.color ?? "transparent";
    find("readout-class").textContent = pixel.index === NO_DATA ? "no data" : known?.name ?? `class ${pixel.index}`;
    find("readout-probability").textContent = pixel.index === NO_DATA ? "" : percent(pixel.probability);
    find("readout-place").textContent = `${x}, ${y}`;
    Object.assign(readout.dataset, { index: pixel.index, x, y });
    return ["class", "probability", "place"].map(part => find(`readout-${part}`).textContent).filter(Boolean).join(", ");
  }

  listen() {
    const { viewer } = this;
    const show = ({ detail: { x, y, inside } }) => this.data && this.probe(inside ? [x, y] : null);
    viewer.addEventListener("pointer", show);
    viewer.addEventListener("tap", told => {
      show(told);
      const { x, y, inside, event } = told.detail;
      // A finger points by tapping, a mouse has pointed already.
      if (this.data && event.pointerType === "mouse") this.isolateAt(inside ? [x, y] : null);
    });
    viewer.addEventListener("leave", () => {
      // A finger that leaves has told what it points at.
      if (this.data && !matchMedia("(pointer: coarse)").matches) this.probe(viewer.crosshair);
    });
    viewer.addEventListener("crosshair", ({ detail }) => {
      const told = this.probe(detail && [detail.x, detail.y]);
      // A held key would otherwise be read out pixel by pixel.
      clearTimeout(this.telling);
      this.telling = setTimeout(() => { find("pixel").textContent = told; }, 250);
    });
    viewer.addEventListener("scroll", () => {
      find("wheel-hint").hidden = false;
      clearTimeout(this.hinting);
      this.hinting = setTimeout(() => { find("wheel-hint").hidden = true; }, 1500);
    });
    viewer.addEventListener("view", () => {
      find("wheel-hint").hidden = true;
      find("zoom-value").textContent = `${Number((100 * viewer.scale).toPrecision(2))} %`;
    });
    find("zoom-in").addEventListener("click", () => viewer.zoomIn());
    find("zoom-out").addEventListener("click", () => viewer.zoomOut());
    find("fit").addEventListener("click", () => viewer.fit());
    find("views").addEventListener("change", () => this.update());
    find("opacity").addEventListener("input", () => this.update());
    find("stage").addEventListener("keydown", event => {
      if (event.key === "Enter" && event.target === find("stage")) this.isolateAt(viewer.crosshair);
      const view = VIEWS[event.key - 1];
      if (!view || event.altKey || event.ctrlKey || event.metaKey) return;
      document.querySelector(`input[name=view][value=${view}]`).checked = true;
      this.update();
      this.announce(`View: ${view}`);
    });
    this.listenDivider();
  }

  listenDivider() {
    const divider = find("divider");
    const place = share => {
      this.split = Math.min(Math.max(share, 0), 1);
      this.update();
    };
    divider.addEventListener("pointerdown", event => {
      divider.setPointerCapture(event.pointerId);
      event.preventDefault();
      divider.focus({ preventScroll: true });
    });
    divider.addEventListener("pointermove", event => {
      if (!divider.hasPointerCapture(event.pointerId)) return;
      const box = find("stage").getBoundingClientRect();
      place((event.clientX - box.left) / box.width);
    });
    divider.addEventListener("keydown", event => {
      const steps = { ArrowLeft: -0.02, ArrowDown: -0.02, ArrowRight: 0.02, ArrowUp: 0.02, PageDown: -0.1, PageUp: 0.1, Home: -1, End: 1 };
      if (!(event.key in steps)) return;
      event.preventDefault();
      place(this.split + steps[event.key]);
    });
  }

  // In words, for the screen reader.
  summary({ name, result, seconds: taken }) {
    const largest = result.classes.slice(0, 3).map(({ index, share }) => `${this.classes.get(index).name} ${percent(share)}`);
    return `${name} is segmented, in ${seconds(taken)}: ${counted(result.classes.length, "class", "classes")}, ${largest.join(", ")}.`;
  }
}
