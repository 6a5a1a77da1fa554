// Labelling in the browser: opens an image, and connects tools, classes, model and server.
import { getBitmap, getJson, listen } from "/assets/api.js";
import { Classes } from "./label-classes.js";
import { ask, counted, element, find, open, whole } from "/assets/words.js";
import { notice, noticed, problem, say, settle, toast, wordsOf } from "./label-messages.js";
import { History } from "./label-history.js";
import { keys } from "./label-keys.js";
import { copyCommand, filledBy, Model, Predicted, save, showScore } from "./label-model.js";
import { Sync } from "./label-sync.js";
import { Tools } from "./label-tools.js";
import { LabelView, paintScale } from "./label-view.js";

// crypto.randomUUID is only there over HTTPS and on localhost.
const tab = [...crypto.getRandomValues(new Uint8Array(12))].map(byte => byte.toString(16).padStart(2, "0")).join("");

const state = await getJson("/api/label").catch(error => {
  notice("start", wordsOf(error), [["Load again", () => location.reload()]], "bad");
  throw error;
});
const stage = find("stage");
const view = new LabelView(stage, find("overview"));

// What tools paint into: the open image; without one until one can be shown.
const host = {
  image: null,
  painted: 0,
  // Edits since the page was opened, other tabs' included.
  edits: 0,
  map: null,
  history: null,
  predicted: null,
  get value() { return classes.value; },
  get color() { return classes.current?.color ?? "#888"; },
  // The prediction of the whole image is there.
  complete: () => model.complete(),
  ready() {
    if (classes.current) return true;
    say("Add a class first.");
    classes.edit(null);
    return false;
  },
};

const sync = new Sync({
  folder: state.labels_folder,
  tab,
  images: state.images,
  changed: () => showState(),
  busy: () => tools.busy,
  merged: () => {
    view.touch();
    recount();
    say("Labels were updated from another tab.");
  },
});

const classes = new Classes({ classes: state.classes, revision: state.classes_revision }, {
  changed: (list, gone) => {
    view.setClasses(list);
    // Undo must not bring back pixels of a class that is gone.
    if (!gone.length) return;
    sync.forget(gone);
    histories.clear();
    if (host.image) openImage(host.image.id);
  },
  chosen: () => { if (tools.name === "eraser") chooseTool("brush"); },
  counts: () => host.map?.counts(),
  flush,
});
view.setClasses(state.classes);

const tools = new Tools(view, host);
const model = new Model(view, host, flush);
classes.paint();

/** Waits until the server has all strokes; false, having said why, if it has not. */
async function flush() {
  if (await sync.flush()) {
    settle("flush");
    return true;
  }
  problem("flush", sync.state.conflicts.length ? "Choose first which labels to keep." : "Your last strokes have not reached the server yet; they are kept in this browser. Try again when the server answers.");
  return false;
}

// Images.

let opening = 0;
// The image that was asked for last, whether it can be shown or not.
let wanted = 0;

/** Shows an image; true if it is shown then, and no other one was asked for meanwhile. */
async function openImage(id) {
  const turn = ++opening;
  wanted = id;
  tools.giveUp();
  model.stop();
  const entry = state.images[id];
  stage.setAttribute("aria-busy", "true");
  try {
    const [bitmap, labels] = await Promise.all([getBitmap(`/api/label/images/${id}/image.jpg`), sync.load(id)]);
    if (turn !== opening) return false;
    settle("image");
    tools.giveUp();
    tools.last = null;
    const map = sync.follow(id, labels);
    host.image = entry;
    host.map = map;
    host.history = historyOf(id, map);
    host.predicted = new Predicted(map.width, map.height);
    view.setImage(bitmap, map, host.predicted);
    stage.setAttribute("aria-label", `Image ${entry.name}, ${entry.width} by ${entry.height} pixels`);
    // A reload, or a link, opens this image again.
    history.replaceState(null, "", `#${encodeURIComponent(entry.name)}`);
    document.title = `${entry.name}: label images, segtool`;
    model.open(state);
    showImages();
    recount();
    showUndo();
    return true;
  } catch (error) {
    if (turn === opening) notice("image", `${entry.name} cannot be shown. ${wordsOf(error)}`, [["Try again", () => { settle("image"); openImage(id); }]], "bad");
    return false;
  } finally {
    if (turn === opening) stage.removeAttribute("aria-busy");
  }
}

// Undo goes on where it was when an image is opened again.
const histories = new Map();

function historyOf(id, map) {
  if (!histories.has(id)) histories.set(id, new History(map, tiles => edited(id, tiles)));
  return Object.assign(histories.get(id), { map });
}

