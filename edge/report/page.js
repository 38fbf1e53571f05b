"use strict";
// Draws the maps of the page and handles mouse and keyboard. Levels, labels and colors come from the record. Text is
// set as text only, never as markup.

const HIDDEN = 0, UNKNOWN = 255;
const UNKNOWN_COLOR = 0xc2186fff;
const record = JSON.parse(document.getElementById("record").textContent);
const byId = (id) => document.getElementById(id);
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const palette = record.palette.colors.map((color) => parseInt(`${color.slice(1)}ff`, 16));
const tokens = [...byId("strip").children];
const pieces = tokens.map((token) => token.textContent);
const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

async function decompress(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const inflated = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(inflated).arrayBuffer());
}

/** The label of a level; `labels` begins with level 1. */
function labelOf(labels, level) {
  if (level === HIDDEN) return "outside the attention window";
  return level === UNKNOWN ? "not a number" : labels[level - 1];
}

/** Paints a matrix of levels, one pixel per cell; `steps` has the index of the palette's color for each level. */
function paint(canvas, levels, rows, columns, steps) {
  [canvas.width, canvas.height] = [columns, rows];
  const image = new ImageData(columns, rows), pixels = new DataView(image.data.buffer);
  const colors = [0, ...steps.map((step) => palette[step])];
  colors[UNKNOWN] = UNKNOWN_COLOR;
  levels.forEach((level, cell) => pixels.setUint32(4 * cell, colors[level]));
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function nameEnds(id, ends) {
  [byId(`${id}-low`).textContent, byId(`${id}-high`).textContent] = ends;
}

/** The cell of a canvas under the mouse. */
function cellUnder(event, canvas) {
  const box = canvas.getBoundingClientRect();
  const row = Math.floor(((event.clientY - box.top) / box.height) * canvas.height);
  return [row, Math.floor(((event.clientX - box.left) / box.width) * canvas.width)];
}

/** Draws a frame around one cell of a canvas. */
function markCell(mark, canvas, row, column) {
  mark.style.top = `${(100 * row) / canvas.height}%`;
  mark.style.left = `${(100 * column) / canvas.width}%`;
  mark.style.height = `${100 / canvas.height}%`;
  mark.style.width = `${100 / canvas.width}%`;
}

/** Calls `move(down, right)` for an arrow key, and prevents scrolling. */
function onArrows(element, move) {
  element.addEventListener("keydown", (event) => {
    if (!(event.key in ARROWS) || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    move(...ARROWS[event.key]);
  });
}

/** `3 ‘ king’`, or `8–11 ‘ who’…‘ had’` for a cell with several tokens. */
function spanOf(cell, wide) {
  const first = cell * wide, last = Math.min(first + wide, record.fed) - 1;
  return first === last ? `${first} ‘${pieces[first]}’` : `${first}–${last} ‘${pieces[first]}’…‘${pieces[last]}’`;
}

function focusOnly(group, chosen, isFocused) {
  for (const one of group) one.tabIndex = one === chosen ? 0 : -1;
  if (isFocused) chosen.focus();
}

/** Tokens colored by a number. Listeners are called with the token that is chosen. */
class Strip {
  constructor() {
    this.listeners = [];
    this.token = -1;
    byId("strip").addEventListener("click", (event) => {
      const token = tokens.indexOf(event.target.closest("[role=option]"));
      if (token >= 0) this.choose(token, true);
    });
    onArrows(byId("strip"), (down, right) => this.choose(clamp(this.token + down + right, 0, tokens.length - 1), true));
  }

  async colorBy(scalar) {
    this.scalar = scalar;
    this.levels = await decompress(scalar.levels);
    byId("scalar-definition").textContent = scalar.definition;
    nameEnds("scalar", scalar.ends);
    tokens.forEach((token, place) => {
      const level = place < this.levels.length ? this.levels[place] : UNKNOWN;
      const step = level === UNKNOWN || level === HIDDEN ? -1 : scalar.colors[level - 1];
      token.style.backgroundColor = step < 0 ? "" : record.palette.colors[step];
      token.style.color = step < 0 ? "" : record.palette.inks[step];
      token.title = `${place}: ${step < 0 ? `no ${scalar.title}` : scalar.labels[level - 1]}`;
    });
    this.read();
  }

  choose(token, isFocused) {
    if (this.token >= 0) tokens[this.token].setAttribute("aria-selected", "false");
    this.token = token;
    tokens[token].setAttribute("aria-selected", "true");
    focusOnly(tokens, tokens[token], isFocused);
    this.read();
    for (const listen of this.listeners) listen(token);
  }

  read() {
    if (this.token >= 0 && this.scalar) byId("token-readout").textContent =
      `token ${this.token} ‘${pieces[this.token]}’ · ${this.scalar.title} ${tokens[this.token].title.split(": ")[1]}`;
  }
}

/** Small maps of all heads, a large map of the chosen head, and the keys of one row with the largest weights. */
class Attention {
  constructor(of, levels, strip) {
    Object.assign(this, { of, levels, strip, place: of.layers.length - 1, head: 0, row: 0, column: 0, scale: "log" });
    this.map = byId("map");
    this.buttons = [...byId("heads").querySelectorAll("button")];
    byId("heads").addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) this.chooseHead(Number(button.dataset.place), Number(button.dataset.head), true);
    });
    onArrows(byId("heads"), (down, right) => this.chooseHead(this.place - down, this.head + right, true));
    onArrows(this.map, (down, right) => this.point(this.row + down, this.column + right, true));
    this.map.addEventListener("pointermove", (event) => this.point(...cellUnder(event, this.map), false));
    this.map.addEventListener("click", (event) => this.point(...cellUnder(event, this.map), true));
    for (const radio of document.querySelectorAll("[name=weights]"))
      radio.addEventListener("change", () => this.colorOn(radio.value));
    strip.listeners.push((token) => this.pointToQuery(token));
  }

  levelsOf(place, head) {
    const size = this.of.cells ** 2, start = (place * this.of.heads + head) * size;
    return this.levels.subarray(start, start + size);
  }

  colorOn(scale) {
    this.scale = scale;
    nameEnds("weight", this.of.ends[scale]);
    for (const button of this.buttons)
      this.paint(button.firstElementChild, Number(button.dataset.place), Number(button.dataset.head));
    this.chooseHead(this.place, this.head, false);
  }

  paint(canvas, place, head) {
    paint(canvas, this.levelsOf(place, head), this.of.cells, this.of.cells, this.of.colors[this.scale]);
  }

  chooseHead(place, head, isFocused) {
    this.place = clamp(place, 0, this.of.layers.length - 1);
    this.head = clamp(head, 0, this.of.heads - 1);
    for (const button of this.buttons) {
      const isChosen = Number(button.dataset.place) === this.place && Number(button.dataset.head) === this.head;
      button.setAttribute("aria-pressed", String(isChosen));
      if (isChosen) {
        byId("map-title").textContent = button.getAttribute("aria-label");
        focusOnly(this.buttons, button, isFocused);
      }
    }
    this.paint(this.map, this.place, this.head);
    this.point(this.row, this.column, false);
  }

  /** Points to the row of a token, at its largest weight. The last token of a run was not processed and has no row. */
  pointToQuery(token) {
    if (token >= record.fed) return;
    const row = clamp(Math.floor(token / this.of.block), 0, this.of.cells - 1);
    this.point(row, this.strongest(row)[0], false);
  }

  rowOf(row) {
    return this.levelsOf(this.place, this.head).subarray(row * this.of.cells, (row + 1) * this.of.cells);
  }

  strongest(row) {
    const levels = this.rowOf(row);
    const keys = [...levels.keys()].filter((key) => levels[key] !== HIDDEN && levels[key] !== UNKNOWN);
    return keys.sort((one, other) => levels[other] - levels[one] || one - other);
  }

  point(row, column, isChosen) {
    this.row = clamp(row, 0, this.of.cells - 1);
    this.column = clamp(column, 0, this.of.cells - 1);
    const query = spanOf(this.row, this.of.block), key = spanOf(this.column, this.of.block);
    const weight = labelOf(this.of.labels, this.rowOf(this.row)[this.column]);
    byId("map-readout").textContent = `query ${query} → key ${key}: ${this.of.block > 1 ? "at most " : ""}${weight}`;
    this.labelSides(query, key);
    markCell(byId("map-mark"), this.map, this.row, this.column);
    this.list(query);
    const token = this.row * this.of.block;
    if (isChosen && Math.floor(this.strip.token / this.of.block) !== this.row) {
      const column = this.column;
      this.strip.choose(token, false);
      this.point(this.row, column, false);
    }
  }

  /** Labels the row at its left, and the column above it, on the side where the label fits. */
  labelSides(query, key) {
    const across = (100 * (this.column + 0.5)) / this.of.cells, isLeft = across < 50;
    byId("map-query").textContent = query;
    byId("map-query").style.top = `${(100 * (this.row + 0.5)) / this.of.cells}%`;
    byId("map-key").textContent = isLeft ? `▾ ${key}` : `${key} ▾`;
    byId("map-key").style.left = isLeft ? `calc(${across}% - 0.4em)` : "auto";
    byId("map-key").style.right = isLeft ? "auto" : `calc(${100 - across}% - 0.4em)`;
  }

  list(query) {
    byId("keys-title").textContent = `${query} attends to, largest weight first`;
    const levels = this.rowOf(this.row);
    const entries = this.strongest(this.row).slice(0, this.of.reads).map((key) => {
      const entry = document.createElement("li"), bar = document.createElement("i");
      const [name, weight] = [spanOf(key, this.of.block), this.of.labels[levels[key] - 1]];
      bar.style.width = `${100 * Math.min(1, parseFloat(weight.replace("≤", "")))}%`;
      for (const text of [name, weight]) entry.append(Object.assign(document.createElement("span"), { textContent: text }));
      entry.append(bar);
      return entry;
    });
    byId("keys").replaceChildren(...entries);
  }
}

