// A label map and the shapes painted into it; no DOM here.
// A shape calls span(y, x0, x1) for each row: pixels x0 <= x < x1, not yet clipped to the image.

export const TILE = 64;
/** In a patch: leave this pixel as it is. */
export const KEEP = 255;

const { ceil, floor, max, min, round, sqrt } = Math;

// First pixel whose centre lies at or right of x.
const from = x => ceil(x - 0.5);

/** An even brush is centred on a corner of pixels, an odd one on a centre, so that both paint as wide as they say. */
function snap([x, y], size) {
  return size % 2 ? [floor(x) + 0.5, floor(y) + 0.5] : [round(x), round(y)];
}

/** A stroke of a round brush from `a` to `b`: all pixels with their centre within size / 2 of the segment. */
export function stroke(a, b, size, span) {
  const [[ax, ay], [bx, by]] = [snap(a, size), snap(b, size)];
  const radius = size / 2 + 1e-6;
  const length = Math.hypot(bx - ax, by - ay);
  // Corners of the band between the two discs.
  const [nx, ny] = length ? [(ay - by) / length * radius, (bx - ax) / length * radius] : [0, 0];
  const corners = [[ax + nx, ay + ny], [bx + nx, by + ny], [bx - nx, by - ny], [ax - nx, ay - ny]];
  for (let y = from(min(ay, by) - radius); y + 0.5 <= max(ay, by) + radius; y++) {
    let [left, right] = [Infinity, -Infinity];
    const take = (x0, x1) => { left = min(left, x0); right = max(right, x1); };
    for (const [cx, cy] of [[ax, ay], [bx, by]]) {
      const rest = radius * radius - (y + 0.5 - cy) ** 2;
      if (rest >= 0) take(cx - sqrt(rest), cx + sqrt(rest));
    }
    if (length) for (const x of crossings(corners, y + 0.5)) take(x, x);
    // Both ends belong to the stroke.
    if (left <= right) span(y, from(left), floor(right - 0.5) + 1);
  }
}

/** Where the edges of a polygon cross a row, from left to right. */
function crossings(points, y) {
  const found = [];
  points.forEach(([x1, y1], i) => {
    const [x0, y0] = points[(i || points.length) - 1];
    if (y0 <= y !== y1 <= y) found.push(x0 + (y - y0) / (y1 - y0) * (x1 - x0));
  });
  return found.sort((a, b) => a - b);
}

/** All pixels whose centre lies inside by the even-odd rule. */
export function polygon(points, span) {
  const rows = points.map(([, y]) => y);
  for (let y = floor(min(...rows)); y < max(...rows); y++) {
    const found = crossings(points, y + 0.5);
    for (let i = 0; i + 1 < found.length; i += 2) span(y, from(found[i]), from(found[i + 1]));
  }
}

/** The pixels under both corners and all between. */
export function rectangle([x0, y0], [x1, y1], span) {
  const [left, right] = [floor(min(x0, x1)), floor(max(x0, x1)) + 1];
  for (let y = floor(min(y0, y1)); y <= floor(max(y0, y1)); y++) span(y, left, right);
}

export class LabelMap {
  constructor(width, height, data = new Uint8Array(width * height)) {
    Object.assign(this, { width, height, data });
    this.columns = ceil(width / TILE);
  }

  /** Where a tile lies: { x, y, width, height }. */
  tile(number) {
    const x = number % this.columns * TILE;
    const y = floor(number / this.columns) * TILE;
    return { x, y, width: min(TILE, this.width - x), height: min(TILE, this.height - y) };
  }

  /** The same as [left, top, right, bottom]. */
  area(number) {
    const { x, y, width, height } = this.tile(number);
    return [x, y, x + width, y + height];
  }

  tileOf(x, y) {
    return floor(y / TILE) * this.columns + floor(x / TILE);
  }

  /** The pixels of a tile as an array of its own, row by row. */
  copyTile(number) {
    const { x, y, width, height } = this.tile(number);
    const values = new Uint8Array(width * height);
    for (let row = 0; row < height; row++) {
      const start = (y + row) * this.width + x;
      values.set(this.data.subarray(start, start + width), row * width);
    }
    return values;
  }

  /** Writes the pixels of a tile that are not KEEP. */
  writeTile(number, values) {
    const { x, y, width, height } = this.tile(number);
    for (let i = 0; i < width * height; i++) {
      if (values[i] !== KEEP) this.data[(y + floor(i / width)) * this.width + x + i % width] = values[i];
    }
  }

