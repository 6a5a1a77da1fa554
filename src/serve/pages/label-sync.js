// Keeps the labels of this tab and of the server the same: each edit is kept in the browser until the server has it on disk.
import { sentence } from "/assets/api.js";
import { KEEP, LabelMap, packed, patchOf, unpacked } from "./label-raster.js";

const PAUSE = 250;
const LONGEST_WAIT = 10_000;
// Tiles sent at once: at most about 1.5 MB of JSON.
const AT_ONCE = 256;
const PREFIX = "segtool-label";

/** A fault that time may cure: the server is away or busy. */
class Away extends Error {}

/** New values over older ones of the same tile. */
function over(newer, older) {
  return older ? newer.map((value, i) => value === KEEP ? older[i] : value) : newer.slice();
}

/** Unsent tiles in localStorage, a key for each: what is written there outlives the tab and the server. */
class Store {
  constructor(folder, tab) {
    Object.assign(this, { folder, tab, failing: new Set() });
  }

  /** False where an unsent tile is kept nowhere but in this page. */
  get works() {
    return this.failing.size === 0;
  }

  key(image, tile) {
    return [PREFIX, this.folder, this.tab, image, tile].join("\n");
  }

  put(image, tile, base, values, before) {
    const key = this.key(image, tile);
    try {
      localStorage.setItem(key, `${base}:${packed(values)}:${packed(before)}`);
      this.failing.delete(key);
    } catch {
      // No storage, or no room left: the page says so, and asks before it is closed.
      this.failing.add(key);
    }
  }

  drop(image, tile) {
    const key = this.key(image, tile);
    this.failing.delete(key);
    try {
      localStorage.removeItem(key);
    } catch {
      // Without storage there is nothing to remove.
    }
  }

  /** Tiles that tabs now closed could not send: [{ image, tile, base, text, before }]; they are this tab's from now on. */
  async adopt() {
    const left = [];
    const held = await navigator.locks?.query();
    const alive = new Set(held?.held.map(lock => lock.name));
    try {
      for (const key of Object.keys(localStorage)) {
        const [prefix, folder, tab, image, tile] = key.split("\n");
        if (prefix !== PREFIX || folder !== this.folder || tab === this.tab || alive.has(`${PREFIX}-${tab}`)) continue;
        const [base, text, before] = localStorage.getItem(key).split(":");
        left.push({ key, image, tile: +tile, base: +base, text, before });
      }
    } catch {
      // Without storage nothing is left.
    }
    return left;
  }
}

/** Marks this tab as alive for as long as it is open. */
const stayAlive = tab => navigator.locks?.request(`${PREFIX}-${tab}`, () => new Promise(() => {}));

export class Sync {
  /**
   * `folder` tells label folders of one address apart; `changed()` hears that `state` may differ;
   * `merged(image)` that pixels of the open image came from the server; `busy()` is true while a stroke is under way.
   */
  constructor({ folder, tab, images, changed, merged, busy }) {
    Object.assign(this, { folder, tab, changed, merged, busy, waits: 0, offline: false, away: false, refused: "", running: false, timer: 0, open: null });
    this.store = new Store(folder, tab);
    this.images = images.map(({ id, name, width, height, revision }) => ({
      id, name, revision, map: new LabelMap(width, height, new Uint8Array(0)), known: null,
      // Unsent values by tile, and what the server had there when they were painted.
      base: revision, pending: new Map(), before: new Map(), stale: false, told: 0, conflict: null,
    }));
    stayAlive(tab);
  }

  /** Takes over what closed tabs left unsent; the number of tiles. */
  async adopt() {
    const left = await this.store.adopt();
    for (const { key, image: name, tile, base, text, before } of left) {
      const image = this.images.find(one => one.name === name);
      if (!image) continue;
      const { width, height } = image.map.tile(tile);
      const values = unpacked(text, width * height);
      image.base = image.pending.size ? Math.min(image.base, base) : base;
      image.pending.set(tile, over(values, image.pending.get(tile)));
      image.before.set(tile, over(unpacked(before, width * height), image.before.get(tile)));
      this.#keep(image, tile);
      if (this.store.works) localStorage.removeItem(key);
      if (image === this.open) {
        image.map.writeTile(tile, values);
        this.merged(image);
      }
    }
    if (left.length) this.#soon(0);
    return left.length;
  }

  /** Fetches the labels of an image, for `follow`. */
  async load(id) {
    const image = this.images[id];
    // What is heard of from now on need not be in them.
    if (image !== this.open) image.stale = false;
    return this.#fetch(image);
  }

  /** Takes over an image's labels from `load`, with what is unsent on top, and follows it from now on; its label map. */
  follow(id, { values, revision }) {
    const image = this.images[id];
    this.open = image;
    image.map.data = values.slice();
    this.#know(image, values, revision);
    if (image.stale) this.#soon(0);
    return image.map;
  }

