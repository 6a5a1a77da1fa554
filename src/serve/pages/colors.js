// Colours of class indices and probabilities, painted on canvases.

export const NO_DATA = 65535;

// Stops of the viridis colour map, from the least to the most probable: as legible in grey and to the colour-blind.
const VIRIDIS = [
  [68, 1, 84], [72, 40, 120], [62, 74, 137], [49, 104, 142], [38, 130, 142],
  [31, 158, 137], [53, 183, 121], [110, 206, 88], [181, 222, 43], [253, 231, 37],
];
const OPAQUE = 255;

// Bytes red, green, blue, alpha as one number, in the order of the machine.
const pack = bytes => new Uint32Array(new Uint8Array(bytes).buffer)[0];

export function rgbOf(hex) {
  return [1, 3, 5].map(at => parseInt(hex.slice(at, at + 2), 16));
}

function viridis(share) {
  const at = share * (VIRIDIS.length - 1);
  const low = Math.min(Math.floor(at), VIRIDIS.length - 2);
  return VIRIDIS[low].map((value, i) => Math.round(value + (at - low) * (VIRIDIS[low + 1][i] - value)));
}

function paint(canvas, width, height, colorAt) {
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  for (let i = 0; i < pixels.length; i++) pixels[i] = colorAt(i);
  context.putImageData(image, 0, 0);
}

// Each pixel in the colour of its class; with `only`, the others are left transparent.
export function paintClasses(canvas, { classes, width, height }, colors, only = null) {
  const table = new Uint32Array(NO_DATA + 1);
  for (const [index, color] of colors) {
    if (only === null || only === index) table[index] = pack([...rgbOf(color), OPAQUE]);
  }
  paint(canvas, width, height, i => table[classes[i]]);
}

// Each pixel in the colour of its probability, from `least` to 1.
export function paintProbability(canvas, { classes, probability, width, height }, least, only = null) {
  const table = Uint32Array.from({ length: 256 }, (_, byte) => {
    const share = Math.max(0, (byte / 255 - least) / (1 - least));
    return pack([...viridis(share), OPAQUE]);
  });
  const isShown = index => index !== NO_DATA && (only === null || index === only);
  paint(canvas, width, height, i => (isShown(classes[i]) ? table[probability[i]] : 0));
}

export function paintRamp(canvas) {
  const table = Uint32Array.from({ length: canvas.width }, (_, x) => pack([...viridis(x / (canvas.width - 1)), OPAQUE]));
  paint(canvas, canvas.width, canvas.height, i => table[i]);
}
