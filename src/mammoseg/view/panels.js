// The panels of the selected image, one for each run, and the curves of the listed images.
let requestId = 0; // identifies the latest request, so that images which arrive late are ignored
const panels = []; // content of each panel: { run, row, images }

// Selects a row of the list and shows its image.
async function showImage(rowIndex) {
  const currentRequest = requestId += 1;
  if (!state.rows.length) {
    $("panels").hidden = true;
    $("status").textContent = "No images match the filters.";
    updateCurves();
    return;
  }
  state.rowIndex = Math.min(Math.max(rowIndex, 0), state.rows.length - 1);
  const { imageIndex } = state.rows[state.rowIndex];
  markSelectedRow();
  const requested = [state.run, state.comparison].filter(Boolean)
    .map((run) => ({ run, row: run.rowsByImage.get(imageIndex) })).filter(({ row }) => row);
  try {
    for (const panel of requested) panel.images = await loadImages(panel.run, panel.row);
  } catch (error) {
    showError(error);
    return;
  }
  if (currentRequest !== requestId) return;
  if (panels[0]?.row.imageIndex !== imageIndex) resetZoom();
  panels.splice(0, panels.length, ...requested);
  showError(null);
  $("panels").hidden = false;
  $("panels").replaceChildren(...panels.map(({ run }) => createPanel(run)));
  $("viewer").classList.toggle("comparing", panels.length > 1);
  redraw();
  preloadNeighbours();
}

function markSelectedRow() {
  const items = [...$("image-list").children];
  items.forEach((item, rowIndex) => item.firstChild.setAttribute("aria-current", rowIndex === state.rowIndex));
  const selected = items[state.rowIndex];
  selected.scrollIntoView({ block: "nearest" });
  if ($("image-list").contains(document.activeElement)) selected.firstChild.focus();
}

function preloadNeighbours() {
  for (const row of [state.rows[state.rowIndex + 1], state.rows[state.rowIndex - 1]]) {
    if (row) for (const name of imageFileNames(state.run, row)) loadData(name).catch(() => {}); // reported when selected
  }
}

// Shows the message of an error; null hides it.
function showError(error) {
  $("error").hidden = !error;
  $("error").textContent = error ? error.message : "";
}

const PREDICTED_FRACTION = "Predicted fraction of the image";
const COLUMNS = catalogue.has_truth
  ? METRICS
  : [{ key: "predictedFraction", title: PREDICTED_FRACTION, shortName: PREDICTED_FRACTION, unit: "%", scale: 100 }];

function createPanel(run) {
  const figure = $("panel-template").content.firstElementChild.cloneNode(true);
  figure.querySelector(".run-label").textContent = run.label;
  figure.querySelector(".note").textContent = run.note;
  figure.querySelector(".note").hidden = !run.note;
  figure.querySelector("thead tr").append(...COLUMNS.map(({ title, shortName, unit }) => (
    createElement("th", unit ? `${shortName}, ${unit}` : shortName, { scope: "col", title }))));
  return figure;
}

// Updates everything that depends on the threshold, the layers or the opacity; all data are loaded already.
function redraw() {
  if (!panels.length) return;
  const image = catalogue.images[panels[0].row.imageIndex];
  const status = [`${state.rowIndex + 1} of ${state.rows.length}: ${image.name}`, captionOf(image)];
  panels.forEach((panel, panelIndex) => {
    const metrics = updatePanelTable($("panels").children[panelIndex], panel, image);
    if (panelIndex === 0 && catalogue.has_truth && !Number.isNaN(metrics.dsc)) status.push(`DSC ${formatPercent(metrics.dsc)} %`);
  });
  $("status").textContent = status.filter(Boolean).join(" · ");
  $("colourbar").hidden = !state.layers.heatmap;
  redrawImages();
  updateCurves();
}

