// Controls and keyboard shortcuts. The last of the scripts; starts the page.
function setThresholdLevel(level) {
  state.thresholdLevel = Math.min(Math.max(level, 0), N_LEVELS);
  $("threshold").value = state.thresholdLevel;
  $("threshold").setAttribute("aria-valuetext", thresholdLabel());
  $("threshold-value").textContent = thresholdLabel();
  updateListScores();
  redraw();
}

function resetThreshold() {
  if (!$("reset-threshold").disabled) setThresholdLevel(state.run.thresholdLevel);
}

function shiftThreshold(nLevels) {
  if (!$("threshold").disabled) setThresholdLevel(state.thresholdLevel + nLevels);
}

// Shows or hides a layer according to its checkbox.
function updateLayer(name) {
  state.layers[name] = $(name).checked;
  redraw();
}

function toggleLayer(name) {
  $(name).checked = !$(name).checked;
  updateLayer(name);
}

function updateOpacity() {
  $("opacity-value").textContent = `${$("opacity").value} %`;
  redraw();
}

const selectedImageIndex = () => state.rows[state.rowIndex]?.imageIndex;

// Shows another run, at its own threshold and without comparison; the image stays selected if the run has it.
async function selectRun(runIndex) {
  const imageIndex = selectedImageIndex();
  try {
    state.run = await loadRun(runIndex);
    const [first] = state.comparing ? comparableRuns() : [];
    state.comparison = first ? await loadRun(first.index) : null;
  } catch (error) {
    showError(error);
    return;
  }
  updateComparisonOptions();
  updateDensityOptions();
  const { thresholdLevel } = state.run;
  const hasFixedThreshold = thresholdLevel === null;
  for (const name of ["threshold", "reset-threshold", "heatmap"]) $(name).disabled = hasFixedThreshold;
  if (hasFixedThreshold) state.layers.heatmap = $("heatmap").checked = false;
  state.thresholdLevel = thresholdLevel ?? N_LEVELS / 2;
  updateList(imageIndex);
  setThresholdLevel(state.thresholdLevel);
}

// The other runs that have images in common with the selected one, as { label, index }.
function comparableRuns() {
  const imageIndices = new Set(catalogue.runs[state.run.index].image_indices);
  return catalogue.runs.map((run, index) => ({ ...run, index }))
    .filter((run) => run.index !== state.run.index && run.image_indices.some((imageIndex) => imageIndices.has(imageIndex)));
}

function updateComparisonOptions() {
  const options = comparableRuns().map(({ label, index }) => [String(index), label]);
  $("comparison").parentElement.hidden = !options.length;
  $("no-comparison").hidden = options.length > 0 || catalogue.runs.length < 2;
  setOptions($("comparison"), [[NONE, "none"], ...options], state.comparison ? String(state.comparison.index) : NONE);
}

function updateDensityOptions() {
  const densities = [...new Set(state.run.rows.map((row) => catalogue.images[row.imageIndex].density))].filter(Boolean).sort();
  $("density").parentElement.hidden = !densities.length;
  setOptions($("density"), [[NONE, "all"], ...densities.map((density) => [density, `ACR ${density}`])], NONE);
}

// `value` of the selected option: the index of a run, or NONE.
async function selectComparison(value) {
  state.comparing = value !== NONE;
  try {
    state.comparison = value === NONE ? null : await loadRun(Number(value));
  } catch (error) {
    showError(error);
    return;
  }
  showImage(state.rowIndex);
}

// The list of images is beside the image, or above it in narrow windows, where it opens and closes.
const NARROW = window.matchMedia("(max-width: 45rem)");

function setListVisibility(isVisible) {
  document.body.classList.toggle("list-hidden", !isVisible);
  $("toggle-list").setAttribute("aria-expanded", isVisible);
  redrawImages();
}

const toggleList = () => setListVisibility(document.body.classList.contains("list-hidden"));

function closeNarrowList() {
  if (NARROW.matches) setListVisibility(false);
}

NARROW.addEventListener("change", () => setListVisibility(!NARROW.matches));

