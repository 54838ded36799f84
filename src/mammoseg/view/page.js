// The page: what is shown, and the keys and controls that change it. Data files call mammoseg.receive.
const $ = (id) => document.getElementById(id);
const catalogue = JSON.parse($("catalogue").textContent);
const NONE = "";
const state = { run: null, other: null, rows: [], place: 0, step: 0, truth: true, prediction: true, heat: false };

const loading = new Map(); // name -> promise of a data file, the latest last
const arrived = new Map();
window.mammoseg = { receive: (name, value) => arrived.set(name, value) };
const KEPT = 24; // data files in memory besides those of runs

// A data file as a script, since a page that was opened from disk may not read files otherwise.
function load(name) {
  if (!loading.has(name)) {
    loading.set(name, new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = `data/${name}.js`;
      script.onload = () => { script.remove(); resolve(arrived.get(name)); arrived.delete(name); };
      script.onerror = () => { script.remove(); loading.delete(name); reject(new Error(`data/${name}.js is not there; keep the viewer's folder together, or write it again`)); };
      document.head.append(script);
    }));
    const old = [...loading.keys()].filter((key) => !key.startsWith("run-"));
    for (const key of old.slice(0, Math.max(0, old.length - KEPT))) loading.delete(key);
  }
  return loading.get(name);
}

const runs = new Map();
async function runNumber(number) {
  if (!runs.has(number)) runs.set(number, unpacked({ ...catalogue.runs[number], number }, await load(`run-${number}`)));
  return runs.get(number);
}

async function pictures(names) {
  const said = Object.assign({}, ...await Promise.all(names.map(load)));
  const entries = Object.entries(said).filter(([, address]) => address);
  return Object.fromEntries(await Promise.all(entries.map(async ([name, address]) => [name, await decoded(address)])));
}
const filesOf = (run, row) => [`image-${row.image}`, `run-${run.number}-${row.image}`];

