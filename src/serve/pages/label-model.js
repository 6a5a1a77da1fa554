// The model trained on the labels: its state, its predictions of the open image, the visible part first, its score, and saving it.
import { getBytes, getJson, sentence } from "/assets/api.js";
import { ask, element, find, open } from "/assets/words.js";
import { problem, say, settle, toast, wordsOf } from "./label-messages.js";

// Predictions are fetched by tiles of this side, a block of several at once.
const TILE = 128;
const BLOCK = 8;
// Images of more pixels are predicted only where they are shown.
const EVERYWHERE = 1 << 26;

const { ceil, floor, max, min } = Math;

/** Predicted classes and uncertainty of one image, filled part by part. */
export class Predicted {
  constructor(width, height) {
    Object.assign(this, { width, height, columns: ceil(width / TILE), rows: ceil(height / TILE) });
    this.classes = new Uint8Array(width * height);
    this.uncertainty = new Uint8Array(width * height);
    // The model that each tile is of.
    this.models = new Int32Array(this.columns * this.rows);
  }

  write([x, y, width, height], bytes, model) {
    const area = width * height;
    for (let row = 0; row < height; row++) {
      const to = (y + row) * this.width + x;
      this.classes.set(bytes.subarray(row * width, (row + 1) * width), to);
      this.uncertainty.set(bytes.subarray(area + row * width, area + (row + 1) * width), to);
    }
    for (const [column, row] of this.#tiles([x, y, width, height])) {
      const [left, top, right, bottom] = this.#bounds(column, row, column, row);
      if (left >= x && top >= y && right <= x + width && bottom <= y + height) this.models[row * this.columns + column] = model;
    }
  }

  * #tiles([x, y, width, height]) {
    for (let row = floor(y / TILE); row <= floor((y + height - 1) / TILE); row++) {
      for (let column = floor(x / TILE); column <= floor((x + width - 1) / TILE); column++) yield [column, row];
    }
  }

  #bounds(c0, r0, c1, r1) {
    return [c0 * TILE, r0 * TILE, min((c1 + 1) * TILE, this.width), min((r1 + 1) * TILE, this.height)];
  }

  /** The rectangle around those tiles of an area that are not of a model; null if all are. */
  missing(area, model) {
    let [c0, r0, c1, r1] = [Infinity, Infinity, -1, -1];
    for (const [column, row] of this.#tiles(area)) {
      if (this.models[row * this.columns + column] === model) continue;
      [c0, r0, c1, r1] = [min(c0, column), min(r0, row), max(c1, column), max(r1, row)];
    }
    if (c1 < 0) return null;
    const [left, top, right, bottom] = this.#bounds(c0, r0, c1, r1);
    return [left, top, right - left, bottom - top];
  }

  /** The missing block nearest to a point; null if there is none. */
  nearest([x, y], model) {
    const side = TILE * BLOCK;
    let best = null;
    for (let top = 0; top < this.height; top += side) {
      for (let left = 0; left < this.width; left += side) {
        const area = this.missing([left, top, min(side, this.width - left), min(side, this.height - top)], model);
        const far = Math.hypot(left + side / 2 - x, top + side / 2 - y);
        if (area && (!best || far < best.far)) best = { area, far };
      }
    }
    return best?.area ?? null;
  }
}

