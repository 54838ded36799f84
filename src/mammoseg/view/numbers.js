// Pixel counts and metrics at any threshold.
// The level q of a pixel is the number of steps k/256 that its probability is above: at k/256 it is mass if q >= k.
const STEPS = 256;

// histogram[q] = pixels of level q -> sums[k] = pixels of level k or more, for k = 0 to 256.
function cumulative(histogram) {
  const sums = new Float64Array(STEPS + 1);
  for (let level = STEPS - 1; level >= 0; level -= 1) sums[level] = sums[level + 1] + histogram[level];
  return sums;
}

// A run's data file -> the run with its rows as objects.
function parseRun(run, data) {
  const rows = data.rows.map(([image, ...counts], place) => ({
    image,
    place,
    counts: { tp: counts[0], fp: counts[1], fn: counts[2], tn: counts[3] },
    mass: data.mass && cumulative(data.mass[place]),
    rest: data.rest && cumulative(data.rest[place]),
  }));
  return { ...run, rows, byImage: new Map(rows.map((row) => [row.image, row])) };
}

// At the run's own threshold the counts are those of its masks, to the last pixel.
function countsAt(row, step, run) {
  if (step === run.step || !row.rest) return row.counts;
  const tp = row.mass ? row.mass[step] : 0;
  const fp = row.rest[step];
  return { tp, fp, fn: (row.mass ? row.mass[0] : 0) - tp, tn: row.rest[0] - fp };
}

function pooledAt(rows, step, run) {
  const sum = { tp: 0, fp: 0, fn: 0, tn: 0 };
  for (const row of rows) {
    const counts = countsAt(row, step, run);
    for (const name of Object.keys(sum)) sum[name] += counts[name];
  }
  return sum;
}

// Values by key: METRICS, generated from Python, and the fraction of the image that is predicted as mass. NaN where
// undefined.
function metricsOf(counts) {
  const { tp, fp, fn, tn } = counts;
  const values = METRICS.map(({ key, formula }) => [key, formula(counts)]);
  return { ...Object.fromEntries(values), predicted: (tp + fp) / (tp + fp + fn + tn) };
}

const display = (value, scale) => (Number.isNaN(value) ? "–" : (scale * value).toFixed(2));
const percent = (value) => display(value, 100);
