// One canvas: a picture, a map over it, and everything that moves. It is given all maps at once and draws from them;
// the kernel is told what was chosen, and is asked for nothing. Text of users reaches the page as text, never as markup.

const STEPS = 4096; // colours of a map between the two ends of its scale: sixteen for each entry of its table
const NOTHING = 65535; // the 16-bit number of a value that is not there
const UNSEEN = -2, UNNAMED = -1; // labels of pixels
const FADED = 0.62, PAPER = 255, BEHIND = 180, DARK = 25, LIGHT = 250; // as view/render.py fades and softens
const COLOURFUL = 0.3; // below this opacity the picture's own colours come back
const LARGEST = 2048, FINEST = 1408; // longest side in device pixels: of the canvas, of a map before it is enlarged
const HALF_LIFE = 150; // ms of quiet before the kernel is told
const BUS = "denseclip-viz";
const OUTPUT = "output", ENSEMBLE = "ensemble", MEAN = "mean", AUTO = "auto";

// ---- numbers ------------------------------------------------------------------------------------------------------

const bytesOf = (buffer) => new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
const wordsOf = (buffer) => new Uint16Array(bytesOf(buffer).slice().buffer); // a copy lies on an even address
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const pretty = (value, decimals) => value.toFixed(decimals).replace("-", "−");

function unpack({ meta, buffers }) {
  const stacks = meta.stacks.map((stack) => ({ ...stack, numbers: wordsOf(buffers[stack.buffer]) }));
  const { sequential, diverging } = meta.tables, tables = { isSequential: sequential, isDiverging: diverging };
  [...sequential, ...diverging].forEach((name, i) => (tables[name] = bytesOf(buffers.colours).subarray(i * 768, (i + 1) * 768)));
  return { ...meta, stacks, tables, cells: meta.features && halves(wordsOf(buffers.cells)) };
}

function halves(numbers) {
  return Float32Array.from(numbers, (h) => {
    const exponent = (h >> 10) & 31, fraction = h & 1023, sign = h & 32768 ? -1 : 1;
    return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : fraction / 2 ** 24);
  });
}

const cellsIn = ({ grid }) => grid.rows * grid.columns;

function valueAt(stack, map, cell) {
  const number = stack.numbers[map * cellsIn(stack) + cell];
  return number === NOTHING ? NaN : (stack.first + number) / stack.perUnit;
}

const mapOf = (stack, map) => Float32Array.from({ length: cellsIn(stack) }, (_, cell) => valueAt(stack, map, cell));

// Cosines of one cell with all: the features are unit vectors.
function likeness({ cells, features }, cell) {
  const width = features.width, one = cells.subarray(cell * width, (cell + 1) * width);
  return Float32Array.from({ length: cellsIn(features) }, (_, other) => {
    let sum = 0;
    for (let i = 0, at = other * width; i < width; i++) sum += one[i] * cells[at + i];
    return sum;
  });
}

// ---- what a state means for a result ------------------------------------------------------------------------------

function resolved(state, { choices }) {
  const kept = { ...state };
  for (const [name, offered] of Object.entries(choices)) if (!offered.includes(state[name])) kept[name] = offered[0];
  return kept;
}

// A layer that was read in fewer ways than the output shows its dense map.
function stackFor(data, { view, layer, head }) {
  const wanted = view === "segments" ? "dense" : view;
  const own = data.stacks.filter((stack) => stack.view === wanted && stack.layer === layer);
  const byHead = own.filter((stack) => (stack.axes[0] === "head") === (head !== MEAN));
  return byHead[0] ?? own[0] ?? data.stacks.find((stack) => stack.layer === layer) ?? data.stacks[0];
}

const viewsOf = ({ stacks, labels }, layer) => {
  const views = new Set(stacks.filter((stack) => stack.layer === layer).map((stack) => stack.view));
  if (labels || stacks.some((stack) => stack.view === "dense" && stack.layer === layer && !stack.diverging)) views.add("segments");
  return views;
};

function templateOf({ choices }, { template }) {
  return template === ENSEMBLE ? choices.template.length - 1 : choices.template.indexOf(template);
}

function mapFor(data, stack, state, prompt = state.prompt) {
  if (stack.axes[0] === "head") return data.choices.head.filter((head) => head !== MEAN).indexOf(state.head);
  if (!stack.axes.length) return 0;
  return templateOf(data, state) * stack.sizes[1] + data.choices.prompt.indexOf(prompt);
}

const coloursOf = ({ tables }, state, stack) => {
  const fits = tables.isDiverging.includes(state.colours) === Boolean(stack.diverging);
  return state.colours !== AUTO && fits ? state.colours : stack.colours ?? "viridis";
};

// ---- places -------------------------------------------------------------------------------------------------------

// For each of n pixels along an axis the two cells around it and the share of the second, as geometry/sampling.py has it.
function places(n, size, [start, end, cells], [first, last], nearest) {
  const cell = new Int32Array(n), next = new Int32Array(n), share = new Float32Array(n);
  let from = n, to = 0;
  for (let i = 0; i < n; i++) {
    const at = ((i + 0.5) / n) * size;
    if (at < first || at > last) continue;
    from = Math.min(from, i);
    to = i + 1;
    const place = clamp(((at - start) / (end - start)) * cells - 0.5, 0, cells - 1);
    cell[i] = nearest ? Math.round(place) : Math.floor(place);
    next[i] = Math.min(cell[i] + 1, cells - 1);
    share[i] = nearest ? 0 : place - cell[i];
  }
  return { cell, next, share, from, to };
}

