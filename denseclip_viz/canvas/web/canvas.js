// Canvas: what happens. A view is one drawing of one model; a model may have several.

// What was chosen in a view of a model and is not sent yet. The kernel's echo of the choice before comes late where it is busy,
// and would take this one back.
const unsent = new WeakMap();

// Choices go to the other views of a model at once, to the kernel when it is quiet, and to linked canvases.
function change(view, patch, { relayed = false } = {}) {
  const { data, model } = view, state = resolved({ ...view.state, ...patch }, data);
  if (scaleOf(data, state) !== scaleOf(data, view.state) && !("threshold" in patch)) state.threshold = null;
  view.state = state;
  draw(view);
  unsent.set(model, { ...state });
  model.set("state", { ...state });
  clearTimeout(view.timer);
  view.timer = setTimeout(() => tellKernel(model), QUIET);
  const pin = patch.pinned && shareOf(data, middleOf(data, mainGrid(data), patch.pinned));
  const region = patch.region?.map((place) => shareOf(data, place));
  if (!relayed) publish(view, { patch, pin, region, kind: kindOf(data, state) });
}

function tellKernel(model) {
  if (unsent.has(model)) model.set("state", unsent.get(model));
  unsent.delete(model);
  model.save_changes();
}

const chosenOf = (model) => unsent.get(model) ?? model.get("state");

function point(view, place, { relayed = false } = {}) {
  const { data, state } = view;
  view.pointed = place && cellAt(data, mainGrid(data), place) ? place : null;
  if (state.hover) draw(view);
  else tell(view);
  if (!relayed) publish(view, { point: view.pointed && shareOf(data, view.pointed) });
}

function pin(view, place) {
  const cell = cellAt(view.data, mainGrid(view.data), place), again = cell?.join() === view.state.pinned?.join();
  change(view, { pinned: again ? null : cell });
}

const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

function press(view, event) {
  if (ARROWS[event.key] && event.shiftKey) grow(view, ARROWS[event.key]);
  else if (ARROWS[event.key]) step(view, ARROWS[event.key]);
  else if (event.key === "Enter") pin(view, spotOf(view).place);
  else if (event.key === "Escape") escape(view);
  else return;
  event.preventDefault();
}

// The last thing first: what is being drawn, then the region, then the pin.
function escape(view) {
  const { drag: drawing, state } = view;
  letGo(view);
  point(view, null);
  if (drawing) tell(view);
  else if (state.region) change(view, { region: null });
  else if (state.pinned) change(view, { pinned: null });
}

// One cell further, as long as it was seen; through labels, which have a cell for each pixel, in larger steps.
function step(view, [down, right]) {
  const { data } = view, grid = mainGrid(data), far = stepOf(data, grid);
  const [y, x] = cellAt(data, grid, spotOf(view).place) ?? [0, 0];
  const next = [clamp(y + down * far, 0, grid.rows - 1), clamp(x + right * far, 0, grid.columns - 1)];
  if (boxOf(data, grid, ...next)) point(view, middleOf(data, grid, next));
}

// Between linked canvases places are shares of the image, since their grids may differ.
const shareOf = ({ size }, [row, column]) => [row / size[0], column / size[1]];
const placeAt = ({ size }, [down, across]) => [down * size[0], across * size[1]];

function publish(view, news) {
  const links = view.model.get("_links") ?? [];
  if (links.length) send({ ...news, links, visited: [view.id] });
}

// News of a linked canvas: taken as far as the names exist here, and handed on to what is linked to this one.
function receive(view, { detail }) {
  const { data, id } = view, links = view.model.get("_links") ?? [], visited = [...detail.visited, id];
  if (!data || detail.visited.includes(id) || !links.some((name) => detail.links.includes(name))) return;
  if ("point" in detail) point(view, detail.point && placeAt(data, detail.point), { relayed: true });
  if (detail.patch) change(view, understood(view, detail), { relayed: true });
  send({ ...detail, links, visited });
}

function understood({ data, state }, { patch, pin, region, kind }) {
  const known = ([name, value]) => data.choices[name]?.includes(value) ?? true;
  const own = Object.fromEntries(Object.entries(patch).filter(known));
  if (kind !== kindOf(data, resolved({ ...state, ...own }, data))) delete own.threshold;
  if (data.stacks[0]?.view === "difference" || !isAllowed("versus", own.versus, data)) delete own.versus; // a difference is one already
  if ("pinned" in own) own.pinned = pin && cellAt(data, mainGrid(data), placeAt(data, pin));
  if ("region" in own) own.region = region?.map((place) => placeInside(data, placeAt(data, place))) ?? null;
  return own;
}

function listen(view) {
  const { model } = view, onNews = (event) => receive(view, event);
  listenToControls(view);
  listenToImage(view);
  listenToKeep(view);
  listenToBars(view);
  listenToContrast(view);
  globalThis.addEventListener(BUS, onNews);
  const watched = { _payload: load, state: follow, locked: draw, status: say, status_kind: say };
  const acts = Object.entries(watched).map(([name, act]) => [`change:${name}`, () => act(view)]);
  for (const [name, act] of acts) model.on(name, act);
  return () => {
    globalThis.removeEventListener(BUS, onNews);
    for (const [name, act] of acts) model.off(name, act);
  };
}

function listenToControls(view) {
  const on = (name, event, read) => {
    const act = ({ target }) => change(view, { [name]: read(target) });
    view.parts.controls[name].addEventListener(event, act);
  };
  for (const name of ["view", "prompt", "template", "path", "layer", "head", "method"]) {
    on(name, "change", ({ value }) => view.data.choices[name].find((offered) => String(offered) === value));
  }
  on("colours", "change", ({ value }) => value);
  on("opacity", "input", ({ valueAsNumber }) => valueAsNumber);
  on("threshold", "input", ({ valueAsNumber, min }) => (valueAsNumber <= Number(min) ? null : valueAsNumber));
  on("interpolation", "change", ({ checked }) => (checked ? "nearest" : "bilinear"));
  on("hover", "change", ({ checked }) => checked);
}