function make(tag, text, attributes = {}) {
  const element = document.createElement(tag);
  element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

function options(select, choices, chosen) {
  select.replaceChildren(...choices.map(([value, text]) => make("option", text, { value })));
  select.value = chosen;
}

// The list --------------------------------------------------------------------------------------------------

const factsOf = (image) => [image.density ? `ACR ${image.density}` : "", image.side, image.view, image.facts].filter(Boolean).join(" · ");
const score = (row) => {
  const metrics = metricsOf(countsAt(row, state.step, state.run));
  return catalogue.truth ? metrics.dsc : metrics.predicted;
};
const ORDERS = {
  given: ["as tested", () => 0],
  low: ["lowest first", (a, b) => a.score - b.score],
  high: ["highest first", (a, b) => b.score - a.score],
  name: ["name", (a, b) => a.image.name.localeCompare(b.image.name)],
  density: ["density", (a, b) => a.image.density - b.image.density],
};

// Rows of the run that the filters let through; images without a score stand last.
function listed() {
  const sought = $("search").value.trim().toLowerCase();
  const density = $("density").value;
  const found = state.run.rows.map((row) => ({ row, image: catalogue.images[row.image], score: score(row) }))
    .filter(({ image }) => `${image.name} ${factsOf(image)}`.toLowerCase().includes(sought))
    .filter(({ image }) => density === NONE || String(image.density) === density);
  const order = ORDERS[$("order").value][1];
  found.sort((a, b) => (Number.isNaN(a.score) - Number.isNaN(b.score)) || order(a, b) || a.row.place - b.row.place);
  return found.map(({ row }) => row);
}

function fillList(keep) {
  state.rows = listed();
  state.place = Math.max(0, state.rows.findIndex((row) => row.image === keep));
  $("list").replaceChildren(...state.rows.map((row, place) => {
    const image = catalogue.images[row.image];
    const button = make("button", "", { type: "button" });
    button.append(make("span", image.name, { class: "name" }), make("span", "", { class: "score" }), make("span", factsOf(image), { class: "facts" }));
    button.addEventListener("click", () => go(place));
    const item = make("li", "");
    item.append(button);
    return item;
  }));
  const all = state.run.rows.length;
  $("count").textContent = `${state.rows.length === all ? all : `${state.rows.length} of ${all}`} images; ${catalogue.truth ? "DSC" : "predicted share of the image"} in %`;
  fillScores();
  go(state.place);
}

function fillScores() {
  $("list").querySelectorAll(".score").forEach((cell, place) => { cell.textContent = percent(score(state.rows[place])); });
}

// One image -------------------------------------------------------------------------------------------------

let asked = 0;
const shown = []; // what each panel holds: { run, row, pictures }

async function go(place) {
  if (!state.rows.length) {
    asked += 1;
    $("panels").hidden = true;
    $("told").textContent = "No image passes the filters.";
    drawPooled();
    return;
  }
  state.place = Math.min(Math.max(place, 0), state.rows.length - 1);
  const row = state.rows[state.place];
  [...$("list").children].forEach((item, number) => item.firstChild.setAttribute("aria-current", number === state.place));
  const chosen = $("list").children[state.place];
  chosen.scrollIntoView({ block: "nearest" });
  if ($("list").contains(document.activeElement)) chosen.firstChild.focus();
  const wanted = [state.run, state.other].filter(Boolean).map((run) => ({ run, row: run.byImage.get(row.image) })).filter((one) => one.row);
  const mine = asked += 1;
  try {
    for (const one of wanted) one.pictures = await pictures(filesOf(one.run, one.row));
  } catch (error) {
    trouble(error);
    return;
  }
  if (mine !== asked) return; // another image was chosen meanwhile
  shown.splice(0, shown.length, ...wanted);
  trouble(null);
  $("panels").hidden = false;
  $("panels").replaceChildren(...shown.map(panel));
  $("work").classList.toggle("two", shown.length > 1);
  refresh();
  for (const next of [state.place + 1, state.place - 1]) {
    if (state.rows[next]) for (const name of filesOf(state.run, state.rows[next])) load(name).catch(() => {});
  }
}

function trouble(error) {
  $("trouble").hidden = !error;
  $("trouble").textContent = error ? error.message : "";
}

const COLUMNS = catalogue.truth
  ? METRICS
  : [{ key: "predicted", title: "Predicted share of the image", short: "Predicted share of the image", unit: "%", scale: 100 }];
const label = ({ short, unit }) => (unit ? `${short}, ${unit}` : short);

function panel({ run }) {
  const made = $("panel").content.firstElementChild.cloneNode(true);
  made.querySelector("figcaption").textContent = run.label;
  made.querySelector(".note").textContent = run.note;
  made.querySelector(".note").hidden = !run.note;
  made.querySelector("thead tr").append(...COLUMNS.map((column) => make("th", label(column), { scope: "col", title: column.title })));
  return made;
}

// Everything that follows from the threshold and the switches, without loading anything.
function refresh() {
  if (!shown.length) return;
  const image = catalogue.images[shown[0].row.image];
  const told = [`${state.place + 1} of ${state.rows.length}: ${image.name}`, factsOf(image)];
  const look = { ...state, opacity: $("opacity").value / 100 };
  shown.forEach((one, number) => {
    const figure = $("panels").children[number];
    const { run, row } = one;
    const own = state.step === run.step || !one.pictures.levels;
    const canvas = figure.querySelector("canvas");
    paint(canvas, one.pictures, own ? null : state.step, look);
    const here = metricsOf(countsAt(row, state.step, run));
    canvas.setAttribute("aria-label", `${image.name}, ${run.label}: ${COLUMNS.map(({ key, title, unit, scale }) => `${title} ${display(here[key], scale)} ${unit}`.trim()).join(", ")}`);
    const rows = state.rows.map((each) => run.byImage.get(each.image)).filter(Boolean);
    const pooled = metricsOf(pooledAt(rows, state.step, run));
    figure.querySelector("tbody").replaceChildren(...[["this image", here], [`${rows.length} listed, pooled`, pooled]].map(([name, values]) => {
      const line = make("tr", "");
      line.append(make("th", name, { scope: "row" }), ...COLUMNS.map(({ key, scale }) => make("td", display(values[key], scale), { "data-metric": key })));
      return line;
    }));
    if (number === 0 && catalogue.truth) told.push(`DSC ${percent(here.dsc)} %`);
  });
  $("told").textContent = told.filter(Boolean).join(" · ");
  $("scale").hidden = !state.heat;
  drawPooled();
}

function thresholdSaid() {
  const { run, step } = state;
  return step === run.step && run.threshold !== null ? String(run.threshold) : (step / STEPS).toFixed(2);
}

function drawPooled() {
  const chosen = [state.run, state.other].filter((run) => run && run.rows[0]?.rest);
  $("curve").hidden = !catalogue.truth || !chosen.length || !state.rows.length;
  if ($("curve").hidden) return;
  const key = [chosen.map((run) => run.number), state.rows.map((row) => row.image)].join(";");
  if (drawPooled.key !== key) {
    drawPooled.key = key;
    drawPooled.lines = chosen.map((run) => {
      const rows = state.rows.map((each) => run.byImage.get(each.image)).filter(Boolean);
      return Array.from({ length: STEPS + 1 }, (_, step) => metricsOf(pooledAt(rows, step, run)).dsc);
    });
  }
  drawCurve($("curve").querySelector("svg"), drawPooled.lines, state.step);
  const best = drawPooled.lines.map((line, number) => {
    const step = line.reduce((top, value, at) => (value > line[top] || Number.isNaN(line[top]) ? at : top), 0);
    return `${["solid", "dashed"][number]}: ${chosen[number].label}, highest ${percent(line[step])} at ${(step / STEPS).toFixed(2)}`;
  });
  const text = `DSC in %, pooled over the ${state.rows.length} listed images, against the threshold; ${best.join("; ")}`;
  $("curve").querySelector("figcaption").textContent = text;
  $("curve").querySelector("svg").setAttribute("aria-label", text);
}

// Controls --------------------------------------------------------------------------------------------------

function setStep(step) {
  state.step = Math.min(Math.max(step, 0), STEPS);
  $("threshold").value = state.step;
  $("threshold").setAttribute("aria-valuetext", thresholdSaid());
  $("threshold-said").textContent = thresholdSaid();
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
    trouble(error);
    return;
  }
  const tested = new Set(catalogue.runs[number].images);
  const others = catalogue.runs.map((run, place) => [String(place), run.label, run.images])
    .filter(([place, , images]) => place !== String(number) && images.some((image) => tested.has(image)));
  $("against").hidden = !others.length;
  options($("other"), [[NONE, "no other"], ...others], NONE);
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

async function beside(number) {
  try {
    state.other = number === NONE ? null : await runNumber(Number(number));
  } catch (error) {
    trouble(error);
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
$("opacity").addEventListener("input", sayOpacity);
for (const name of ["truth", "prediction", "heat"]) $(name).addEventListener("change", () => show(name));
for (const [name, event] of [["search", "input"], ["density", "change"], ["order", "change"]]) {
  $(name).addEventListener(event, () => fillList(state.rows[state.place]?.image));
}
$("run").addEventListener("change", () => choose(Number($("run").value)));
$("other").addEventListener("change", () => beside($("other").value));

function sayOpacity() {
  $("opacity-said").textContent = `${$("opacity").value} %`;
  refresh();
}

options($("order"), Object.entries(ORDERS).map(([value, [text]]) => [value, /first/.test(text) ? `${catalogue.truth ? "DSC" : "share"}, ${text}` : text]), "given");
options($("run"), catalogue.runs.map((run, number) => [String(number), run.label]), "0");
document.querySelectorAll(".truth").forEach((label) => { label.hidden = !catalogue.truth; });
sayOpacity();
choose(0);
