// Region: a part of the image, as an outline of corners [row, column] in its pixels: drawn as a box or freely by a pointer,
// or grown from a cell by keys; and what the maps are there.

const LEAST_DRAG = 4; // CSS pixels: less is a click
const LEAST_SHARE = 1e-9; // of a cell that counts as touched, as in maps/regions.py
const FINENESS = 100; // corners of a lasso along a side of the image, at most

const boxAround = ([y0, x0], [y1, x1]) => [[y0, x0], [y0, x1], [y1, x1], [y1, x0]];

// The cells of a grid in an outline, each with the area of its part in it, as maps/regions.py has it: the area left of x
// and inside is the sum over the sides of ∫ min(side, x) dy (Green), a cell what is left of its right edge and not of
// its left one. So a mean over a region counts each cell by that area.
function coverageOf({ visible }, grid, outline) {
  const rows = edgesOf(grid.top, grid.bottom, grid.rows, visible[0], visible[2]);
  const columns = edgesOf(grid.left, grid.right, grid.columns, visible[1], visible[3]);
  const areas = new Float64Array(grid.rows * grid.columns), cells = [], weights = [];
  outline.forEach(([y0, x0], i) => {
    const [y1, x1] = outline[(i + 1) % outline.length], slope = (x1 - x0) / (y1 - y0);
    const [low, high] = y0 < y1 ? [y0, y1] : [y1, y0];
    for (let y = 0; y < grid.rows && low < high; y++) {
      const from = clamp(rows[y], low, high), to = clamp(rows[y + 1], low, high), tall = (to - from) * Math.sign(y1 - y0);
      if (tall) addLeftOf(areas, y * grid.columns, columns, tall, x0 + (from - y0) * slope, x0 + (to - y0) * slope);
    }
  });
  areas.forEach((area, at) => {
    const y = Math.floor(at / grid.columns), x = at % grid.columns;
    const whole = (rows[y + 1] - rows[y]) * (columns[x + 1] - columns[x]), weight = Math.min(Math.abs(area), whole);
    if (weight <= LEAST_SHARE * whole) return;
    cells.push(at);
    weights.push(weight);
  });
  return { cells, weights };
}

const edgesOf = (start, end, cells, first, last) =>
  Float64Array.from({ length: cells + 1 }, (_, i) => clamp(start + ((end - start) * i) / cells, first, last));

// Adds to a row of cells what a piece of a side has at its left.
function addLeftOf(areas, row, edges, tall, one, other) {
  const left = Math.min(one, other), right = Math.max(one, other), isUpright = right - left < 1e-12;
  let before = 0;
  edges.forEach((edge, x) => {
    const share = isUpright ? 1 : clamp((edge - left) / (right - left), 0, 1);
    const mean = isUpright ? Math.min(left, edge) : (share * (left + Math.min(right, edge))) / 2 + (1 - share) * edge;
    if (x) areas[row + x - 1] += tall * (mean - before);
    before = mean;
  });
}

// The mean of values over a region, the lowest and highest of them, and how many cells have one.
function measure({ cells, weights }, read) {
  const found = { mean: NaN, least: Infinity, most: -Infinity, count: 0 };
  let sum = 0, area = 0;
  cells.forEach((cell, i) => {
    const value = read(cell);
    if (Number.isNaN(value)) return;
    sum += weights[i] * value;
    area += weights[i];
    Object.assign(found, { least: Math.min(found.least, value), most: Math.max(found.most, value), count: found.count + 1 });
  });
  return Object.assign(found, { mean: sum / area });
}

const outlineOf = (view) => view.draft ?? view.state.region;

// Measured once for an outline and a grid, however many maps are read there.
function regionOn(view, grid, isWhole) {
  const { data, known } = view, outline = outlineOf(view), [top, left, bottom, right] = data.visible;
  if (known?.outline !== outline || known.data !== data) view.known = { outline, data, grids: new Map() };
  const key = [isWhole, ...Object.values(grid)].join(), { grids } = view.known;
  if (!grids.has(key)) grids.set(key, coverageOf(data, grid, isWhole ? boxAround([top, left], [bottom, right]) : outline));
  return grids.get(key);
}

