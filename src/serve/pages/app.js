// The page that segments images: which part of it is shown, and what was done in this tab.
//
// The address says what is shown: nothing for the start, #run for the image on its way, #ID for a result, so that the browser's
// back button and reloading work.

import { getJson, request } from "/assets/api.js";
import { ResultView } from "/assets/result.js";
import { Start } from "/assets/start.js";
import { alertOf, Work } from "/assets/work.js";
import { ask, element, find } from "/assets/words.js";

const KEY = "segtool-results";
const RUN = "run";
const parts = ["start", "work", "result"];

function announce(text, isError = false) {
  if (isError) fail(text);
  else find("status").textContent = text;
}

function fail(message, options) {
  const known = [...find("alerts").children].find(({ firstChild }) => firstChild.textContent === message);
  known?.remove();
  find("alerts").append(alertOf(message, options));
  find("alerts").scrollIntoView({ block: "nearest" });
}

// Results of this tab, the newest first: { id, name, model }. They outlive a reload where the browser stores.
let results = [];
try {
  results = JSON.parse(sessionStorage.getItem(KEY)) ?? [];
} catch {
  results = [];
}

function keep() {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(results));
  } catch {
    // A private window: the history ends with the page.
  }
  showHistory();
}

let models = [];
let start = null;
let shown = null;
const waiting = [];
const result = new ResultView(announce);
const work = new Work(announce);
const at = () => location.hash.slice(1);

function showPart(part) {
  for (const name of parts) find(name).hidden = name !== part;
  find("again").hidden = part === "start";
  document.body.dataset.part = part;
}

function showHistory() {
  const entries = results.map(({ id, name, model }) => {
    const image = element("img", { src: `/api/jobs/${id}/image.jpg?max=256`, alt: "", loading: "lazy" });
    // Forgotten by the server for newer ones.
    image.addEventListener("error", () => forget(id));
    return entry(id, image, name, model);
  });
  if (work.isBusy && at() !== RUN) entries.unshift(entry(RUN, element("span", { className: "busy" }), work.source.name, "in progress"));
  find("results").replaceChildren(...entries);
  find("history").hidden = !entries.length;
}

function entry(id, image, name, more) {
  const link = element("a", { href: `#${id}`, title: name }, image, element("span", { className: "name" }, name));
  link.append(element("span", { className: "small faint" }, more));
  if (at() === id) link.setAttribute("aria-current", "true");
  return element("li", {}, link);
}

function forget(id) {
  results = results.filter(known => known.id !== id);
  keep();
}

async function showResult(id) {
  try {
    const job = await getJson(`/api/jobs/${encodeURIComponent(id)}`);
    const model = models.find(known => known.id === job.model);
    if (job.state !== "done" || !model) throw new Error(`${job.name} has no result: run the image again.`);
    if (!(await result.open(job, model)) || at() !== id) return;
    showPart("result");
    document.title = `${job.name} · segtool`;
    announce(result.summary(job));
    find("result-title").focus({ preventScroll: true });
  } catch (error) {
    if (error.status === 404) forget(id);
    fail(error.message);
    if (at() === id) location.hash = "";
  }
}

function show() {
  const wanted = at();
  if (wanted === RUN && work.isBusy) {
    showPart("work");
    document.title = `${work.source.name} · segtool`;
    find("work-title").focus({ preventScroll: true });
  } else if (wanted && wanted !== RUN) {
    showResult(wanted);
  } else {
    showPart("start");
    document.title = "segtool: segment images";
    if (shown) find("main").focus({ preventScroll: true });
  }
  if (shown !== wanted) scrollTo(0, 0);
  shown = wanted;
  showHistory();
}

// The images one after another: a browser that sent all at once would fill the queue of the server.
async function run(sources, isRetry) {
  // What failed before gives way to a new batch, not to another try of a part.
  if (!work.isBusy && !isRetry) find("alerts").replaceChildren();
  waiting.push(...sources);
  if (work.isBusy) {
    work.more(waiting.length);
    announce("The image is queued.");
    return;
  }
  // Whoever turned to something else meanwhile is not called back by the next image.
  let isWatched = true;
  while (waiting.length) isWatched = await runOne(waiting.shift(), isWatched);
}

// Returns whether the image was watched to its end.
async function runOne(source, isWatched) {
  try {
    const running = work.run(source, waiting.length);
    if (at() === RUN) show();
    else if (isWatched) location.hash = RUN;
    else showHistory();
    const job = await running;
    isWatched = at() === RUN;
    if (job) finish(job);
    else leave(`${source.name} was cancelled.`);
  } catch (error) {
    isWatched = at() === RUN;
    leave("");
    const { message, status } = error;
    const needsBands = status === 422 && /\bbands?\b/.test(message);
    // Nothing but the server's state is in the way of these: lost, full or stopped.
    const mayPass = !status || status >= 500;
    if (needsBands) start.askBands();
    const told = message.startsWith(source.name) ? message : `${source.name}: ${message}`;
    fail(told, needsBands || mayPass ? { again: () => start.give([source], true) } : {});
  }
  return isWatched;
}

function finish(job) {
  results = [{ id: job.id, name: job.name, model: job.model }, ...results];
  keep();
  if (at() === RUN) goTo(job.id);
  else announce(`${job.name} is done: see Results in this tab.`);
}

function leave(message) {
  if (message) announce(message);
  if (at() === RUN) goTo("");
  else showHistory();
}

// Takes the place of #run, to which the back button must not return.
function goTo(id) {
  history.replaceState(null, "", id ? `#${id}` : location.pathname);
  show();
}

async function remove() {
  const id = at();
  const name = results.find(known => known.id === id)?.name ?? "this image";
  if (!await ask("Delete this result?", `The server forgets ${name} and its result. This cannot be undone.`, "Delete")) return;
  try {
    await request(`/api/jobs/${id}`, { method: "DELETE" });
  } catch (error) {
    if (error.status !== 404) return fail(error.message);
  }
  forget(id);
  announce("The result is deleted.");
  location.hash = "";
}

async function begin() {
  try {
    const [health, list] = await Promise.all([getJson("/api/health"), getJson("/api/models")]);
    models = list;
    find("places").hidden = !health.label;
  } catch (error) {
    fail(error.message, { again: begin });
    return;
  }
  start = new Start(models, { run, fail });
  addEventListener("hashchange", show);
  find("forget").addEventListener("click", remove);
  find("cancel-all").addEventListener("click", () => {
    waiting.length = 0;
    work.cancel();
  });
  // The address of the page says what is shown; the skip link must not change it.
  find("skip").addEventListener("click", event => {
    event.preventDefault();
    find("main").focus();
  });
  show();
}

begin();
