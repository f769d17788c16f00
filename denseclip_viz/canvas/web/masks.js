// Masks: pixels that several prompts may own, or none. Owners take turns in slanted stripes, as plot/segments.py draws
// them. A row of pixels is a few runs of one set of owners each, and sets have numbers.

const PER_FILE = 24; // masks in an image of three bytes a pixel
const LINE = 0xffffffff;
const BELOW = 0, ABOVE = 1, MIXED = 2; // what a map is in the square between four cells

const isIn = (masks, i, at) => ((masks[Math.floor(i / PER_FILE)][at] >> i % PER_FILE) & 1) === 1;

// Sets of prompts by number, 0 the empty one; `flip` gives the set with one prompt more, or less if it is in already.
function makeSets(prompts) {
  const members = [[]], known = new Map([["", 0]]), flipped = new Map();
  const numberOf = (owners) => {
    const key = owners.join();
    if (!known.has(key)) known.set(key, members.push(owners) - 1);
    return known.get(key);
  };
  const flip = (set, i) => {
    const key = set * prompts + i, own = members[set];
    if (!flipped.has(key)) {
      flipped.set(key, numberOf(own.includes(i) ? own.filter((other) => other !== i) : [...own, i].sort((a, b) => a - b)));
    }
    return flipped.get(key);
  };
  return { members, numberOf, flip };
}

// The owners of every pixel of a segmentation's labels.
function ownersInFiles(masks, prompts) {
  const sets = makeSets(prompts), numbers = new Int32Array(masks[0].length), known = new Map();
  const all = Array.from({ length: prompts }, (_, i) => i), isAsBefore = (at) => masks.every((bits) => bits[at] === bits[at - 1]);
  for (let at = 0; at < numbers.length; at++) {
    if (at && isAsBefore(at)) numbers[at] = numbers[at - 1];
    else {
      const key = masks.map((bits) => bits[at]).join();
      if (!known.has(key)) known.set(key, sets.numberOf(all.filter((i) => isIn(masks, i, at))));
      numbers[at] = known.get(key);
    }
  }
  return { numbers, members: sets.members };
}

// The runs of each row of pixels where maps are above a cut: only the places are looked for where a prompt begins or ends.
// In a square between four cells of one side of the cut a map stays there, since it is linear; in others it crosses once
// along a row, and where is found by halving.
function runsAbove({ down, across }, maps, cut, columns, numbers, prompts) {
  const { members, flip } = makeSets(prompts), spans = spansOf(across), changes = makeChanges(across.to);
  const above = maps.map((map) => Uint8Array.from(map, (value) => (value > cut ? 1 : 0)));
  let visits = [], top = -1;
  const runsAt = (y) => {
    const first = down.cell[y] * columns, second = down.next[y] * columns, share = down.share[y];
    if (top !== first) visits = visitsOf(above, spans, first, second);
    top = first;
    for (const { i, places } of visits) {
      const map = maps[i], lineAt = (c) => Math.fround(map[first + c] + (map[second + c] - map[first + c]) * share);
      let isAbove = false;
      for (const { kind, a, b, from, to } of places) {
        const left = kind === MIXED ? lineAt(a) : 0, right = kind === MIXED ? lineAt(b) : 0;
        const begins = kind === MIXED ? left > cut : kind === ABOVE, ends = kind === MIXED ? right > cut : begins;
        if (begins !== isAbove) changes.add(from, numbers[i]);
        isAbove = begins;
        if (begins === ends) continue;
        const at = crossing(across.share, from, to, left, right, cut, begins);
        if (at < to) {
          changes.add(at, numbers[i]);
          isAbove = ends;
        }
      }
    }
    return runsBetween(changes, across, flip);
  };
  return { members, runsAt };
}

// The pixels between each two neighbouring cells of a row.
function spansOf({ cell, next, from, to }) {
  const spans = [];
  for (let x = from; x < to; x++) {
    if (x === from || cell[x] !== cell[x - 1]) spans.push({ a: cell[x], b: next[x], from: x, to: x });
    spans.at(-1).to = x + 1;
  }
  return spans;
}

