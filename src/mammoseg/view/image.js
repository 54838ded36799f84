// The panels of the current image and the curve of the listed images.
let requestId = 0;
const shown = []; // what each panel holds: { run, row, pictures }

async function go(place) {
  if (!state.rows.length) {
    requestId += 1;
    $("panels").hidden = true;
    $("status").textContent = "No image passes the filters.";
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
  const currentRequest = requestId += 1;
  try {
    for (const one of wanted) one.pictures = await pictures(filesOf(one.run, one.row));
  } catch (error) {
    showError(error);
    return;
  }
  if (currentRequest !== requestId) return; // another image was chosen meanwhile
  shown.splice(0, shown.length, ...wanted);
  showError(null);
  $("panels").hidden = false;
  $("panels").replaceChildren(...shown.map(panel));
  $("work").classList.toggle("two", shown.length > 1);
  refresh();
  for (const next of [state.place + 1, state.place - 1]) {
    if (state.rows[next]) for (const name of filesOf(state.run, state.rows[next])) load(name).catch(() => {});
  }
}

function showError(error) {
  $("error").hidden = !error;
  $("error").textContent = error ? error.message : "";
}

const COLUMNS = catalogue.truth
  ? METRICS
  : [{ key: "predicted", title: "Predicted fraction of the image", short: "Predicted fraction of the image", unit: "%", scale: 100 }];
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
  const status = [`${state.place + 1} of ${state.rows.length}: ${image.name}`, captionOf(image)];
  const look = { ...state, opacity: $("opacity").value / 100 };
  shown.forEach((one, number) => {
    const figure = $("panels").children[number];
    const { run, row } = one;
    const atOwnThreshold = state.step === run.step || !one.pictures.levels;
    const canvas = figure.querySelector("canvas");
    paint(canvas, one.pictures, atOwnThreshold ? null : state.step, look);
    const here = metricsOf(countsAt(row, state.step, run));
    canvas.setAttribute("aria-label", `${image.name}, ${run.label}: ${COLUMNS.map(({ key, title, unit, scale }) => `${title} ${display(here[key], scale)} ${unit}`.trim()).join(", ")}`);
    const rows = state.rows.map((each) => run.byImage.get(each.image)).filter(Boolean);
    const pooled = metricsOf(pooledAt(rows, state.step, run));
    figure.querySelector("tbody").replaceChildren(...[["this image", here], [`${rows.length} listed, pooled`, pooled]].map(([name, values]) => {
      const line = make("tr", "");
      line.append(make("th", name, { scope: "row" }), ...COLUMNS.map(({ key, scale }) => make("td", display(values[key], scale), { "data-metric": key })));
      return line;
    }));
    if (number === 0 && catalogue.truth) status.push(`DSC ${percent(here.dsc)} %`);
  });
  $("status").textContent = status.filter(Boolean).join(" · ");
  $("scale").hidden = !state.heat;
  drawPooled();
}

function thresholdLabel() {
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
