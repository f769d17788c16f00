// Small maps in rows and columns, curves under them and bars beside: each thumbnail shows its map big on the canvas.
// Everything that came from outside goes in as text, never as markup. `make` and others are in the canvas' base.js.

const SIDE = 84, LEAST = 64, GAP = 6; // CSS pixels: the longer side of a thumbnail, the narrowest column, between two
const MOST = 12; // rows that are shown at once

// The cells of one map as a small image, coloured by its table; the browser draws it larger, smoothly.
function coloured(cell, maps, table) {
  const [rows, columns] = cell.shape, small = new OffscreenCanvas(columns, rows), pixels = new ImageData(columns, rows);
  for (let i = 0; i < rows * columns; i++) {
    const entry = 3 * maps[cell.at + i];
    pixels.data.set(table.subarray(entry, entry + 3), 4 * i);
    pixels.data[4 * i + 3] = 255;
  }
  small.getContext("2d").putImageData(pixels, 0, 0);
  return small;
}

function drawThumbnail(canvas, cell, data, image, maps, tables) {
  const [height, width] = data.size, scale = SIDE / Math.max(height, width), dense = window.devicePixelRatio || 1;
  Object.assign(canvas.style, { width: `${width * scale}px`, aspectRatio: `${width} / ${height}` });
  canvas.width = Math.round(width * scale * dense);
  canvas.height = Math.round(height * scale * dense);
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  const [top, left, bottom, right] = cell.box.map((edge) => edge * scale * dense);
  context.globalAlpha = data.opacity;
  const table = tables.subarray(768 * cell.table, 768 * (cell.table + 1));
  context.drawImage(coloured(cell, maps, table), left, top, right - left, bottom - top);
}

// A curve over some of the columns, its points in their middles; those of columns that stand apart are not joined.
function curveOf(line, [from, to], joined) {
  const create = (name) => document.createElementNS("http://www.w3.org/2000/svg", name), count = to - from;
  const box = make("div", "dcvx-curve", { style: `grid-column: 2 / span ${count}` });
  const svg = create("svg"), path = create("polyline");
  const shape = { viewBox: `0 0 ${count} 1`, preserveAspectRatio: "none", "aria-hidden": "true" };
  for (const [name, value] of Object.entries(shape)) svg.setAttribute(name, value);
  const height = (value) => 0.88 - (0.76 * (value - line.low)) / (line.high - line.low || 1);
  const values = line.values.slice(from, to), before = values.slice(0, Math.max(0, joined - from));
  path.setAttribute("points", before.map((value, i) => `${i + 0.5},${height(value)}`).join(" "));
  svg.append(path);
  box.append(svg);
  values.forEach((value, i) => {
    const style = `left: ${(100 * (i + 0.5)) / count}%; top: ${100 * height(value)}%`;
    const mark = make("span", "dcvx-mark", { style }, pretty(value, 2));
    mark.classList.toggle("dcvx-under", height(value) < 0.45);
    box.append(make("i", `dcvx-dot${i < before.length ? "" : " dcvx-other"}`, { style }), mark);
  });
  return box;
}

function thumbnailOf(cell, draw, choose) {
  const canvas = make("canvas"), attributes = { type: "button", title: cell.tip, "aria-label": cell.tip };
  const thumbnail = make("button", "dcvx-tile", attributes, canvas);
  thumbnail.dcvPatch = cell.patch;
  thumbnail.addEventListener("click", () => choose(cell.patch));
  draw(canvas, cell);
  return thumbnail;
}

// One row that goes on in the next line.
function stripOf({ cells: [cells], columns }, draw, choose) {
  const heads = columns.map(({ label }) => make("span", "dcvx-head", {}, label));
  const parts = cells.map((cell, at) => make("div", "", {}, heads[at], thumbnailOf(cell, draw, choose)));
  return make("div", "dcvx-strip", {}, ...parts);
}

// Columns as far as they fit beside each other; the others go on below, as words do.
function blocksOf({ columns: { length }, number_title: number }, width) {
  const fitting = Math.max(1, Math.floor((width - (number ? 110 : 66)) / (LEAST + GAP)));
  const each = Math.ceil(length / Math.ceil(length / fitting)), blocks = [];
  for (let from = 0; from < length; from += each) blocks.push([from, Math.min(from + each, length)]);
  return blocks;
}