export class Model {
  /** `host` gives { image, edits }, the number of edits so far; `flush()` waits until the server has all labels. */
  constructor(view, host, flush) {
    Object.assign(this, { view, host, flush, number: 0, newest: 0, included: 0, asked: null, fetching: null, shown: false });
    view.viewer.addEventListener("view", () => this.#later());
  }

  /** The model that the server has, if any, for a newly opened image. */
  open({ model, images }) {
    this.stop();
    if (model && model.number > this.number) {
      this.number = this.newest = model.number;
      // As far as their number tells, the labels are those that it was trained on.
      const labelled = images.reduce((sum, image) => sum + image.labelled, 0);
      this.included = model.labelled === labelled ? this.host.edits : -1;
    }
    find("next").disabled = !this.number;
    if (!this.number) return;
    this.#fetchAll();
    this.#suggest();
  }

  /** The server was away, and may number its models from 1 again. */
  restart({ model, images }) {
    this.number = this.newest = 0;
    this.view.predicted?.models.fill(0);
    this.#progress(model ? `Model ${model.number}.` : "No model: train again.", undefined);
    this.open({ model, images });
  }

  /** A training whose end is not told yet. */
  get underway() {
    return !find("progress").hidden;
  }

  /** Labels were edited since the model was trained. */
  get outdated() {
    return this.number > 0 && this.included !== this.host.edits;
  }

  /** Trains, and waits for the end; false if there is no newer model then. */
  async renew() {
    const before = this.number;
    await this.train();
    while (this.starting || this.underway) await new Promise(done => setTimeout(done, 50));
    return this.number > before;
  }

  stop() {
    this.fetching?.abort();
    this.fetching = null;
  }

  async train() {
    if (this.starting) {
      this.again = true;
      return;
    }
    this.starting = true;
    try {
      if (!await this.flush()) return;
      const view = this.view.visible();
      const { edits } = this.host;
      this.asked = { image: this.host.image?.id ?? 0, ...(view[2] > 0 && view[3] > 0 && { view }) };
      const { number } = await getJson("/api/label/train", { method: "POST", json: this.asked });
      this.newest = number;
      this.covered = edits;
      if (number === this.number) this.included = edits;
      else this.#progress("Training.", null);
    } catch (error) {
      this.#progress(`Not trained. ${wordsOf(error)}`, undefined);
    } finally {
      this.starting = false;
    }
    if (this.again) {
      this.again = false;
      await this.train();
    }
  }

  /** An event of the server about a training, this tab's or another's. */
  heard({ state, done, total, number, seconds, error }) {
    if (number < this.newest) return;
    // Another tab's training: it learns from what is there now.
    if (number > this.newest) this.covered = this.host.edits;
    this.newest = number;
    if (state === "features") this.#progress(`Computing features: ${done} of ${total}`, total ? done / total : null);
    else if (state === "fitting") this.#progress("Fitting the model", null);
    else if (state === "failed") this.#progress(`Not trained. ${sentence(error)}`, undefined);
    else if (state === "ready") this.#ready(number, seconds);
  }

  #ready(number, seconds) {
    this.number = number;
    this.included = this.covered;
    this.#progress(`Model ${number}, trained in ${seconds.toFixed(1)} s.`, undefined);
    find("next").disabled = false;
    if (!this.shown && this.view.show === "labels") find("view-classes").click();
    this.shown = true;
    this.#fetchAll();
    this.#suggest();
    this.onReady?.();
  }

  /** A share, null while there is none to tell, undefined when nothing is under way. */
  #progress(text, share) {
    const bar = find("progress");
    bar.hidden = share === undefined;
    if (typeof share === "number") bar.value = share;
    else bar.removeAttribute("value");
    find("trained").textContent = text;
    find("trained").classList.toggle("bad", text.startsWith("Not trained"));
    find("score-panel").classList.toggle("old", !bar.hidden);
  }

  #later() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      const { predicted } = this.view;
      // What is fetched for elsewhere gives way to what is shown now.
      if (this.number && predicted && predicted.missing(this.view.visible(), this.number)) this.#fetchAll();
    }, 120);
  }

  #fetchAll() {
    this.stop();
    if (!this.host.image) return;
    this.fetched = this.#fetchParts();
  }

  /** Waits for the prediction of the whole image; false if it does not come, or only where it is shown. */
  async complete() {
    for (let waited = null; waited !== this.fetched;) {
      waited = this.fetched;
      await waited;
    }
    return Boolean(this.number) && !this.view.predicted.nearest([0, 0], this.number);
  }

  /** Fetches the visible part, then the rest from near to far. */
  async #fetchParts() {
    const { signal } = this.fetching = new AbortController();
    const { predicted, map } = this.view;
    const model = this.number;
    // Just what the server predicted first.
    let area = (this.asked?.image === this.host.image.id && this.asked.view) || this.view.visible();
    this.asked = null;
    try {
      while (area && !signal.aborted) {
        if (area[2] > 0 && area[3] > 0) await this.#fetch(area, model, predicted, signal);
        const visible = this.view.visible();
        const [x, y, width, height] = visible;
        area = width && height ? predicted.missing(visible, model) : null;
        if (!area && map.width * map.height <= EVERYWHERE) area = predicted.nearest([x + width / 2, y + height / 2], model);
      }
    } catch (error) {
      // A newer model has taken this one's place, or the server is away: its next event, or the next move of the view, asks again.
      if (error.name !== "AbortError" && error.status !== 404 && error.status !== 409) say(wordsOf(error));
    }
  }

  async #fetch(area, model, predicted, signal) {
    const [x, y, width, height] = area;
    const query = new URLSearchParams({ model, x, y, width, height });
    const { bytes, headers } = await getBytes(`/api/label/images/${this.host.image.id}/prediction.bin?${query}`, { signal });
    if (signal.aborted) return;
    const given = headers.get("X-Model");
    predicted.write(area, bytes, given ? +given : model);
    this.view.repredict();
  }

  async #suggest() {
    if (!this.host.image) return;
    const { id } = this.host.image;
    const { number } = this;
    this.suggesting = number;
    try {
      const places = await getJson(`/api/label/images/${id}/suggestions?${new URLSearchParams({ model: number, count: 10 })}`);
      if (id !== this.host.image.id || number !== this.number) return;
      this.view.places = places;
      this.view.place = -1;
      this.view.refresh();
    } catch (error) {
      if (error.status !== 404 && error.status !== 409) say(wordsOf(error));
    }
    if (this.suggesting === number) this.suggesting = 0;
  }

  #whyNone() {
    if (!this.number) return "Train first: then this shows where the model is least certain.";
    return this.suggesting ? "The least certain places are still being looked for." : "No uncertain places are left in this image.";
  }

  /** Moves to the next of the least certain places. */
  next() {
    const { view } = this;
    if (!view.places.length) return say(this.#whyNone());
    view.place = (view.place + 1) % view.places.length;
    const { x, y, uncertainty } = view.places[view.place];
    const point = view.toView(x + 0.5, y + 0.5);
    if (view.viewer.scale < 4) view.viewer.zoom(4 / view.viewer.scale);
    view.viewer.center(...point);
    view.viewer.setCrosshair(point);
    view.refresh();
    // So that arrows and space paint there.
    view.viewer.element.focus({ preventScroll: true });
    say(`Place ${view.place + 1} of ${view.places.length}, ${Math.round(100 * uncertainty)} % uncertain. Choose its class, then paint here or press space.`);
  }
}

