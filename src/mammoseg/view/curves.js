// Draws the curves of DSC against the threshold.
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