// For each prompt the spans, between two rows of cells, at which it may begin or end.
function visitsOf(above, spans, first, second) {
  return above.map((is, i) => {
    const places = [];
    let before = BELOW;
    for (const span of spans) {
      const corners = is[first + span.a] + is[first + span.b] + is[second + span.a] + is[second + span.b];
      const kind = corners === 0 ? BELOW : corners === 4 ? ABOVE : MIXED;
      if (kind === MIXED || kind !== before) places.push({ kind, ...span });
      before = kind;
    }
    return { i, places };
  }).filter(({ places }) => places.length);
}

// The first pixel of a span on the other side of a cut than its begin, or its end.
function crossing(share, from, to, left, right, cut, begins) {
  while (from < to) {
    const middle = (from + to) >> 1;
    if (left + (right - left) * share[middle] > cut === begins) from = middle + 1;
    else to = middle;
  }
  return from;
}

// Which prompts begin or end at each pixel of a row; several at one pixel are linked.
function makeChanges(width) {
  const last = new Int32Array(width).fill(-1), prompt = [], before = [];
  let count = 0;
  const add = (x, i) => {
    prompt[count] = i;
    before[count] = last[x];
    last[x] = count++;
  };
  return { last, prompt, before, add, clear: () => (count = 0) };
}

function runsBetween({ last, prompt, before, clear }, { from, to }, flip) {
  const runs = { starts: [], sets: [] };
  for (let x = from, set = 0; x < to; x++) {
    if (x > from && last[x] < 0) continue;
    for (let at = last[x]; at >= 0; at = before[at]) set = flip(set, prompt[at]);
    last[x] = -1;
    if (set === runs.sets.at(-1)) continue; // one that ended where it began
    runs.starts.push(x);
    runs.sets.push(set);
  }
  clear();
  return runs;
}

// The runs of each row of a segmentation's pixels.
function runsOfPixels({ down, across }, { numbers, members }, columns) {
  const runsAt = (y) => {
    const runs = { starts: [], sets: [] }, row = down.cell[y] * columns;
    for (let x = across.from, set = UNSEEN; x < across.to; x++) {
      if (numbers[row + across.cell[x]] === set) continue;
      set = numbers[row + across.cell[x]];
      runs.starts.push(x);
      runs.sets.push(set);
    }
    return runs;
  };
  return { members, runsAt };
}

// Rows of runs as colours, with a white line between two sets; how much of what was seen each prompt has.
function paintOwners(out, width, { down, across }, { members, runsAt }, palette, stripes) {
  const stripe = Math.ceil(Math.max(width, out.length / width) / stripes), inkOf = palette.map((colour) => rgba(...colour));
  const sizes = [], shares = palette.map(() => 0), seen = (down.to - down.from) * (across.to - across.from);
  for (let y = down.from, above = null; y < down.to; y++) {
    const runs = runsAt(y), row = y * width;
    for (let k = 0, over = 0; k < runs.sets.length; k++) {
      const set = runs.sets[k], from = runs.starts[k], to = runs.starts[k + 1] ?? across.to;
      sizes[set] = (sizes[set] ?? 0) + to - from;
      for (let x = from; x < to; ) {
        while (above && (above.starts[over + 1] ?? to) <= x) over++;
        const end = above ? Math.min(to, above.starts[over + 1] ?? to) : to;
        if (above && above.sets[over] !== set) out.fill(LINE, row + x, row + end);
        else paintStripes(out, row, x, end, members[set].map((i) => inkOf[i]), y, stripe);
        x = end;
      }
      if (from > across.from) out[row + from] = LINE;
    }
    above = runs;
  }
  sizes.forEach((size, set) => members[set].forEach((i) => (shares[i] += size / Math.max(seen, 1))));
  return shares;
}

function paintStripes(out, row, from, to, inks, y, stripe) {
  if (inks.length === 1) out.fill(inks[0], row + from, row + to);
  for (let x = from; x < to && inks.length > 1; ) {
    const turn = Math.floor((x + y) / stripe), end = Math.min(to, (turn + 1) * stripe - y);
    out.fill(inks[turn % inks.length], row + x, row + end);
    x = end;
  }
}
