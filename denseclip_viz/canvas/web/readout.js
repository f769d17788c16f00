// Readout: the scale, the caption, the bars and the marks. `spotOf` says which cell they are about.

const percent = (value, [low, high]) => `${clamp(((value - low) / (high - low)) * 100, 0, 100)}%`;
const indexOf = ({ columns }, [y, x]) => y * columns + x;

// Where the reader is: pointing, else the pin, else the peak. A place is [row, column] in the image's pixels.
function spotOf({ data, state, pointed, draft, peak, stack }) {
  if (pointed) return { place: pointed, origin: "" };
  const outline = draft ?? state.region;
  if (outline) return { place: middleOfAll(outline), origin: "region" };
  if (state.pinned) return { place: middleOf(data, mainGrid(data), state.pinned), origin: "pinned" };
  if (peak) return { place: middleOf(data, stack.grid, peak), origin: "peak" };
  const [top, left, bottom, right] = data.visible;
  return { place: [(top + bottom) / 2, (left + right) / 2], origin: "middle" };
}

const middleOfAll = (places) =>
  [0, 1].map((i) => (Math.min(...places.map((place) => place[i])) + Math.max(...places.map((place) => place[i]))) / 2);

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
  const sides = view.beside ? sidesOf(view).join(" | ") : undefined;
  const name = sides ?? shown?.name ?? (isLikeness ? shown.title : state.view in HEADINGS ? state.view : own);
  const words = make("span", "", {}, captionOf(view, byText).filter(Boolean).join(" · "));
  parts.caption.replaceChildren(make("b", "", { dir: "auto" }, name), words);
  parts.credit.textContent = creditOf(view);
  const what = isLikeness ? [shown.title, shown.name].filter(Boolean).join(", ") : shown ? `${shown.view} map, ${name}` : state.view;
  parts.image.setAttribute("aria-label", `${data.title}: ${what}. Arrow keys move, Enter pins, Shift with arrow keys draws a box.`);
}

// Where the numbers come from, with the path of what is shown, or the two that are compared; some views hang on none.
function creditOf({ data, state }) {
  const isAlong = isHovering(data, state) || state.view === "difference" || data.pickedBy[state.view] === "path";
  const [name, value] = otherOf(data, state) ? state.versus : [];
  const paths = [state.path, name === "path" ? value : ""].filter(Boolean).join(", ") || data.provenance.path;
  return [data.credit, isAlong && paths ? `${paths} path` : ""].filter(Boolean).join(" · ");
}