function blockOf(section, [from, to], most, draw, choose) {
  const { rows, columns, cells, curves, number_title: number } = section, joined = columns.length - section.apart;
  const side = (i) => (section.apart && from + i === joined ? " dcvx-apart" : "");
  const edges = columns.slice(from, to).map((_, i) => (side(i) ? 28 : 0)); // what parts a column from those before
  const tracks = edges.map((edge) => `minmax(${edge}px, ${SIDE + edge}px)`).join(" ");
  const style = `grid-template-columns: minmax(60px, max-content) ${tracks}`;
  const box = make("div", "dcvx-lattice", { style }, make("span", "dcvx-head dcvx-muted", {}, number));
  const headOf = ({ label, muted }, i) => make("span", `dcvx-head${muted ? " dcvx-muted" : ""}${side(i)}`, {}, label);
  box.append(...columns.slice(from, to).map(headOf));
  rows.slice(0, most).forEach(({ names, number: text, share }, at) => {
    const bar = make("i", "", { style: `width: ${clamp(share, 0, 1) * 56}px` });
    const counted = number ? [make("span", "dcvx-number", {}, text), bar] : [];
    const head = make("div", "dcvx-row-head", {}, make("span", "", { dir: "auto" }), ...counted);
    head.dcvNames = names; // written by `mark`
    box.append(head);
    const tiles = cells[at].slice(from, to).map((cell) => (cell ? [thumbnailOf(cell, draw, choose), cell.note] : []));
    box.append(...tiles.map((parts, i) => make("div", `dcvx-cell${side(i)}`, {}, ...parts.filter(Boolean))));
  });
  for (const line of curves) box.append(make("span", "dcvx-curve-head", {}, line.label), curveOf(line, [from, to], joined));
  return box;
}

function barsOf({ items }) {
  const most = Math.max(...items.map(({ value }) => Math.abs(value)), 1e-9);
  const rows = items.map(({ label, value, text }) => {
    const style = `width: ${(50 * Math.abs(value)) / most}%`;
    const track = make("span", "dcvx-track", {}, make("i", value < 0 ? "dcvx-lowers" : "dcvx-raises", { style }));
    const texts = [make("span", "", {}, label), track, make("span", "dcvx-value", {}, text)];
    return make("div", "dcvx-word", { "data-value": value }, ...texts);
  });
  return make("div", "dcvx-words", {}, ...rows);
}

function render({ model, el }) {
  el.classList.add("dcvx-tiles");
  let version = 0, under = null, laid = "", most = MOST;

  function mark(current = model.get("current")) {
    for (const thumbnail of el.querySelectorAll(".dcvx-tile")) {
      const same = Object.entries(thumbnail.dcvPatch).every(([name, value]) => current[name] === value);
      thumbnail.setAttribute("aria-pressed", String(same));
    }
    for (const head of el.querySelectorAll(".dcvx-row-head")) {
      const own = Object.hasOwn(head.dcvNames, current.prompt); // a prompt may be called “constructor”
      const [name, tip] = own ? head.dcvNames[current.prompt] : Object.values(head.dcvNames)[0];
      head.firstChild.textContent = name;
      head.title = tip;
    }
  }
  function choose(patch) {
    send({ patch, links: [model.get("_link")], visited: [] }); // to the canvas, which tells the kernel
    mark({ ...model.get("current"), ...patch });
  }
  function bodyOf(section, draw) {
    if (section.kind === "bars") return [barsOf(section)];
    if (section.strip) return [stripOf(section, draw, choose)];
    const blocks = blocksOf(section, el.clientWidth).map((block) => blockOf(section, block, most, draw, choose));
    if (section.rows.length <= most) return blocks;
    const more = make("button", "dcvx-more", { type: "button" }, `show all ${section.rows.length} rows`);
    more.addEventListener("click", () => {
      most = Infinity;
      layOut();
    });
    return [...blocks, more];
  }
  function layOut() {
    const { data, maps, tables } = model.get("_packed");
    const draw = (canvas, cell) => drawThumbnail(canvas, cell, data, under, bytesOf(maps), bytesOf(tables));
    const parts = data.sections.map((section) => {
      const part = make("section", `dcvx-${section.kind}`, {}, make("h4", "", {}, section.title));
      if (section.note) part.append(make("p", "", {}, section.note));
      part.append(...bodyOf(section, draw));
      return part;
    });
    const hadFocus = el.contains(document.activeElement);
    laid = layout();
    el.replaceChildren(...parts);
    mark();
    if (hadFocus) el.querySelector('.dcvx-tile[aria-pressed="true"]')?.focus({ preventScroll: true });
  }
  const layout = () => {
    const grids = model.get("_packed").data.sections.filter(({ columns, strip }) => columns && !strip);
    return JSON.stringify(grids.map((section) => blocksOf(section, el.clientWidth)));
  };
  async function update() {
    const mine = ++version, { data, image } = model.get("_packed");
    if (!data) return;
    const decoded = image.byteLength ? await createImageBitmap(new Blob([image], { type: "image/jpeg" })) : null;
    if (mine !== version) return decoded?.close(); // another result came meanwhile
    under?.close();
    under = decoded;
    layOut();
    el.dataset.version = String(mine);
  }
  const watch = new ResizeObserver(() => laid && layout() !== laid && layOut());
  watch.observe(el);
  model.on("change:_packed", update);
  const moved = () => mark();
  model.on("change:current", moved);
  update();
  return () => {
    version++;
    watch.disconnect();
    under?.close();
    model.off("change:_packed", update);
    model.off("change:current", moved);
  };
}

export default { render };