  /** Notes an edit: tile number -> values, KEEP where unchanged. */
  edit(id, tiles) {
    const image = this.images[id];
    if (!image.pending.size) image.base = image.revision;
    const known = new LabelMap(image.map.width, image.map.height, image.known);
    for (const [tile, values] of tiles) {
      const seen = known.copyTile(tile);
      const before = values.map((value, i) => value === KEEP ? KEEP : seen[i]);
      image.pending.set(tile, over(values, image.pending.get(tile)));
      image.before.set(tile, image.before.has(tile) ? over(image.before.get(tile), before) : before);
      this.#keep(image, tile);
    }
    this.refused = "";
    this.#soon(PAUSE);
    this.changed();
  }

  /** Another tab changed an image; true if that is news. */
  heard({ image: id, revision, tab }) {
    const image = this.images[id];
    if (!image || tab === this.tab || revision <= image.revision) return false;
    const isNews = revision > image.told;
    image.told = revision;
    image.stale = true;
    this.#soon(0);
    return isNews;
  }

  /** Settles a conflict: "mine" overwrites, "theirs" gives up this tab's pixels that differ. */
  settle(id, choice) {
    const image = this.images[id];
    const { differing, revision } = image.conflict;
    image.conflict = null;
    if (choice === "theirs") this.#giveUp(image, new Set(differing));
    // The choice was made of what the server had then: anything newer is a conflict of its own.
    image.base = revision;
    image.stale = true;
    this.#soon(0);
    this.changed();
  }

  /** The connection for events is lost. */
  lost() {
    this.away = true;
    this.changed();
  }

  /** Tries again at once, e.g. since the browser is online again. */
  retry(found = false) {
    if (found) this.away = false;
    this.waits = 0;
    this.refused = "";
    this.#soon(0);
  }

  /** Sends all at once; true if the server has everything then. */
  async flush() {
    while (this.running) await new Promise(done => setTimeout(done, 20));
    this.refused = "";
    clearTimeout(this.timer);
    this.timer = 0;
    await this.#run();
    return !this.state.unsent;
  }

  /** Classes are gone: unsent pixels of these values go with them. */
  forget(values) {
    const gone = new Set(values);
    for (const image of this.images) this.#giveUp(image, { has: (_, value) => gone.has(value) });
  }

  /** What the browser lets a closing page send; anything more stays in the store. */
  leave() {
    for (const image of this.images) {
      if (!image.pending.size || image.conflict || image.sending) continue;
      const body = this.#body(image, image.pending);
      if (body.length < 60_000) fetch(...this.#post(image, body, true)).catch(() => {});
    }
  }

  get state() {
    const unsent = this.images.reduce((sum, image) => sum + image.pending.size + (image.sending?.size ?? 0), 0);
    return { unsent, offline: this.offline || this.away, refused: this.refused, kept: this.store.works, conflicts: this.images.filter(image => image.conflict) };
  }

  /** Keeps what is unsent of a tile in the browser. */
  #keep(image, tile) {
    const [pending, sending] = [image.pending.get(tile), image.sending?.get(tile)];
    this.store.put(image.name, tile, image.base, pending ? over(pending, sending) : sending, image.before.get(tile));
  }

