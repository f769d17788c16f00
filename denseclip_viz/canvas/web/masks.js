// Masks: pixels that several prompts may own, or none. Owners take turns in slanted stripes, as plot/segments.py draws them.

const PER_FILE = 24; // masks in an image of three bytes a pixel

const isIn = (masks, i, at) => ((masks[Math.floor(i / PER_FILE)][at] >> i % PER_FILE) & 1) === 1;

function makeOwned(width, height, prompts, stripes) {
  const drawn = new Int16Array(width * height).fill(UNSEEN), sets = new Int32Array(width * height).fill(UNSEEN);
  return { width, drawn, sets, stripe: Math.ceil(Math.max(width, height) / stripes), counts: new Float64Array(prompts) };
}

// `sets` only tells neighbours apart, so that lines can be drawn between them.
function own({ width, drawn, sets, counts, stripe }, x, y, owners) {
  const at = y * width + x, count = owners.length;
  drawn[at] = count ? owners[Math.floor((x + y) / stripe) % count] : UNNAMED;
  let set = 0;
  for (const i of owners) {
    counts[i]++;
    set = (set * 31 + i + 1) | 0;
  }
  sets[at] = set;
}

function ownByMasks(owned, { down, across }, masks, columns) {
  const count = owned.counts.length, known = new Map();
  const ownersOfPixel = (at) => {
    const key = masks.map((bits) => bits[at]).join();
    if (!known.has(key)) known.set(key, Array.from({ length: count }, (_, i) => i).filter((i) => isIn(masks, i, at)));
    return known.get(key);
  };
  for (let y = down.from; y < down.to; y++)
    for (let x = across.from; x < across.to; x++) own(owned, x, y, ownersOfPixel(down.cell[y] * columns + across.cell[x]));
}

// Where each map is above a cut. Between two cells of one side of it a map stays there, since it is linear.
function ownAbove(owned, { down, across }, maps, numbers, cut, columns) {
  const lines = maps.map(() => new Float32Array(columns));
  for (let y = down.from; y < down.to; y++) {
    const above = down.cell[y] * columns, below = down.next[y] * columns, share = down.share[y];
    maps.forEach((map, i) => {
      for (let c = 0; c < columns; c++) lines[i][c] = map[above + c] + (map[below + c] - map[above + c]) * share;
    });
    for (let x = across.from; x < across.to; ) {
      const a = across.cell[x], b = across.next[x], from = x;
      while (x < across.to && across.cell[x] === a) x++;
      const likely = [...numbers.keys()].filter((i) => lines[i][a] > cut || lines[i][b] > cut);
      const crossing = likely.filter((i) => !(lines[i][a] > cut && lines[i][b] > cut)), all = likely.map((i) => numbers[i]);
      for (let at = from; at < x; at++) {
        const isAbove = (i) => lines[i][a] + (lines[i][b] - lines[i][a]) * across.share[at] > cut;
        own(owned, at, y, crossing.length ? likely.filter((i) => !crossing.includes(i) || isAbove(i)).map((i) => numbers[i]) : all);
      }
    }
  }
}