  /** Pixels of each value, as an array of 256 counts. */
  counts() {
    const { data } = this;
    const counts = new Uint32Array(256);
    for (let i = 0; i < data.length; i++) counts[data[i]] += 1;
    return counts;
  }
}

/** A connected region (by edges) of pixels that `same(index)` joins to the first; `beside(index)` hears of its neighbours. */
function flood(map, start, seen, same, beside) {
  const { width, height } = map;
  const [region, todo] = [[], [start]];
  seen[start] = 1;
  const visit = next => {
    if (!same(next)) beside?.(next);
    else if (!seen[next]) {
      seen[next] = 1;
      todo.push(next);
    }
  };
  while (todo.length) {
    const at = todo.pop();
    const [x, y] = [at % width, floor(at / width)];
    region.push(at);
    if (x > 0) visit(at - 1);
    if (x < width - 1) visit(at + 1);
    if (y > 0) visit(at - width);
    if (y < height - 1) visit(at + width);
  }
  return region;
}

/** Marks all that is connected to the image's border without a label: it encloses nothing, however large it is. */
function outside({ width, height, data }, seen) {
  const todo = [];
  const visit = at => {
    if (data[at] || seen[at]) return;
    seen[at] = 1;
    todo.push(at);
  };
  for (let x = 0; x < width; x++) [x, (height - 1) * width + x].forEach(visit);
  for (let y = 0; y < height; y++) [y * width, (y + 1) * width - 1].forEach(visit);
  while (todo.length) {
    const at = todo.pop();
    const x = at % width;
    if (x > 0) visit(at - 1);
    if (x < width - 1) visit(at + 1);
    if (at >= width) visit(at - width);
    if (at + width < data.length) visit(at + width);
  }
}

/** Unlabelled regions that one class encloses on all sides: [{ value, region: [pixel index, ...] }]. */
export function holes(map) {
  const { data } = map;
  const seen = new Uint8Array(data.length);
  const found = [];
  outside(map, seen);
  for (let start = 0; start < data.length; start++) {
    if (data[start] || seen[start]) continue;
    const around = new Set();
    const region = flood(map, start, seen, i => data[i] === 0, i => around.add(data[i]));
    if (around.size === 1) found.push({ value: [...around][0], region });
  }
  return found;
}

/** The region of one value around a pixel of any map of the same size, e.g. of predicted classes. */
export function regionAt(map, x, y) {
  const start = floor(y) * map.width + floor(x);
  const value = map.data[start];
  return { value, region: flood(map, start, new Uint8Array(map.data.length), i => map.data[i] === value) };
}

/** The smallest patch of a tile that holds all its values, { x, y, width, height, values }; nothing if all are KEEP. */
export function patchOf(map, number, values) {
  const tile = map.tile(number);
  let [left, top, right, bottom] = [TILE, TILE, -1, -1];
  values.forEach((value, i) => {
    if (value === KEEP) return;
    const [x, y] = [i % tile.width, floor(i / tile.width)];
    [left, top, right, bottom] = [min(left, x), min(top, y), max(right, x), max(bottom, y)];
  });
  if (right < 0) return null;
  const [width, height] = [right - left + 1, bottom - top + 1];
  const cut = new Uint8Array(width * height);
  for (let row = 0; row < height; row++) {
    const start = (top + row) * tile.width + left;
    cut.set(values.subarray(start, start + width), row * width);
  }
  return { x: tile.x + left, y: tile.y + top, width, height, values: base64(cut) };
}

function base64(bytes) {
  let text = "";
  for (let i = 0; i < bytes.length; i += 4096) text += String.fromCharCode(...bytes.subarray(i, i + 4096));
  return btoa(text);
}

/** Runs of equal values as text, for the browser's small storage: "value*length,..." in base 36. */
export function packed(values) {
  const runs = [];
  for (let i = 0, start = 0; i < values.length; i++) {
    if (values[i + 1] === values[start]) continue;
    runs.push(`${values[start].toString(36)}*${(i + 1 - start).toString(36)}`);
    start = i + 1;
  }
  return runs.join(",");
}

export function unpacked(text, length) {
  const values = new Uint8Array(length).fill(KEEP);
  let at = 0;
  for (const run of text.split(",")) {
    const [value, count] = run.split("*").map(part => parseInt(part, 36));
    values.fill(value, at, at += count);
  }
  return values;
}