function edited(id, tiles) {
  host.edits += 1;
  sync.edit(id, tiles);
  for (const tile of tiles.keys()) view.touch(host.map.area(tile));
  recount();
  showUndo();
  follow();
}

let counting = 0;

// Counting a large image takes longer than a stroke may.
function recount() {
  clearTimeout(counting);
  counting = setTimeout(() => {
    const counts = host.map.counts();
    classes.count(counts);
    host.image.labelled = host.map.data.length - counts[0];
    host.painted = counts.slice(1).filter(Boolean).length;
    find("first-steps").hidden = host.painted > 0 || model.number > 0;
    showImages();
  }, 60);
}

function showImages() {
  const { images } = state;
  find("images-done").textContent = `${images.filter(({ labelled }) => labelled).length} of ${images.length}`;
  for (const item of find("images").children) {
    const { id, labelled, width, height } = images[+item.dataset.id];
    const button = item.firstElementChild;
    if (id === host.image?.id) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
    const share = 100 * labelled / (width * height);
    item.querySelector(".share").textContent = labelled ? `${share < 0.1 ? "under 0.1" : share.toFixed(share < 10 ? 1 : 0)} % labelled` : "no labels";
  }
}

function listImages() {
  const several = state.images.length > 1;
  document.querySelector(".images").hidden = !several;
  document.querySelector(".desk").classList.toggle("several", several);
  find("images").replaceChildren(...state.images.map(({ id, name }) => {
    const button = element("button", { type: "button", className: "quiet", title: name },
      element("img", { src: `/api/label/images/${id}/thumbnail.jpg`, alt: "", loading: "lazy" }),
      element("span", { className: "name" }, name), element("span", { className: "share small faint" }));
    button.addEventListener("click", () => openImage(id));
    const item = element("li", {}, button);
    item.dataset.id = id;
    return item;
  }));
}

function step(by) {
  const { length } = state.images;
  const id = (wanted + by + length) % length;
  if (length > 1) openImage(id).then(shown => { if (shown) say(`Image ${id + 1} of ${length}: ${state.images[id].name}`); });
}

// State of saving.

function showState() {
  const { unsent, offline, refused, kept, conflicts } = sync.state;
  const line = find("state");
  const [kind, text] = refused ? ["bad", "not saved"]
    : conflicts.length ? ["warn", "conflict: choose which labels to keep"]
      : offline ? ["warn", unsent ? "offline: strokes are kept in this browser" : "offline: waiting for the server"]
        : unsent ? ["busy", "saving"] : ["good", "saved"];
  line.dataset.kind = kind;
  if (line.lastElementChild.textContent !== text) line.lastElementChild.textContent = text;
  alarm(kind, text);
  if (refused && !noticed("refused")) notice("refused", `The server did not take the last strokes. ${refused}`, [["Try again", () => { settle("refused"); sync.retry(); }]], "bad");
  if (!refused) settle("refused");
  if (!kept && unsent && !noticed("kept")) notice("kept", "This browser cannot keep unsaved strokes: leave the page open until all is saved.", []);
  if (!unsent) settle("kept");
  showConflict(conflicts);
}

// Screen readers hear of trouble and of its end, not of each stroke.
function alarm(kind, text) {
  const { textContent: told } = find("alarm");
  const wanted = kind === "warn" || kind === "bad" ? text : kind === "good" && told ? "saved" : told;
  if (wanted !== told) find("alarm").textContent = wanted;
}

function showConflict(conflicts) {
  const [image] = conflicts;
  view.conflicts = conflicts.find(({ id }) => id === host.image?.id)?.conflict.areas ?? [];
  view.viewer.invalidate();
  if (!image) return settle("conflict");
  if (noticed("conflict")) return;
  const choose = choice => () => { settle("conflict"); sync.settle(image.id, choice); };
  const what = counted(image.conflict.differing.length, "pixel");
  notice("conflict", `Another tab gave ${what} of ${image.name} a different class than you did. The areas are outlined in yellow. Which labels do you want to keep?`,
    [["Keep mine", choose("mine")], ["Take theirs", choose("theirs")]]);
}

// Training.

let following = 0;

function follow() {
  clearTimeout(following);
  if (!find("follow").checked) return;
  following = setTimeout(() => {
    // A single class gives no model; other images may have the second one.
    if (host.painted > 1 || state.images.some(({ id, labelled }) => labelled && id !== host.image?.id)) model.train();
  }, 400);
}

const saveAll = () => save(model, flush, state.labels_folder);
model.onReady = () => showScore(model.number);

function show(name) {
  view.show = name;
  document.querySelector(`input[name=view][value=${name}]`).checked = true;
  find("scale").hidden = name !== "uncertainty";
  view.repredict();
}

