// Colours of class indices and probabilities, painted on canvases.

export const NO_DATA = 65535;

// Stops of the viridis colour map, from the least to the most probable: as legible in grey and to the colour-blind.
const VIRIDIS = [
  [68, 1, 84], [72, 40, 120], [62, 74, 137], [49, 104, 142], [38, 130, 142],
  [31, 158, 137], [53, 183, 121], [110, 206, 88], [181, 222, 43], [253, 231, 37],
];
const OPAQUE = 255;

// Red, green, blue, alpha from 0 to 255 as one number, in the order of the machine.
export const pack = rgba => new Uint32Array(new Uint8ClampedArray(rgba).buffer)[0];

export function rgbOf(hex) {
  return [1, 3, 5].map(at => parseInt(hex.slice(at, at + 2), 16));
}

function viridis(share) {
  const at = share * (VIRIDIS.length - 1);
  const low = Math.min(Math.floor(at), VIRIDIS.length - 2);
  return VIRIDIS[low].map((value, i) => Math.round(value + (at - low) * (VIRIDIS[low + 1][i] - value)));
}

// One for all canvases of a size: large images take tens of megabytes each.
let scratch = null;

function paint(canvas, width, height, fill) {
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  if (scratch?.width !== width || scratch?.height !== height) scratch = new ImageData(width, height);
  fill(new Uint32Array(scratch.data.buffer));
  canvas.getContext("2d").putImageData(scratch, 0, 0);
}

// Each pixel in the colour of its class; with `only`, the others are left transparent.
export function paintClasses(canvas, { classes, width, height }, colors, only = null) {
  const table = new Uint32Array(NO_DATA + 1);
  for (const [index, color] of colors) {
    if (only === null || only === index) table[index] = pack([...rgbOf(color), OPAQUE]);
  }
  paint(canvas, width, height, pixels => {
    for (let i = 0; i < pixels.length; i++) pixels[i] = table[classes[i]];
  });
}

// Each pixel in the colour of its probability, from `least` to 1.
export function paintProbability(canvas, { classes, probability, width, height }, least, only = null) {
  const table = Uint32Array.from({ length: 256 }, (_, byte) => {
    const share = Math.max(0, (byte / 255 - least) / (1 - least));
    return pack([...viridis(share), OPAQUE]);
  });
  // 1 where a class is shown.
  const mask = new Uint8Array(NO_DATA + 1).fill(only === null ? 1 : 0);
  if (only !== null) mask[only] = 1;
  mask[NO_DATA] = 0;
  paint(canvas, width, height, pixels => {
    for (let i = 0; i < pixels.length; i++) pixels[i] = mask[classes[i]] ? table[probability[i]] : 0;
  });
}

export function paintRamp(canvas) {
  const context = canvas.getContext("2d");
  for (let x = 0; x < canvas.width; x++) {
    context.fillStyle = `rgb(${viridis(x / (canvas.width - 1)).join(" ")})`;
    context.fillRect(x, 0, 1, canvas.height);
  }
}
