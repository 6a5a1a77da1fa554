// The classes of a result by area; a click isolates one.

import { area, element, find, percent, whole } from "/assets/words.js";

const MANY = 15; // Classes from which a search field helps.

export class Legend {
  // change(index | null) is called when a class is isolated, or all are shown.
  constructor(change) {
    this.change = change;
    this.only = null;
    this.rows = [];
    find("everything").addEventListener("click", () => this.isolate(null));
    find("filter").addEventListener("input", () => this.filter());
  }

  open(result, classes) {
    this.only = null;
    this.rows = result.classes.map(found => this.row(found, classes.get(found.index), result.classes[0].share));
    find("legend").replaceChildren(...this.rows.map(({ item }) => item));
    find("filter").hidden = this.rows.length < MANY;
    find("filter").value = "";
    find("no-data").hidden = !result.no_data;
    find("no-data").textContent = `${whole(result.no_data)} pixels without data are left out.`;
    this.filter();
    this.mark();
  }

  row(found, { name, color }, largest) {
    const size = `${whole(found.pixels)} px`;
    const extent = found.area_m2 === null ? size : `${area(found.area_m2)} · ${size}`;
    const swatch = element("span", { className: "swatch" });
    const bar = element("span", { className: "share-bar" });
    swatch.style.background = color;
    bar.style.setProperty("--share", found.share / largest);
    bar.style.setProperty("--color", color);
    const button = element(
      "button", { type: "button", className: "class", title: "Show only this class" },
      swatch,
      element("span", { className: "name" }, name),
      element("span", { className: "number" }, percent(found.share)),
      bar,
      element("span", { className: "more small faint number" }, extent),
      element("span", { className: "more small faint number", title: "Mean probability" }, found.mean_probability === null ? "" : `mean p ${found.mean_probability.toFixed(2)}`),
    );
    button.addEventListener("click", () => this.toggle(found.index));
    return { index: found.index, name: name.toLowerCase(), button, item: element("li", {}, button) };
  }

  toggle(index) {
    this.isolate(this.only === index ? null : index);
  }

  isolate(index) {
    const hadFocus = document.activeElement === find("everything");
    this.only = index;
    this.mark();
    if (hadFocus) this.rows[0]?.button.focus();
    this.change(index);
  }

  mark() {
    find("everything").hidden = this.only === null;
    find("legend").classList.toggle("isolating", this.only !== null);
    for (const { index, button } of this.rows) button.setAttribute("aria-pressed", index === this.only);
  }

  filter() {
    const wanted = find("filter").value.trim().toLowerCase();
    for (const { name, item } of this.rows) item.hidden = !name.includes(wanted);
    find("legend-none").hidden = this.rows.some(({ item }) => !item.hidden);
  }
}