function placesOf(data, grid, width, height, nearest) {
  const [rows, columns] = data.size, [top, left, bottom, right] = data.seen;
  return {
    down: places(height, rows, [grid.top, grid.bottom, grid.rows], [top, bottom], nearest),
    across: places(width, columns, [grid.left, grid.right, grid.columns], [left, right], nearest),
  };
}

// The box of a cell as far as it was seen, [top, left, bottom, right] in pixels of the picture; null if it was not.
function boxOf({ seen }, grid, y, x) {
  const high = (grid.bottom - grid.top) / grid.rows, wide = (grid.right - grid.left) / grid.columns;
  const top = Math.max(grid.top + y * high, seen[0]), left = Math.max(grid.left + x * wide, seen[1]);
  const bottom = Math.min(grid.top + (y + 1) * high, seen[2]), right = Math.min(grid.left + (x + 1) * wide, seen[3]);
  return bottom - top > 1e-3 && right - left > 1e-3 ? [top, left, bottom, right] : null;
}

// The cell at a place in the picture; null outside of what was seen.
function cellAt({ seen }, grid, [row, column]) {
  if (row < seen[0] || row > seen[2] || column < seen[1] || column > seen[3]) return null;
  const y = Math.floor(((row - grid.top) / (grid.bottom - grid.top)) * grid.rows);
  const x = Math.floor(((column - grid.left) / (grid.right - grid.left)) * grid.columns);
  return [clamp(y, 0, grid.rows - 1), clamp(x, 0, grid.columns - 1)];
}

const middleOf = (grid, [y, x]) => [
  grid.top + ((y + 0.5) * (grid.bottom - grid.top)) / grid.rows,
  grid.left + ((x + 0.5) * (grid.right - grid.left)) / grid.columns,
];

function hottestOf(data, grid, values) {
  let best = null, top = -Infinity;
  values.forEach((value, cell) => {
    const y = Math.floor(cell / grid.columns), x = cell % grid.columns;
    if (value > top && boxOf(data, grid, y, x)) [best, top] = [[y, x], value];
  });
  return best;
}

// ---- pixels -------------------------------------------------------------------------------------------------------

const rgba = (red, green, blue, alpha = 255) => ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0;

// Colours by step of the scale; place 0 is for what has no colour: values that are not there or below the threshold.
function inks(table, { low, high, diverging }, threshold) {
  return Uint32Array.from({ length: STEPS + 2 }, (_, place) => {
    if (place === 0) return 0;
    const scaled = (place - 1) / STEPS, value = low + scaled * (high - low);
    if (threshold !== null && (diverging ? Math.abs(value) : value) < threshold) return 0;
    const at = 3 * Math.min(255, Math.floor(scaled * 256));
    return rgba(table[at], table[at + 1], table[at + 2]);
  });
}

// A map as pixels: linear between cells first, coloured then, as matplotlib and view/render.py do.
function shade(out, width, { down, across }, values, columns, { low, high }, colours) {
  const line = new Float32Array(columns), steps = STEPS / (high - low);
  for (let y = down.from; y < down.to; y++) {
    const above = down.cell[y] * columns, below = down.next[y] * columns, share = down.share[y];
    for (let c = 0; c < columns; c++) {
      const value = values[above + c] + (values[below + c] - values[above + c]) * share;
      line[c] = 1 + clamp((value - low) * steps, 0, STEPS);
    }
    for (let x = across.from, at = y * width + x; x < across.to; x++, at++) {
      const left = line[across.cell[x]];
      out[at] = colours[(left + (line[across.next[x]] - left) * across.share[x]) | 0];
    }
  }
}

// The strongest of several maps at each pixel. Between two cells where one map wins at both ends it wins all the way,
// since everything in between is linear; so only few pixels, and there only the maps that can win, are looked at.
function strongest(out, width, { down, across }, maps, columns) {
  const lines = maps.map(() => new Float32Array(columns)), best = new Int16Array(columns);
  for (let y = down.from; y < down.to; y++) {
    const above = down.cell[y] * columns, below = down.next[y] * columns, share = down.share[y];
    for (let c = 0; c < columns; c++) {
      maps.forEach((map, i) => (lines[i][c] = map[above + c] + (map[below + c] - map[above + c]) * share));
      best[c] = lines.reduce((top, line, i) => (line[c] > lines[top][c] ? i : top), 0);
    }
    for (let x = across.from; x < across.to; ) {
      const a = across.cell[x], b = across.next[x], from = x;
      while (x < across.to && across.cell[x] === a) x++;
      if (best[a] === best[b]) out.fill(best[a], y * width + from, y * width + x);
      else contest(out, y * width, from, x, across.share, lines, a, b, best);
    }
  }
}

function contest(out, row, from, to, share, lines, a, b, best) {
  const rivals = [];
  lines.forEach((line, i) => {
    const beaten = line[b] <= lines[best[a]][b] || line[a] <= lines[best[b]][a];
    if (!beaten || i === best[a] || i === best[b]) rivals.push(i);
  });
  for (let x = from; x < to; x++) {
    let top = -Infinity, winner = UNNAMED;
    for (const i of rivals) {
      const value = lines[i][a] + (lines[i][b] - lines[i][a]) * share[x];
      if (value > top) [top, winner] = [value, i];
    }
    out[row + x] = winner;
  }
}