function makeOutline(parts) {
  const node = (tag, attributes) => {
    const one = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) one.setAttribute(name, value);
    return one;
  };
  parts.outlines = ["dcv-outline-under", "dcv-outline-over"].map((name) => node("polygon", { class: name }));
  parts.outline = node("svg", { class: "dcv-outline", preserveAspectRatio: "none", "aria-hidden": "true" });
  parts.outline.append(...parts.outlines);
  return parts.outline;
}

function showOutline(view) {
  const { parts, data } = view, outline = outlineOf(view);
  parts.outline.toggleAttribute("hidden", !outline);
  parts.outline.setAttribute("viewBox", `0 0 ${data.size[1]} ${data.size[0]}`);
  const points = (outline ?? []).map(([y, x]) => `${x},${y}`).join(" ");
  for (const one of parts.outlines) one.setAttribute("points", points);
}

function makeTool(parts) {
  const text = { "": "none", box: "draw a box", lasso: "draw freely" };
  const options = Object.entries(text).map(([value, words]) => make("option", "", { value }, words));
  return makeField(parts, "region", "region", make("select", "", {}, ...options));
}

const isLocked = ({ model }) => (model.get("locked") ?? []).includes("region");

// With a tool chosen, or Shift held, dragging draws; without one it does what the page does with it, such as to scroll.
function listenToRegion(view, placeOf) {
  const { image, controls } = view.parts, tool = () => controls.region.value;
  const on = (name, act) => image.addEventListener(name, act);
  controls.region.addEventListener("change", () => image.classList.toggle("dcv-drawing", Boolean(tool())));
  on("pointerdown", (event) => {
    view.wasDrag = false;
    if (event.button || isLocked(view) || !(tool() || (event.shiftKey && event.pointerType === "mouse"))) return;
    view.drag = { from: [event.clientX, event.clientY], places: [placeInside(view.data, placeOf(event))], isFree: tool() === "lasso" };
    image.setPointerCapture(event.pointerId);
  });
  on("pointermove", (event) => view.drag && drag(view, event, placeInside(view.data, placeOf(event))));
  on("pointerup", () => {
    const { draft } = view;
    letGo(view);
    if (draft) change(view, { region: draft });
  });
  on("pointercancel", () => letGo(view));
}

function drag(view, { clientX, clientY }, place) {
  const { drag: { from, places, isFree }, data } = view, least = Math.max(...data.size) / FINENESS;
  if (!view.draft && Math.hypot(clientX - from[0], clientY - from[1]) < LEAST_DRAG) return;
  view.wasDrag = true; // from here on its release is no click, whether it leaves an outline or not
  const far = Math.hypot(place[0] - places.at(-1)[0], place[1] - places.at(-1)[1]);
  if (isFree && far >= least && places.length < data.rules.region.corners[1]) places.push(place);
  const draft = isFree ? [...places] : boxAround(places[0], place);
  view.draft = draft.length < 3 ? null : draft;
  if (view.draft) view.pointed = null;
  tell(view);
}

function letGo(view) {
  view.drag = view.draft = null;
}

const placeInside = ({ size }, place) => place.map((at, i) => Number(clamp(at, 0, size[i]).toFixed(1)));

// A box over all cells from where the reader is to one further on: from the pin, where there is one.
function grow(view, [down, right]) {
  const { data, state } = view, grid = mainGrid(data), far = stepOf(data, grid);
  const own = view.grown?.region === state.region ? view.grown : null;
  const first = own?.first ?? state.pinned ?? cellAt(data, grid, spotOf(view).place) ?? [0, 0], [y, x] = own?.last ?? first;
  const last = [clamp(y + down * far, 0, grid.rows - 1), clamp(x + right * far, 0, grid.columns - 1)];
  const boxes = [boxOf(data, grid, ...first), boxOf(data, grid, ...last)];
  if (boxes.includes(null) || isLocked(view)) return;
  const ends = (i, pick) => pick(...boxes.map((box) => box[i]));
  const region = boxAround([ends(0, Math.min), ends(1, Math.min)], [ends(2, Math.max), ends(3, Math.max)]);
  view.pointed = null;
  view.grown = { first, last, region };
  change(view, { region });
}

const stepOf = (data, grid) => (data.labels ? Math.ceil(grid.rows / 64) : 1);
