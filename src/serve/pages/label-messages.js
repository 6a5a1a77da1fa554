// Messages of the label page.
import { element, find } from "/assets/words.js";

/** Says something under the image, for eyes and screen readers. */
export function say(text) {
  find("said").textContent = text;
}

/** Confirms something for a few seconds. */
export function toast(text) {
  const item = element("p", { className: "toast" }, text);
  find("toasts").append(item);
  setTimeout(() => item.remove(), Math.max(4000, 60 * text.length));
}

/** A message with buttons that stays until it is settled; the same key replaces it. */
export function notice(key, text, buttons, kind = "warn") {
  settle(key);
  const actions = buttons.map(([label, act]) => {
    const button = element("button", { type: "button" }, label);
    button.addEventListener("click", act);
    return button;
  });
  find("notices").append(element("div", { id: `notice-${key}`, className: `notice ${kind}`, role: "alert" }, element("p", {}, text), ...actions));
}

export function settle(key) {
  find(`notice-${key}`)?.remove();
}

export const noticed = key => Boolean(find(`notice-${key}`));

/** An error that stays until it is dismissed, or until what it tells of goes well: settle(key). */
export const problem = (key, text) => notice(key, text, [["Dismiss", () => settle(key)]], "bad");

/** What went wrong, in words. */
export const wordsOf = error => error?.message || String(error);