function listenToImage(view) {
  const { image } = view.parts, on = (name, act) => image.addEventListener(name, act);
  const placeOf = (event) => {
    const box = image.getBoundingClientRect();
    return placeAt(view.data, [(event.clientY - box.top) / box.height, (event.clientX - box.left) / box.width]);
  };
  on("pointermove", (event) => view.drag || point(view, placeOf(event)));
  on("pointerleave", () => point(view, null));
  on("blur", () => point(view, null));
  on("click", (event) => view.wasDrag || pin(view, placeOf(event)));
  listenToRegion(view, placeOf);
  on("keydown", (event) => press(view, event));
}

// The kernel, or another view of this model, chose.
function follow(view) {
  const given = chosenOf(view.model), isComing = view.given !== view.model.get("_payload");
  if (!view.data || isComing || JSON.stringify(given) === JSON.stringify(view.state)) return; // `load` takes the state
  view.state = resolved(given, view.data);
  draw(view);
}

function say({ model, parts }) {
  parts.status.textContent = model.get("status") ?? "";
  parts.status.dataset.kind = model.get("status_kind") ?? "ok";
}

// Another result: what is shown stays until all of the new one is there, and only the newest counts.
async function load(view) {
  const given = view.model.get("_payload"), { parts } = view, turn = ++view.turn;
  parts.empty.hidden = Boolean(given?.meta);
  parts.body.hidden = parts.bar.hidden = !given?.meta;
  if (!given?.meta) return;
  const data = unpack(given), { bitmap, labels } = await decode(data, given.buffers);
  if (turn !== view.turn) return bitmap?.close();
  view.bitmap?.close();
  Object.assign(view, { given, data, bitmap, labels, pointed: null, drag: null, draft: null, needsTools: false, fitted: "", loads: view.loads + 1 });
  view.state = resolved(chosenOf(view.model), data);
  parts.root.style.setProperty("--dcv-ratio", data.size[1] / data.size[0]);
  parts.warning.textContent = data.random ? "random weights · nothing here was learned" : "";
  parts.caution.textContent = data.caution;
  fillSelects(view);
  fit(view);
}

async function decode({ image, labels }, buffers) {
  const plain = { colorSpaceConversion: "none" };
  const file = (name, type) => createImageBitmap(new Blob([bytesOf(buffers[name])], { type }), plain);
  const files = [image && file("image", image), ...(labels?.files ?? []).map((name) => file(name, "image/png"))];
  const [bitmap, ...drawn] = await Promise.all(files);
  return { bitmap, labels: labels && readLabels(...drawn.map(numbersIn)) };
}

// The three bytes of each pixel as one number.
function numbersIn(bitmap) {
  const ctx = surface(bitmap.width, bitmap.height).getContext("2d", { willReadFrequently: true });
  ctx.drawImage(bitmap, 0, 0);
  const { data } = ctx.getImageData(0, 0, bitmap.width, bitmap.height);
  bitmap.close();
  return Uint32Array.from({ length: data.length / 4 }, (_, i) => data[4 * i] | (data[4 * i + 1] << 8) | (data[4 * i + 2] << 16));
}

// Labels come as the colours of an image: red and green hold the label + 1, blue its probability.
function readLabels(colours, ...masks) {
  const numbers = Int16Array.from(colours, (colour) => (colour & 255) * 256 + ((colour >> 8) & 255) - 1);
  return { numbers, probability: Float32Array.from(colours, (colour) => (colour >> 16) / 255), masks };
}

// As many pixels as the screen has, and new backgrounds where their number changed.
function fit(view) {
  const { data, parts, bitmap } = view, wide = parts.frame.clientWidth * (globalThis.devicePixelRatio || 1);
  if (!data || !wide) return;
  const ratio = data.size[0] / data.size[1], shrink = Math.min(1, LARGEST / (wide * Math.max(1, ratio)));
  const width = Math.max(1, Math.round(wide * shrink)), height = Math.max(1, Math.round(wide * shrink * ratio));
  if (view.fitted === `${width} ${height}`) return;
  view.fitted = `${width} ${height}`;
  Object.assign(parts.image, { width, height });
  view.backs = backgrounds(data, bitmap, width, height);
  const part = Math.min(1, FINEST / Math.max(width, height));
  view.layer = makeLayer(Math.max(1, Math.round(width * part)), Math.max(1, Math.round(height * part)));
  view.second = null;
  draw(view);
}

// What is laid over the image, and the numbers of labels before they are colours.
function makeLayer(width, height) {
  return { over: surface(width, height), image: new ImageData(width, height), numbers: new Int32Array(width * height), painted: "" };
}

function render({ model, el }) {
  const view = { model, parts: makeParts(el), id: crypto.getRandomValues(new Uint32Array(2)).join("-") };
  Object.assign(view, { version: 0, turn: 0, loads: 0, pointed: null, state: model.get("state") });
  view.parts.empty.textContent = "Nothing to show yet.";
  const silence = listen(view), watch = new ResizeObserver(() => fit(view));
  watch.observe(view.parts.frame);
  say(view);
  load(view);
  return () => {
    view.turn++;
    clearTimeout(view.timer);
    if (unsent.has(model)) tellKernel(model); // what was chosen last, though the view goes
    silence();
    watch.disconnect();
    view.bitmap?.close();
  };
}

export default { render };
