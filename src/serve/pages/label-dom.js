// Small helpers for elements and messages.

export const find = id => document.getElementById(id);

/** An element with properties (or attributes, where the name has a dash or is "role") and children. */
export function make(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.includes("-") || key === "role") element.setAttribute(key, value);
    else element[key] = value;
  }
  element.append(...children);
  return element;
}

export const number = value => value.toLocaleString("en");
export const plural = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;

/** Says something under the image, for eyes and screen readers. */
export function say(text) {
  find("said").textContent = text;
}

/** Confirms something for a few seconds. */
export function toast(text) {
  const item = make("p", { className: "toast" }, text);
  find("toasts").append(item);
  setTimeout(() => item.remove(), Math.max(4000, 60 * text.length));
}

/** A message with buttons that stays until it is settled; the same key replaces it. */
export function notice(key, text, buttons, kind = "warn") {
  settle(key);
  const actions = buttons.map(([label, act]) => {
    const button = make("button", { type: "button" }, label);
    button.addEventListener("click", act);
    return button;
  });
  find("notices").append(make("div", { id: `notice-${key}`, className: `notice ${kind}`, role: "alert" }, make("p", {}, text), ...actions));
}

export function settle(key) {
  find(`notice-${key}`)?.remove();
}

export const noticed = key => Boolean(find(`notice-${key}`));

/** An error that stays until it is dismissed, or until what it tells of goes well: settle(key). */
export const problem = (key, text) => notice(key, text, [["Dismiss", () => settle(key)]], "bad");

/** What went wrong, in words. */
export const wordsOf = error => error?.message || String(error);