function cycle(by) {
  const names = [...document.querySelectorAll("input[name=view]")].map(({ value }) => value);
  const next = names[(names.indexOf(view.show) + by + names.length) % names.length];
  show(next);
  say({ image: "Image only", labels: "Labels", classes: "Prediction", uncertainty: "Uncertainty: the brighter, the less certain" }[next]);
}

// Tools.

function chooseTool(name) {
  tools.choose(name);
  for (const button of document.querySelectorAll("[data-tool].icon")) {
    const is = button.dataset.tool === name;
    button.setAttribute("aria-pressed", is);
    // A finger sees no tooltips.
    if (is && host.map) say(`${button.title.replace(/ \(\w\)$/, "")}.`);
  }
}

function resize(size) {
  tools.size = Math.min(Math.max(Math.round(size), 1), 200);
  find("size-of").textContent = `${tools.size} px`;
  find("size").setAttribute("aria-valuetext", `${tools.size} pixels`);
  view.viewer.invalidate();
}

// By a fifth, and at least by one.
function grow(way) {
  resize(tools.size + way * Math.max(1, Math.round(tools.size / 5)));
  placeSlider();
}

// The slider's square is the size: small brushes take more of its way than large ones.
const sizeAt = place => place ** 2 / 50;

function placeSlider() {
  find("size").value = Math.sqrt(50 * tools.size);
}

function showUndo() {
  find("undo").disabled = !host.history?.done.length;
  find("redo").disabled = !host.history?.undone.length;
}

function undo() {
  if (tools.back()) return;
  if (!host.history?.undo()) say("There is nothing to undo.");
}

function redo() {
  if (!host.history?.redo()) say("There is nothing to redo.");
}

const NOWHERE = matchMedia("(hover: none)").matches ? "Pinch to zoom; two fingers move." : "\u00a0";

// The value and prediction under the pointer.
function showPlace({ x, y, inside }) {
  if (!host.map || !inside) return void (find("place").textContent = NOWHERE);
  const [column, row] = view.toMap(x, y).map(Math.floor);
  const at = row * host.map.width + column;
  const name = value => classes.list.find(one => one.value === value)?.name;
  const parts = [`${column}, ${row}`, name(host.map.data[at]) ?? "not labelled"];
  if (host.predicted.classes[at]) parts.push(`predicted ${name(host.predicted.classes[at]) ?? "?"}, ${Math.round(host.predicted.uncertainty[at] / 2.55)} % uncertain`);
  find("place").textContent = parts.join(" · ");
}

async function mayReplace(name) {
  const labelled = host.map.data.length - host.map.counts()[0];
  return !labelled || ask("Replace labels?", `${name} has ${counted(labelled, "labelled pixel")}: the prediction replaces them. Undo takes it back.`, "Fill all pixels");
}

async function prefill() {
  if (!host.map) return;
  const run = find("prefill-run").value;
  const onlyEmpty = document.querySelector("input[name=prefill]:checked").value === "empty";
  const { id, name } = host.image;
  if (!onlyEmpty && !await mayReplace(name)) return;
  find("prefill").disabled = true;
  say(`${run} predicts this image.`);
  try {
    const values = await filledBy(id, run);
    if (id === host.image.id) say(`${counted(tools.fillFrom(values, onlyEmpty), "pixel")} filled by ${run}. Undo takes it back.`);
    settle("prefill");
  } catch (error) {
    problem("prefill", wordsOf(error));
  } finally {
    find("prefill").disabled = false;
  }
}

// Connections.

const press = (id, act) => find(id).addEventListener("click", act);
const { viewer } = view;
for (const button of document.querySelectorAll("[data-tool].icon")) button.addEventListener("click", () => chooseTool(button.dataset.tool));
for (const input of document.querySelectorAll("input[name=view]")) input.addEventListener("change", () => show(input.value));
press("undo", undo);
press("redo", redo);
press("holes", () => tools.fillHoles());
press("zoom-in", () => viewer.zoomIn());
press("zoom-out", () => viewer.zoomOut());
press("fit", () => viewer.fit());
press("fit-height", () => view.fitShort());
press("turn", turn);
press("train", () => model.train());
press("next", () => model.next());
press("save", saveAll);
press("copy", copyCommand);
press("prefill", prefill);
press("help", () => open(find("help-dialog")));
for (const button of document.querySelectorAll("[data-close]")) button.addEventListener("click", () => button.closest("dialog").close("cancel"));
find("size").addEventListener("input", event => resize(sizeAt(event.target.value)));
find("opacity").addEventListener("input", event => {
  view.opacity = event.target.value / 100;
  find("opacity-of").textContent = `${event.target.value} %`;
  view.refresh();
});
find("follow").addEventListener("change", follow);
viewer.addEventListener("pointer", ({ detail }) => showPlace(detail));
viewer.addEventListener("crosshair", ({ detail }) => { if (detail) showPlace({ ...detail, inside: true }); });

