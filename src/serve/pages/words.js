// Numbers and counts in words, elements of the page, and questions.

const number = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const exact = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

export const find = id => document.getElementById(id);
export const whole = value => number.format(value);
export const counted = (count, one, many = `${one}s`) => `${whole(count)} ${count === 1 ? one : many}`;

// An element with properties (or attributes, where the name has a dash or is "role") and children:
// element("li", { className: "a" }, "text", child).
export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.includes("-") || key === "role") made.setAttribute(key, value);
    else made[key] = value;
  }
  made.append(...children);
  return made;
}

export function percent(share) {
  if (share > 0 && share < 0.001) return "< 0.1 %";
  if (share < 1 && share > 0.999) return "> 99.9 %";
  return `${(100 * share).toFixed(1)} %`;
}

export function area(squareMetres) {
  if (squareMetres >= 1e5) return `${exact.format(squareMetres / 1e6)} km²`;
  return `${exact.format(squareMetres)} m²`;
}

export function seconds(value) {
  if (value < 10 && !Number.isInteger(value)) return `${value.toFixed(value < 1 ? 2 : 1)} s`;
  const rounded = Math.round(value);
  return rounded < 90 ? `${rounded} s` : `${Math.floor(rounded / 60)} min ${rounded % 60} s`;
}

export function bytes(count) {
  const units = ["bytes", "KiB", "MiB", "GiB"];
  const step = Math.min(Math.floor(Math.log2(Math.max(count, 1)) / 10), units.length - 1);
  return `${exact.format(count / 1024 ** step)} ${units[step]}`;
}

// Opens a dialog and waits for it to be closed; its return value.
export function open(dialog) {
  return new Promise(resolve => {
    dialog.returnValue = "";
    dialog.addEventListener("close", () => resolve(dialog.returnValue), { once: true });
    dialog.showModal();
  });
}

// Asks before something is done: the answer that was chosen, the first of which is the usual one; "" where it was cancelled.
export function ask(title, text, ...answers) {
  find("confirm-title").textContent = title;
  find("confirm-text").textContent = text;
  const buttons = answers.map((answer, i) => element("button", { value: answer, ...(i ? {} : { id: "confirm-yes", className: "primary" }) }, answer));
  find("confirm-answers").replaceChildren(element("button", { value: "" }, "Cancel"), ...buttons.reverse());
  return open(find("confirm-dialog"));
}