const percent = value => value === null || value === undefined ? "–" : value.toFixed(2);

/** The held-out score, and the optimistic one, which is named so. */
export async function showScore(number) {
  if (!number) return;
  let score;
  try {
    score = await getJson(`/api/label/score?model=${number}`);
  } catch {
    // No score of this model, or a newer one took its place: an event tells of the next.
    return;
  }
  const panel = find("score");
  find("score-panel").hidden = false;
  find("score-title").textContent = `Held-out score, model ${number}`;
  if (score.state === "running") {
    panel.replaceChildren(element("p", { className: "small faint" }, "Scoring the labelled regions…"));
    return;
  }
  const { by_region: region, by_pixel: pixel, note } = score;
  const parts = [];
  if (region) parts.push(bigScore(region), classScores(region.classes));
  if (note) parts.push(element("p", { className: "small note" }, sentence(note)));
  if (pixel) parts.push(optimistic(pixel));
  panel.replaceChildren(...parts);
}

function optimistic({ mean_f1: f1 }) {
  return element("p", { className: "small faint" }, "By pixel, optimistic: ", element("b", { className: "number" }, percent(f1)),
    ". Neighbouring pixels of one stroke are nearly the same, so this score is higher than the accuracy on new images.");
}

function bigScore({ mean_f1: f1, mean_iou: iou }) {
  return element("p", { className: "big" }, element("b", { className: "number" }, percent(f1)),
    element("span", { className: "small faint" }, `mean F1 by region (IoU ${percent(iou)}): each labelled region is predicted by a model that has not seen it.`));
}

function classScores(classes) {
  const rows = classes.map(({ name, f1, iou, regions }) => element("tr", {}, element("th", { scope: "row" }, name),
    ...[percent(f1), percent(iou), String(regions)].map(text => element("td", { className: "number" }, text))));
  const head = element("tr", {}, ...["class", "F1", "IoU", "regions"].map(text => element("th", { scope: "col" }, text)));
  return element("table", { className: "scores small" }, element("thead", {}, head), element("tbody", {}, ...rows));
}

/** Classes that a --run model predicts for an image. */
export async function filledBy(image, run) {
  return (await getBytes(`/api/label/images/${image}/filled.bin?${new URLSearchParams({ run })}`)).bytes;
}

const TRAIN = "Train and save";
let saving = false;

/** Saves labels and model once the server has all strokes, and shows what is where. */
export async function save(model, flush, labels) {
  if (saving) return;
  saving = true;
  try {
    if (!await flush() || !await upToDate(model)) return;
    say("Saving labels and model.");
    const saved = await getJson("/api/label/save", { method: "POST", json: {} }).catch(error => {
      // There is no model yet, only labels.
      if (error.status === 404) return { run: null, labels };
      throw error;
    });
    settle("save");
    showSaved(saved);
  } catch (error) {
    say("Not saved.");
    problem("save", `Not saved. ${wordsOf(error)}`);
  } finally {
    saving = false;
  }
}

/** False if the model lacks strokes and is not to be saved like that. */
async function upToDate(model) {
  if (!model.outdated) return true;
  const answer = await ask("Save an older model?", "The model does not include the latest strokes.", TRAIN, "Save anyway");
  if (answer !== TRAIN) return answer !== "";
  if (await model.renew()) return true;
  problem("save", `Not saved. ${find("trained").textContent}`);
  return false;
}

function showSaved({ run, labels, dataset, csv, command }) {
  const rows = [["Model", run], ["Label images", labels], ["Dataset", dataset], ["Labels as CSV", csv]].filter(([, path]) => path);
  find("saved").replaceChildren(...rows.flatMap(([name, path]) => [element("dt", {}, name), element("dd", {}, element("code", {}, path))]));
  find("no-model").hidden = Boolean(run);
  find("use").hidden = !run;
  find("command").textContent = run ? command : "";
  say("Saved.");
  open(find("save-dialog"));
}

export async function copyCommand() {
  try {
    await navigator.clipboard.writeText(find("command").textContent);
    toast("Copied.");
  } catch {
    getSelection().selectAllChildren(find("command"));
    toast("Selected: press Ctrl+C to copy.");
  }
}
