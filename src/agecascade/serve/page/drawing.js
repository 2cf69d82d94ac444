// What is drawn of a face: the distribution as a curve, the crop of its box, and the score map over the crop.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 420, HEIGHT = 112, TOP = 18, BOTTOM = 22, SIDE = 8;

function shape(parent, name, attributes, text) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  parent.append(node);
  return node;
}

export const years = (value) => value.toFixed(1);

// ticks at whole tens, or twenties of a long grid
function ticks(lowest, highest) {
  const step = highest - lowest > 80 ? 20 : highest - lowest > 30 ? 10 : 5;
  const marks = [];
  for (let age = Math.ceil(lowest / step) * step; age <= highest; age += step) marks.push(age);
  return marks;
}

// the masses between two ages as points of an area, cut exactly at both
function between(grid, masses, from, to) {
  const at = (age) => {
    const i = grid.findIndex((value) => value >= age);
    if (i <= 0) return masses[i < 0 ? masses.length - 1 : 0];
    const share = (age - grid[i - 1]) / (grid[i] - grid[i - 1]);
    return masses[i - 1] + share * (masses[i] - masses[i - 1]);
  };
  const inner = grid.map((age, i) => [age, masses[i]]).filter(([age]) => age > from && age < to);
  return [[from, at(from)], ...inner, [to, at(to)]];
}

export function curve(row, grid, threshold, label) {
  const lowest = grid[0], highest = grid[grid.length - 1], floor = HEIGHT - BOTTOM;
  const density = row.distribution && row.distribution.map((mass, i) => mass / spacing(grid, i));
  const most = density ? Math.max(...density) : 1;
  const x = (age) => SIDE + ((Math.min(Math.max(age, lowest), highest) - lowest) / (highest - lowest)) * (WIDTH - 2 * SIDE);
  const y = (mass) => floor - (mass / most) * (floor - TOP);
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("class", "curve");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", label);
  if (row.low !== null) {
    shape(svg, "rect", { class: "band", x: x(row.low), y: TOP, width: Math.max(1, x(row.high) - x(row.low)), height: floor - TOP, rx: 3 });
  }
  if (density) drawn(svg, density, grid, threshold, x, y, floor);
  shape(svg, "line", { class: "axis", x1: SIDE, x2: WIDTH - SIDE, y1: floor, y2: floor });
  for (const age of ticks(lowest, highest)) {
    shape(svg, "line", { class: "axis", x1: x(age), x2: x(age), y1: floor, y2: floor + 4 });
    shape(svg, "text", { x: x(age), y: HEIGHT - 5, "text-anchor": "middle" }, age);
  }
  if (threshold !== null && threshold >= lowest && threshold <= highest) {
    shape(svg, "line", { class: "legal", x1: x(threshold), x2: x(threshold), y1: TOP - 4, y2: floor });
    shape(svg, "text", { class: "legal-label", x: x(threshold), y: 10, "text-anchor": "middle" }, threshold);
  }
  shape(svg, "line", { class: "value", x1: x(row.value), x2: x(row.value), y1: TOP, y2: floor });
  shape(svg, "circle", { class: "dot", cx: x(row.value), cy: floor, r: 3.5 });
  return svg;
}

function spacing(grid, i) {
  return (grid[Math.min(i + 1, grid.length - 1)] - grid[Math.max(i - 1, 0)]) / (i > 0 && i < grid.length - 1 ? 2 : 1);
}

function drawn(svg, density, grid, threshold, x, y, floor) {
  const most = Math.max(...density), there = density.map((mass) => mass > most / 300);
  const lowest = grid[Math.max(there.indexOf(true) - 1, 0)], highest = grid[Math.min(there.lastIndexOf(true) + 1, grid.length - 1)];
  const cut = threshold === null ? lowest : Math.min(Math.max(threshold, lowest), highest);
  for (const [from, to, young] of [[lowest, cut, true], [cut, highest, false]]) {
    if (from >= to) continue;
    const line = between(grid, density, from, to).map(([age, mass]) => `${x(age).toFixed(2)} ${y(mass).toFixed(2)}`).join("L");
    shape(svg, "path", { class: young ? "area young" : "area", d: `M${x(from)} ${floor}L${line}L${x(to)} ${floor}Z` });
    shape(svg, "path", { class: young ? "outline-line young-line" : "outline-line", d: `M${line}` });
  }
}

// the square around a face's box, as a small canvas; decorative, for the box on the photo says the same
export function thumbnail(image, row) {
  const canvas = document.createElement("canvas");
  canvas.className = "thumb";
  canvas.width = canvas.height = 136;
  canvas.setAttribute("aria-hidden", "true");
  const side = 1.25 * Math.max(row.right - row.left, row.bottom - row.top);
  const left = (row.left + row.right - side) / 2, top = (row.top + row.bottom - side) / 2;
  canvas.getContext("2d").drawImage(image, left, top, side, side, 0, 0, 136, 136);
  return canvas;
}

// the score map over the crop: what adds little is dimmed, what adds most keeps its light and is warmed
export async function heat(map, label) {
  const crop = new Image();
  crop.src = map.crop;
  await crop.decode();
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 232;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", label);
  const context = canvas.getContext("2d");
  context.drawImage(crop, 0, 0, 232, 232);
  const height = map.values.length, width = map.values[0].length;
  const least = Math.min(...map.values.flat()), span = Math.max(...map.values.flat()) - least;
  if (span === 0) return { canvas, flat: true };
  const small = document.createElement("canvas");
  small.width = width;
  small.height = height;
  const pixels = small.getContext("2d").createImageData(width, height);
  map.values.flat().forEach((value, i) => {
    const share = (value - least) / span;
    pixels.data.set(share < 0.5 ? [24, 30, 84, 200 * (1 - 2 * share)] : [255, 150, 30, 180 * (2 * share - 1)], 4 * i);
  });
  small.getContext("2d").putImageData(pixels, 0, 0);
  context.imageSmoothingQuality = "high";
  context.drawImage(small, 0, 0, 232, 232);
  return { canvas, flat: false };
}