// Labels as pixels, with a white line between neighbours; counts of labels, of what was seen.
function paintLabels(out, labels, width, palette) {
  const colours = palette.map(([red, green, blue]) => rgba(red, green, blue)), counts = new Float64Array(palette.length);
  let seen = 0;
  for (let at = 0; at < labels.length; at++) {
    const label = labels[at];
    if (label === UNSEEN) continue;
    seen++;
    if (label >= 0) counts[label]++;
    const left = at % width ? labels[at - 1] : label, up = at >= width ? labels[at - width] : label;
    const edge = (left !== label && left !== UNSEEN) || (up !== label && up !== UNSEEN);
    out[at] = edge ? 0xffffffff : label >= 0 ? colours[label] : 0;
  }
  return Array.from(counts, (count) => count / Math.max(seen, 1));
}

function nearestLabels(out, width, { down, across }, labels, columns) {
  for (let y = down.from; y < down.to; y++)
    for (let x = across.from; x < across.to; x++) out[y * width + x] = labels[down.cell[y] * columns + across.cell[x]];
}

function surface(width, height) {
  return Object.assign(document.createElement("canvas"), { width, height });
}

// The picture in its own colours and softened to greys, both faded where the model saw nothing.
function backgrounds(data, bitmap, width, height) {
  const colour = surface(width, height), grey = surface(width, height);
  const ctx = colour.getContext("2d", { willReadFrequently: true });
  ctx.fillStyle = `rgb(${BEHIND} ${BEHIND} ${BEHIND})`;
  ctx.fillRect(0, 0, width, height);
  ctx.imageSmoothingQuality = "high";
  if (bitmap) ctx.drawImage(bitmap, 0, 0, width, height);
  const own = ctx.getImageData(0, 0, width, height), soft = new ImageData(width, height);
  soften(own.data, soft.data, placesOf(data, { top: 0, left: 0, bottom: 1, right: 1, rows: 1, columns: 1 }, width, height, true), width, height);
  ctx.putImageData(own, 0, 0);
  grey.getContext("2d").putImageData(soft, 0, 0);
  return { colour, grey };
}

function soften(own, soft, { down, across }, width, height) {
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at += 4) {
      soft[at + 3] = 255;
      if (y >= down.from && y < down.to && x >= across.from && x < across.to) {
        const luma = 0.299 * own[at] + 0.587 * own[at + 1] + 0.114 * own[at + 2];
        soft[at] = soft[at + 1] = soft[at + 2] = Math.round(DARK + (luma / 255) * (LIGHT - DARK));
      } else for (let i = at; i < at + 3; i++) soft[i] = own[i] = Math.round(own[i] * (1 - FADED) + PAPER * FADED);
    }
  }
}

// ---- elements -----------------------------------------------------------------------------------------------------

