// Drawing: from a state to pixels.

function draw(view) {
  const { data, parts, state } = view;
  if (!data || !view.backs) return;
  const { stack, map } = Object.assign(view, selected(data, state));
  view.peak = stack ? peakOf(data, stack.grid, mapOf(stack, map), state.view) : null;
  Object.assign(view, shownMaps(view));
  if (isDifference(data, state)) view.peak = peakOf(data, stack.grid, view.shown.values(), "difference");
  paint(view, view.layer, view.shown);
  if (view.beside) paint(view, (view.second ??= makeLayer(view.layer.over.width, view.layer.over.height)), view.beside);
  compose(view);
  showControls(view);
  showScale(view);
  showCaption(view);
  view.heat = null;
  tell(view);
  arrange(view);
  showKeep(view);
  parts.root.dataset.peak = view.peak?.join() ?? "";
  parts.root.dataset.version = ++view.version;
}

// What is drawn: a map of the result, the difference of two, one of them beside the other, or the likeness of one cell to
// all; null where labels are drawn instead.
function shownMaps(view) {
  const { data, state } = view;
  const cell = isHovering(data, state) ? cellAt(data, data.features.grid, spotOf(view).place) : null;
  if (cell) {
    const at = indexOf(data.features.grid, cell), values = likeness(data, at, state.path);
    const own = { decimals: 3, key: `cell ${at} ${state.path}`, values: () => values, read: (other) => values[other] };
    return { shown: { ...data.features, ...own }, beside: null };
  }
  if (state.view in HEADINGS) return { shown: null, beside: null };
  const other = otherOf(data, state), shown = mapToShow(data, view);
  if (!other) return { shown, beside: null };
  if (state.contrast === "difference") return { shown: differenceOf(view, other), beside: null };
  return { shown, beside: mapToShow(data, other) };
}

const mapToShow = (data, { stack, map }) =>
  ({ ...stack, key: `map ${data.stacks.indexOf(stack)} ${map}`, values: () => mapOf(stack, map), read: (at) => valueAt(stack, map, at) });

// Colours the map, or the labels, unless they are as they were.
function paint(view, layer, shown) {
  const { data, state } = view, { over, image } = layer, colours = shown && coloursOf(data, state, shown);
  const what = shown ? [shown.key, colours, state.threshold] : [state.view, state.layer, state.template, state.path];
  const wanted = [...what, state.interpolation].join("|");
  if (layer.painted === wanted) return;
  layer.painted = wanted;
  const { width, height } = over, out = new Uint32Array(image.data.buffer).fill(0);
  if (shown) {
    const where = placesOf(data, shown.grid, width, height, state.interpolation === "nearest");
    const table = inks(data.tables[colours], shown, state.threshold);
    shade(out, width, where, shown.values(), shown.grid.columns, shown, table);
  } else if (state.view === "masks") view.shares = paintMasks(view, out, width, height);
  else view.shares = paintLabels(out, labelsOf(view, width, height), width, data.palette);
  over.getContext("2d").putImageData(image, 0, 0);
}

// The label of every pixel: as the segmentation has it, or the prompt with the strongest dense map. Absent prompts name
// none; the highest cosine that they have is a flat map, which a prompt has to exceed.
function labelsOf({ data, state, stack, labels, layer: { numbers: drawn } }, width, height) {
  const { grid } = data.labels ?? stack;
  drawn.fill(UNSEEN);
  const where = placesOf(data, grid, width, height, data.labels || state.interpolation === "nearest");
  if (data.labels) nearestLabels(drawn, width, where, labels.numbers, grid.columns);
  else {
    const numbers = presentOf(data), baseline = baselineOf(data, state, stack);
    const maps = numbers.map((i) => mapOf(stack, promptMap(data, state, i)));
    if (baseline !== undefined) {
      numbers.unshift(UNNAMED);
      maps.unshift(new Float32Array(cellsIn(stack)).fill(baseline));
    }
    strongest(drawn, width, where, maps, grid.columns, numbers);
  }
  return drawn;
}

// Every prompt by itself; a place may have several, or none.
function paintMasks({ data, state, stack, labels }, out, width, height) {
  const { grid } = data.labels ?? stack, nearest = data.labels || state.interpolation === "nearest";
  const where = placesOf(data, grid, width, height, nearest), prompts = data.prompts.length;
  let runs;
  if (data.labels) runs = runsOfPixels(where, (labels.owners ??= ownersInFiles(labels.masks, prompts)), grid.columns);
  else {
    const numbers = presentOf(data), maps = numbers.map((i) => mapOf(stack, promptMap(data, state, i)));
    runs = runsAbove(where, maps, baselineOf(data, state, stack), grid.columns, numbers, prompts);
  }
  return paintOwners(out, width, where, runs, data.palette, data.look.stripes);
}

function compose({ data, parts, state, backs, layer, second, beside }) {
  const { width, height } = parts.image, ctx = parts.image.getContext("2d"), line = width * state.split;
  const lay = (source, alpha, from = 0, to = width) => {
    ctx.save();
    ctx.beginPath();
    ctx.rect(from, 0, to - from, height);
    ctx.clip();
    ctx.globalAlpha = alpha;
    ctx.imageSmoothingEnabled = source === backs.colour || source === backs.grey || state.interpolation !== "nearest";
    ctx.drawImage(source, 0, 0, width, height);
    ctx.restore();
  };
  if (state.opacity < COLOURFUL) lay(backs.colour, 1);
  lay(backs.grey, Math.min(1, state.opacity / COLOURFUL));
  lay(layer.over, state.opacity, 0, beside ? line : width);
  if (beside) lay(second.over, state.opacity, line, width);
  outline(ctx, data, width, height);
}

// A thin frame around what was seen, where that is not the whole image.
function outline(ctx, { cropped, size: [rows, columns], visible: [top, left, bottom, right] }, width, height) {
  if (!cropped) return;
  const across = width / columns, down = height / rows;
  for (const [strokeStyle, line] of [["#fff", 3], ["#1f1f1f", 1]]) {
    Object.assign(ctx, { strokeStyle, lineWidth: line * Math.max(1, width / 900) });
    ctx.strokeRect(left * across, top * down, (right - left) * across, (bottom - top) * down);
  }
}
