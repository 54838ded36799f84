// The list of images, filtered and sorted.
const captionOf = (image) => [image.density ? `ACR ${image.density}` : "", image.side, image.view, image.caption].filter(Boolean).join(" · ");

// Value shown in the list and used for sorting: DSC, or the predicted fraction of the image if there is no ground truth.
function scoreOf(row) {
  const metrics = computeImageMetrics(countsAt(row, state.thresholdLevel, state.run));
  return catalogue.has_truth ? metrics.dsc : metrics.predictedFraction;
}

const SHORT_SCORE_NAME = catalogue.has_truth ? "DSC" : "fraction";
const SORT_ORDERS = {
  highest: { label: `${SHORT_SCORE_NAME}, highest first`, compare: (a, b) => b.score - a.score },
  lowest: { label: `${SHORT_SCORE_NAME}, lowest first`, compare: (a, b) => a.score - b.score },
  median: { label: `${SHORT_SCORE_NAME}, median first`, compare: (a, b) => a.fromMedian - b.fromMedian },
  original: { label: catalogue.has_truth ? "as in results.csv" : "as in predictions.csv", compare: () => 0 },
  name: { label: "name", compare: (a, b) => a.image.name.localeCompare(b.image.name) },
  density: { label: "density", compare: (a, b) => a.image.density - b.image.density },
};

const DEFAULT_ORDER = catalogue.has_truth ? "highest" : "original";

// Median of the defined values; NaN if there are none.
function medianOf(values) {
  const sorted = values.filter((value) => !Number.isNaN(value)).sort((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
}

// Rows of the selected run that match the search and the density, sorted. Undefined scores come last in every order.
function filteredRows() {
  const query = $("search").value.trim().toLowerCase();
  const density = $("density").value;
  const { compare } = SORT_ORDERS[$("order").value];
  const matching = state.run.rows.map((row) => ({ row, image: catalogue.images[row.imageIndex], score: scoreOf(row) }))
    .filter(({ image }) => `${image.name} ${captionOf(image)}`.toLowerCase().includes(query))
    .filter(({ image }) => density === NONE || String(image.density) === density);
  const median = medianOf(matching.map(({ score }) => score));
  return matching.map((entry) => ({ ...entry, fromMedian: Math.abs(entry.score - median) }))
    .sort((a, b) => (Number.isNaN(a.score) - Number.isNaN(b.score)) || compare(a, b) || a.row.rowIndex - b.row.rowIndex)
    .map(({ row }) => row);
}

// Rebuilds the list and shows the given image, or the first one if it is not listed.
function updateList(imageIndex) {
  state.rows = filteredRows();
  state.rowIndex = Math.max(0, state.rows.findIndex((row) => row.imageIndex === imageIndex));
  $("image-list").replaceChildren(...state.rows.map((row, rowIndex) => {
    const image = catalogue.images[row.imageIndex];
    const button = createElement("button", "", { type: "button" });
    button.append(
      createElement("span", image.name, { class: "name" }),
      createElement("span", captionOf(image), { class: "caption" }),
      createElement("span", "", { class: "score" }),
    );
    button.addEventListener("click", () => { showImage(rowIndex); closeNarrowList(); });
    const item = createElement("li", "");
    item.append(button);
    return item;
  }));
  const [nListed, nImages] = [state.rows.length, state.run.rows.length];
  const count = nListed === nImages ? nImages : `${nListed} of ${nImages}`;
  const score = `${catalogue.has_truth ? "DSC" : "predicted fraction of the image"} in %`;
  const sortedAt = ["highest", "lowest", "median"].includes($("order").value) ? `; sorted at threshold ${thresholdLabel()}` : "";
  $("image-count").textContent = `${count} images; ${score}${sortedAt}`;
  updateListScores();
  showImage(state.rowIndex);
}

function updateListScores() {
  $("image-list").querySelectorAll(".score").forEach((element, rowIndex) => { element.textContent = formatPercent(scoreOf(state.rows[rowIndex])); });
}
