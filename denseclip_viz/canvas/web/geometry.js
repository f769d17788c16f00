// Geometry: where cells lie in the image, in its pixels, and where pixels lie between cells.

const MEET = 1e-6; // of a cell: where two meet the later one has it, whichever way a sum was rounded

// For each of n pixels along an axis the two cells around it and the share of the second, as geometry/placement.py.
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
  const [rows, columns] = data.size, [top, left, bottom, right] = data.visible;
  return {
    down: places(height, rows, [grid.top, grid.bottom, grid.rows], [top, bottom], nearest),
    across: places(width, columns, [grid.left, grid.right, grid.columns], [left, right], nearest),
  };
}

// The box of a cell as far as it was seen, [top, left, bottom, right] in pixels of the image; null if it was not.
function boxOf({ visible }, grid, y, x) {
  const high = (grid.bottom - grid.top) / grid.rows, wide = (grid.right - grid.left) / grid.columns;
  const top = Math.max(grid.top + y * high, visible[0]), left = Math.max(grid.left + x * wide, visible[1]);
  const bottom = Math.min(grid.top + (y + 1) * high, visible[2]);
  const right = Math.min(grid.left + (x + 1) * wide, visible[3]);
  return bottom - top > 1e-3 && right - left > 1e-3 ? [top, left, bottom, right] : null;
}

// The cell at a place in the image, as geometry/placement.py; null outside of what was seen.
function cellAt({ visible }, grid, [row, column]) {
  if (row < visible[0] || row > visible[2] || column < visible[1] || column > visible[3]) return null;
  const y = Math.floor(((row - grid.top) / (grid.bottom - grid.top)) * grid.rows + MEET);
  const x = Math.floor(((column - grid.left) / (grid.right - grid.left)) * grid.columns + MEET);
  return [clamp(y, 0, grid.rows - 1), clamp(x, 0, grid.columns - 1)];
}

// The middle of what was seen of a cell, so that it is a place in the image.
function middleOf(data, grid, [y, x]) {
  const box = boxOf(data, grid, y, x);
  return box ? [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2] : [-1, -1];
}

// Farthest from zero where values of a view go to both sides of it.
function peakOf(data, grid, values, view) {
  const isOnBothSides = data.rules.view.both_sides.includes(view);
  let best = null, top = -Infinity;
  values.forEach((signed, cell) => {
    const value = isOnBothSides ? Math.abs(signed) : signed;
    const y = Math.floor(cell / grid.columns), x = cell % grid.columns;
    if (value > top && boxOf(data, grid, y, x)) [best, top] = [[y, x], value];
  });
  return best;
}
