// One panel's picture: the image, and over it the heat-map, fills and outlines.
const MAGMA = [[0, 0, 4], [44, 17, 95], [114, 31, 129], [183, 55, 121], [241, 96, 93], [254, 176, 120], [252, 253, 191]];
const GREEN = [64, 200, 64];
const BLUE = [70, 130, 255];
const SHORTEST_SIDE = 700; // of the canvas, so that outlines are fine where the image is small

function magma(share) {
  const spot = Math.min(share * (MAGMA.length - 1), MAGMA.length - 1 - 1e-9);
  const [below, above] = [MAGMA[Math.floor(spot)], MAGMA[Math.floor(spot) + 1]];
  return below.map((value, channel) => value + (above[channel] - value) * (spot % 1));
}

// data:... -> { width, height, values }: one byte a pixel.
async function decoded(address) {
  const picture = new Image();
  picture.src = address;
  await picture.decode();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [picture.naturalWidth, picture.naturalHeight];
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(picture, 0, 0);
  const rgba = context.getImageData(0, 0, canvas.width, canvas.height).data;
  const values = new Uint8Array(canvas.width * canvas.height);
  for (let place = 0; place < values.length; place += 1) values[place] = rgba[4 * place];
  return { width: canvas.width, height: canvas.height, values };
}

// A canvas of the size of `like`, each pixel coloured by colour(value) = [r, g, b, a].
function layer(like, colour) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [like.width, like.height];
  const context = canvas.getContext("2d");
  const data = context.createImageData(like.width, like.height);
  const table = new Uint32Array(Uint8ClampedArray.from({ length: 4 * 256 }, (_, at) => colour(at >> 2)[at & 3]).buffer);
  const pixels = new Uint32Array(data.data.buffer);
  for (let place = 0; place < pixels.length; place += 1) pixels[place] = table[like.values[place]];
  context.putImageData(data, 0, 0);
  return canvas;
}

// Along the borders of the pixels whose value is at least `least`.
function outlined(mask, least, scale) {
  const path = new Path2D();
  const { width, height, values } = mask;
  const inside = (x, y) => x >= 0 && y >= 0 && x < width && y < height && values[y * width + x] >= least;
  const line = (x, y, toX, toY) => {
    path.moveTo(x * scale, y * scale);
    path.lineTo(toX * scale, toY * scale);
  };
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      if (!inside(x, y)) continue;
      if (!inside(x - 1, y)) line(x, y, x, y + 1);
      if (!inside(x + 1, y)) line(x + 1, y, x + 1, y + 1);
      if (!inside(x, y - 1)) line(x, y, x + 1, y);
      if (!inside(x, y + 1)) line(x, y + 1, x + 1, y + 1);
    }
  }
  return path;
}

// `pictures`: { image, truth, mask, levels }, each decoded or absent. `show`: { truth, prediction, heat, opacity }.
// The prediction is the mask where `step` is null, else the pixels of level `step` or more.
function paint(canvas, pictures, step, show) {
  const any = pictures.image || pictures.mask;
  const scale = Math.max(1, Math.ceil(SHORTEST_SIDE / Math.max(any.width, any.height)));
  [canvas.width, canvas.height] = [any.width * scale, any.height * scale];
  const context = canvas.getContext("2d");
  const put = (picture) => context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  context.fillRect(0, 0, canvas.width, canvas.height);
  if (pictures.image) put(layer(pictures.image, (value) => [value, value, value, 255]));
  if (show.heat && pictures.levels) {
    put(layer(pictures.levels, (level) => [...magma(level / 255), 600 * show.opacity * Math.sqrt(level / 255)]));
  }
  const drawn = [];
  if (show.prediction) drawn.push(step === null ? [pictures.mask, 1, BLUE] : [pictures.levels, step, BLUE]);
  if (show.truth && pictures.truth) drawn.push([pictures.truth, 1, GREEN]);
  for (const [mask, least, colour] of drawn) {
    context.imageSmoothingEnabled = false;
    if (!show.heat) put(layer(mask, (value) => [...colour, value >= least ? 150 * show.opacity : 0]));
    context.lineWidth = Math.max(2, canvas.width / 350);
    context.strokeStyle = `rgb(${colour.join(" ")})`;
    context.stroke(outlined(mask, least, scale));
  }
}

// Pooled DSC against the threshold, a line for each run.
function drawCurve(svg, lines, step) {
  const x = (at) => 26 + (268 * at) / STEPS;
  const y = (dsc) => 110 - 100 * dsc;
  const parts = [0, 0.5, 1].map((dsc) => `<path class="axis" d="M26 ${y(dsc)}H294"/><text x="2" y="${y(dsc) + 3}">${100 * dsc}</text>`);
  for (const at of [0, 64, 128, 192, 256]) parts.push(`<text x="${x(at)}" y="122" text-anchor="middle">${at / STEPS}</text>`);
  lines.forEach((values, which) => {
    const points = values.map((dsc, at) => [x(at), y(dsc)]).filter(([, height]) => !Number.isNaN(height));
    parts.push(`<path class="${which ? "second" : "first"}" d="M${points.map((point) => point.map((v) => v.toFixed(1)).join(" ")).join("L")}"/>`);
  });
  parts.push(`<path class="here" d="M${x(step)} 8V110"/>`);
  svg.innerHTML = parts.join("");
}