function focusSearch() {
  setListVisibility(true);
  $("search").focus();
}

function toggleKeys() {
  $("keys").open = !$("keys").open;
  $("keys").scrollIntoView({ block: "nearest" });
}

const showNext = () => showImage(state.rowIndex + 1);
const showPrevious = () => showImage(state.rowIndex - 1);
const SHORTCUTS = {
  j: showNext,
  ArrowDown: showNext,
  ArrowRight: showNext,
  k: showPrevious,
  ArrowUp: showPrevious,
  ArrowLeft: showPrevious,
  Home: () => showImage(0),
  End: () => showImage(state.rows.length - 1),
  g: () => catalogue.has_truth && toggleLayer("truth"),
  p: () => toggleLayer("prediction"),
  h: () => $("heatmap").disabled || toggleLayer("heatmap"),
  "[": () => shiftThreshold(-2),
  "]": () => shiftThreshold(2),
  r: resetThreshold,
  "+": () => zoomBy(1.5),
  "=": () => zoomBy(1.5),
  "-": () => zoomBy(1 / 1.5),
  0: resetZoom,
  "Shift ArrowLeft": () => panBy(-0.1, 0),
  "Shift ArrowRight": () => panBy(0.1, 0),
  "Shift ArrowUp": () => panBy(0, -0.1),
  "Shift ArrowDown": () => panBy(0, 0.1),
  w: () => adjustGreyWindow(-5, 0),
  W: () => adjustGreyWindow(5, 0),
  l: () => adjustGreyWindow(0, -5),
  L: () => adjustGreyWindow(0, 5),
  x: resetGreyWindow,
  i: toggleList,
  "/": focusSearch,
  "?": toggleKeys,
};

document.addEventListener("keydown", (event) => {
  const isNamedKey = event.key.length > 1; // such as ArrowDown, not a character
  const isTyping = event.target.matches("input[type=search], select");
  const isMovingSlider = event.target.matches("input[type=range]") && isNamedKey && !event.shiftKey;
  const shortcut = SHORTCUTS[event.shiftKey && isNamedKey ? `Shift ${event.key}` : event.key];
  if (event.key === "Escape") document.activeElement.blur();
  if (isTyping || isMovingSlider || event.ctrlKey || event.metaKey || event.altKey || !shortcut) return;
  event.preventDefault();
  shortcut();
});

$("previous").addEventListener("click", showPrevious);
$("next").addEventListener("click", showNext);
$("reset-threshold").addEventListener("click", resetThreshold);
$("threshold").addEventListener("input", () => setThresholdLevel(Number($("threshold").value)));
$("opacity").addEventListener("input", updateOpacity);
for (const name of ["window", "level"]) $(name).addEventListener("input", () => adjustGreyWindow(0, 0));
$("reset-window").addEventListener("click", resetGreyWindow);
$("zoom-in").addEventListener("click", () => zoomBy(1.5));
$("zoom-out").addEventListener("click", () => zoomBy(1 / 1.5));
$("reset-zoom").addEventListener("click", resetZoom);
$("toggle-list").addEventListener("click", toggleList);
for (const name of ["truth", "prediction", "heatmap"]) $(name).addEventListener("change", () => updateLayer(name));
for (const [name, event] of [["search", "input"], ["density", "change"], ["order", "change"]]) {
  $(name).addEventListener(event, () => updateList(selectedImageIndex()));
}
$("run").addEventListener("change", () => selectRun(Number($("run").value)));
$("comparison").addEventListener("change", () => selectComparison($("comparison").value));

setOptions($("order"), Object.entries(SORT_ORDERS).map(([name, { label }]) => [name, label]), DEFAULT_ORDER);
setOptions($("run"), catalogue.runs.map((run, index) => [String(index), run.label]), "0");
$("run").parentElement.hidden = catalogue.runs.length < 2;
$("truth").parentElement.hidden = !catalogue.has_truth;
resetGreyWindow();
setListVisibility(!NARROW.matches);
updateOpacity();
selectRun(0);
