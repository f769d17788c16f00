// Sheet: what is seen as one image to keep: text, image, scale or legend, and where the numbers come from. It is laid
// out once, as a list of texts, boxes and images, which a pen then draws: as pixels, or as SVG.

const FONT = 'system-ui, -apple-system, "Segoe UI", "Noto Sans", sans-serif';
const INK = "#1f2328", SOFT = "#5b626a", ALARM = "#a3190f", TRACK = "#b4b4b4";
const EDGE = 16, NARROWEST = 360;

const ruler = surface(1, 1).getContext("2d");
const fontOf = ({ size, bold }) => `${bold ? 600 : 400} ${size}px ${FONT}`;
function widthOf(text, style) {
  ruler.font = fontOf(style);
  return ruler.measureText(text).width;
}

// Lines no wider than a width; a word that is wider is broken.
function linesOf(text, style, width) {
  const lines = [];
  let line = "";
  for (const word of text.split(/(?<=\s)/u)) {
    if (line && widthOf(line + word.trimEnd(), style) > width) {
      lines.push(line.trimEnd());
      line = "";
    }
    for (const letter of word) {
      if (widthOf(line + letter, style) > width && line) {
        lines.push(line);
        line = "";
      }
      line += letter;
    }
  }
  return line ? [...lines, line.trimEnd()] : lines;
}

function shortened(text, style, width) {
  const [line] = linesOf(text, style, width);
  return line === text ? line : `${line}…`;
}

function layOut(view) {
  const { data, parts, shown } = view, ratio = data.size[0] / data.size[1];
  const wide = Math.round(parts.image.width / (globalThis.devicePixelRatio || 1)), width = Math.max(wide, NARROWEST);
  const sheet = { width: width + 2 * EDGE, inner: width, y: EDGE, items: [] };
  const [name, words] = parts.caption.children;
  write(sheet, name.textContent, { size: 15, bold: true, colour: INK });
  write(sheet, [...aboutOf(view), words.textContent].filter(Boolean).join(" · "), { size: 12, colour: SOFT });
  const box = [EDGE, sheet.y + 6, wide, wide * ratio];
  sheet.items.push({ image: parts.image, box });
  drawMarks(sheet, view, box);
  sheet.y += 6 + box[3] + 14;
  if (shown) layScale(sheet, view);
  else layLegend(sheet, view);
  if (view.heat) layHeat(sheet, view);
  sheet.y += 8;
  for (const text of [parts.warning.textContent, data.caution]) write(sheet, text, { size: 11, colour: ALARM });
  write(sheet, creditOf(view), { size: 11, colour: SOFT });
  return { ...sheet, height: sheet.y + EDGE };
}

// What the controls say that the caption does not.
function aboutOf({ data, state, shown, stack }) {
  const template = isByText(stack) ? state.template : "", several = data.choices.template.length > 1;
  const named = template === ENSEMBLE ? "mean of templates" : template;
  return [shown && !shown.view ? "" : shown?.view, several || template !== "{}" ? named : "", methodOf(data, state)];
}

const methodOf = (data, state) => (state.view === "attribution" && data.choices.method.length > 1 ? state.method : "");

function write(sheet, text, style) {
  for (const line of linesOf(text, style, sheet.inner)) {
    sheet.y += style.size * 1.15;
    sheet.items.push({ text: line, x: EDGE, y: sheet.y, ...style });
    sheet.y += style.size * 0.3;
  }
}

function drawMarks(sheet, { data, state, parts }, [left, top, width, height]) {
  if (state.region) {
    const [rows, columns] = data.size, at = ([y, x]) => `${left + (x / columns) * width} ${top + (y / rows) * height}`;
    sheet.items.push({ path: `M${state.region.map(at).join("L")}Z`, colour: INK });
  }
  if (!parts.split.hidden) {
    const line = left + state.split * width;
    sheet.items.push({ path: `M${line} ${top}L${line} ${top + height}`, colour: INK });
  }
  for (const [name, colour] of [["pin", "#fff"], ["peak", INK]]) {
    const { style, hidden } = parts[name];
    if (hidden) continue;
    const share = (key) => parseFloat(style[key]) / 100, wide = share("width") * width, high = share("height") * height;
    const x = left + share("left") * width, y = top + share("top") * height;
    if (name === "pin") {
      sheet.items.push({ frame: [x, y, wide, high], colour: "#0009", line: 4 });
      sheet.items.push({ frame: [x, y, wide, high], colour, line: 2 });
    } else sheet.items.push({ path: crossPath(x + wide / 2, y + high / 2, 5), colour });
  }
}