  /** A tile has nothing unsent any more. */
  #drop(image, tile) {
    image.before.delete(tile);
    this.store.drop(image.name, tile);
  }

  #soon(pause) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => { this.timer = 0; this.#run(); }, pause);
  }

  async #run() {
    if (this.running) return;
    this.running = true;
    try {
      if (this.offline || this.away) await this.#sameServer();
      for (let next; (next = this.#next());) await next();
      this.#reached();
    } catch (error) {
      this.#failed(error);
    }
    this.running = false;
    this.changed();
  }

  /** A server that was started again at this address may be one for other images, which must not get these labels. */
  async #sameServer() {
    const now = await (await this.#ask("/api/label")).json();
    const same = now.labels_folder === this.folder && this.images.every(({ id, name }) => now.images[id]?.name === name);
    if (!same) throw new Error("The server was started again with other images. Reload this page. Unsent strokes for the previous images stay in this browser.");
  }

  #next() {
    if (this.refused) return null;
    const full = this.images.find(image => image.pending.size && !image.conflict);
    if (full) return () => this.#send(full);
    if (this.open?.stale && !this.open.conflict) return () => this.#refresh(this.open);
    return null;
  }

  #reached() {
    this.offline = false;
    this.waits = 0;
  }

  #failed(error) {
    if (error instanceof Away) {
      this.offline = true;
      this.#soon(Math.min(LONGEST_WAIT, 500 * 2 ** this.waits++));
    } else {
      this.refused = error.message;
    }
  }

  #body(image, tiles) {
    const patches = [...tiles].map(([tile, values]) => patchOf(image.map, tile, values)).filter(Boolean);
    return JSON.stringify({ revision: image.base, tab: this.tab, patches });
  }

  #post(image, body, keepalive = false) {
    const headers = { "Content-Type": "application/json" };
    return [`/api/label/images/${image.id}/patches`, { method: "POST", headers, body, keepalive }];
  }

  async #send(image) {
    image.sending = new Map([...image.pending].slice(0, AT_ONCE));
    for (const tile of image.sending.keys()) image.pending.delete(tile);
    this.changed();
    let answer;
    try {
      answer = await this.#ask(...this.#post(image, this.#body(image, image.sending)));
    } catch (error) {
      this.#takeBack(image);
      throw error;
    }
    if (answer.status === 409) {
      this.#takeBack(image);
      await this.#disagree(image, await answer.json());
    } else {
      this.#sent(image, (await answer.json()).revision);
    }
  }

  #takeBack(image) {
    for (const [tile, values] of image.sending) image.pending.set(tile, image.pending.has(tile) ? over(image.pending.get(tile), values) : values);
    image.sending = null;
  }

  #sent(image, revision) {
    const { sending } = image;
    image.sending = null;
    // A revision between ours and this one is another tab's: its pixels are fetched once all of ours are there.
    if (revision > image.revision + 1) image.stale = true;
    else {
      image.revision = Math.max(revision, image.revision);
      image.base = Math.max(image.base, image.revision);
    }
    const known = image.known && new LabelMap(image.map.width, image.map.height, image.known);
    for (const [tile, values] of sending) {
      known?.writeTile(tile, values);
      const rest = image.pending.get(tile);
      const before = image.before.get(tile);
      if (!rest) this.#drop(image, tile);
      else {
        image.before.set(tile, rest.map((value, i) => value === KEEP ? KEEP : values[i] === KEEP ? before[i] : values[i]));
        this.#keep(image, tile);
      }
    }
  }

  /** After a 409: no conflict where the server has the very value already, as when only its answer was lost, or still
   * the one that was painted over, as when it was started again and does not know whose that is. */
  async #disagree(image, { conflicts }) {
    const { values, revision } = await this.#fetch(image);
    const differing = [];
    this.#pixels(image, conflicts, (at, own, before) => {
      if (values[at] !== own && values[at] !== before) differing.push(at);
    });
    if (differing.length) image.conflict = { areas: conflicts, differing, revision };
    else {
      image.base = revision;
      image.stale = true;
    }
    this.changed();
  }

  /** Each unsent pixel within some areas: its index, its value, and what the server had there. */
  #pixels(image, areas, visit) {
    const { width } = image.map;
    for (const [number, values] of image.pending) {
      const tile = image.map.tile(number);
      const before = image.before.get(number);
      values.forEach((value, i) => {
        const [x, y] = [tile.x + i % tile.width, tile.y + Math.floor(i / tile.width)];
        const within = areas.some(area => x >= area.x && y >= area.y && x < area.x + area.width && y < area.y + area.height);
        if (value !== KEEP && within) visit(y * width + x, value, before[i]);
      });
    }
  }

  /** Unsent pixels for which `lost.has(index, value)` is true are sent no more. */
  #giveUp(image, lost) {
    const { width } = image.map;
    for (const [number, values] of image.pending) {
      const tile = image.map.tile(number);
      const before = image.before.get(number);
      values.forEach((value, i) => {
        if (lost.has((tile.y + Math.floor(i / tile.width)) * width + tile.x + i % tile.width, value)) values[i] = before[i] = KEEP;
      });
      if (values.some(value => value !== KEEP)) this.#keep(image, number);
      else {
        image.pending.delete(number);
        this.#drop(image, number);
      }
    }
  }

  async #refresh(image) {
    // What is heard of from now on need not be in the answer.
    image.stale = false;
    const { values, revision } = await this.#fetch(image).catch(error => {
      image.stale = true;
      throw error;
    });
    // Pixels under a stroke are not exchanged midway.
    while (this.busy()) await new Promise(done => setTimeout(done, 50));
    image.map.data.set(values);
    this.#know(image, values, revision);
    if (image === this.open) this.merged(image);
  }

  /** Labels of the server, which the label map has now: those that are unsent go on top. */
  #know(image, values, revision) {
    // An answer may come after a newer one.
    if (revision < image.revision) image.stale = true;
    image.known = values;
    image.revision = revision;
    for (const tiles of [image.sending ?? [], image.pending]) {
      for (const [tile, own] of tiles) image.map.writeTile(tile, own);
    }
  }

  async #fetch(image) {
    const answer = await this.#ask(`/api/label/images/${image.id}/labels.bin`);
    const values = new Uint8Array(await answer.arrayBuffer());
    return { values, revision: +answer.headers.get("X-Revision") };
  }

  /** The answer if it is one to act on; a conflict is. */
  async #ask(path, options) {
    let answer;
    try {
      answer = await fetch(path, options);
    } catch {
      throw new Away("The server does not answer.");
    }
    if (answer.ok || answer.status === 409) return answer;
    const text = await answer.text();
    if (answer.status >= 500 || answer.status === 429 || answer.status === 408) throw new Away(text);
    let message = `The server answered ${answer.status}.`;
    try {
      message = JSON.parse(text).error ?? message;
    } catch {
      // Not JSON: the status says enough.
    }
    throw new Error(sentence(message));
  }
}
