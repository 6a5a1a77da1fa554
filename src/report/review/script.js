"use strict";

const { id, classes } = JSON.parse(document.getElementById("review-data").textContent);
// Each is parsed when it is shown.
const stored = [...document.querySelectorAll("script.sample")];
const files = stored.map(script => script.dataset.file);
const find = name => document.getElementById(name);
const [stage, image, map, notes] = ["stage", "image", "map", "notes"].map(find);
const RATINGS = ["good", "doubtful", "bad"];

// Ratings and notes by file: { rating, notes }. Without storage, as in some private windows, they live as long as the page.
const key = `segtool-review-${id}`;
let kept = {};
let stores = true;
try {
  kept = JSON.parse(localStorage.getItem(key)) ?? {};
} catch {
  stores = false;
}
const say = text => { find("message").textContent = text; };
const keep = () => {
  try {
    localStorage.setItem(key, JSON.stringify(kept));
  } catch {
    stores = false;
  }
  if (!stores) say("This browser does not keep the ratings: save them as CSV before you close the page.");
};
const of = file => kept[file] ?? { rating: "", notes: "" };
const change = (file, entry) => {
  const changed = { ...of(file), ...entry };
  if (changed.rating || changed.notes) kept[file] = changed;
  else delete kept[file];
  keep();
};

// Samples that the filter lets through, by their place.
let shown = files.map((_, place) => place);
let at = 0;
let view = 2;
let sample = null;

const views = () => {
  const all = [["image", "image"], ["label", "annotation"], ["label", "overlay"]];
  if (sample.prediction) all.push(["prediction", "prediction"], ["errors", "errors"]);
  return all;
};

function paint() {
  const [source, name] = views()[view];
  const scale = find("zoom").value;
  stage.classList.toggle("fit", scale === "fit");
  stage.classList.toggle("large", +scale > 1);
  for (const layer of [image, map]) {
    layer.width = sample.width;
    layer.height = sample.height;
    if (scale === "fit") {
      // As large as the window allows, and small tiles enlarged.
      const room = [stage.parentElement.clientWidth - 2, 0.74 * innerHeight];
      const factor = Math.min(room[0] / sample.width, room[1] / sample.height);
      layer.style.width = `${sample.width * factor}px`;
      layer.style.height = `${sample.height * factor}px`;
    } else {
      layer.style.width = `${sample.width * scale}px`;
      layer.style.height = `${sample.height * scale}px`;
    }
  }
  image.src = sample.image;
  map.hidden = source === "image";
  if (!map.hidden) map.src = sample[source];
  map.style.opacity = name === "overlay" || name === "errors" ? find("opacity").value / 100 : 1;
  image.alt = `image ${sample.file}`;
  map.alt = `${name} of ${sample.file}`;
  const buttons = views().map(([, label], index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("role", "radio");
    button.setAttribute("aria-checked", index === view);
    button.textContent = label;
    button.addEventListener("click", () => { view = index; paint(); });
    return button;
  });
  const group = document.querySelector(".views");
  const focused = [...group.children].indexOf(document.activeElement);
  group.replaceChildren(...buttons);
  if (focused >= 0) buttons[focused]?.focus();
  document.querySelector(".judgement").hidden = !sample.prediction;
}

function paintRating() {
  const { rating } = of(sample.file);
  for (const button of document.querySelectorAll("[data-rating]")) {
    button.setAttribute("aria-checked", button.dataset.rating === rating);
  }
  const counts = RATINGS.map(name => files.filter(file => of(file).rating === name).length);
  const rated = counts.reduce((sum, count) => sum + count, 0);
  find("progress").textContent =
    `${rated} of ${files.length} rated: ${RATINGS.map((name, i) => `${counts[i]} ${name}`).join(", ")}`;
}

function legendEntry([index, label, prediction]) {
  const item = document.createElement("li");
  const swatch = document.createElement("i");
  const shares = document.createElement("span");
  const [name, color] = classes[index];
  swatch.className = "swatch";
  swatch.style.background = color;
  shares.textContent = sample.prediction ? ` ${label} → ${prediction}` : ` ${label}`;
  item.append(swatch, name, shares);
  return item;
}

function show(place) {
  at = Math.min(Math.max(place, 0), shown.length - 1);
  sample = JSON.parse(stored[shown[at]].textContent);
  view = Math.min(view, views().length - 1);
  find("place").value = at + 1;
  find("place").max = shown.length;
  find("count").textContent = shown.length;
  find("name").textContent = sample.file;
  find("score").textContent = sample.score ? `mean IoU of the prediction ${sample.score}` : "";
  notes.value = of(sample.file).notes;
  document.querySelector("aside .legend").replaceChildren(...sample.legend.map(legendEntry));
  paint();
  paintRating();
}

const step = by => show((at + by + shown.length) % shown.length);
const flip = by => {
  view = (view + by + views().length) % views().length;
  paint();
};
function rate(rating) {
  change(sample.file, { rating: of(sample.file).rating === rating ? "" : rating });
  paintRating();
}
function nextUnrated() {
  const places = shown.map((_, i) => (at + 1 + i) % shown.length);
  const next = places.find(place => !of(files[shown[place]]).rating);
  if (next === undefined) say("All of these samples are rated.");
  else show(next);
}

