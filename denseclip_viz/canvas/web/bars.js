// Bars: one row for each prompt, or each head where a map has none; their order, and which of them are listed.

const FEW = 6; // fewer rows need neither order nor filter
const ORDERS = { given: "as given", value: "by value" };

function makeBars(parts) {
  parts.where = make("div", "dcv-where", { "aria-live": "polite" });
  parts.bars = make("div", "dcv-bars", { role: "group", "aria-label": "values of this cell" });
  parts.key = make("div", "dcv-key", {}, "the whole image’s cosine");
  parts.number = make("div", "dcv-number-key"); // what a legend's numbers and shares are
  parts.axis = make("div", "dcv-axis", { "aria-hidden": "true" }, make("span"), make("span"));
  parts.listed = make("div", "dcv-listed", { role: "status" });
  const options = (texts) => Object.entries(texts).map(([value, text]) => make("option", "", { value }, text));
  const filter = make("input", "", { type: "search", spellcheck: "false", autocomplete: "off", size: 1 });
  parts.tools = make("div", "dcv-tools");
  parts.tools.append(
    makeField(parts, "order", "order", make("select", "", {}, ...options(ORDERS))),
    makeField(parts, "filter", "filter", filter),
    makeField(parts, "bars-as", "show", make("select", "", {}, ...options(HEATS))),
  );
  return [parts.where, parts.tools, parts.number, ...makeHeat(parts), parts.axis, parts.bars, parts.listed, parts.key];
}

function listenToBars(view) {
  const { controls, bars } = view.parts, { order, filter, "bars-as": as } = controls;
  order.addEventListener("change", () => arrange(view));
  filter.addEventListener("input", () => arrange(view));
  filter.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !filter.value) return;
    filter.value = "";
    arrange(view);
  });
  as.addEventListener("change", () => {
    view.column = null;
    draw(view);
  });
  bars.addEventListener("keydown", (event) => walkBars(view, event));
}

// Up and down go from row to row, left and right from column to column of a heat map.
function walkBars(view, event) {
  const [down, right] = ARROWS[event.key] ?? [], listed = view.rows.map(({ row }) => row).filter(({ hidden }) => !hidden);
  const rows = [...view.parts.bars.children].filter((row) => listed.includes(row)), at = rows.indexOf(document.activeElement);
  if (at < 0 || down === undefined || (right && !view.heat)) return;
  if (right) moveColumn(view, view.column + right, event.target);
  else rows[clamp(at + down, 0, rows.length - 1)].focus();
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
  row.addEventListener("click", () => choose(view, axis, name));
  const bar = { row, fill, whole, range, zero, number, share, limits, heat, name, text, place: i };
  listenToHeat(view, bar);
  return bar;
}

// Of a heat map of templates a cell chooses both.
function choose(view, axis, name) {
  const template = view.heat?.axis === "template" && view.column !== null ? view.data.choices.template[view.column] : view.state.template;
  change(view, axis === "prompt" ? { prompt: name, template } : { [axis]: name });
}

function tellBar(bar, found, decimals, ends, isCurrent) {
  const { row, fill, number, range, limits } = bar, { mean: value, least, most, count } = found, known = !Number.isNaN(value);
  const [from, to] = known ? [Math.min(0, value), Math.max(0, value)] : [0, 0];
  bar.found = found;
  row.dataset.value = known ? value.toFixed(decimals) : "";
  number.textContent = known ? pretty(value, decimals) : "";
  row.setAttribute("aria-pressed", isCurrent);
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
  const { parts, rows, shown, shares, heat, column } = view, { order, filter } = parts.controls, words = filter.value.trim().toLowerCase();
  const isFew = rows.length < FEW, size = ({ found, values, place }) => (heat ? values[column] : shown ? found.mean : shares[place]);
  const sorted = order.value === "value" && !isFew ? [...rows].sort((a, b) => (size(b) || -Infinity) - (size(a) || -Infinity)) : rows;
  for (const bar of rows) bar.row.hidden = !isFew && !bar.text.toLowerCase().includes(words);
  const wanted = sorted.map(({ row }) => row), focused = document.activeElement;
  if (wanted.some((row, i) => parts.bars.children[i] !== row)) {
    parts.bars.replaceChildren(...wanted);
    if (wanted.includes(focused)) focused.focus({ preventScroll: true });
  }
  parts.tools.hidden = isFew;
  const listed = rows.filter(({ row }) => !row.hidden).length;
  parts.listed.textContent = listed < rows.length ? `${listed} of ${rows.length} match` : "";
}