// Draws the images of all panels with their legends; metrics are not affected.
function redrawImages() {
  const { layers, viewport } = state;
  panels.forEach(({ run, images }, panelIndex) => {
    const figure = $("panels").children[panelIndex];
    const atRunThreshold = state.thresholdLevel === run.thresholdLevel || !images.levels;
    const thresholdLevel = atRunThreshold ? null : state.thresholdLevel;
    const opacity = $("opacity").value / 100;
    drawPanel(figure.querySelector("canvas"), images, { thresholdLevel, layers, opacity, greyWindow: greyWindow(), viewport });
    figure.querySelector(".legend .truth").hidden = !layers.truth || !images.truth;
    figure.querySelector(".legend .prediction").hidden = !layers.prediction;
  });
}

// Fills the table of a panel, describes its image for screen readers, and returns the metrics of the image.
function updatePanelTable(figure, { run, row }, image) {
  const { thresholdLevel } = state;
  const canvas = figure.querySelector("canvas");
  const imageMetrics = computeImageMetrics(countsAt(row, thresholdLevel, run));
  const values = COLUMNS.map(({ key, title, unit, scale }) => `${title} ${formatValue(imageMetrics[key], scale)} ${unit}`.trim());
  canvas.setAttribute("aria-label", `${image.name}, ${run.label}: ${values.join(", ")}`);
  const listedRows = listedRowsOf(run);
  const pooledMetrics = computeMetrics(pooledCountsAt(listedRows, thresholdLevel, run));
  figure.querySelector("tbody").replaceChildren(
    createTableRow("this image", imageMetrics),
    createTableRow(`pooled (n = ${listedRows.length})`, pooledMetrics),
  );
  return imageMetrics;
}

function createTableRow(heading, metrics) {
  const tableRow = createElement("tr", "");
  tableRow.append(
    createElement("th", heading, { scope: "row" }),
    ...COLUMNS.map(({ key, scale }) => createElement("td", formatValue(metrics[key], scale), { "data-metric": key })),
  );
  return tableRow;
}

// Rows of a run for the listed images; the run that is compared may lack some of them.
const listedRowsOf = (run) => state.rows.map(({ imageIndex }) => run.rowsByImage.get(imageIndex)).filter(Boolean);

// The threshold as text: in full at the threshold of the run, else with two decimals.
function thresholdLabel() {
  const { run, thresholdLevel } = state;
  return thresholdLevel === run.thresholdLevel && run.threshold !== null ? String(run.threshold) : (thresholdLevel / N_LEVELS).toFixed(2);
}

const curveCache = { key: null, curves: [] };

// Pooled DSC by threshold level for each run, cached until the runs or the listed images change.
function pooledCurves(runs) {
  const key = [runs.map((run) => run.index), state.rows.map((row) => row.imageIndex)].join(";");
  if (curveCache.key !== key) {
    curveCache.key = key;
    curveCache.curves = runs.map((run) => {
      const rows = listedRowsOf(run);
      return Array.from({ length: N_LEVELS + 1 }, (_, level) => computeMetrics(pooledCountsAt(rows, level, run)).dsc);
    });
  }
  return curveCache.curves;
}

function updateCurves() {
  const runs = [state.run, state.comparison].filter((run) => run && run.rows[0]?.backgroundSums);
  $("curves").hidden = !catalogue.has_truth || !runs.length || !state.rows.length;
  if ($("curves").hidden) return;
  const curves = pooledCurves(runs);
  drawCurves($("curves").querySelector("svg"), curves, state.thresholdLevel);
  const descriptions = curves.map((curve, index) => {
    const bestLevel = curve.reduce((best, dsc, level) => (dsc > curve[best] || Number.isNaN(curve[best]) ? level : best), 0);
    const lineStyle = ["solid", "dashed"][index];
    return `${lineStyle}: ${runs[index].label}, highest ${formatPercent(curve[bestLevel])} at ${(bestLevel / N_LEVELS).toFixed(2)}`;
  });
  const caption = `Pooled DSC of the ${state.rows.length} listed images in % against the threshold; ${descriptions.join("; ")}`;
  $("curves").querySelector("figcaption").textContent = caption;
  $("curves").querySelector("svg").setAttribute("aria-label", caption);
}