/** Activation sparsity of every layer at every token, for the chosen measure. */
class Sparsity {
  constructor(of, levels, strip) {
    Object.assign(this, { of, levels, row: 0, column: 0 });
    this.map = byId("sparsity-map");
    this.map.style.height = `calc(${of.layers.length} * var(--row))`;
    onArrows(this.map, (down, right) => this.point(this.row + down, this.column + right));
    this.map.addEventListener("pointermove", (event) => this.point(...cellUnder(event, this.map)));
    this.map.addEventListener("click", () => strip.choose(this.column * of.wide, false));
    strip.listeners.push((token) => token < record.fed && this.point(this.row, Math.floor(token / of.wide)));
    for (const radio of document.querySelectorAll("[name=definition]")) {
      radio.addEventListener("change", () => this.define(radio.value));
      if (radio.checked) this.define(radio.value);
    }
  }

  define(name) {
    this.name = name;
    const { definition, ends, means, colors } = this.of.measures[name];
    byId("sparsity-definition").textContent = definition;
    nameEnds("sparsity", ends);
    [...byId("sparsity-means").children].forEach((cell, row) => (cell.textContent = means[this.placeOf(row)]));
    const deepestFirst = new Uint8Array(this.levels[name].length);
    for (let row = 0; row < this.of.layers.length; row++) deepestFirst.set(this.rowOf(row), row * this.of.columns);
    paint(this.map, deepestFirst, this.of.layers.length, this.of.columns, colors);
    this.point(this.row, this.column);
  }

