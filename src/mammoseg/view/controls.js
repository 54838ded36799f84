// Controls and keys; starts the page. The last of the scripts.
function setStep(step) {
  state.step = Math.min(Math.max(step, 0), STEPS);
  $("threshold").value = state.step;
  $("threshold").setAttribute("aria-valuetext", thresholdLabel());
  $("threshold-value").textContent = thresholdLabel();
  fillScores();
  refresh();
}

function show(name) {
  state[name] = $(name).checked;
  refresh();
}

function toggle(name) {
  $(name).checked = !$(name).checked;
  show(name);
}

async function choose(number) {
  const keep = state.rows[state.place]?.image;
  try {
    state.run = await runNumber(number);
  } catch (error) {
    showError(error);
    return;
  }
  const tested = new Set(catalogue.runs[number].images);
  const others = catalogue.runs.map((run, place) => [String(place), run.label, run.images])
    .filter(([place, , images]) => place !== String(number) && images.some((image) => tested.has(image)));
  $("against").hidden = !others.length;
  options($("other"), [[NONE, "none"], ...others], NONE);
  state.other = null;
  const { note, threshold, step } = state.run;
  const fixed = threshold === null || step === null;
  for (const name of ["threshold", "reset", "heat"]) $(name).disabled = fixed;
  if (fixed && note) state.heat = $("heat").checked = false;
  state.step = step ?? STEPS / 2;
  const densities = [...new Set(state.run.rows.map((row) => catalogue.images[row.image].density))].filter(Boolean).sort();
  $("density").parentElement.hidden = !densities.length;
  options($("density"), [[NONE, "all"], ...densities.map((density) => [density, `ACR ${density}`])], NONE);
  fillList(keep);
  setStep(state.step);
}

async function setComparison(number) {
  try {
    state.other = number === NONE ? null : await runNumber(Number(number));
  } catch (error) {
    showError(error);
    return;
  }
  go(state.place);
}

const KEYS = {
  j: () => go(state.place + 1), ArrowDown: () => go(state.place + 1), ArrowRight: () => go(state.place + 1),
  k: () => go(state.place - 1), ArrowUp: () => go(state.place - 1), ArrowLeft: () => go(state.place - 1),
  Home: () => go(0), End: () => go(state.rows.length - 1),
  g: () => catalogue.truth && toggle("truth"), p: () => toggle("prediction"), h: () => $("heat").disabled || toggle("heat"),
  "[": () => $("threshold").disabled || setStep(state.step - 2), "]": () => $("threshold").disabled || setStep(state.step + 2),
  r: () => $("reset").disabled || setStep(state.run.step),
};

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input[type=search], select");
  const moving = event.target.matches("input[type=range]") && !/^[a-z[\]]$/.test(event.key);
  if (typing || moving || event.ctrlKey || event.metaKey || event.altKey || !KEYS[event.key]) return;
  event.preventDefault();
  KEYS[event.key]();
});

$("previous").addEventListener("click", KEYS.k);
$("next").addEventListener("click", KEYS.j);
$("reset").addEventListener("click", KEYS.r);
$("threshold").addEventListener("input", () => setStep(Number($("threshold").value)));
$("opacity").addEventListener("input", updateOpacity);
for (const name of ["truth", "prediction", "heat"]) $(name).addEventListener("change", () => show(name));
for (const [name, event] of [["search", "input"], ["density", "change"], ["order", "change"]]) {
  $(name).addEventListener(event, () => fillList(state.rows[state.place]?.image));
}
$("run").addEventListener("change", () => choose(Number($("run").value)));
$("other").addEventListener("change", () => setComparison($("other").value));

function updateOpacity() {
  $("opacity-value").textContent = `${$("opacity").value} %`;
  refresh();
}

options($("order"), Object.entries(ORDERS).map(([value, [text]]) => [value, /first/.test(text) ? `${catalogue.truth ? "DSC" : "fraction"}, ${text}` : text]), "given");
options($("run"), catalogue.runs.map((run, number) => [String(number), run.label]), "0");
document.querySelectorAll(".truth").forEach((label) => { label.hidden = !catalogue.truth; });
updateOpacity();
choose(0);
