// Readout: the scale, the caption, the bars and the marks. `spotOf` says which cell they are about.

const percent = (value, [low, high]) => `${clamp(((value - low) / (high - low)) * 100, 0, 100)}%`;
const indexOf = ({ columns }, [y, x]) => y * columns + x;

// Where the reader is: pointing, else the pin, else the peak. A place is [row, column] in the image's pixels.
function spotOf({ data, state, pointed, peak, stack }) {
  if (pointed) return { place: pointed, origin: "" };
  if (state.pinned) return { place: middleOf(data, mainGrid(data), state.pinned), origin: "pinned" };
  if (peak) return { place: middleOf(data, stack.grid, peak), origin: "peak" };
  const [top, left, bottom, right] = data.visible;
  return { place: [(top + bottom) / 2, (left + right) / 2], origin: "middle" };
}

function showScale({ data, state, parts, shown }) {
  parts.scale.classList.toggle("dcv-bare", !shown); // labels have a heading and no scale
  if (!shown) {
    parts.unit.firstChild.textContent = HEADINGS[state.view];
    parts.unit.lastChild.textContent = "share of the image";
    return;
  }
  const { low, high, unit, diverging, ticks } = shown;
  const [question, name] = parts.unit.children, least = diverging ? 0 : low;
  question.textContent = shown.title;
  name.textContent = unit;
  ticks.forEach((text, i) => (parts.ticks.children[i].textContent = text));
  parts.ramp.getContext("2d").putImageData(rampOf(data.tables[coloursOf(data, state, shown)]), 0, 0);
  parts.ramp.style.opacity = state.opacity;
  showBaseline(data, state, parts.baseline, shown);
  const value = state.threshold ?? least;
  Object.assign(parts.controls.threshold, { min: least, max: high, step: (high - least) / 200, value });
  const limit = pretty(state.threshold ?? 0, shown.decimals);
  parts.limit.textContent = state.threshold === null ? "off" : diverging ? `±${limit}` : limit;
}

function rampOf(table) {
  const image = new ImageData(256, 1);
  for (let i = 0; i < 256; i++) image.data.set([...table.subarray(3 * i, 3 * i + 3), 255], 4 * i);
  return image;
}

function showBaseline(data, state, node, shown) {
  const { low, high, decimals } = shown, value = baselineOf(data, state, shown);
  node.hidden = value === undefined;
  if (node.hidden) return;
  const at = clamp((value - low) / (high - low), 0, 1); // beyond limits that were chosen it stands at the end
  node.style.left = `${100 * at}%`;
  node.dataset.side = at < 0.2 ? "left" : at > 0.8 ? "right" : "middle";
  node.firstChild.textContent = `absent ${pretty(value, decimals)}`;
}

function showCaption(view) {
  const { data, state, parts, stack, shown } = view;
  const byText = isByText(stack), head = state.head === MEAN ? "mean of heads" : `head ${state.head}`;
  const isLikeness = shown && !shown.view, own = byText ? state.prompt : head;
  const name = isLikeness ? shown.title : state.view in HEADINGS ? state.view : own;
  const words = make("span", "", {}, captionOf(view, byText).filter(Boolean).join(" · "));
  parts.caption.replaceChildren(make("b", "", { dir: "auto" }, name), words);
  const what = isLikeness ? shown.title : shown ? `${shown.view} map, ${name}` : state.view;
  parts.image.setAttribute("aria-label", `${data.title}: ${what}. Arrow keys move, Enter pins.`);
}

