// Draws a panel: the image with window and level, heat map, masks and outlines.
const MAGMA = [[0, 0, 4], [44, 17, 95], [114, 31, 129], [183, 55, 121], [241, 96, 93], [254, 176, 120], [252, 253, 191]];
const [TRUTH_COLOUR, PREDICTION_COLOUR] = ["--truth", "--prediction"].map((name) => (
  getComputedStyle(document.documentElement).getPropertyValue(name).match(/[0-9a-f]{2}/gi).map((digits) => parseInt(digits, 16))));
const CASING_COLOUR = "#101014"; // of the dark edges of outlines, which separate them from bright tissue
const MIN_CANVAS_SIDE = 1000; // canvas pixels along the longer side; small images are enlarged to keep outlines smooth

// Colour of a value in [0, 1], interpolated linearly in the colour map.
function magmaColour(value) {
  const position = Math.min(value * (MAGMA.length - 1), MAGMA.length - 1 - 1e-9);
  const [lower, upper] = [MAGMA[Math.floor(position)], MAGMA[Math.floor(position) + 1]];
  return lower.map((start, channel) => start + (upper[channel] - start) * (position % 1));
}

// Data URI of a grey image -> { width, height, values }, with one byte per pixel.
async function decodeImage(dataUri) {
  const element = new Image();
  element.src = dataUri;
  await element.decode();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [element.naturalWidth, element.naturalHeight];
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(element, 0, 0);
  const rgba = context.getImageData(0, 0, canvas.width, canvas.height).data;
  const values = new Uint8Array(canvas.width * canvas.height);
  for (let index = 0; index < values.length; index += 1) values[index] = rgba[4 * index];
  return { width: canvas.width, height: canvas.height, values };
}

// Canvas of the size of a decoded image, in which each pixel has the colour colourOf(value) = [r, g, b, alpha].
function colourise(image, colourOf) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.width, image.height];
  const context = canvas.getContext("2d");
  const imageData = context.createImageData(image.width, image.height);
  const table = new Uint32Array(Uint8ClampedArray.from({ length: 4 * 256 }, (_, index) => colourOf(index >> 2)[index & 3]).buffer);
  const pixels = new Uint32Array(imageData.data.buffer);
  for (let index = 0; index < pixels.length; index += 1) pixels[index] = table[image.values[index]];
  context.putImageData(imageData, 0, 0);
  return canvas;
}

// Value of create(), stored with a decoded image until another key is requested under the same name.
const cache = new WeakMap();
function cached(image, name, key, create) {
  const entries = cache.get(image) || cache.set(image, {}).get(image);
  if (entries[name]?.key !== key) entries[name] = { key, value: create() };
  return entries[name].value;
}

// Grey value on the screen: linear within the window, whose width and centre (the level) are in % of the range 0 to 255.
const windowedGrey = (value, { width, level }) => 255 * ((value / 2.55 - level) / width + 0.5);

// Path along the edges of the region of pixels with at least `minValue`, in image pixels.
function outlinePath(image, minValue) {
  const path = new Path2D();
  const { width, height, values } = image;
  const isInside = (x, y) => x >= 0 && y >= 0 && x < width && y < height && values[y * width + x] >= minValue;
  const addLine = (x1, y1, x2, y2) => {
    path.moveTo(x1, y1);
    path.lineTo(x2, y2);
  };
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      if (!isInside(x, y)) continue;
      if (!isInside(x - 1, y)) addLine(x, y, x, y + 1);
      if (!isInside(x + 1, y)) addLine(x + 1, y, x + 1, y + 1);
      if (!isInside(x, y - 1)) addLine(x, y, x + 1, y);
      if (!isInside(x, y + 1)) addLine(x, y + 1, x + 1, y + 1);
    }
  }
  return path;
}

// Draws a line with dark edges; widths are in canvas pixels.
function strokeOutline(context, path, colour, width, casingWidth) {
  context.lineCap = "round";
  for (const [strokeStyle, lineWidth] of [[CASING_COLOUR, width + 2 * casingWidth], [`rgb(${colour.join(" ")})`, width]]) {
    Object.assign(context, { strokeStyle, lineWidth });
    context.stroke(path);
  }
}

// Widths of the outlines in canvas pixels. The ground truth is wide and the prediction, on top of it, is narrow, so that
// both are visible where they coincide.
function outlineWidths(canvas) {
  const displayedWidth = canvas.clientWidth || canvas.width;
  const truth = clamp(displayedWidth / 110, 4.8, 6) * (canvas.width / displayedWidth);
  return { truth, prediction: 0.3 * truth, casing: 0.14 * truth };
}

// The regions to draw, from bottom to top, as { name, image, minValue, colour }.
function visibleRegions(images, { thresholdLevel, layers }) {
  const regions = [];
  if (layers.truth && images.truth) regions.push({ name: "truth", image: images.truth, minValue: 1, colour: TRUTH_COLOUR });
  if (layers.prediction) {
    const [image, minValue] = thresholdLevel === null ? [images.mask, 1] : [images.levels, thresholdLevel];
    regions.push({ name: "prediction", image, minValue, colour: PREDICTION_COLOUR });
  }
  return regions;
}

// `images`: { image, truth, mask, levels }, each decoded or absent.
// `display`: { thresholdLevel, layers, opacity, greyWindow, viewport }. The prediction is `mask` if `thresholdLevel` is null,
// else the pixels of this level or more; `layers` tells whether each layer is visible.
function drawPanel(canvas, images, display) {
  const { layers, opacity, greyWindow } = display;
  const { width, height } = images.image || images.mask;
  const scale = Math.max(1, Math.ceil(MIN_CANVAS_SIDE / Math.max(width, height)));
  [canvas.width, canvas.height] = [width * scale, height * scale];
  const { left, top, fraction } = visiblePart(display.viewport);
  const part = [left * width, top * height, fraction * width, fraction * height];
  const context = canvas.getContext("2d");
  const drawLayer = (layer) => context.drawImage(layer, ...part, 0, 0, canvas.width, canvas.height);
  context.fillRect(0, 0, canvas.width, canvas.height);
  if (images.image) {
    const grey = (value) => [...Array(3).fill(windowedGrey(value, greyWindow)), 255];
    drawLayer(cached(images.image, "grey", `${greyWindow.width} ${greyWindow.level}`, () => colourise(images.image, grey)));
  }
  if (layers.heatmap && images.levels) {
    const heat = (level) => [...magmaColour(level / 255), 600 * opacity * Math.sqrt(level / 255)];
    drawLayer(cached(images.levels, "heat", opacity, () => colourise(images.levels, heat)));
  }
  const regions = visibleRegions(images, display);
  context.imageSmoothingEnabled = false;
  for (const { name, image, minValue, colour } of layers.heatmap ? [] : regions) {
    const fill = (value) => [...colour, value >= minValue ? 150 * opacity : 0];
    drawLayer(cached(image, `${name} fill`, `${minValue} ${opacity}`, () => colourise(image, fill)));
  }
  const widths = outlineWidths(canvas);
  const toCanvas = new DOMMatrix().scale(scale / fraction).translate(-part[0], -part[1]);
  for (const { name, image, minValue, colour } of regions) {
    const path = new Path2D();
    path.addPath(cached(image, `${name} path`, minValue, () => outlinePath(image, minValue)), toCanvas);
    strokeOutline(context, path, colour, widths[name], widths.casing);
  }
}