function captionOf({ data, state, stack, peak, shown, beside }, byText) {
  if (data.labels) {
    const { background, refinement } = data.labels, several = state.view === "masks" && SEVERAL;
    return [background, refinement === "none" ? "" : refinement, several];
  }
  const { rows, columns } = stack.grid; // of an inner layer they may be others than the output's
  const words = [stack.layer === OUTPUT ? "" : `${stack.layer}, ${rows} × ${columns} cells: ${data.reading}`];
  if (stack.view === "dense" && data.choices.path.length > 1 && !words[0]) words.push(`${state.path} path`);
  if (state.view in HEADINGS) words.push(ruleOf(data, state, stack));
  if (!shown?.view || beside) return words; // of two maps neither the one's peak nor its score
  const score = data.scores?.[templateOf(data, state)][data.choices.prompt.indexOf(state.prompt)];
  if (byText && score !== undefined && state.view !== "gap") words.unshift(`score ${pretty(score, 3)}`);
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

// Everything that follows the pointer.
function tell(view) {
  const { data, stack, parts } = view, spot = spotOf(view), shown = shownAt(view, spot), isLabels = data.labels && !shown;
  const grid = (isLabels ? data.labels : shown ?? stack).grid, isRegion = spot.origin === "region";
  const cell = isRegion ? null : cellAt(data, grid, spot.place), found = shown && readingAt(view, grid, spot)(shown.read);
  buildBars(view, axisOf(stack));
  showMarks(view, grid, cell);
  showOutline(view);
  const place = isRegion ? regionWords(view, grid, found) : cell ? cellWords({ ...view, shown }, grid, cell) : "";
  const origin = spot.origin === "peak" && view.beside ? `peak of ${sidesOf(view)[0]}` : spot.origin;
  parts.where.textContent = place && [place, isRegion ? "" : origin].filter(Boolean).join(" · ");
  parts.root.dataset.cell = cell ? cell.join() : "";
  parts.needle.hidden = !shown || !(found.mean > -Infinity);
  if (!parts.needle.hidden) parts.needle.style.left = percent(found.mean, [shown.low, shown.high]);
  if (data.labels) tellLabels(view, spot);
  else tellValues(view, spot);
  tellHeat(view, spot);
}

// At the right of the line it is the other map.
function shownAt({ beside, shown, state, data }, { place, origin }) {
  return beside && origin !== "region" && place[1] > state.split * data.size[1] ? beside : shown;
}

// How maps of a grid are read where the reader is: the mean of a region, with its ends, or the value of one cell.
function readingAt(view, grid, { origin, place, isWhole }) {
  if (origin === "region") return (read) => measure(regionOn(view, grid, isWhole), read);
  const cell = cellAt(view.data, grid, place);
  return (read) => ({ mean: cell ? read(indexOf(grid, cell)) : NaN });
}

// What stands above the bars, for those who hear the page too: the bars say it to the eye.
function cellWords(view, grid, cell) {
  const word = view.data.labels && !view.shown ? "pixel " : "", [y, x] = cell;
  return [`${word}row ${y}, column ${x}`, spokenAt(view, grid, cell)].filter(Boolean).join(" · ");
}

function regionWords(view, grid, found) {
  const count = found?.count ?? regionOn(view, grid).cells.length, noun = view.data.labels && !view.shown ? "pixel" : "cell";
  const words = `region of ${count} ${noun}${count === 1 ? "" : "s"}`;
  return found?.count ? `${words} · mean ${pretty(found.mean, view.shown.decimals)}, ${endsOf(found, view.shown.decimals)}` : words;
}

const endsOf = ({ least, most }, decimals) => `${pretty(least, decimals)} to ${pretty(most, decimals)}`;

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

function tellValues(view, spot) {
  const { data, state, stack, rows, parts, shown } = view, heads = stack.view === "attention";
  const scores = stack.view === "dense" && stack.layer === OUTPUT && data.scores?.[templateOf(data, state)];
  const sharing = heads ? data.stacks.filter(({ view: name }) => name === "attention") : [stack];
  const ends = [Math.min(0, stack.low), Math.max(0, ...sharing.map(({ high }) => high), ...(scores || []))];
  rows.forEach((bar, i) => {
    const own = selected(data, { ...state, [heads ? "head" : "prompt"]: bar.name });
    const found = readingAt(view, own.stack.grid, spot)((at) => valueAt(own.stack, own.map, at));
    bar.zero.style.left = percent(0, ends);
    tellBar(bar, found, stack.decimals, isHeated(view) ? null : ends, bar.name === (heads ? state.head : state.prompt));
    bar.whole.hidden = !scores;
    if (scores) bar.whole.style.left = percent(scores[i], ends);
    bar.share.textContent = shown ? "" : `${Math.round(100 * view.shares[i])}%`;
  });
  parts.bars.classList.toggle("dcv-legend", !shown);
  showAxis(view, ends, stack.decimals);
  showNumberKey(view, `${stack.unit} ${spot.origin === "region" ? "in the region" : "here"}`);
  parts.key.hidden = !scores;
}

// A segmentation knows the probability of the label that it gave; in a region, which share each label has.
function tellLabels(view, spot) {
  const { data, rows, labels, shares, parts, shown, state } = view, isRegion = spot.origin === "region";
  const cell = cellAt(data, data.labels.grid, spot.place), at = cell ? indexOf(data.labels.grid, cell) : -1;
  const label = isRegion ? UNNAMED : labels.numbers[at], inRegion = isRegion && sharesIn(view, regionOn(view, data.labels.grid));
  rows.forEach((bar, i) => {
    const isHere = !isRegion && (cell && state.view === "masks" ? isIn(labels.masks, i, at) : i === label);
    const mean = isRegion ? inRegion[i] : i === label && data.labels.probability ? labels.probability[at] : NaN;
    tellBar(bar, { mean }, 2, [0, 1], isHere);
    bar.whole.hidden = true;
    bar.share.textContent = shown ? "" : `${Math.round(100 * shares[i])}%`;
  });
  parts.bars.classList.add("dcv-legend");
  parts.axis.hidden = true;
  showNumberKey(view, isRegion ? "share of the region" : data.labels.probability && `${data.labels.probability} here`);
  parts.key.hidden = true;
}

function sharesIn({ data, labels, state }, { cells, weights }) {
  const shares = data.choices.prompt.map(() => 0), area = weights.reduce((sum, weight) => sum + weight, 0);
  const ownersOf = (at) => (state.view === "masks" ? labels.owners.members[labels.owners.numbers[at]] : [labels.numbers[at]]);
  cells.forEach((at, k) => ownersOf(at).forEach((i) => i >= 0 && (shares[i] += weights[k] / area)));
  return shares;
}

// Over a legend, whose numbers are no bars on a scale.
function showNumberKey({ parts, shown, shares, state }, number) {
  parts.number.hidden = Boolean(shown);
  const rest = state.view === "masks" || shown ? 0 : 100 * (1 - shares.reduce((sum, share) => sum + share, 0)); // masks overlap
  const nameless = rest >= 0.5 && `${Math.round(rest)}% (background)`;
  parts.number.textContent = [number, "% of what was seen", nameless].filter(Boolean).join(" · ");
}

function showMarks({ data, state, parts, peak, stack, shown, pointed }, grid, cell) {
  const boxes = {
    pin: state.pinned && boxOf(data, mainGrid(data), ...state.pinned),
    cell: cell && pointed && (shown || !data.labels) && boxOf(data, grid, ...cell),
    peak: peak && (shown?.view || isDifference(data, state)) && boxOf(data, stack.grid, ...peak),
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