function captionOf({ data, state, stack, peak, shown }, byText) {
  if (data.labels) {
    const { background, refinement } = data.labels, several = state.view === "masks" && SEVERAL;
    return [background, refinement === "none" ? "" : refinement, several];
  }
  const { rows, columns } = stack.grid; // of an inner layer they may be others than the output's
  const words = [stack.layer === OUTPUT ? "" : `${stack.layer}, ${rows} × ${columns} cells: ${data.reading}`];
  if (stack.view === "dense" && data.choices.path.length > 1 && !words[0]) words.push(`${state.path} path`);
  if (state.view in HEADINGS) words.push(ruleOf(data, state, stack));
  if (!shown?.view) return words;
  const score = data.scores?.[templateOf(data, state)][data.choices.prompt.indexOf(state.prompt)];
  if (byText && score !== undefined) words.unshift(`whole image ${pretty(score, 3)}`);
  if (peak) words.unshift(`peak ${pretty(shown.read(indexOf(stack.grid, peak)), stack.decimals)}`);
  return words;
}

const SEVERAL = "a place may have several names, or none";

function ruleOf(data, state, stack) {
  const baseline = baselineOf(data, state, stack);
  if (state.view === "masks") return `each prompt above the absent prompts’ ${pretty(baseline, stack.decimals)} · ${SEVERAL}`;
  if (baseline !== undefined) return `best prompt, above the absent prompts’ ${pretty(baseline, stack.decimals)}`;
  return presentOf(data).length > 1 ? "best of the prompts given" : "one prompt alone has no competitor";
}

// The rows below the scale: the prompts, or the heads where a map has none.
function buildBars(view, axis) {
  const { data, parts, loads } = view;
  if (view.barsOf === `${loads} ${axis}`) return;
  view.barsOf = `${loads} ${axis}`;
  view.rows = data.choices[axis].map((name, i) => makeRow(view, axis, name, i));
  parts.bars.replaceChildren(...view.rows.map(({ row }) => row));
}

function makeRow(view, axis, name, i) {
  const part = (kind, ...children) => make("span", `dcv-${kind}`, {}, ...children);
  const [swatch, fill, whole, number, share] = ["swatch", "fill", "score", "number", "share"].map((kind) => part(kind));
  const text = axis === "prompt" ? name : name === MEAN ? "mean" : `head ${name}`;
  const label = make("span", "dcv-name", { title: text, dir: "auto" }, text);
  const row = make("button", "dcv-bar", { type: "button", [`data-${axis}`]: name });
  if (axis === "prompt") swatch.style.background = `rgb(${view.data.palette[i].join(" ")})`;
  row.classList.toggle("dcv-absent", axis === "prompt" && view.data.prompts[i].absent);
  row.append(swatch, label, part("track", fill, whole), number, share);
  row.addEventListener("click", () => change(view, { [axis]: name }));
  return { row, fill, whole, number, share, name };
}

// Everything that follows the pointer.
function tell(view) {
  const { data, stack, parts, shown } = view, spot = spotOf(view), isLabels = data.labels && !shown;
  const grid = (isLabels ? data.labels : shown ?? stack).grid, cell = cellAt(data, grid, spot.place);
  buildBars(view, stack?.view === "attention" ? "head" : "prompt");
  showMarks(view, grid, cell);
  const place = `${isLabels ? "pixel " : ""}row ${cell?.[0]}, column ${cell?.[1]}`;
  parts.where.textContent = cell ? [place, spokenAt(view, grid, cell), spot.origin].filter(Boolean).join(" · ") : "";
  parts.root.dataset.cell = cell ? cell.join() : "";
  parts.needle.hidden = !shown || !cell;
  if (shown && cell) parts.needle.style.left = percent(shown.read(indexOf(grid, cell)), [shown.low, shown.high]);
  if (data.labels) tellLabels(view, cellAt(data, data.labels.grid, spot.place));
  else tellValues(view, cellAt(data, stack.grid, spot.place));
}

// What the map in sight says there, for those who hear the page: the bars say it to the eye.
function spokenAt({ data, state, shown, labels, stack }, grid, cell) {
  const at = indexOf(grid, cell), names = data.choices.prompt;
  if (shown) return pretty(shown.read(at), shown.decimals);
  if (state.view === "masks") return ownersAt({ data, state, labels, stack }, at).map((i) => names[i]).join(", ") || "none";
  return data.labels ? names[labels.numbers[at]] ?? "background" : "";
}

