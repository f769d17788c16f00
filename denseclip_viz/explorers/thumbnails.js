// Small maps in rows and columns, curves under them and bars beside: each tile shows its map big on the canvas.
// Everything that came from outside goes in as text, never as markup.

const SIDE = 84; // CSS pixels: the longer side of a tile

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function bytes(view) {
  return new Uint8ClampedArray(view.buffer, view.byteOffset, view.byteLength);
}

/** The cells of one map as a small image, coloured by its table. */
function coloured(cell, maps, table) {
  const [rows, columns] = cell.shape;
  const small = new OffscreenCanvas(columns, rows);
  const pixels = new ImageData(columns, rows);
  for (let i = 0; i < rows * columns; i++) {
    const entry = 3 * maps[cell.at + i];
    pixels.data.set(table.subarray(entry, entry + 3), 4 * i);
    pixels.data[4 * i + 3] = 255;
  }
  small.getContext("2d").putImageData(pixels, 0, 0);
  return small;
}

function drawTile(canvas, cell, data, image, maps, tables) {
  const [height, width] = data.size;
  const scale = SIDE / Math.max(height, width);
  const dense = window.devicePixelRatio || 1;
  canvas.style.width = `${width * scale}px`;
  canvas.style.height = `${height * scale}px`;
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

/** A curve over the columns, its points in their middles. */
function curve(line, count) {
  const box = make("div", "dcvx-curve");
  box.style.gridColumn = `2 / span ${count}`;
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", `0 0 ${count} 1`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const height = (value) => 0.88 - (0.76 * (value - line.low)) / (line.high - line.low || 1);
  const path = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
  path.setAttribute("points", line.values.map((value, i) => `${i + 0.5},${height(value)}`).join(" "));
  svg.append(path);
  box.append(svg);
  line.values.forEach((value, i) => {
    const dot = make("i", "dcvx-dot"), mark = make("span", "dcvx-mark", value.toFixed(2).replace("-", "−"));
    for (const node of [dot, mark]) {
      node.style.left = `${(100 * (i + 0.5)) / count}%`;
      node.style.top = `${100 * height(value)}%`;
    }
    mark.classList.toggle("dcvx-under", height(value) < 0.45);
    box.append(dot, mark);
  });
  return box;
}

function tileOf(cell, draw, choose) {
  const tile = make("button", "dcvx-tile"), canvas = make("canvas");
  tile.type = "button";
  tile.title = cell.tip;
  tile.setAttribute("aria-label", cell.tip);
  tile.dcvPatch = cell.patch;
  tile.addEventListener("click", () => choose(cell.patch));
  tile.append(canvas);
  draw(canvas, cell);
  return tile;
}

/** One row that goes on in the next line. */
function stripOf(section, draw, choose) {
  const box = make("div", "dcvx-strip");
  section.cells[0].forEach((cell, at) => {
    const part = make("div");
    part.append(make("span", "dcvx-head", section.columns[at].label), tileOf(cell, draw, choose));
    box.append(part);
  });
  return box;
}

function gridOf(section, draw, choose) {
  const box = make("div", section.rows.length > 10 ? "dcvx-lattice dcvx-long" : "dcvx-lattice");
  const numbers = section.number_title ? " minmax(70px, auto)" : "";
  box.style.gridTemplateColumns = `minmax(60px, max-content) repeat(${section.columns.length}, max-content)${numbers}`;
  box.append(make("span", "dcvx-corner"));
  for (const column of section.columns) {
    box.append(make("span", column.muted ? "dcvx-head dcvx-muted" : "dcvx-head", column.label));
  }
  if (numbers) box.append(make("span", "dcvx-head dcvx-number", section.number_title));
  section.rows.forEach((row, at) => {
    box.append(make("span", "dcvx-row-head", row.label));
    for (const cell of section.cells[at]) {
      box.append(cell ? tileOf(cell, draw, choose) : make("span"));
    }
    if (numbers) {
      const number = make("span", "dcvx-number");
      number.append(make("span", "", row.number));
      const bar = make("i");
      bar.style.width = `${Math.max(0, Math.min(1, row.share)) * 56}px`;
      number.append(bar);
      box.append(number);
    }
  });
  for (const line of section.curves) box.append(make("span", "dcvx-row-head", line.label), curve(line, section.columns.length));
  return box;
}

function barsOf(section) {
  const box = make("div", "dcvx-words");
  const most = Math.max(...section.items.map((item) => Math.abs(item.value)), 1e-9);
  for (const item of section.items) {
    const track = make("span", "dcvx-track");
    const bar = make("i", item.value < 0 ? "dcvx-lowers" : "dcvx-raises");
    bar.style.width = `${(50 * Math.abs(item.value)) / most}%`;
    track.append(bar);
    const row = make("div", "dcvx-word");
    row.dataset.value = item.value;
    row.append(make("span", "", item.label), track, make("span", "dcvx-value", item.text));
    box.append(row);
  }
  return box;
}

function render({ model, el }) {
  el.classList.add("dcvx-tiles");
  let version = 0;

  function mark() {
    const current = model.get("current");
    for (const tile of el.querySelectorAll(".dcvx-tile")) {
      const same = Object.entries(tile.dcvPatch).every(([name, value]) => current[name] === value);
      tile.setAttribute("aria-pressed", String(same));
    }
  }
  function choose(patch) {
    model.set("chosen", { ...patch });
    model.save_changes();
    model.set("chosen", {}); // so that the same tile can be chosen again
    model.save_changes();
  }
  async function update() {
    const mine = ++version;
    const { data, image, maps, tables } = model.get("_packed");
    if (!data) return;
    const under = image.byteLength ? await createImageBitmap(new Blob([image], { type: "image/jpeg" })) : null;
    if (mine !== version) return under?.close();
    const draw = (canvas, cell) => drawTile(canvas, cell, data, under, bytes(maps), bytes(tables));
    const parts = data.sections.map((section) => {
      const part = make("section", `dcvx-${section.kind}`);
      part.append(make("h4", "", section.title));
      if (section.note) part.append(make("p", "", section.note));
      part.append(section.kind === "bars" ? barsOf(section) : (section.strip ? stripOf : gridOf)(section, draw, choose));
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
