// Raster: maps, labels and images as colours.

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

// A map as pixels: linear between cells first, coloured then, as matplotlib and plot/raster.py do.
function shade(out, width, { down, across }, values, columns, { low, high }, colours) {
  const line = new Float32Array(columns), steps = STEPS / (high - low), { cell, next, share: part, from, to } = across;
  for (let y = down.from; y < down.to; y++) {
    const above = down.cell[y] * columns, below = down.next[y] * columns, share = down.share[y];
    for (let c = 0; c < columns; c++) {
      const value = values[above + c] + (values[below + c] - values[above + c]) * share;
      line[c] = 1 + clamp((value - low) * steps, 0, STEPS);
    }
    for (let x = from, at = y * width + x; x < to; x++, at++) {
      const left = line[cell[x]];
      out[at] = colours[(left + (line[next[x]] - left) * part[x]) | 0];
    }
  }
}

// The number of the strongest of several maps at each pixel. Between two cells where one map wins at both ends it wins all the way,
// since everything in between is linear; so only few pixels, and there only the maps that can win, are looked at.
function strongest(out, width, { down, across }, maps, columns, numbers) {
  const lines = maps.map(() => new Float32Array(columns)), best = new Int16Array(columns), rivals = new Int16Array(maps.length);
  for (let y = down.from; y < down.to; y++) {
    const above = down.cell[y] * columns, below = down.next[y] * columns, share = down.share[y];
    for (let c = 0; c < columns; c++) {
      let top = -Infinity;
      for (let i = 0; i < maps.length; i++) {
        const map = maps[i], value = map[above + c] + (map[below + c] - map[above + c]) * share;
        lines[i][c] = value;
        if (value > top) {
          top = value;
          best[c] = i;
        }
      }
    }
    for (let x = across.from; x < across.to; ) {
      const a = across.cell[x], b = across.next[x], from = x;
      while (x < across.to && across.cell[x] === a) x++;
      if (best[a] === best[b]) out.fill(numbers[best[a]], y * width + from, y * width + x);
      else {
        const count = rivalsBetween(rivals, lines, a, b, best);
        compareBetween(out, y * width, from, x, across.share, lines, a, b, rivals.subarray(0, count), numbers);
      }
    }
  }
}

// Maps that may win somewhere between two cells: the winners at both, and those that are stronger than either of them at
// the other's end. What is listed is counted.
function rivalsBetween(rivals, lines, a, b, best) {
  const first = lines[best[a]][b], second = lines[best[b]][a];
  let count = 0;
  for (let i = 0; i < lines.length; i++) {
    const beaten = lines[i][b] <= first || lines[i][a] <= second;
    if (!beaten || i === best[a] || i === best[b]) rivals[count++] = i;
  }
  return count;
}

function compareBetween(out, row, from, to, share, lines, a, b, rivals, numbers) {
  for (let x = from; x < to; x++) {
    let top = -Infinity, winner = UNNAMED;
    for (let k = 0; k < rivals.length; k++) {
      const line = lines[rivals[k]], value = line[a] + (line[b] - line[a]) * share[x];
      if (value > top) {
        top = value;
        winner = numbers[rivals[k]];
      }
    }
    out[row + x] = winner;
  }
}

// Labels as pixels, with a white line between two; the share of each label in what was seen. As long as neither a row
// nor the one above it changes, it is filled.
function paintLabels(out, labels, width, palette) {
  const inkOf = new Uint32Array(palette.length + 2), counts = new Float64Array(palette.length + 2);
  palette.forEach((colour, i) => (inkOf[i + 2] = rgba(...colour))); // after those of UNSEEN and UNNAMED
  const isLike = (at, label) => at < width || labels[at - width] === label || labels[at - width] === UNSEEN;
  for (let row = 0; row < labels.length; row += width) {
    for (let at = row, left = UNSEEN; at < row + width; ) {
      const label = labels[at], ink = inkOf[label + 2], from = at;
      const isEdge = (left !== label && left !== UNSEEN) || !isLike(at, label);
      out[at++] = isEdge && label !== UNSEEN ? 0xffffffff : ink;
      while (at < row + width && labels[at] === label && isLike(at, label)) at++;
      out.fill(ink, from + 1, at);
      counts[label + 2] += at - from;
      left = label;
    }
  }
  const visible = labels.length - counts[0];
  return Array.from(counts.subarray(2), (count) => count / Math.max(visible, 1));
}

function nearestLabels(out, width, { down, across }, labels, columns) {
  for (let y = down.from; y < down.to; y++)
    for (let x = across.from; x < across.to; x++) out[y * width + x] = labels[down.cell[y] * columns + across.cell[x]];
}

function surface(width, height) {
  return Object.assign(document.createElement("canvas"), { width, height });
}

const ALL = { top: 0, left: 0, bottom: 1, right: 1, rows: 1, columns: 1 };

// The image in its own colours and softened to greys, both faded where the model saw nothing.
function backgrounds(data, bitmap, width, height) {
  const colour = surface(width, height), grey = surface(width, height);
  const ctx = colour.getContext("2d", { willReadFrequently: true });
  ctx.fillStyle = `rgb(${Array(3).fill(data.look.behind).join(" ")})`;
  ctx.fillRect(0, 0, width, height);
  ctx.imageSmoothingQuality = "high";
  if (bitmap) ctx.drawImage(bitmap, 0, 0, width, height);
  const own = ctx.getImageData(0, 0, width, height), soft = new ImageData(width, height);
  soften(own.data, soft.data, placesOf(data, ALL, width, height, true), width, data.look);
  ctx.putImageData(own, 0, 0);
  grey.getContext("2d").putImageData(soft, 0, 0);
  return { colour, grey };
}

function soften(own, soft, { down, across }, width, { faded, paper, dark, light }) {
  for (let y = 0, at = 0; at < own.length; y++) {
    for (let x = 0; x < width; x++, at += 4) {
      soft[at + 3] = 255;
      if (y >= down.from && y < down.to && x >= across.from && x < across.to) {
        const luma = 0.299 * own[at] + 0.587 * own[at + 1] + 0.114 * own[at + 2];
        soft[at] = soft[at + 1] = soft[at + 2] = Math.round(dark + (luma / 255) * (light - dark));
      } else for (let i = at; i < at + 3; i++) soft[i] = own[i] = Math.round(own[i] * (1 - faded) + paper * faded);
    }
  }
}
