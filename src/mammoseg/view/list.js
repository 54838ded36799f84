// The list of images, with its filters and order.
const captionOf = (image) => [image.density ? `ACR ${image.density}` : "", image.side, image.view, image.caption].filter(Boolean).join(" · ");
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
function filteredRows() {
  const sought = $("search").value.trim().toLowerCase();
  const density = $("density").value;
  const found = state.run.rows.map((row) => ({ row, image: catalogue.images[row.image], score: score(row) }))
    .filter(({ image }) => `${image.name} ${captionOf(image)}`.toLowerCase().includes(sought))
    .filter(({ image }) => density === NONE || String(image.density) === density);
  const order = ORDERS[$("order").value][1];
  found.sort((a, b) => (Number.isNaN(a.score) - Number.isNaN(b.score)) || order(a, b) || a.row.place - b.row.place);
  return found.map(({ row }) => row);
}

function fillList(keep) {
  state.rows = filteredRows();
  state.place = Math.max(0, state.rows.findIndex((row) => row.image === keep));
  $("list").replaceChildren(...state.rows.map((row, place) => {
    const image = catalogue.images[row.image];
    const button = make("button", "", { type: "button" });
    button.append(make("span", image.name, { class: "name" }), make("span", "", { class: "score" }), make("span", captionOf(image), { class: "caption" }));
    button.addEventListener("click", () => go(place));
    const item = make("li", "");
    item.append(button);
    return item;
  }));
  const all = state.run.rows.length;
  $("count").textContent = `${state.rows.length === all ? all : `${state.rows.length} of ${all}`} images; ${catalogue.truth ? "DSC" : "predicted fraction of the image"} in %`;
  fillScores();
  go(state.place);
}

function fillScores() {
  $("list").querySelectorAll(".score").forEach((cell, place) => { cell.textContent = percent(score(state.rows[place])); });
}