// The prompts whose mask holds a cell of the grid that is drawn.
function ownersAt({ data, state, labels, stack }, at) {
  if (data.labels) return data.choices.prompt.flatMap((_, i) => (isIn(labels.masks, i, at) ? [i] : []));
  const cut = baselineOf(data, state, stack);
  return presentOf(data).filter((i) => valueAt(stack, promptMap(data, state, i), at) > cut);
}

function tellValues(view, cell) {
  const { data, state, stack, rows, parts, shown } = view, heads = stack.view === "attention";
  const scores = stack.view === "dense" && stack.layer === OUTPUT && data.scores?.[templateOf(data, state)];
  const sharing = heads ? data.stacks.filter(({ view: name }) => name === "attention") : [stack];
  const ends = [Math.min(0, stack.low), Math.max(0, ...sharing.map(({ high }) => high), ...(scores || []))];
  rows.forEach((bar, i) => {
    const own = selected(data, { ...state, [heads ? "head" : "prompt"]: bar.name });
    const value = cell ? valueAt(own.stack, own.map, indexOf(own.stack.grid, cell)) : NaN;
    tellBar(bar, value, stack.decimals, ends, bar.name === (heads ? state.head : state.prompt));
    bar.whole.hidden = !scores;
    if (scores) bar.whole.style.left = percent(scores[i], ends);
    bar.share.textContent = shown ? "" : `${Math.round(100 * view.shares[i])}%`;
  });
  parts.bars.classList.toggle("dcv-legend", !shown);
  showNumberKey(view, stack.unit);
  parts.key.hidden = !scores;
}

// A segmentation knows the probability of the label that it gave.
function tellLabels(view, cell) {
  const { data, rows, labels, shares, parts, shown } = view;
  const at = cell ? indexOf(data.labels.grid, cell) : -1, label = labels.numbers[at];
  rows.forEach((bar, i) => {
    const isHere = cell && view.state.view === "masks" ? isIn(labels.masks, i, at) : i === label;
    tellBar(bar, i === label && data.labels.probability ? labels.probability[at] : NaN, 2, [0, 1], isHere);
    bar.whole.hidden = true;
    bar.share.textContent = shown ? "" : `${Math.round(100 * shares[i])}%`;
  });
  parts.bars.classList.add("dcv-legend");
  showNumberKey(view, data.labels.probability);
  parts.key.hidden = true;
}

// Over a legend, whose numbers are no bars on a scale.
function showNumberKey({ parts, shown }, number) {
  parts.number.hidden = Boolean(shown);
  parts.number.textContent = [number && `${number} here`, "% of what was seen"].filter(Boolean).join(" · ");
}

function tellBar({ row, fill, number }, value, decimals, ends, isCurrent) {
  const known = !Number.isNaN(value), [from, to] = known ? [Math.min(0, value), Math.max(0, value)] : [0, 0];
  row.dataset.value = known ? value.toFixed(decimals) : "";
  number.textContent = known ? pretty(value, decimals) : "";
  row.setAttribute("aria-pressed", isCurrent);
  fill.style.left = percent(from, ends);
  fill.style.width = `${parseFloat(percent(to, ends)) - parseFloat(percent(from, ends))}%`;
}

function showMarks({ data, state, parts, peak, stack, shown, pointed }, grid, cell) {
  const boxes = {
    pin: state.pinned && boxOf(data, mainGrid(data), ...state.pinned),
    cell: cell && pointed && (shown || !data.labels) && boxOf(data, grid, ...cell),
    peak: peak && shown?.view && boxOf(data, stack.grid, ...peak),
  };
  for (const [name, box] of Object.entries(boxes)) {
    const node = parts[name], [rows, columns] = data.size, share = (part, whole) => `${(100 * part) / whole}%`;
    node.hidden = !box;
    if (!box) continue;
    const [top, left, bottom, right] = box;
    Object.assign(node.style, { top: share(top, rows), left: share(left, columns) });
    Object.assign(node.style, { height: share(bottom - top, rows), width: share(right - left, columns) });
  }
}