function layScale(sheet, { data, state, parts, shown }) {
  const [question, unit] = parts.unit.children, style = { size: 12, colour: INK }, right = EDGE + sheet.inner;
  const row = sheet.y + 12;
  sheet.items.push({ text: question.textContent, x: EDGE, y: row, bold: true, ...style });
  const limit = `, hidden ${shown.diverging ? "within" : "below"} ${parts.limit.textContent}`;
  sheet.items.push({ text: unit.textContent + (state.threshold === null ? "" : limit), x: right, y: row, end: true, ...style, colour: SOFT });
  const baseline = baselineOf(data, state, shown), top = row + (baseline === undefined ? 10 : 24);
  const box = [EDGE, top, sheet.inner, 12];
  sheet.items.push({ fill: TRACK, box }, { image: parts.ramp, box, alpha: state.opacity, plain: true });
  if (baseline !== undefined) markBaseline(sheet, shown, baseline, top);
  const texts = [...parts.ticks.children].map(({ textContent }) => textContent), small = { size: 11, colour: SOFT, y: top + 26 };
  sheet.items.push({ text: texts[0], x: EDGE, ...small }, { text: texts[1], x: EDGE + sheet.inner / 2, middle: true, ...small });
  sheet.items.push({ text: texts[2], x: right, end: true, ...small });
  sheet.y = top + 32;
}

function markBaseline(sheet, { low, high, decimals }, value, top) {
  const at = clamp((value - low) / (high - low), 0, 1), x = EDGE + at * sheet.inner;
  sheet.items.push({ fill: INK, box: [x - 0.75, top - 4, 1.5, 19] });
  const side = at < 0.2 ? {} : at > 0.8 ? { end: true } : { middle: true };
  sheet.items.push({ text: `absent ${pretty(value, decimals)}`, x, y: top - 7, size: 11, colour: INK, ...side });
}

// Names with their colours and shares, the largest first; those that are nowhere are left out.
function layLegend(sheet, { data, state, shares }) {
  const listed = data.choices.prompt.map((name, i) => ({ name, share: shares[i], colour: `rgb(${data.palette[i].join(" ")})` }));
  write(sheet, `${HEADINGS[state.view]} share of the image`, { size: 12, colour: INK });
  for (const { name, share, colour } of listed.filter((one) => one.share > 0).sort((a, b) => b.share - a.share)) {
    const style = { size: 12, colour: INK }, y = sheet.y + 15;
    sheet.items.push({ fill: colour, box: [EDGE, y - 10, 12, 12] }, { text: shortened(name, style, sheet.inner - 70), x: EDGE + 20, y, ...style });
    sheet.items.push({ text: `${Math.round(100 * share)}%`, x: EDGE + sheet.inner, y, end: true, ...style, colour: SOFT });
    sheet.y += 18;
  }
}

// The rows that are listed: their cells in the full colours of the scale, which stands below, and one column's numbers.
function layHeat(sheet, { data, heat, listed, column, parts, rows }) {
  const style = { size: 11, colour: INK }, soft = { size: 11, colour: SOFT }, right = EDGE + sheet.inner;
  if (!listed.length) return write(sheet, parts.listed.textContent, soft);
  const titles = heat.axis === "places" ? heat.titles : heat.titles.map((_, i) => String(i + 1)), count = titles.length;
  const across = clamp(42 * count, 90, 0.55 * sheet.inner), room = Math.max(...rows.map(({ number }) => widthOf(number.textContent, style)));
  const left = right - room - 14 - across;
  sheet.y += 20;
  titles.forEach((text, i) => {
    if (count > data.rules.rows.titles && i && i < count - 1) return;
    sheet.items.push({ text, x: left + (across * (i + 0.5)) / count, y: sheet.y, middle: true, ...soft });
  });
  sheet.items.push({ text: titles[column], x: right, y: sheet.y, end: true, ...soft });
  sheet.y += 5;
  for (const { text, heat: cells, number } of listed) {
    const y = sheet.y + 11, box = [left, sheet.y, across, 14];
    sheet.items.push({ text: shortened(text, style, left - EDGE - 14), x: EDGE, y, ...style }, { image: cells, box, plain: true });
    sheet.items.push({ text: number.textContent, x: right, y, end: true, ...style });
    sheet.y += 15;
  }
  layHeatKey(sheet, parts, [left, sheet.y + 5, across, 8], soft);
}