function make(tag, name, attributes = {}, ...children) {
  const node = document.createElement(tag);
  if (name) node.className = name;
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

const SELECTS = { view: "view", prompt: "prompt", template: "template", layer: "layer", head: "head", colours: "colours" };
const SWITCHES = { interpolation: "cells", hover: "compare cells" };

function makeParts(el) {
  const parts = { root: make("div", "dcv-canvas", { role: "group", "data-version": 0, "data-lm-suppress-shortcuts": "true" }), controls: {}, fields: {} };
  const field = (name, label, input) => {
    parts.controls[name] = input;
    input.classList.add(`dcv-${name}`);
    return (parts.fields[name] = make("label", "dcv-field", { "data-control": name }, make("span", "", {}, label), input));
  };
  const bar = make("div", "dcv-controls");
  for (const [name, label] of Object.entries(SELECTS)) bar.append(field(name, label, make("select")));
  bar.append(field("opacity", "opacity", make("input", "", { type: "range", min: 0, max: 1, step: 0.01 })));
  for (const [name, label] of Object.entries(SWITCHES)) bar.append(field(name, label, make("input", "", { type: "checkbox" })));
  parts.picture = make("canvas", "dcv-picture", { tabindex: 0, role: "application", "aria-roledescription": "map over a picture" });
  for (const name of ["pin", "peak", "cell"]) parts[name] = make("div", `dcv-${name}`, { hidden: "" });
  parts.frame = make("div", "dcv-frame", {}, parts.picture, parts.pin, parts.peak, parts.cell);
  for (const name of ["warning", "empty", "caption", "made"]) parts[name] = make("div", `dcv-${name}`);
  parts.status = make("div", "dcv-status", { role: "status" });
  parts.where = make("div", "dcv-where", { "aria-live": "polite" });
  parts.bars = make("div", "dcv-bars", { role: "group", "aria-label": "values of this cell" });
  parts.ramp = make("canvas", "dcv-ramp", { width: 256, height: 1 });
  for (const name of ["baseline", "needle"]) parts[name] = make("div", `dcv-${name}`, { hidden: "" });
  parts.ticks = make("div", "dcv-ticks", {}, make("span"), make("span"), make("span"));
  parts.unit = make("div", "dcv-unit", {}, make("span"), make("span"));
  const threshold = field("threshold", "hide below", make("input", "", { type: "range" }));
  parts.limit = make("output", "dcv-limit");
  threshold.append(parts.limit);
  parts.scale = make("div", "dcv-scale", {}, parts.unit, make("div", "dcv-strip", {}, parts.ramp, parts.baseline, parts.needle), parts.ticks, threshold);
  const side = make("div", "dcv-side", {}, parts.scale, parts.where, parts.bars);
  parts.stage = make("div", "dcv-stage", {}, parts.frame, parts.caption);
  parts.body = make("div", "dcv-body", {}, parts.stage, side);
  parts.bar = bar;
  parts.root.append(parts.warning, bar, parts.empty, parts.body, parts.status, parts.made);
  el.append(parts.root);
  return parts;
}

function fillSelects({ data, parts, state }) {
  const { choices, prompts } = data, count = choices.template.length - 1;
  const said = {
    prompt: (name, i) => (prompts[i].absent ? `${name} · absent` : name),
    template: (name) => (name === ENSEMBLE ? (count > 0 ? `mean of ${count} templates` : "mean of templates") : name),
    head: (head) => (head === MEAN ? "mean of heads" : `head ${head}`),
  };
  for (const [name, offered] of Object.entries(choices)) {
    const options = offered.map((value, i) => make("option", "", { value, dir: "auto" }, said[name]?.(value, i) ?? value));
    parts.controls[name].replaceChildren(...options);
  }
}

// Every control says what the state says; what leaves no choice, or was locked by a teacher, is not shown.
function showControls(view) {
  const { data, state, parts, stack, shown } = view, locked = view.model.get("locked") ?? [];
  const views = viewsOf(data, state.layer), labels = state.view === "segments" && !shown;
  const hidden = {
    view: data.choices.view.length < 2,
    template: data.choices.template.length < 2,
    layer: data.choices.layer.length < 2,
    head: state.view !== "attention" || data.choices.head.length < 2,
    hover: !data.cells,
    colours: labels,
    interpolation: !data.stacks.length && !data.cells,
    opacity: !shown && !labels,
  };
  for (const [name, field] of Object.entries(parts.fields)) field.hidden = locked.includes(name) || Boolean(hidden[name]);
  for (const name of Object.keys(data.choices)) parts.controls[name].value = String(state[name]);
  for (const option of parts.controls.view.options) option.disabled = !views.has(option.value);
  parts.controls.prompt.disabled = parts.controls.template.disabled = !labels && stack?.axes[0] !== "template";
  parts.controls.opacity.value = state.opacity;
  parts.controls.interpolation.checked = state.interpolation === "nearest";
  parts.controls.hover.checked = state.hover;
  if (shown) showColours(view);
}

function showColours({ data, state, parts, shown }) {
  const names = [AUTO, ...data.tables[shown.diverging ? "isDiverging" : "isSequential"]];
  const select = parts.controls.colours;
  if (select.dataset.names !== names.join()) {
    select.replaceChildren(...names.map((name) => make("option", "", { value: name }, name === AUTO ? "as in figures" : name)));
    select.dataset.names = names.join();
  }
  select.value = names.includes(state.colours) ? state.colours : AUTO;
}

// ---- what is drawn ------------------------------------------------------------------------------------------------

// Where the reader is: pointing, else the pin, else the hottest cell. A place is [row, column] in pixels of the picture.
function spotOf({ data, state, pointed, hottest, stack }) {
  if (pointed) return { place: pointed, said: "" };
  const grid = data.stacks[0]?.grid ?? data.labels?.grid;
  if (state.pinned && grid) return { place: middleOf(grid, state.pinned), said: "pinned" };
  if (hottest) return { place: middleOf(stack.grid, hottest), said: "hottest cell" };
  const [top, left, bottom, right] = data.seen;
  return { place: [(top + bottom) / 2, (left + right) / 2], said: "middle" };
}

// The map that is drawn: one of the result, or the likeness of one cell to all; null where labels are drawn instead.
function shownMap(view) {
  const { data, state, stack } = view;
  if (state.hover && data.cells) {
    const { grid } = data.features, cell = cellAt(data, grid, spotOf(view).place);
    if (cell) {
      const at = cell[0] * grid.columns + cell[1], decimals = 3, named = { unit: "cosine with this cell", decimals };
      return { ...data.features, ...named, diverging: false, key: `cell ${at}`, values: () => likeness(data, at) };
    }
  }
  if (state.view === "segments" || !stack) return null;
  const map = mapFor(data, stack, state);
  return { ...stack, key: `map ${data.stacks.indexOf(stack)} ${map}`, values: () => mapOf(stack, map) };
}

function findHottest(view) {
  const { data, state, stack } = view;
  view.hottest = stack ? hottestOf(data, stack.grid, mapOf(stack, mapFor(data, stack, state))) : null;
}

function draw(view) {
  const { data, parts, state } = view;
  if (!data || !view.backs) return;
  view.stack = stackFor(data, state);
  findHottest(view);
  view.shown = shownMap(view);
  paintOver(view);
  compose(view);
  showControls(view);
  showScale(view);
  showCaption(view);
  tell(view);
  const hottest = view.hottest ?? [];
  parts.root.dataset.hottest = hottest.join();
  parts.root.dataset.version = ++view.version;
}

// Colours the map, or the labels, unless they are as they were.
function paintOver(view) {
  const { data, state, shown, over } = view;
  const colours = shown && coloursOf(data, state, shown);
  const asked = [view.loads, shown?.key ?? `labels ${state.layer} ${state.template}`, colours, state.threshold, state.interpolation].join("|");
  if (view.painted === asked) return;
  view.painted = asked;
  const { width, height } = over, image = new ImageData(width, height), out = new Uint32Array(image.data.buffer);
  if (shown) {
    const where = placesOf(data, shown.grid, width, height, state.interpolation === "nearest");
    shade(out, width, where, shown.values(), shown.grid.columns, shown, inks(data.tables[colours], shown, state.threshold));
  } else paintSegments(view, out, width, height);
  over.getContext("2d").putImageData(image, 0, 0);
}

function paintSegments(view, out, width, height) {
  const { data, state, stack } = view, drawn = new Int16Array(width * height).fill(UNSEEN);
  const grid = (data.labels ?? stack).grid, where = placesOf(data, grid, width, height, data.labels || state.interpolation === "nearest");
  if (data.labels) nearestLabels(drawn, width, where, view.labels.numbers, grid.columns);
  else strongest(drawn, width, where, data.prompts.map(({ name }) => mapOf(stack, mapFor(data, stack, state, name))), grid.columns);
  view.shares = paintLabels(out, drawn, width, data.palette);
}

function compose({ data, parts, state, backs, over }) {
  const { width, height } = parts.picture, ctx = parts.picture.getContext("2d");
  const layer = (source, alpha) => {
    ctx.globalAlpha = alpha;
    ctx.drawImage(source, 0, 0, width, height);
  };
  layer(backs.colour, 1);
  layer(backs.grey, Math.min(1, state.opacity / COLOURFUL));
  ctx.imageSmoothingEnabled = state.interpolation !== "nearest";
  layer(over, state.opacity);
  ctx.globalAlpha = 1;
  outline(ctx, data, width, height);
}

// A thin frame around what was seen, where that is not the whole picture.
function outline(ctx, { size: [rows, columns], seen: [top, left, bottom, right] }, width, height) {
  if (top < 0.5 && left < 0.5 && bottom > rows - 0.5 && right > columns - 0.5) return;
  const box = [(left / columns) * width, (top / rows) * height, ((right - left) / columns) * width, ((bottom - top) / rows) * height];
  for (const [colour, line] of [["#fff", 3], ["#1f1f1f", 1]]) {
    Object.assign(ctx, { strokeStyle: colour, lineWidth: line * Math.max(1, width / 900) });
    ctx.strokeRect(...box);
  }
}

// ---- what is said -------------------------------------------------------------------------------------------------

const percent = (value, [low, high]) => `${clamp(((value - low) / (high - low)) * 100, 0, 100)}%`;

function showScale(view) {
  const { data, state, parts, shown } = view;
  parts.scale.hidden = !shown;
  if (!shown) return;
  const { low, high, unit, diverging } = shown, decimals = Math.min(6, Math.max(0, 1 - Math.floor(Math.log10((high - low) / 3))));
  const [question, name] = parts.unit.children;
  question.textContent = state.hover ? "where does it look like this cell?" : data.questions[shown.view] ?? "";
  name.textContent = unit;
  [low, (low + high) / 2, high].forEach((value, i) => (parts.ticks.children[i].textContent = value === 0 ? "0" : pretty(value, decimals)));
  const table = data.tables[coloursOf(data, state, shown)], image = new ImageData(256, 1);
  for (let i = 0; i < 256; i++) image.data.set([...table.subarray(3 * i, 3 * i + 3), 255], 4 * i);
  parts.ramp.getContext("2d").putImageData(image, 0, 0);
  parts.ramp.style.opacity = state.opacity;
  showBaseline(view);
  const least = diverging ? 0 : low, slider = parts.controls.threshold;
  Object.assign(slider, { min: least, max: high, step: (high - least) / 200, value: state.threshold ?? least });
  parts.limit.textContent = state.threshold === null ? "off" : pretty(state.threshold, shown.decimals);
}

function showBaseline({ data, state, parts, shown }) {
  const baseline = shown.baseline?.[shown.axes.length ? templateOf(data, state) : 0];
  parts.baseline.hidden = baseline === undefined;
  if (baseline === undefined) return;
  const at = (baseline - shown.low) / (shown.high - shown.low);
  parts.baseline.style.left = `${100 * at}%`;
  parts.baseline.dataset.side = at < 0.2 ? "left" : at > 0.8 ? "right" : "middle";
  parts.baseline.textContent = `absent ${pretty(baseline, shown.decimals)}`;
}

function showCaption(view) {
  const { data, state, parts, stack, hottest, shown } = view, words = [];
  const map = stack && mapFor(data, stack, state), byText = stack?.axes[0] === "template";
  const name = byText || !stack ? state.prompt : state.head === MEAN ? "mean of heads" : `head ${state.head}`;
  const score = data.scores?.[templateOf(data, state)]?.[data.choices.prompt.indexOf(state.prompt)];
  if (byText && score !== undefined) words.push(`whole picture ${pretty(score, 3)}`);
  if (hottest && !state.hover) words.push(`hottest cell ${pretty(valueAt(stack, map, hottest[0] * stack.grid.columns + hottest[1]), stack.decimals)}`);
  if (data.labels) words.push(data.labels.background, data.labels.refinement === "none" ? "" : data.labels.refinement);
  if (stack && stack.layer !== OUTPUT) words.push(`${stack.layer}, ${data.reading}`);
  const title = state.view === "segments" ? "segments" : name;
  parts.caption.replaceChildren(make("b", "", { dir: "auto" }, title), make("span", "", {}, words.filter(Boolean).join(" · ")));
  parts.picture.setAttribute("aria-label", `${data.title}: ${shown ? `${state.view} map, ${name}` : "segments"}. Arrow keys move, Enter pins.`);
}

// The rows below the scale: the prompts, or the heads where a map has none.
function buildBars(view, byHead) {
  const { data, parts } = view, axis = byHead ? "head" : "prompt";
  const names = byHead ? data.choices.head : data.choices.prompt;
  view.rows = names.map((name, i) => {
    const fill = make("span", "dcv-fill"), whole = make("span", "dcv-score"), number = make("span", "dcv-number"), share = make("span", "dcv-share");
    const swatch = make("span", "dcv-swatch"), said = byHead ? (name === MEAN ? "mean" : `head ${name}`) : name;
    if (!byHead) swatch.style.background = `rgb(${data.palette[i].join(" ")})`;
    const label = make("span", "dcv-name", { title: said, dir: "auto" }, said), track = make("span", "dcv-track", {}, fill, whole);
    const row = make("button", "dcv-bar", { type: "button", [`data-${axis}`]: name }, swatch, label, track, number, share);
    row.classList.toggle("dcv-absent", !byHead && data.prompts[i].absent);
    row.addEventListener("click", () => change(view, { [axis]: name }));
    return { row, fill, whole, number, share, swatch, name, axis };
  });
  parts.bars.replaceChildren(...view.rows.map(({ row }) => row));
  view.barsOf = `${view.loads} ${axis}`;
}

// Everything that follows the pointer.
function tell(view) {
  const { data, state, stack, parts, shown } = view, spot = spotOf(view), byHead = stack?.axes[0] !== "template" && state.view === "attention";
  if (view.barsOf !== `${view.loads} ${byHead ? "head" : "prompt"}`) buildBars(view, byHead);
  const grid = (data.labels && !shown ? data.labels : shown ?? stack).grid, cell = cellAt(data, grid, spot.place);
  showMarks(view, grid, cell, spot);
  parts.where.textContent = cell ? `${data.labels && !shown ? "pixel " : ""}row ${cell[0]}, column ${cell[1]}${spot.said ? ` · ${spot.said}` : ""}` : "";
  parts.root.dataset.cell = cell ? cell.join() : "";
  if (data.labels) tellLabels(view, cellAt(data, data.labels.grid, spot.place));
  else tellValues(view, cellAt(data, stack.grid, spot.place), byHead);
}

function tellValues(view, cell, byHead) {
  const { data, state, stack, rows, parts, shown } = view, segments = state.view === "segments" && !state.hover;
  const at = cell && cell[0] * stack.grid.columns + cell[1], scores = stack.view === "dense" && stack.layer === OUTPUT && data.scores;
  const mean = data.stacks.find(({ view: name, axes }) => name === "attention" && !axes.length);
  const ends = [Math.min(0, stack.low), Math.max(0, stack.high, ...(scores ? scores[templateOf(data, state)] : []))];
  rows.forEach(({ row, fill, whole, number, share, name, axis }, i) => {
    const own = byHead && name === MEAN ? mean : byHead ? stackFor(data, { ...state, head: name }) : stack;
    const value = at === null ? NaN : valueAt(own, byHead ? mapFor(data, own, { ...state, head: name }) : mapFor(data, stack, state, name), at);
    row.dataset.value = Number.isNaN(value) ? "" : value.toFixed(stack.decimals);
    number.textContent = Number.isNaN(value) ? "" : pretty(value, stack.decimals);
    row.setAttribute("aria-pressed", String(state[axis]) === String(name));
    place(fill, Number.isNaN(value) ? [0, 0] : [Math.min(0, value), Math.max(0, value)], ends);
    whole.hidden = !scores;
    if (scores) whole.style.left = percent(scores[templateOf(data, state)][i], ends);
    share.textContent = segments ? `${Math.round(100 * view.shares[i])}%` : "";
  });
  parts.bars.classList.toggle("dcv-legend", segments);
  parts.needle.hidden = !shown || !cell;
  if (shown && cell) pointNeedle(view);
}

function pointNeedle({ data, parts, shown, pointed, ...view }) {
  const cell = cellAt(data, shown.grid, spotOf({ data, pointed, ...view }).place);
  const value = (shown.kept ??= shown.values())[cell[0] * shown.grid.columns + cell[1]];
  parts.needle.style.left = percent(value, [shown.low, shown.high]);
}

function place(fill, [from, to], ends) {
  fill.style.left = percent(from, ends);
  fill.style.right = `${100 - parseFloat(percent(to, ends))}%`;
}

function tellLabels({ data, state, rows, labels, shares, parts }, cell) {
  const at = cell ? cell[0] * data.labels.grid.columns + cell[1] : -1, label = labels.numbers[at] ?? UNNAMED;
  parts.bars.classList.add("dcv-legend");
  rows.forEach(({ row, fill, whole, number, share, name }, i) => {
    const value = i === label && data.labels.probability ? labels.probability[at] : NaN;
    row.dataset.value = Number.isNaN(value) ? "" : value.toFixed(2);
    number.textContent = Number.isNaN(value) ? "" : value.toFixed(2);
    row.setAttribute("aria-pressed", i === label);
    place(fill, [0, Number.isNaN(value) ? 0 : value], [0, 1]);
    whole.hidden = true;
    share.textContent = shares ? `${Math.round(100 * shares[i])}%` : "";
  });
}

function showMarks(view, grid, cell, spot) {
  const { data, state, parts, hottest, stack } = view, [rows, columns] = data.size;
  const put = (node, box) => {
    node.hidden = !box;
    if (!box) return;
    const [top, left, bottom, right] = box, share = (part, whole) => `${(100 * part) / whole}%`;
    Object.assign(node.style, { top: share(top, rows), left: share(left, columns), height: share(bottom - top, rows), width: share(right - left, columns) });
  };
  const main = data.stacks[0]?.grid ?? data.labels.grid, coarse = !data.labels || view.shown;
  put(parts.pin, state.pinned && boxOf(data, main, ...state.pinned));
  put(parts.cell, cell && coarse && view.pointed && boxOf(data, grid, ...cell));
  put(parts.peak, hottest && !state.hover && state.view !== "segments" && boxOf(data, stack.grid, ...hottest));
}

// ---- what happens -------------------------------------------------------------------------------------------------

// Choices go to other views of the same canvas at once, to the kernel when it is quiet, and to linked canvases.
function change(view, patch, { relayed = false } = {}) {
  const before = unitOf(view), state = resolved({ ...view.state, ...patch }, view.data);
  if (!viewsOf(view.data, state.layer).has(state.view)) state.view = patch.view ? view.state.view : "dense";
  view.state = state;
  if (unitOf(view) !== before && !("threshold" in patch)) state.threshold = null;
  draw(view);
  view.model.set("state", { ...state });
  clearTimeout(view.timer);
  view.timer = setTimeout(() => view.model.save_changes(), HALF_LIFE);
  if (!relayed) publish(view, { patch, pin: patch.pinned && middleShare(view, patch.pinned) });
}

// A threshold is a number of one scale: it does not outlive it.
function unitOf({ data, state }) {
  const stack = stackFor(data, state);
  return state.hover ? "cells" : stack ? `${stack.unit} ${stack.low} ${stack.high}` : "";
}

const mainGrid = ({ data }) => data.stacks[0]?.grid ?? data.labels.grid;
const shareOf = ({ data }, [row, column]) => [row / data.size[0], column / data.size[1]];
const middleShare = (view, cell) => shareOf(view, middleOf(mainGrid(view), cell));

function point(view, place, { relayed = false } = {}) {
  view.pointed = place && cellAt(view.data, mainGrid(view), place) ? place : null;
  if (view.state.hover) draw(view);
  else tell(view);
  if (!relayed) publish(view, { point: view.pointed && shareOf(view, view.pointed) });
}

function publish(view, news) {
  const links = view.model.get("_links") ?? [];
  if (links.length) globalThis.dispatchEvent(new CustomEvent(BUS, { detail: { ...news, links, visited: [view.id] } }));
}

// News of a linked canvas: taken as far as the names exist here, and handed on to those that are linked to this one.
function hear(view, { detail }) {
  const links = view.model.get("_links") ?? [];
  if (!view.data || detail.visited.includes(view.id) || !links.some((name) => detail.links.includes(name))) return;
  const there = ([row, column]) => [row * view.data.size[0], column * view.data.size[1]];
  if ("point" in detail) point(view, detail.point && there(detail.point), { relayed: true });
  if (detail.patch) {
    const { pinned, ...names } = detail.patch, patch = {};
    for (const [name, value] of Object.entries(names)) if (view.data.choices[name]?.includes(value) ?? true) patch[name] = value;
    if (pinned !== undefined) patch.pinned = detail.pin ? cellAt(view.data, mainGrid(view), there(detail.pin)) : null;
    if (Object.keys(patch).length) change(view, patch, { relayed: true });
  }
  globalThis.dispatchEvent(new CustomEvent(BUS, { detail: { ...detail, links, visited: [...detail.visited, view.id] } }));
}

function placeOf({ data, parts }, event) {
  const box = parts.picture.getBoundingClientRect();
  return [((event.clientY - box.top) / box.height) * data.size[0], ((event.clientX - box.left) / box.width) * data.size[1]];
}

function pin(view, place) {
  const cell = place && cellAt(view.data, mainGrid(view), place), { pinned } = view.state;
  const again = cell && pinned && cell[0] === pinned[0] && cell[1] === pinned[1];
  change(view, { pinned: again ? null : cell });
}

const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

function press(view, event) {
  const grid = mainGrid(view), { place } = spotOf(view), step = view.data.labels ? Math.ceil(grid.rows / 64) : 1;
  if (ARROWS[event.key]) {
    const [y, x] = cellAt(view.data, grid, place), [down, right] = ARROWS[event.key];
    const next = [clamp(y + down * step, 0, grid.rows - 1), clamp(x + right * step, 0, grid.columns - 1)];
    const box = boxOf(view.data, grid, ...next);
    if (box) point(view, [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2]);
  } else if (event.key === "Enter") pin(view, place);
  else if (event.key === "Escape") {
    point(view, null);
    if (view.state.pinned) change(view, { pinned: null });
  } else return;
  event.preventDefault();
}

function listen(view) {
  const { parts, model } = view, { controls, picture } = parts, offered = (name, text) => view.data.choices[name].find((value) => String(value) === text);
  const on = (node, name, act) => node.addEventListener(name, (event) => view.data && act(event));
  for (const name of ["view", "prompt", "template", "layer", "head"]) on(controls[name], "change", ({ target }) => change(view, { [name]: offered(name, target.value) }));
  on(controls.colours, "change", ({ target }) => change(view, { colours: target.value }));
  on(controls.opacity, "input", ({ target }) => change(view, { opacity: target.valueAsNumber }));
  on(controls.threshold, "input", ({ target }) => {
    const value = target.valueAsNumber;
    change(view, { threshold: value <= Number(target.min) ? null : value });
  });
  on(controls.interpolation, "change", ({ target }) => change(view, { interpolation: target.checked ? "nearest" : "bilinear" }));
  on(controls.hover, "change", ({ target }) => change(view, { hover: target.checked }));
  on(picture, "pointermove", (event) => point(view, placeOf(view, event)));
  on(picture, "pointerleave", () => point(view, null));
  on(picture, "blur", () => point(view, null));
  on(picture, "click", (event) => pin(view, placeOf(view, event)));
  on(picture, "keydown", (event) => press(view, event));
  const heard = (event) => hear(view, event);
  globalThis.addEventListener(BUS, heard);
  const watched = { "change:_payload": () => load(view), "change:state": () => follow(view), "change:locked": () => draw(view) };
  watched["change:status"] = watched["change:status_kind"] = () => say(view);
  for (const [name, act] of Object.entries(watched)) model.on(name, act);
  return () => {
    globalThis.removeEventListener(BUS, heard);
    for (const [name, act] of Object.entries(watched)) model.off(name, act);
  };
}

// The kernel, or another view of this canvas, chose.
function follow(view) {
  const given = view.model.get("state");
  if (!view.data || JSON.stringify(given) === JSON.stringify(view.state)) return;
  view.state = resolved(given, view.data);
  draw(view);
}

function say({ model, parts }) {
  parts.status.textContent = model.get("status") ?? "";
  parts.status.dataset.kind = model.get("status_kind") ?? "ok";
}

async function decode(data, buffers) {
  const file = (name, type) => createImageBitmap(new Blob([bytesOf(buffers[name])], { type }), { colorSpaceConversion: "none" });
  const [bitmap, labels] = await Promise.all([data.picture && file("picture", data.picture), data.labels && file("labels", "image/png")]);
  return { bitmap, labels: labels && readLabels(labels) };
}

function readLabels(bitmap) {
  const ctx = surface(bitmap.width, bitmap.height).getContext("2d", { willReadFrequently: true });
  ctx.drawImage(bitmap, 0, 0);
  const { data } = ctx.getImageData(0, 0, bitmap.width, bitmap.height), count = bitmap.width * bitmap.height;
  bitmap.close();
  const numbers = Int16Array.from({ length: count }, (_, i) => data[4 * i] * 256 + data[4 * i + 1] - 1);
  return { numbers, probability: Float32Array.from({ length: count }, (_, i) => data[4 * i + 2] / 255) };
}

// Another result: what is shown stays until all of the new one is there, and only the newest counts.
async function load(view) {
  const given = view.model.get("_payload"), { parts } = view, turn = ++view.loads;
  parts.empty.hidden = Boolean(given?.meta);
  parts.body.hidden = parts.bar.hidden = !given?.meta;
  if (!given?.meta) return;
  const data = unpack(given), decoded = await decode(data, given.buffers);
  if (turn !== view.loads || view.gone) return decoded.bitmap?.close();
  view.bitmap?.close();
  Object.assign(view, decoded, { data, state: resolved(view.model.get("state"), data), pointed: null, size: "" });
  parts.frame.style.setProperty("--dcv-ratio", data.size[1] / data.size[0]);
  parts.warning.textContent = data.random ? "random weights · nothing here was learned" : "";
  parts.made.textContent = data.made;
  fillSelects(view);
  fit(view);
}

// As many pixels as the screen has.
function fit(view) {
  const { data, parts, bitmap } = view;
  if (!data) return;
  const wide = parts.frame.clientWidth * (globalThis.devicePixelRatio || 1), ratio = data.size[0] / data.size[1];
  const shrink = Math.min(1, LARGEST / (wide * Math.max(1, ratio)));
  const width = Math.max(1, Math.round(wide * shrink)), height = Math.max(1, Math.round(width * ratio));
  if (!wide || view.size === `${width} ${height} ${view.loads}`) return;
  view.size = `${width} ${height} ${view.loads}`;
  Object.assign(parts.picture, { width, height });
  view.backs = backgrounds(data, bitmap, width, height);
  const part = Math.min(1, FINEST / Math.max(width, height));
  view.over = surface(Math.round(width * part), Math.round(height * part));
  view.painted = "";
  draw(view);
}

function render({ model, el }) {
  const view = { model, parts: makeParts(el), id: Math.random().toString(36).slice(2), version: 0, loads: 0, pointed: null, state: model.get("state") };
  view.parts.empty.textContent = "Nothing to show yet.";
  const silence = listen(view), watch = new ResizeObserver(() => fit(view));
  watch.observe(view.parts.frame);
  say(view);
  load(view);
  return () => {
    view.gone = true;
    clearTimeout(view.timer);
    silence();
    watch.disconnect();
    view.bitmap?.close();
  };
}

export default { render };
