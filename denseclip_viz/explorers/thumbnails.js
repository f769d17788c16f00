// Small maps in rows and columns, curves under them and bars beside: each thumbnail shows its map big on the canvas.
// Everything that came from outside goes in as text, never as markup. `make` and others are in the canvas' base.js.

const SIDE = 84; // CSS pixels: the longer side of a thumbnail

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
  Object.assign(canvas.style, { width: `${width * scale}px`, height: `${height * scale}px` });
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

// A curve over the columns, its points in their middles; those of the last columns, which stand apart, are not joined.
function curveOf(line, count, apart) {
  const create = (name) => document.createElementNS("http://www.w3.org/2000/svg", name);
  const box = make("div", "dcvx-curve", { style: `grid-column: 2 / span ${count}` });
  const svg = create("svg"), path = create("polyline");
  const shape = { viewBox: `0 0 ${count} 1`, preserveAspectRatio: "none", "aria-hidden": "true" };
  for (const [name, value] of Object.entries(shape)) svg.setAttribute(name, value);
  const height = (value) => 0.88 - (0.76 * (value - line.low)) / (line.high - line.low || 1);
  const joined = line.values.slice(0, count - apart);
  path.setAttribute("points", joined.map((value, i) => `${i + 0.5},${height(value)}`).join(" "));
  svg.append(path);
  box.append(svg);
  line.values.forEach((value, i) => {
    const style = `left: ${(100 * (i + 0.5)) / count}%; top: ${100 * height(value)}%`;
    const mark = make("span", "dcvx-mark", { style }, pretty(value, 2));
    mark.classList.toggle("dcvx-under", height(value) < 0.45);
    box.append(make("i", `dcvx-dot${i < count - apart ? "" : " dcvx-other"}`, { style }), mark);
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

function gridOf(section, draw, choose) {
  const { rows, columns, cells, curves, apart } = section, numbers = section.number_title ? " minmax(70px, auto)" : "";
  const style = `grid-template-columns: minmax(60px, max-content) repeat(${columns.length}, max-content)${numbers}`;
  const long = rows.length > 10 ? " dcvx-long" : "";
  const box = make("div", `dcvx-lattice${long}`, { style }, make("span", "dcvx-corner"));
  const side = (i) => (apart && i === columns.length - apart ? " dcvx-apart" : "");
  const headOf = ({ label, muted }, i) => `dcvx-head${muted ? " dcvx-muted" : ""}${side(i)}`;
  box.append(...columns.map((column, i) => make("span", headOf(column, i), {}, column.label)));
  if (numbers) box.append(make("span", "dcvx-head dcvx-number", {}, section.number_title));
  rows.forEach(({ label, number, share }, at) => {
    box.append(make("span", "dcvx-row-head", {}, label));
    const tiles = cells[at].map((cell) => (cell ? [thumbnailOf(cell, draw, choose), cell.note] : []));
    box.append(...tiles.map((parts, i) => make("div", `dcvx-cell${side(i)}`, {}, ...parts.filter(Boolean))));
    const bar = make("i", "", { style: `width: ${clamp(share, 0, 1) * 56}px` });
    if (numbers) box.append(make("span", "dcvx-number", {}, make("span", "", {}, number), bar));
  });
  for (const line of curves) box.append(make("span", "dcvx-row-head", {}, line.label), curveOf(line, columns.length, apart));
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
  let version = 0;

  function mark() {
    const current = model.get("current");
    for (const thumbnail of el.querySelectorAll(".dcvx-tile")) {
      const same = Object.entries(thumbnail.dcvPatch).every(([name, value]) => current[name] === value);
      thumbnail.setAttribute("aria-pressed", String(same));
    }
  }
  function choose(patch) {
    for (const chosen of [{ ...patch }, {}]) { // emptied, so that the same thumbnail can be chosen again
      model.set("chosen", chosen);
      model.save_changes();
    }
  }
  async function update() {
    const mine = ++version, { data, image, maps, tables } = model.get("_packed");
    if (!data) return;
    const under = image.byteLength ? await createImageBitmap(new Blob([image], { type: "image/jpeg" })) : null;
    if (mine !== version) return under?.close(); // another result came meanwhile
    const draw = (canvas, cell) => drawThumbnail(canvas, cell, data, under, bytesOf(maps), bytesOf(tables));
    const parts = data.sections.map((section) => {
      const build = section.kind === "bars" ? barsOf : section.strip ? stripOf : gridOf;
      const part = make("section", `dcvx-${section.kind}`, {}, make("h4", "", {}, section.title));
      if (section.note) part.append(make("p", "", {}, section.note));
      part.append(build(section, draw, choose));
      return part;
    });
    under?.close();
    el.replaceChildren(...parts);
    el.dataset.version = String(mine);
    mark();
  }
  model.on("change:_packed", update);
  model.on("change:current", mark);
  update();
  return () => {
    version++;
    model.off("change:_packed", update);
    model.off("change:current", mark);
  };
}

export default { render };