function turn() {
  if (!host.map) return;
  view.turn();
  find("turn").setAttribute("aria-pressed", view.turned);
}

const TOOLS = { b: "brush", e: "eraser", l: "line", p: "polygon", r: "rectangle", o: "point", g: "fill", m: "pan" };

keys(stage, tools, {
  ...Object.fromEntries(Object.entries(TOOLS).map(([key, name]) => [key, () => chooseTool(name)])),
  f: () => tools.fillHoles(),
  "[": () => grow(-1),
  "]": () => grow(1),
  t: () => model.train(),
  n: () => model.next(),
  v: () => cycle(1),
  V: () => cycle(-1),
  s: saveAll,
  "+": () => viewer.zoomIn(),
  "=": () => viewer.zoomIn(),
  "-": () => viewer.zoomOut(),
  0: () => viewer.fit(),
  z: () => view.fitShort(),
  d: turn,
  "?": () => open(find("help-dialog")),
  PageUp: () => step(-1),
  PageDown: () => step(1),
  ...Object.fromEntries(Array.from({ length: 9 }, (_, i) => [i + 1, () => classes.chooseNth(i + 1)])),
}, { undo, redo });

function heard(event) {
  if (sync.heard(event)) host.edits += 1;
}

const connect = () => listen("/api/label/events", {
  labels: event => {
    heard(event);
    if (event.image !== host.image?.id && event.tab !== tab) refreshCounts();
  },
  classes: async ({ revision }) => {
    if (revision <= classes.revision) return;
    // Once the server answers again, `reconnect` asks for them.
    const now = await getJson("/api/label").catch(() => null);
    if (!now) return;
    classes.take(now.classes, now.classes_revision);
    for (const { id, revision: latest } of now.images) heard({ image: id, revision: latest, tab: "" });
  },
  training: event => model.heard(event),
  // This page was too slow to hear all of them.
  behind: () => reconnect(),
  score: ({ number: of }) => { if (of === model.number) showScore(of); },
}, { lost: () => sync.lost(), found: reconnect });

// After a pause, other tabs may have changed anything.
async function reconnect() {
  const now = await getJson("/api/label").catch(() => null);
  if (!now) return;
  if (now.classes_revision !== classes.revision) classes.take(now.classes, now.classes_revision);
  for (const { id, revision } of now.images) heard({ image: id, revision, tab: "" });
  sync.retry(true);
  if ((now.model?.number ?? 0) !== model.number || model.underway) model.restart(now);
  await adopt();
}

async function adopt() {
  if (await sync.adopt()) toast("Unsent strokes from a closed tab were found in this browser and are being saved.");
}

async function refreshCounts() {
  const now = await getJson("/api/label").catch(() => null);
  for (const { id, labelled } of now?.images ?? []) if (id !== host.image?.id) state.images[id].labelled = labelled;
  showImages();
}

addEventListener("online", () => sync.retry());
addEventListener("pagehide", () => sync.leave());
// Browsers allow six connections to a server, so that hidden tabs must not hold one each.
let events = document.hidden ? null : connect();
document.addEventListener("visibilitychange", () => {
  events?.close();
  if (document.hidden) sync.retry();
  else (events = connect()).addEventListener("open", reconnect, { once: true });
});
addEventListener("beforeunload", event => {
  const { unsent, kept } = sync.state;
  if (unsent && !kept) event.preventDefault();
});

find("folder").textContent = `${state.folder} · ${counted(state.images.length, "image")} · ${state.recipe}`;
find("prefill-panel").hidden = !state.models.length;
find("prefill-run").replaceChildren(...state.models.map(id => element("option", { value: id }, id)));
getJson("/api/health").then(({ models }) => { find("to-app").hidden = !models; }, () => {});
document.querySelector(".desk").hidden = false;
chooseTool("brush");
resize(7);
placeSlider();
find("place").textContent = NOWHERE;
paintScale(find("scale-bar"));
listImages();
await adopt();
await openImage(Math.max(0, state.images.findIndex(({ name }) => `#${encodeURIComponent(name)}` === location.hash)));
// A tab that was just closed may count as open a moment longer.
setTimeout(adopt, 3000);
showState();
if (state.model) {
  find("trained").textContent = `Model ${state.model.number}, trained on ${whole(state.model.labelled)} pixels.`;
  showScore(state.model.number);
}
