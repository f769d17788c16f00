// Unpack: from the bytes of a result to values.

const STEPS = 4096; // colours of a map between the two ends of its scale: sixteen for each entry of its table
const UNSEEN = -2, UNNAMED = -1; // labels of pixels
const COLOURFUL = 0.3; // below this opacity the image's own colours come back
const LARGEST = 2048, FINEST = 1408; // longest side in device pixels: of the canvas, of a map before it is enlarged
const QUIET = 150; // ms without a choice before the kernel is told
const HEADINGS = { segments: "which text wins where?", masks: "where is each text?" }; // of what is drawn as labels
const SVG = "http://www.w3.org/2000/svg"; // a name, which nobody asks for anything
const OUTPUT = "output", ENSEMBLE = "ensemble", MEAN = "mean", AUTO = "auto";

const wordsOf = (buffer) => new Uint16Array(bytesOf(buffer).slice().buffer); // a copy lies on an even address

function unpack({ meta, buffers }) {
  const stacks = meta.stacks.map((stack) => ({ ...stack, numbers: wordsOf(buffers[stack.buffer]) }));
  const { sequential, diverging } = meta.tables, tables = { isSequential: sequential, isDiverging: diverging };
  [...sequential, ...diverging].forEach((name, i) => {
    tables[name] = bytesOf(buffers.colours).subarray(i * 768, (i + 1) * 768);
  });
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
  return number === stack.nothing ? NaN : (stack.first + number) / stack.perUnit;
}

function mapOf(stack, map) {
  const values = new Float32Array(cellsIn(stack));
  for (let cell = 0; cell < values.length; cell++) values[cell] = valueAt(stack, map, cell);
  return values;
}

// Cosines of one cell with all, along a path: the features are unit vectors.
function likeness({ cells: all, features, choices }, cell, path) {
  const width = features.width, size = cellsIn(features) * width, first = choices.path.indexOf(path) * size;
  const cells = all.subarray(first, first + size), one = cells.subarray(cell * width, (cell + 1) * width);
  return Float32Array.from({ length: cellsIn(features) }, (_, other) => {
    let sum = 0;
    for (let i = 0, at = other * width; i < width; i++) sum += one[i] * cells[at + i];
    return sum;
  });
}
