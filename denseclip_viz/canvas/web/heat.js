// Heat: rows of bars as a map of prompts × places, or prompts × templates, in the colours of the scale that is shown.

const HEATS = { auto: "auto", bars: "bars", places: "places", templates: "templates" };
const WIDE = { places: [34, 34, 170], templates: [12, 68, 170] }; // CSS pixels: of a column, at least, at most
const PLACES = { here: "here", pinned: "pin", region: "region", whole: "image", peak: "peak" };

function makeHeat(parts) {
  parts.columns = make("div", "dcv-columns");
  parts.told = make("div", "dcv-told", { "aria-live": "polite" });
  parts.heatRamp = make("canvas", "dcv-ramp", { width: 256, height: 1 });
  parts.heatKey = make("div", "dcv-heat-key", { "aria-hidden": "true" }, make("span"), parts.heatRamp, make("span"));
  parts.heads = make("div", "dcv-heads", { "aria-hidden": "true" }, parts.columns);
  return [[parts.told, parts.heads], parts.heatKey];
}

const hasHeat = ({ shown, stack }) => Boolean(shown?.view) && isByText(stack);

// As rows_as in canvas/state.py.
function rowsAs({ data, state }) {
  return state.rows !== AUTO ? state.rows : data.choices.prompt.length > data.rules.rows.bars ? "places" : "bars";
}

const isHeated = (view) => hasHeat(view) && rowsAs(view) !== "bars";

// What its columns are: titles, and how the map of a prompt is read in each.
function columnsOf(view, spot) {
  const { data, state, stack, parts } = view, axis = rowsAs(view), outline = outlineOf(view);
  if (!isHeated(view)) return null;
  const { choices } = data, [prompts, grid] = [choices.prompt.length, stack.grid];
  const first = selected(data, { ...state, prompt: choices.prompt[0], template: choices.template[0] }).map;
  const reading = (where) => readingAt(view, grid, where);
  if (axis === "templates") {
    const titles = [...parts.controls.template.options].map(({ textContent }) => textContent), read = reading(spot);
    return { axis, titles, outline, value: (prompt, i) => read((at) => valueAt(stack, first + i * prompts + prompt, at)).mean };
  }
  const places = Object.keys(PLACES).filter((name) => !(name in state) || state[name]), own = templateOf(data, state) * prompts;
  const reads = places.map((name) => (name === "here" ? reading(spot) : name === "pinned" || name === "region" ? reading(spotAt(view, name)) : null));
  return { axis, titles: places.map((name) => PLACES[name]), outline, value: (prompt, i) => {
    const map = first + own + prompt;
    return reads[i] ? reads[i]((at) => valueAt(stack, map, at)).mean : summaryOf(view, map)[places[i]];
  } };
}

// Where a column reads: the pin or the region.
function spotAt({ data, state }, name) {
  if (name === "pinned") return { place: middleOf(data, mainGrid(data), state.pinned), origin: "pinned" };
  return { origin: "region" };
}

// Of a whole map, which is the same whatever one points at.
function summaryOf(view, map) {
  const { data, stack } = view, { grid } = stack, read = (at) => valueAt(stack, map, at);
  stack.summaries ??= [];
  if (!stack.summaries[map]) {
    const peak = peakOf(data, grid, mapOf(stack, map), view.state.view), whole = readingAt(view, grid, { origin: "region", isWhole: true })(read).mean;
    stack.summaries[map] = { whole, peak: peak ? read(indexOf(grid, peak)) : NaN };
  }
  return stack.summaries[map];
}

// While one points, only what is read there changes.
function tellHeat(view, spot) {
  const { parts, rows } = view, heat = columnsOf(view, spot), before = view.heat;
  parts.side.classList.toggle("dcv-heated", Boolean(heat));
  for (const name of ["heads", "told", "heatKey"]) parts[name].hidden = !heat;
  view.heat = heat;
  if (!heat) return;
  parts.axis.hidden = parts.key.hidden = true;
  const isMoving = heat.axis === "places" && before?.axis === "places" && before.outline === heat.outline;
  for (const bar of rows) {
    if (isMoving) bar.values[0] = heat.value(bar.place, 0);
    else bar.values = heat.titles.map((_, i) => heat.value(bar.place, i));
  }
  if (!isMoving) showColumns(view);
  paintHeat(view);
  tellColumn(view);
}

function showColumns(view) {
  const { heat, parts, data, state, shown } = view, { titles, axis } = heat, isNamed = axis === "places";
  const start = isNamed ? 0 : templateOf(data, state), own = `${axis} ${start}`;
  if (view.columnOf !== own) Object.assign(view, { column: start, byArrows: false });
  view.columnOf = own;
  view.column = clamp(view.column, 0, titles.length - 1);
  parts.columns.classList.toggle("dcv-ends", !isNamed);
  parts.columns.replaceChildren(...(isNamed ? titles : ["1", String(titles.length)]).map((name) => make("span", "", {}, name)));
  const [each, least, most] = WIDE[axis], wide = `${clamp(each * titles.length, least, most)}px`;
  parts.side.style.setProperty("--dcv-heat", `${wide} ${shown.decimals + 3}ch`); // a number has a sign, a digit and a point too
  const [low, ramp, high] = parts.heatKey.children;
  [low.textContent, high.textContent] = [shown.ticks[0], shown.ticks.at(-1)];
  ramp.getContext("2d").putImageData(rampOf(data.tables[coloursOf(data, state, shown)]), 0, 0);
}

function paintHeat({ rows, data, state, shown, heat }) {
  const count = heat.titles.length, image = new ImageData(count, 1), out = new Uint32Array(image.data.buffer);
  const colours = inks(data.tables[coloursOf(data, state, shown)], shown, null), steps = STEPS / (shown.high - shown.low);
  for (const bar of rows) {
    bar.values.forEach((value, i) => {
      out[i] = Number.isNaN(value) ? 0 : colours[1 + Math.floor(clamp((value - shown.low) * steps, 0, STEPS))];
    });
    if (bar.heat.width !== count) bar.heat.width = count;
    bar.heat.getContext("2d").putImageData(image, 0, 0);
  }
}

function tellColumn(view, bar = view.rows.find(({ name }) => name === view.state.prompt)) {
  const { heat, parts, column, rows, shown } = view;
  if (!heat || !bar) return;
  const said = (one) => (Number.isNaN(one.values[column]) ? "none" : pretty(one.values[column], shown.decimals));
  parts.told.textContent = `${heat.titles[column]} · ${bar.text} · ${said(bar)}`;
  for (const one of rows) if (one.number.textContent !== said(one)) one.number.textContent = said(one);
  parts.columns.style.setProperty("--dcv-column", `${(100 * (column + 0.5)) / heat.titles.length}%`);
}

function moveColumn(view, column, bar, byArrows = false) {
  Object.assign(view, { column: clamp(column, 0, view.heat.titles.length - 1), byArrows });
  tellColumn(view, bar);
}

function listenToHeat(view, bar) {
  bar.heat.addEventListener("pointermove", ({ offsetX }) => {
    if (view.heat) moveColumn(view, Math.floor((offsetX / bar.heat.clientWidth) * view.heat.titles.length), bar);
  });
  bar.row.addEventListener("focus", () => view.heat && tellColumn(view, bar));
}
