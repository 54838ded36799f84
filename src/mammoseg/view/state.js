// State of the page, its data files and helpers for its elements.
const $ = (id) => document.getElementById(id);
const catalogue = JSON.parse($("catalogue").textContent);
const NONE = ""; // value of the options "none" and "all"
// `comparison` is the run that `run` is compared with, or null; `comparing` is false if the user selected none; `rows` are those of the listed images.
const state = {
  run: null,
  comparison: null,
  comparing: true,
  rows: [],
  rowIndex: 0,
  thresholdLevel: 0,
  layers: { truth: true, prediction: true, heatmap: false },
  viewport: { zoom: 1, x: 0.5, y: 0.5 },
};

// Data files are scripts that call mammoseg.receive, since a page opened from disk may load scripts but not read files.
const MAX_CACHED_FILES = 24; // of single images; the files of runs are always cached
const dataPromises = new Map(); // by file name, in the order of loading
const receivedData = new Map(); // by file name, until the promise is resolved
window.mammoseg = { receive: (name, data) => receivedData.set(name, data) };

// Promise of the content of data/<name>.js.
function loadData(name) {
  if (!dataPromises.has(name)) {
    dataPromises.set(name, new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = `data/${name}.js`;
      script.onload = () => { script.remove(); resolve(receivedData.get(name)); receivedData.delete(name); };
      script.onerror = () => {
        script.remove();
        dataPromises.delete(name);
        reject(new Error(`data/${name}.js is missing; keep index.html and data/ in one folder, or run mammoseg.view again`));
      };
      document.head.append(script);
    }));
    const imageFiles = [...dataPromises.keys()].filter((key) => !/^run-\d+$/.test(key));
    for (const key of imageFiles.slice(0, Math.max(0, imageFiles.length - MAX_CACHED_FILES))) dataPromises.delete(key);
  }
  return dataPromises.get(name);
}

const loadedRuns = new Map(); // by index

async function loadRun(index) {
  if (!loadedRuns.has(index)) loadedRuns.set(index, parseRun(index, catalogue.runs[index], await loadData(`run-${index}`)));
  return loadedRuns.get(index);
}

const imageFileNames = (run, row) => [`image-${row.imageIndex}`, `run-${run.index}-${row.imageIndex}`];

// The decoded images of a row: { image, truth, mask, levels }, without those that are not available.
async function loadImages(run, row) {
  const dataUris = Object.assign({}, ...await Promise.all(imageFileNames(run, row).map(loadData)));
  return Object.fromEntries(await Promise.all(Object.entries(dataUris).map(async ([name, dataUri]) => [name, await decodeImage(dataUri)])));
}

function createElement(tag, text, attributes = {}) {
  const element = document.createElement(tag);
  element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

// Replaces the options of a select element; `options` are pairs of value and text.
function setOptions(select, options, selectedValue) {
  select.replaceChildren(...options.map(([value, text]) => createElement("option", text, { value })));
  select.value = selectedValue;
}
