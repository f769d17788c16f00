// Heat: rows of bars as a map of prompts × places, or prompts × templates, in the colours of the scale that is shown.

const HEATS = { bars: "bars", place: "places", template: "templates" };
const PLACES = { pinned: "pin", region: "region", whole: "image", peak: "peak" };

function makeHeat(parts) {
  parts.columns = make("div", "dcv-columns", { "aria-hidden": "true" });
  parts.told = make("div", "dcv-told", { "aria-live": "polite" });
  return [parts.told, parts.columns];
}

// What its columns are: titles, and how a map is read in each.
function columnsOf(view, spot) {
  const { data, state, stack, shown, parts } = view, axis = parts.controls["bars-as"].value;
  if (axis === "bars" || !shown?.view || !isByText(stack)) return null;
  const read = (own, name, where) => readingAt(view, own.grid, where)((at) => valueAt(own, name, at)).mean;
  if (axis === "template") {
    const titles = [...view.parts.controls.template.options].map(({ textContent }) => textContent);
    return { axis, titles, value: (prompt, i) => {
      const { stack: own, map } = selected(data, { ...state, prompt, template: data.choices.template[i] });
      return read(own, map, spot);
    } };
  }
  const places = Object.keys(PLACES).filter((name) => !(name in state) || state[name]);
  return { axis, titles: places.map((name) => PLACES[name]), value: (prompt, i) => {
    const { stack: own, map } = selected(data, { ...state, prompt });
    if (places[i] !== "peak") return read(own, map, spotAt(view, places[i]));
    const peak = peakOf(data, own.grid, mapOf(own, map));
    return peak ? valueAt(own, map, indexOf(own.grid, peak)) : NaN;
  } };
}

// Where a column reads: the pin, the region, or all that was seen.
function spotAt({ data, state }, name) {
  if (name === "pinned") return { place: middleOf(data, mainGrid(data), state.pinned), origin: "pinned" };
  return { origin: "region", isWhole: name === "whole" };
}

function tellHeat(view, spot) {
  const { parts } = view, heat = columnsOf(view, spot), isAsBefore = heat?.axis === "place" && view.heatOf === view.version;
  parts.bars.classList.toggle("dcv-heated", Boolean(heat));
  parts.columns.hidden = parts.told.hidden = !heat;
  if (heat) parts.axis.hidden = parts.key.hidden = true;
  if (!isAsBefore || view.draft) paintHeat(view, heat);
  view.heatOf = view.version; // places stay as they are while one points
  tellColumn(view);
}

function paintHeat(view, heat) {
  view.heat = heat;
  if (!heat) return;
  const { parts, rows, data, state, shown } = view, count = heat.titles.length;
  const colours = inks(data.tables[coloursOf(data, state, shown)], shown, null), steps = STEPS / (shown.high - shown.low);
  view.column = clamp(view.column ?? (heat.axis === "template" ? templateOf(data, state) : 0), 0, count - 1);
  const isNamed = heat.axis === "place", names = isNamed ? heat.titles : ["1", String(count)];
  parts.columns.classList.toggle("dcv-ends", !isNamed);
  parts.columns.replaceChildren(...names.map((name) => make("span", "", {}, name)));
  for (const bar of rows) {
    bar.values = heat.titles.map((_, i) => heat.value(bar.name, i));
    const image = new ImageData(count, 1), out = new Uint32Array(image.data.buffer);
    bar.values.forEach((value, i) => {
      out[i] = Number.isNaN(value) ? 0 : colours[1 + Math.floor(clamp((value - shown.low) * steps, 0, STEPS))];
    });
    bar.heat.width = count;
    bar.heat.getContext("2d").putImageData(image, 0, 0);
  }
}

function tellColumn(view, bar = view.rows.find(({ name }) => name === view.state.prompt)) {
  const { heat, parts, column, rows, shown } = view;
  if (!heat || !bar) return;
  const said = (one) => (Number.isNaN(one.values[column]) ? "none" : pretty(one.values[column], shown.decimals));
  parts.told.textContent = `${heat.titles[column]} · ${bar.text} · ${said(bar)}`;
  for (const one of rows) one.number.textContent = said(one);
  parts.columns.style.setProperty("--dcv-column", `${(100 * (column + 0.5)) / heat.titles.length}%`);
}

function moveColumn(view, column, row) {
  view.column = clamp(column, 0, view.heat.titles.length - 1);
  tellColumn(view, view.rows.find((bar) => bar.row === row));
}

function listenToHeat(view, bar) {
  bar.heat.addEventListener("pointermove", ({ offsetX }) => {
    if (view.heat) moveColumn(view, Math.floor((offsetX / bar.heat.clientWidth) * view.heat.titles.length), bar.row);
  });
  bar.row.addEventListener("focus", () => view.heat && tellColumn(view, bar));
}
