// Confusion counts and metrics at any threshold.
// Probabilities are quantised to levels: at the threshold k/256, the pixels of level k or more are predicted as mass.
// This k is called the threshold level.
const N_LEVELS = 256;

// Number of pixels of each level -> number of pixels of level k or more, for k = 0 to 256.
function reverseCumulativeSum(histogram) {
  const sums = new Float64Array(N_LEVELS + 1);
  for (let level = N_LEVELS - 1; level >= 0; level -= 1) sums[level] = sums[level + 1] + histogram[level];
  return sums;
}

// Combines the entry of a run in the catalogue with the content of its data file.
function parseRun(index, metadata, data) {
  const rows = data.rows.map(([imageIndex, tp, fp, fn, tn], rowIndex) => ({
    imageIndex,
    rowIndex,
    counts: { tp, fp, fn, tn },
    massSums: data.mass_histograms && reverseCumulativeSum(data.mass_histograms[rowIndex]),
    backgroundSums: data.background_histograms && reverseCumulativeSum(data.background_histograms[rowIndex]),
  }));
  return {
    index,
    label: metadata.label,
    note: metadata.note,
    threshold: metadata.threshold,
    thresholdLevel: metadata.threshold_level,
    rows,
    rowsByImage: new Map(rows.map((row) => [row.imageIndex, row])),
  };
}

// Confusion counts of an image. At the threshold of the run, they are the stored counts of its masks, which are exact
// even if that threshold is not a multiple of 1/256.
function countsAt(row, thresholdLevel, run) {
  if (thresholdLevel === run.thresholdLevel || !row.backgroundSums) return row.counts;
  const [tp, fp] = [row.massSums[thresholdLevel], row.backgroundSums[thresholdLevel]];
  return { tp, fp, fn: row.massSums[0] - tp, tn: row.backgroundSums[0] - fp };
}

function pooledCountsAt(rows, thresholdLevel, run) {
  const pooled = { tp: 0, fp: 0, fn: 0, tn: 0 };
  for (const row of rows) {
    const counts = countsAt(row, thresholdLevel, run);
    for (const name of Object.keys(pooled)) pooled[name] += counts[name];
  }
  return pooled;
}

// Values by key: the METRICS generated from Python, and the predicted fraction of the image. NaN where undefined.
function computeMetrics(counts) {
  const { tp, fp, fn, tn } = counts;
  const values = METRICS.map(({ key, formula }) => [key, formula(counts)]);
  return { ...Object.fromEntries(values), predictedFraction: (tp + fp) / (tp + fp + fn + tn) };
}

// Values of a single image. An image without a mass has no DSC, even if pixels are predicted: metrics that are undefined
// for such an image with an empty prediction are undefined for all of them.
function computeImageMetrics(counts) {
  const values = computeMetrics(counts);
  if (counts.tp + counts.fn > 0) return values;
  const empty = computeMetrics({ tp: 0, fp: 0, fn: 0, tn: 1 });
  return Object.fromEntries(Object.entries(values).map(([key, value]) => [key, Number.isNaN(empty[key]) ? NaN : value]));
}

const formatValue = (value, scale) => (Number.isNaN(value) ? "–" : (scale * value).toFixed(2));
const formatPercent = (value) => formatValue(value, 100);
