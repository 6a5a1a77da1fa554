// The keyboard of the label page.

// Keys of controls stay theirs.
const typing = target => target.closest("input:not([type=range], [type=checkbox], [type=radio]), select, textarea");

/** `actions` by key; `history` has undo and redo. */
export function keys(stage, tools, actions, { undo, redo }) {
  addEventListener("keydown", event => {
    if (typing(event.target) || document.querySelector("dialog[open]")) return;
    // Brackets need AltGr on many keyboards, which counts as Ctrl and Alt.
    const plain = event.getModifierState("AltGraph");
    if (!plain && (event.ctrlKey || event.metaKey)) return void chord(event, undo, redo);
    if (!plain && event.altKey) return;
    if (event.target === stage && drawing(event, tools)) return;
    if (event.defaultPrevented) return;
    // Pages are turned by a scrolled list, and keys of a radio group or slider move in it.
    const action = actions[event.key] ?? (event.shiftKey ? undefined : actions[event.key.toLowerCase()]);
    if (!action || event.target.closest("aside") && event.key.startsWith("Page")) return;
    event.preventDefault();
    if (!event.repeat || event.key === "[" || event.key === "]") action();
  });
  stage.addEventListener("keyup", event => { if (event.key === " ") tools.key(false); });
  stage.addEventListener("blur", () => tools.key(false));
}

function chord(event, undo, redo) {
  const key = event.key.toLowerCase();
  if (key === "z" && !event.shiftKey) undo();
  else if (key === "y" || key === "z") redo();
  else if (key === "s") document.getElementById("save").click();
  else return;
  event.preventDefault();
}

/** Keys of the image itself; true if this was one. */
function drawing(event, tools) {
  const { key } = event;
  if (key === " ") {
    if (event.repeat || tools.key(true, event.shiftKey)) event.preventDefault();
    return true;
  }
  if (key === "Enter") tools.finish();
  else if (key === "Backspace") tools.back();
  else if (key !== "Escape" || !tools.giveUp()) return false;
  event.preventDefault();
  return true;
}
