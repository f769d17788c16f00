// Bars: one row for each prompt, or each head where a map has none; their order, and which of them are listed.

const FEW = 6; // fewer rows need neither order nor filter, unless one is chosen
const TOOLS = ["order", "filter", "rows"];
const ORDERS = { given: "as given", value: "by value" };

function makeBars(parts) {
  parts.where = make("div", "dcv-where", { "aria-live": "polite" });
  parts.bars = make("div", "dcv-bars", { role: "group", "aria-label": "values of this cell" });
  parts.key = make("div", "dcv-key", {}, "score: the whole image’s cosine");
  parts.number = make("div", "dcv-number-key"); // what a legend's numbers and shares are
  parts.axis = make("div", "dcv-axis", { "aria-hidden": "true" }, make("span"), make("span"));
  parts.listed = make("span", "", { role: "status", dir: "auto" });
  parts.all = make("button", "dcv-all", { type: "button" });
  const options = (texts) => Object.entries(texts).map(([value, text]) => make("option", "", { value }, text));
  const filter = make("input", "", { type: "search", spellcheck: "false", autocomplete: "off", size: 1 });
  parts.tools = make("div", "dcv-tools");
  parts.tools.append(
    makeField(parts, "order", "order", make("select", "", {}, ...options(ORDERS))),
    makeField(parts, "filter", "filter", filter),
    makeField(parts, "rows", "rows", make("select", "", {}, ...options(HEATS))),
  );
  const listed = make("div", "dcv-listed", {}, parts.listed, parts.all), [above, below] = makeHeat(parts);
  return [parts.where, parts.tools, parts.number, ...above, parts.axis, parts.bars, below, listed, parts.key];
}

function listenToBars(view) {
  const { controls, bars, all } = view.parts, { order, filter, rows } = controls;
  order.addEventListener("change", () => change(view, { order: order.value }));
  filter.addEventListener("input", () => change(view, { filter: lettersIn(view, filter) }));
  filter.addEventListener("keydown", ({ key }) => key === "Escape" && view.state.filter && change(view, { filter: "" }));
  all.addEventListener("click", () => {
    change(view, { filter: "" });
    if (!view.parts.fields.filter.hidden) filter.focus();
  });
  rows.addEventListener("change", () => change(view, { rows: rows.value }));
  bars.addEventListener("keydown", (event) => walkBars(view, event));
}

const lettersIn = ({ data }, { value }) => [...value.normalize()].slice(0, data.rules.filter.count).join("");

// Up and down go from row to row, left and right from column to column of a heat map.
function walkBars(view, event) {
  const [down, right] = ARROWS[event.key] ?? [], { listed } = view, at = listed.findIndex(({ row }) => row === event.target);
  if (at < 0 || down === undefined || (right && !view.heat)) return;
  if (right) moveColumn(view, view.column + right, listed[at], true);
  else listed[clamp(at + down, 0, listed.length - 1)].row.focus();
  event.preventDefault();
}

function buildBars(view, axis) {
  const { data, parts, loads } = view;
  if (view.barsOf === `${loads} ${axis}`) return;
  view.barsOf = `${loads} ${axis}`;
  view.rows = data.choices[axis].map((name, i) => makeRow(view, axis, name, i));
  parts.bars.replaceChildren(...view.rows.map(({ row }) => row));
}

function makeRow(view, axis, name, i) {
  const part = (kind, ...children) => make("span", `dcv-${kind}`, {}, ...children);
  const kinds = ["swatch", "fill", "score", "range", "zero", "number", "share", "limits"];
  const [swatch, fill, whole, range, zero, number, share, limits] = kinds.map((kind) => part(kind));
  const text = axis === "prompt" ? name : name === MEAN ? "mean" : `head ${name}`;
  const label = make("span", "dcv-name", { title: text, dir: "auto" }, text), heat = make("canvas", "dcv-heat", { width: 1, height: 1 });
  const row = make("button", "dcv-bar", { type: "button", [`data-${axis}`]: name });
  if (axis === "prompt") swatch.style.background = `rgb(${view.data.palette[i].join(" ")})`;
  row.classList.toggle("dcv-absent", axis === "prompt" && view.data.prompts[i].absent);
  row.append(swatch, label, part("track", fill, range, zero, whole), heat, number, share, limits);
  row.addEventListener("click", ({ target, detail }) => choose(view, axis, name, target === heat || (!detail && view.byArrows)));
  const bar = { row, fill, whole, range, zero, number, share, limits, heat, name, text, plain: plainly(text), place: i };
  listenToHeat(view, bar);
  return bar;
}

