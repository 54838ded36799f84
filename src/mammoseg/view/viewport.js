// Zoom and pan, and window and level, with the mouse, touch and the keyboard; shared by all panels.
const MAX_ZOOM = 16;
const WINDOW_WIDTH_RANGE = [2, 100];
const clamp = (value, minimum, maximum) => Math.min(Math.max(value, minimum), maximum);

// The part of an image that a viewport { zoom, x, y } shows, as fractions of its width and height; (x, y) is the centre.
function visiblePart({ zoom, x, y }) {
  const fraction = 1 / zoom;
  return { left: x - fraction / 2, top: y - fraction / 2, fraction };
}

// Shows the part of the images around (x, y), moved to lie within them.
function setViewport(zoom, x, y) {
  const clampedZoom = clamp(zoom, 1, MAX_ZOOM);
  const margin = 0.5 / clampedZoom;
  state.viewport = { zoom: clampedZoom, x: clamp(x, margin, 1 - margin), y: clamp(y, margin, 1 - margin) };
  $("viewer").classList.toggle("zoomed", clampedZoom > 1);
  $("zoom-value").textContent = `${Math.round(100 * clampedZoom)} %`;
  redrawImages();
}

const resetZoom = () => setViewport(1, 0.5, 0.5);

// Zooms in or out; the point at `position`, in fractions of the canvas, stays where it is.
function zoomBy(factor, position = { x: 0.5, y: 0.5 }) {
  const { zoom, x, y } = state.viewport;
  const shift = 1 / zoom - 1 / clamp(zoom * factor, 1, MAX_ZOOM);
  setViewport(zoom * factor, x + (position.x - 0.5) * shift, y + (position.y - 0.5) * shift);
}

// Moves the visible part by fractions of the canvas.
function panBy(deltaX, deltaY) {
  const { zoom, x, y } = state.viewport;
  setViewport(zoom, x + deltaX / zoom, y + deltaY / zoom);
}

// Window and level in %, as the sliders show them.
const greyWindow = () => ({ width: Number($("window").value), level: Number($("level").value) });

function setGreyWindow(width, level) {
  $("window").value = clamp(width, ...WINDOW_WIDTH_RANGE);
  $("level").value = clamp(level, 0, 100);
  for (const name of ["window", "level"]) $(`${name}-value`).textContent = `${Math.round($(name).value)} %`;
  redrawImages();
}

function adjustGreyWindow(deltaWidth, deltaLevel) {
  const { width, level } = greyWindow();
  setGreyWindow(width + deltaWidth, level + deltaLevel);
}

const resetGreyWindow = () => setGreyWindow(100, 50);

const pointers = new Map(); // positions on the screen by pointer, of those that were pressed on an image
let pressedCanvas = null;

const positionOnScreen = (event) => ({ x: event.clientX, y: event.clientY });

// Position on the screen -> fractions of the width and height of a canvas.
function positionOnCanvas({ x, y }, canvas) {
  const { left, top, width, height } = canvas.getBoundingClientRect();
  return { x: (x - left) / width, y: (y - top) / height };
}

// Centre of the pressed pointers on the canvas, and their distance from each other; the distance of one pointer is 1.
function gesture() {
  const [first, second = first] = pointers.values();
  const centre = positionOnCanvas({ x: (first.x + second.x) / 2, y: (first.y + second.y) / 2 }, pressedCanvas);
  return { centre, distance: Math.hypot(first.x - second.x, first.y - second.y) || 1 };
}

function startGesture(event) {
  if (event.target.tagName !== "CANVAS" || pointers.size === 2) return;
  pressedCanvas = event.target;
  pointers.set(event.pointerId, positionOnScreen(event));
}

// One pointer pans, two zoom; with the right button pressed, the mouse changes window (horizontally) and level (vertically).
function continueGesture(event) {
  if (!pointers.has(event.pointerId)) return;
  const before = gesture();
  pointers.set(event.pointerId, positionOnScreen(event));
  const after = gesture();
  const [deltaX, deltaY] = [after.centre.x - before.centre.x, after.centre.y - before.centre.y];
  if (event.buttons & 2) {
    adjustGreyWindow(100 * deltaX, 100 * deltaY);
    return;
  }
  zoomBy(after.distance / before.distance, before.centre);
  panBy(-deltaX, -deltaY);
}

const endGesture = (event) => pointers.delete(event.pointerId);

function zoomWithWheel(event) {
  if (event.target.tagName !== "CANVAS") return;
  event.preventDefault();
  const pixels = event.deltaY * (event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? 1 : 20);
  zoomBy(2 ** (-clamp(pixels, -120, 120) / 240), positionOnCanvas(positionOnScreen(event), event.target));
}

$("panels").addEventListener("pointerdown", startGesture);
$("panels").addEventListener("wheel", zoomWithWheel, { passive: false });
$("panels").addEventListener("dblclick", (event) => event.target.tagName === "CANVAS" && resetZoom());
$("panels").addEventListener("contextmenu", (event) => event.target.tagName === "CANVAS" && event.preventDefault());
document.addEventListener("pointermove", continueGesture);
for (const name of ["pointerup", "pointercancel"]) document.addEventListener(name, endGesture);
window.addEventListener("resize", () => redrawImages()); // the width of the outlines depends on the displayed size
