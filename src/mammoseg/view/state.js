// State of the page, and its data files, which call mammoseg.receive.
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
      script.onerror = () => { script.remove(); loading.delete(name); reject(new Error(`data/${name}.js is missing; keep the files of the viewer in one folder, or write it again`)); };
      document.head.append(script);
    }));
    const old = [...loading.keys()].filter((key) => !key.startsWith("run-"));
    for (const key of old.slice(0, Math.max(0, old.length - KEPT))) loading.delete(key);
  }
  return loading.get(name);
}

const runs = new Map();
async function runNumber(number) {
  if (!runs.has(number)) runs.set(number, parseRun({ ...catalogue.runs[number], number }, await load(`run-${number}`)));
  return runs.get(number);
}

async function pictures(names) {
  const payload = Object.assign({}, ...await Promise.all(names.map(load)));
  const entries = Object.entries(payload).filter(([, address]) => address);
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
