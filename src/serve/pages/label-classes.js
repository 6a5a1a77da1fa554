// The list of classes: chosen, named, coloured, added and deleted.
import { getJson } from "/assets/api.js";
import { ask, element, find, open, whole } from "/assets/words.js";
import { problem, settle, wordsOf } from "./label-messages.js";

// Colours told apart on most images, also with a red-green weakness.
const COLORS = ["#e69f00", "#56b4e9", "#009e73", "#f0e442", "#d55e00", "#cc79a7", "#0072b2", "#b3de69", "#8c6bb1"];

const FEWEST = 2;
const MOST = 254;

export class Classes {
  /** `host` has changed(classes, values gone), chosen(), counts() of the open image and flush(). */
  constructor({ classes, revision }, host) {
    Object.assign(this, { list: classes, revision, host, value: classes[0]?.value ?? 0 });
    find("add-class").addEventListener("click", () => this.edit(null));
    find("class-delete").addEventListener("click", () => find("class-dialog").close("delete"));
    find("class-dialog").querySelector("form").addEventListener("submit", event => this.#check(event));
    find("classes").addEventListener("keydown", event => this.#arrow(event));
  }

  get current() {
    return this.list.find(({ value }) => value === this.value);
  }

  choose(value) {
    this.value = value;
    for (const row of find("classes").children) {
      const button = row.querySelector("[role=radio]");
      const is = +row.dataset.value === value;
      button.setAttribute("aria-checked", is);
      button.tabIndex = is ? 0 : -1;
    }
    this.host.chosen();
  }

  chooseNth(n) {
    const entry = this.list[n - 1];
    if (entry) this.choose(entry.value);
  }

  paint() {
    if (!this.current) this.value = this.list[0]?.value ?? 0;
    const focused = document.activeElement.closest(".entry");
    const role = document.activeElement.role;
    find("classes").replaceChildren(...this.list.map((entry, i) => this.#row(entry, i)));
    // The keyboard's place in the list outlives the list's elements.
    const row = focused && [...find("classes").children].find(one => one.dataset.value === focused.dataset.value);
    (row ? row.querySelector(role ? "[role=radio]" : ".icon") : focused && find("add-class"))?.focus();
    this.count();
    this.choose(this.value);
  }

  /** Shows how much of the open image each class has. */
  count(counts = this.host.counts()) {
    for (const row of find("classes").children) row.querySelector(".count").textContent = counts ? whole(counts[+row.dataset.value]) : "";
  }

  #row(entry, i) {
    const swatch = element("i", { className: "swatch" });
    swatch.style.background = entry.color;
    const key = i < 9 ? [element("kbd", {}, String(i + 1))] : [];
    const choose = element("button", { type: "button", role: "radio", className: "quiet class" },
      swatch, element("span", { className: "name" }, entry.name), element("span", { className: "value small faint number", title: "value in label images" }, `value ${entry.value}`),
      element("span", { className: "count small faint number", title: "labelled pixels of this image" }), ...key);
    choose.addEventListener("click", () => this.choose(entry.value));
    const change = element("button", { type: "button", className: "quiet icon", title: "Name and colour", "aria-label": `Change class ${entry.name}` });
    change.innerHTML = '<svg viewBox="0 0 24 24" aria-hidden="true"><path d="M4 20h4L19.5 8.5a2 2 0 0 0-4-4L4 16zM13.5 6.5l4 4"/></svg>';
    change.addEventListener("click", () => this.edit(entry));
    const row = element("div", { className: "entry", role: "presentation" }, choose, change);
    row.dataset.value = entry.value;
    return row;
  }

  #arrow(event) {
    const by = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    if (!by || event.target.getAttribute("role") !== "radio") return;
    event.preventDefault();
    const at = this.list.findIndex(({ value }) => value === this.value);
    this.choose(this.list[(at + by + this.list.length) % this.list.length].value);
    find("classes").querySelector("[aria-checked=true]").focus();
  }

  /** Opens the dialog for an entry, or for a new one. */
  async edit(entry) {
    const used = new Set(this.list.map(({ color }) => color.toLowerCase()));
    this.editing = entry;
    find("class-value").textContent = `Value ${entry?.value ?? this.#free()} in label images`;
    find("class-title").textContent = entry ? "Change class" : "Add class";
    find("class-keep").textContent = entry ? "Change" : "Add";
    find("class-name").value = entry?.name ?? "";
    find("class-color").value = entry?.color ?? COLORS.find(color => !used.has(color)) ?? "#888888";
    find("class-delete").hidden = !entry;
    // A model tells classes apart: there are always two.
    find("class-delete").disabled = this.list.length <= FEWEST;
    find("class-delete").title = this.list.length <= FEWEST ? "Two classes are the fewest: add another one first." : "";
    find("class-error").textContent = "";
    const answer = await open(find("class-dialog"));
    const wanted = { name: find("class-name").value.trim(), color: find("class-color").value };
    if (answer === "delete") await this.#delete(entry);
    else if (answer === "ok" && entry) await this.#put(this.list.map(one => one.value === entry.value ? { ...one, ...wanted } : one));
    else if (answer === "ok") await this.#add(wanted);
  }

  #check(event) {
    const name = find("class-name").value.trim();
    const taken = this.list.some(one => one.value !== this.editing?.value && one.name.toLowerCase() === name.toLowerCase());
    if (name && !taken) return;
    event.preventDefault();
    find("class-error").textContent = name ? `There is a class ${name} already: choose another name.` : "Give the class a name.";
    find("class-name").focus();
  }

  /** The first value that no class has. */
  #free() {
    const used = new Set(this.list.map(({ value }) => value));
    let value = 1;
    while (used.has(value)) value += 1;
    return value;
  }

  async #add(wanted) {
    const value = this.#free();
    if (value > MOST) return problem("classes", `A label image holds at most ${MOST} classes: delete one first.`);
    if (await this.#put([...this.list, { value, ...wanted }])) this.choose(value);
  }

  async #delete(entry) {
    const sure = await ask(`Delete class ${entry.name}?`,
      "Its pixels become unlabelled in all images of this folder, and the undo history is cleared. This cannot be undone.", "Delete class");
    if (!sure) return;
    if (await this.host.flush()) await this.#put(this.list.filter(one => one.value !== entry.value), true);
  }

  async #put(classes, drop = false) {
    try {
      const json = { revision: this.revision, classes, ...(drop && { drop_pixels: true }) };
      const { revision } = await getJson("/api/label/classes", { method: "PUT", json });
      this.take(classes, revision);
      settle("classes");
      return true;
    } catch (error) {
      if (error.status === 409 && error.body?.classes) {
        this.take(error.body.classes, error.body.revision);
        problem("classes", "Another tab changed the classes meanwhile; they are shown now. Please make your change again.");
      } else problem("classes", wordsOf(error));
      return false;
    }
  }

  take(list, revision) {
    const gone = this.list.map(({ value }) => value).filter(value => !list.some(one => one.value === value));
    Object.assign(this, { list, revision });
    this.paint();
    this.host.changed(list, gone);
  }
}
