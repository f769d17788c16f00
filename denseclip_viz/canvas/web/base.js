// One canvas: an image, a map over it, and everything that moves. It is given all maps at once and draws from them;
// the kernel is told what was chosen, and is asked for nothing. What users typed reaches the page as text, never as
// markup. These files are one ES module, put together as they are, in the order of canvas/__init__.py. What figures and stills follow too (which maps a state shows, where cells lie, how images
// are softened, what is written on scales) is worked out once in Python and comes as data.

// Base: what the thumbnails of the explorers need too. A text given to `make` can only become text.

const bytesOf = (buffer) => new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
// JupyterLab would take arrow keys for its own, but from an element that bears this mark itself.
const keepKeys = (element) => element.setAttribute("data-lm-suppress-shortcuts", "true");
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
// With a true minus sign, and none before a zero.
function pretty(value, decimals) {
  const digits = value.toFixed(decimals);
  return digits.replace("-", Number(digits) ? "−" : "");
}

function make(tag, name, attributes = {}, ...children) {
  const node = document.createElement(tag);
  if (name) node.className = name;
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

// What moves here moves what is linked to it, in the page, however busy the kernel is.
const BUS = "denseclip-viz";
const send = (detail) => globalThis.dispatchEvent(new CustomEvent(BUS, { detail }));
