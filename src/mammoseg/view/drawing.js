// Draws a panel (the image with heat map, masks and outlines) and the curve of DSC against the threshold.
const MAGMA = [[0, 0, 4], [44, 17, 95], [114, 31, 129], [183, 55, 121], [241, 96, 93], [254, 176, 120], [252, 253, 191]];
const TRUTH_COLOUR = [64, 200, 64];
const PREDICTION_COLOUR = [70, 130, 255];
const MIN_CANVAS_SIDE = 700; // canvas pixels along the longer side; small images are enlarged to keep outlines thin

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

// Path along the edges of the region of pixels with at least `minValue`, in canvas coordinates.
function outlinePath(image, minValue, scale) {
  const path = new Path2D();
  const { width, height, values } = image;
  const isInside = (x, y) => x >= 0 && y >= 0 && x < width && y < height && values[y * width + x] >= minValue;
  const addLine = (x1, y1, x2, y2) => {
    path.moveTo(x1 * scale, y1 * scale);
    path.lineTo(x2 * scale, y2 * scale);
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

// `images`: { image, truth, mask, levels }, each decoded or absent. `layers`: whether each layer is visible.
// The prediction is `mask` if `thresholdLevel` is null, else the pixels of this level or more.
function drawPanel(canvas, images, thresholdLevel, layers, opacity) {
  const { width, height } = images.image || images.mask;
  const scale = Math.max(1, Math.ceil(MIN_CANVAS_SIDE / Math.max(width, height)));
  [canvas.width, canvas.height] = [width * scale, height * scale];
  const context = canvas.getContext("2d");
  const drawLayer = (layer) => context.drawImage(layer, 0, 0, canvas.width, canvas.height);
  context.fillRect(0, 0, canvas.width, canvas.height);
  if (images.image) drawLayer(colourise(images.image, (value) => [value, value, value, 255]));
  if (layers.heatmap && images.levels) {
    drawLayer(colourise(images.levels, (level) => [...magmaColour(level / 255), 600 * opacity * Math.sqrt(level / 255)]));
  }
  const regions = [];
  if (layers.prediction) {
    regions.push(thresholdLevel === null ? [images.mask, 1, PREDICTION_COLOUR] : [images.levels, thresholdLevel, PREDICTION_COLOUR]);
  }
  if (layers.truth && images.truth) regions.push([images.truth, 1, TRUTH_COLOUR]);
  for (const [image, minValue, colour] of regions) {
    context.imageSmoothingEnabled = false;
    if (!layers.heatmap) drawLayer(colourise(image, (value) => [...colour, value >= minValue ? 150 * opacity : 0]));
    context.lineWidth = Math.max(2, canvas.width / 350);
    context.strokeStyle = `rgb(${colour.join(" ")})`;
    context.stroke(outlinePath(image, minValue, scale));
  }
}

// `curves`: pooled DSC by threshold level, of the run and of the run it is compared with, if any.
function drawCurves(svg, curves, thresholdLevel) {
  const x = (level) => 26 + (268 * level) / N_LEVELS;
  const y = (dsc) => 110 - 100 * dsc;
  const elements = [0, 0.5, 1].map((dsc) => `<path class="axis" d="M26 ${y(dsc)}H294"/><text x="2" y="${y(dsc) + 3}">${100 * dsc}</text>`);
  for (const level of [0, 64, 128, 192, 256]) elements.push(`<text x="${x(level)}" y="122" text-anchor="middle">${level / N_LEVELS}</text>`);
  curves.forEach((curve, index) => {
    const points = curve.map((dsc, level) => [x(level), y(dsc)]).filter(([, pointY]) => !Number.isNaN(pointY));
    const path = points.map((point) => point.map((coordinate) => coordinate.toFixed(1)).join(" ")).join("L");
    elements.push(`<path class="${index ? "comparison-curve" : "run-curve"}" d="M${path}"/>`);
  });
  elements.push(`<path class="threshold-line" d="M${x(thresholdLevel)} 8V110"/>`);
  svg.innerHTML = elements.join("");
}