// Of a heat map of templates a cell chooses both, by a click or where arrows led; to a name the pointer only crosses cells.
function choose(view, axis, name, isCell) {
  const template = isCell && view.heat?.axis === "templates" ? view.data.choices.template[view.column] : view.state.template;
  change(view, axis === "prompt" ? { prompt: name, template } : { [axis]: name });
}

function tellBar(bar, found, decimals, ends, isCurrent) {
  const { row, fill, number, range, limits } = bar, { mean: value, least, most, count } = found, known = !Number.isNaN(value);
  const [from, to] = known ? [Math.min(0, value), Math.max(0, value)] : [0, 0];
  bar.found = found;
  row.dataset.value = known ? value.toFixed(decimals) : "";
  row.setAttribute("aria-pressed", isCurrent);
  if (!ends) return; // of a heat map
  number.textContent = known ? pretty(value, decimals) : "";
  stretch(fill, from, to, ends);
  range.hidden = !count;
  limits.textContent = count ? endsOf(found, decimals) : "";
  if (count) stretch(range, least, most, ends);
}

function stretch({ style }, from, to, ends) {
  style.left = percent(from, ends);
  style.width = `${parseFloat(percent(to, ends)) - parseFloat(percent(from, ends))}%`;
}

// The ends of the bars, so that their lengths can be read.
function showAxis({ parts, shown }, [low, high], decimals) {
  parts.axis.hidden = !shown;
  [low, high].forEach((end, i) => (parts.axis.children[i].textContent = end ? pretty(end, decimals) : "0"));
}

// By what was read when something was last chosen: rows that moved with the pointer could not be pointed at.
function arrange(view) {
  const { parts, rows, shown, shares, heat, column, state, stack } = view, letters = plainly(state.filter.trim());
  const sizeOf = ({ found, values, place }) => (heat ? values[column] : shown ? found.mean : shares[place]);
  const size = (bar) => (Number.isNaN(sizeOf(bar)) ? -Infinity : sizeOf(bar));
  const sorted = state.order === "value" ? [...rows].sort((a, b) => size(b) - size(a)) : rows;
  for (const { row, plain } of rows) row.hidden = axisOf(stack) === "prompt" && !plain.includes(letters);
  const wanted = sorted.map(({ row }) => row), focused = document.activeElement;
  if (wanted.some((row, i) => parts.bars.children[i] !== row)) {
    parts.bars.replaceChildren(...wanted);
    if (wanted.includes(focused)) focused.focus({ preventScroll: true });
  }
  view.listed = sorted.filter(({ row }) => !row.hidden);
  tellListed(view);
}

const plainly = (text) => text.normalize().toLowerCase();

function tellListed({ parts, rows, listed, state, model }) {
  const isAll = listed.length === rows.length, none = `none of ${rows.length} has “${state.filter.trim()}” in it`;
  parts.listed.textContent = isAll ? "" : listed.length ? `${listed.length} of ${rows.length} match` : none;
  parts.all.textContent = `show all ${rows.length}`;
  parts.all.hidden = isAll || (model.get("locked") ?? []).includes("filter");
  parts.side.classList.toggle("dcv-none", !listed.length);
}

// Of few rows nothing is offered until something is chosen; then all is, as long as the result is there.
function hiddenTools(view, axis) {
  const { data, state } = view, { start } = data;
  view.needsTools ||= TOOLS.some((name) => state[name] !== start[name]);
  const isIdle = data.choices[axis].length < FEW && !view.needsTools;
  return { order: isIdle, filter: isIdle || axis === "head", rows: isIdle || !hasHeat(view) };
}

function showTools({ parts, state, data }) {
  const { order, filter, rows } = parts.controls;
  order.value = state.order;
  rows.value = state.rows;
  rows.options[0].textContent = `auto: ${rowsAs({ data, state: data.start })}`;
  if (lettersIn({ data }, filter) !== state.filter) filter.value = state.filter; // what is being typed stays as it is
  parts.tools.hidden = TOOLS.every((name) => parts.fields[name].hidden);
}