function filter() {
  const wanted = find("filter").value;
  const passes = file => {
    if (wanted === "all") return true;
    return wanted === "notes" ? of(file).notes !== "" : of(file).rating === wanted;
  };
  const found = files.map((_, place) => place).filter(place => passes(files[place]));
  if (!found.length) {
    say(`No sample matches "${find("filter").selectedOptions[0].textContent}"; all are shown.`);
    find("filter").value = "all";
    return filter();
  }
  say("");
  shown = found;
  show(0);
}

// Ratings as a table: file, rating, notes, with the quotes of RFC 4180.
const quoted = text => /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
function save() {
  // Those of other pages of the set, too: what was rated bad may be left out of this one.
  const rows = Object.keys(kept).map(file => [file, of(file).rating, of(file).notes].map(quoted).join(","));
  const text = ["file,rating,notes", ...rows, ""].join("\n");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.download = "ratings.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  say(`${rows.length} ratings saved to ratings.csv.`);
}

function rowsOf(text) {
  const rows = [];
  let row = [""];
  let inQuotes = false;
  for (let i = 0; i < text.length; i++) {
    const letter = text[i];
    if (inQuotes) {
      if (letter !== '"') row[row.length - 1] += letter;
      else if (text[i + 1] === '"') row[row.length - 1] += text[++i];
      else inQuotes = false;
    } else if (letter === '"') inQuotes = true;
    else if (letter === ",") row.push("");
    else if (letter === "\n") {
      rows.push(row);
      row = [""];
    } else if (letter !== "\r") row[row.length - 1] += letter;
  }
  if (row.length > 1 || row[0]) rows.push(row);
  return rows;
}

async function load(file) {
  const [head, ...rows] = rowsOf((await file.text()).replace(/^\ufeff/, ""));
  const columns = ["file", "rating", "notes"].map(name => (head ?? []).indexOf(name));
  if (columns[0] < 0 || columns[1] < 0) {
    return say(`${file.name} has no columns file and rating; it must be a table that this page saved.`);
  }
  const known = new Set(files);
  let taken = 0;
  for (const row of rows) {
    const [name, rating, text] = columns.map(column => row[column] ?? "");
    if (!known.has(name) || (rating && !RATINGS.includes(rating))) continue;
    change(name, columns[2] < 0 ? { rating } : { rating, notes: text });
    taken += 1;
  }
  say(`${taken} of ${rows.length} ratings taken from ${file.name}.`);
  show(at);
}

for (const button of document.querySelectorAll("[data-step]")) button.addEventListener("click", () => step(+button.dataset.step));
for (const button of document.querySelectorAll("[data-rating]")) button.addEventListener("click", () => rate(button.dataset.rating));
find("place").addEventListener("change", event => show(Math.trunc(+event.target.value || 1) - 1));
find("filter").addEventListener("change", filter);
find("opacity").addEventListener("input", paint);
find("zoom").addEventListener("change", paint);
notes.addEventListener("input", () => change(sample.file, { notes: notes.value }));
notes.addEventListener("change", paintRating);
find("save").addEventListener("click", save);
find("load").addEventListener("change", event => {
  if (event.target.files[0]) load(event.target.files[0]);
  event.target.value = "";
});
find("clear").addEventListener("click", () => {
  if (!confirm("Delete all ratings and notes of this page?")) return;
  for (const file of files) delete kept[file];
  keep();
  say("All ratings were deleted.");
  show(at);
});
addEventListener("resize", paint);
// Another page of the same set rates, too.
addEventListener("storage", event => {
  if (event.key !== key || !event.newValue) return;
  kept = JSON.parse(event.newValue);
  // Else the next letter that is typed here would put back the notes that were.
  notes.value = of(sample.file).notes;
  paintRating();
});

// A swipe to the side changes the sample, a tap the view; in an enlarged image, a swipe scrolls.
let start = null;
stage.addEventListener("pointerdown", event => { start = [event.clientX, event.clientY]; });
stage.addEventListener("click", () => flip(1));
stage.addEventListener("pointerup", event => {
  if (!start || event.pointerType === "mouse" || find("zoom").value !== "fit") return;
  const [dx, dy] = [event.clientX - start[0], event.clientY - start[1]];
  if (Math.abs(dx) < 40 || Math.abs(dx) < 2 * Math.abs(dy)) return;
  step(dx < 0 ? 1 : -1);
});

const KEYS = {
  ArrowLeft: () => step(-1),
  ArrowRight: () => step(1),
  " ": event => flip(event.shiftKey ? -1 : 1),
  1: () => rate("good"),
  2: () => rate("doubtful"),
  3: () => rate("bad"),
  n: () => notes.focus(),
  u: nextUnrated,
};
addEventListener("keydown", event => {
  if (event.target === notes && event.key === "Escape") return notes.blur();
  const isControl = event.target.closest("input, select, textarea, summary") || (event.key === " " && event.target.closest("button"));
  if (isControl || event.altKey || event.ctrlKey || event.metaKey) return;
  const action = KEYS[event.key];
  if (!action) return;
  event.preventDefault();
  action(event);
});

document.querySelector("main").hidden = false;
show(0);
