// Edits of a label map, undone and redone pixel by pixel; no DOM here.
import { KEEP } from "./label-raster.js";

const STEPS = 200;
// Both arrays of all tiles of all steps.
const BYTES = 256 << 20;

/** One edit being made: remembers each tile as it was before its first change. */
class Edit {
  constructor(map) {
    this.map = map;
    this.before = new Map();
    this.dirty = null;
  }

  /** Sets pixels x0 <= x < x1 of a row; with `only`, those whose present value it accepts. */
  span(y, x0, x1, value, only) {
    const { width, height, data } = this.map;
    [x0, x1] = [Math.max(x0, 0), Math.min(x1, width)];
    if (y < 0 || y >= height || x0 >= x1) return;
    for (let x = x0; x < x1; x++) {
      const at = y * width + x;
      if (data[at] === value || (only && !only(data[at]))) continue;
      this.touch(x, y);
      data[at] = value;
    }
  }

  pixel(at, value) {
    const { width } = this.map;
    this.span(Math.floor(at / width), at % width, at % width + 1, value);
  }

  touch(x, y) {
    const tile = this.map.tileOf(x, y);
    if (!this.before.has(tile)) this.before.set(tile, this.map.copyTile(tile));
    const dirty = this.dirty ??= [x, y, x, y];
    if (x < dirty[0]) dirty[0] = x;
    if (y < dirty[1]) dirty[1] = y;
    if (x > dirty[2]) dirty[2] = x;
    if (y > dirty[3]) dirty[3] = y;
  }

  /** What changed, by tile: { before, after }, KEEP where nothing did. */
  changes() {
    const changes = new Map();
    for (const [tile, before] of this.before) {
      const after = this.map.copyTile(tile);
      let differs = false;
      for (let i = 0; i < after.length; i++) {
        if (after[i] === before[i]) after[i] = before[i] = KEEP;
        else differs = true;
      }
      if (differs) changes.set(tile, { before, after });
    }
    return changes;
  }
}

const bytesOf = changes => [...changes.values()].reduce((sum, { after }) => sum + 2 * after.length, 0);

/** The edits of one image. `changed(tiles)` hears of each finished edit, undo and redo: tile number -> new values, KEEP elsewhere. */
export class History {
  constructor(map, changed) {
    Object.assign(this, { map, changed, done: [], undone: [], bytes: 0, edit: null });
  }

  begin() {
    this.commit();
    return this.edit = new Edit(this.map);
  }

  /** Ends the edit under way; false if it changed nothing. */
  commit() {
    const changes = this.edit?.changes();
    this.edit = null;
    if (!changes?.size) return false;
    this.undone = [];
    this.done.push(changes);
    this.bytes = this.done.reduce((sum, step) => sum + bytesOf(step), 0);
    while (this.done.length > STEPS || (this.bytes > BYTES && this.done.length > 1)) this.bytes -= bytesOf(this.done.shift());
    this.changed(new Map([...changes].map(([tile, { after }]) => [tile, after])));
    return true;
  }

  /** Takes back the edit under way, as if it had never begun. */
  cancel() {
    for (const [tile, values] of this.edit?.before ?? []) this.map.writeTile(tile, values);
    this.edit = null;
  }

  undo() {
    this.commit();
    return this.#step(this.done, this.undone, "after", "before");
  }

  redo() {
    this.commit();
    return this.#step(this.undone, this.done, "before", "after");
  }

  #step(source, target, is, becomes) {
    const changes = source.pop();
    if (!changes) return false;
    target.push(changes);
    const written = new Map();
    for (const [tile, change] of changes) {
      // A pixel that another tab has changed since stays as that tab left it.
      const now = this.map.copyTile(tile);
      const values = change[becomes].map((value, i) => now[i] === change[is][i] ? value : KEEP);
      this.map.writeTile(tile, values);
      written.set(tile, values);
    }
    this.changed(written);
    return true;
  }
}