function layHeatKey(sheet, { heatKey, heatRamp, listed }, box, style) {
  const [low, , high] = heatKey.children, [left, top, across] = box, y = top + 21;
  sheet.items.push({ image: heatRamp, box, plain: true }, { text: low.textContent, x: left, y, ...style });
  sheet.items.push({ text: high.textContent, x: left + across, y, end: true, ...style });
  sheet.items.push({ text: listed.textContent, x: EDGE, y: top + 9, ...style });
  sheet.y = y + 4;
}

function asPixels(sheet, scale) {
  const drawn = surface(Math.round(sheet.width * scale), Math.round(sheet.height * scale)), ctx = drawn.getContext("2d");
  ctx.scale(scale, scale);
  ctx.fillStyle = "#fff";
  ctx.fillRect(0, 0, sheet.width, sheet.height);
  for (const item of sheet.items) drawItem(ctx, item);
  return drawn;
}

function drawItem(ctx, { text, image, fill, frame, path, box, colour, ...item }) {
  if (text !== undefined) {
    Object.assign(ctx, { font: fontOf(item), fillStyle: colour, textAlign: item.end ? "right" : item.middle ? "center" : "left" });
    ctx.fillText(text, item.x, item.y);
  } else if (image) {
    Object.assign(ctx, { globalAlpha: item.alpha ?? 1, imageSmoothingEnabled: !item.plain });
    ctx.drawImage(image, ...box);
    ctx.globalAlpha = 1;
  } else if (fill) {
    ctx.fillStyle = fill;
    ctx.fillRect(...box);
  } else if (frame) {
    Object.assign(ctx, { strokeStyle: colour, lineWidth: item.line });
    ctx.strokeRect(...frame);
  } else {
    for (const [strokeStyle, lineWidth] of [["#fff", 4], [colour, 2]]) {
      Object.assign(ctx, { strokeStyle, lineWidth });
      ctx.stroke(new Path2D(path));
    }
  }
}

const crossPath = (x, y, half) => `M${x - half} ${y - half}l${2 * half} ${2 * half}m0 ${-2 * half}l${-2 * half} ${2 * half}`;

// Text of users becomes text of nodes, so what is written out is escaped.
function asSvg(sheet) {
  const node = (tag, attributes, ...children) => {
    const made = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  };
  const place = ([x, y, width, height]) => ({ x, y, width, height }), { width, height } = sheet;
  const svg = node("svg", { width, height, viewBox: `0 0 ${width} ${height}`, "font-family": FONT });
  svg.append(node("rect", { ...place([0, 0, width, height]), fill: "#fff" }));
  for (const { text, image, fill, frame, path, box, colour, ...item } of sheet.items) {
    if (text !== undefined) {
      const anchor = item.end ? "end" : item.middle ? "middle" : "start";
      const look = { "font-size": item.size, "font-weight": item.bold ? 600 : 400, "text-anchor": anchor, fill: colour };
      svg.append(node("text", { x: item.x, y: item.y, ...look }, text));
    } else if (image) {
      const look = { preserveAspectRatio: "none", opacity: item.alpha ?? 1, style: item.plain ? "image-rendering: pixelated" : "" };
      svg.append(node("image", { ...place(box), href: image.toDataURL("image/png"), ...look }));
    } else if (fill) svg.append(node("rect", { ...place(box), fill }));
    else if (frame) svg.append(node("rect", { ...place(frame), fill: "none", stroke: colour, "stroke-width": item.line }));
    else for (const [stroke, line] of [["#fff", 4], [colour, 2]]) {
      svg.append(node("path", { d: path, fill: "none", stroke, "stroke-width": line }));
    }
  }
  return new XMLSerializer().serializeToString(svg);
}