  /** The index of a row's layer: the last layer is the first row. */
  placeOf(row) {
    return this.of.layers.length - 1 - row;
  }

  rowOf(row) {
    const start = this.placeOf(row) * this.of.columns;
    return this.levels[this.name].subarray(start, start + this.of.columns);
  }

  point(row, column) {
    this.row = clamp(row, 0, this.of.layers.length - 1);
    this.column = clamp(column, 0, this.of.columns - 1);
    const { labels, title } = this.of.measures[this.name];
    const value = labelOf(labels, this.rowOf(this.row)[this.column]);
    const layer = this.of.layers[this.placeOf(this.row)];
    byId("sparsity-readout").textContent = `layer ${layer}, token ${spanOf(this.column, this.of.wide)}: ${title} ${value}`;
    markCell(byId("sparsity-mark"), this.map, this.row, this.column);
  }
}

async function start() {
  const strip = new Strip();
  if (record.attention) {
    const attention = new Attention(record.attention, await decompress(record.attention.levels), strip);
    attention.colorOn("log");
  }
  if (record.sparsity) {
    const measures = Object.entries(record.sparsity.measures);
    const levels = await Promise.all(measures.map(async ([key, measure]) => [key, await decompress(measure.levels)]));
    new Sparsity(record.sparsity, Object.fromEntries(levels), strip);
  }
  const select = byId("scalar");
  if (select) {
    const chosen = () => record.scalars.find((scalar) => scalar.key === select.value);
    select.addEventListener("change", () => strip.colorBy(chosen()));
    await strip.colorBy(chosen());
  }
  if (tokens.length && record.fed) strip.choose(record.fed - 1, false);
  document.documentElement.dataset.state = "drawn";
}

start().catch((error) => (byId("problem").textContent = `The maps cannot be drawn in this browser: ${error.message}.`));
