// The page's one task: send each photo to /predict and show the rows. Photos stay in this page; nothing is kept when it is closed.

import { curve, heat, thumbnail, years } from "./drawing.js";
import { arrange } from "./labels.js";

const $ = (id) => document.getElementById(id);
const state = { photos: [], model: null, limits: null, asked: 0 };

function node(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) key in made ? (made[key] = value) : made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// ---- what the server says of itself

async function connect() {
  try {
    const health = await (await fetch("health")).json();
    state.model = health.model;
    state.limits = health.limits;
    $("model").textContent = health.model.name;
    $("model").className = "pill ready";
    $("model").title = `agecascade ${health.version}`;
    $("note").hidden = !health.model.note;
    $("note").textContent = health.model.note ? sentence(health.model.note) : "";
    $("maps").disabled = !health.model.maps;
    $("maps-hint").textContent = health.model.maps ? "The score map: which places of the face speak for the estimated age." : `Not here: ${health.model.without_maps}.`;
    if (health.model.thresholds && !$("threshold").value) {
      $("threshold").value = 18;
      $("challenge").value = 25;
    }
  } catch {
    $("model").textContent = "the server does not answer";
    $("model").className = "pill lost";
  }
  rule();
}

// ---- the question

const number = (id) => ($(id).value.trim() === "" ? null : Number($(id).value));

function rule() {
  const threshold = number("threshold"), challenge = number("challenge");
  $("challenge").disabled = threshold === null;
  const percent = state.model?.coverage ? `${Math.round(100 * state.model.coverage)} % ` : "";
  if (threshold === null) $("rule").textContent = "No legal age: no decision.";
  else if (challenge === null) $("rule").textContent = `Passes: whose whole ${percent}interval lies at ${threshold} or above. All others are asked for a proof.`;
  else $("rule").textContent = `Passes: who looks ${challenge} or older. All others are asked to prove that they are ${threshold}.`;
}

function wrong(line) {
  $("wrong").textContent = line;
  for (const id of ["threshold", "challenge"]) $(id).setAttribute("aria-invalid", String(Boolean(line)));
}

function query() {
  const asked = new URLSearchParams({ distribution: String(state.model?.distribution ?? false) });
  const threshold = number("threshold"), challenge = number("challenge");
  if (threshold !== null) asked.set("threshold", threshold);
  if (threshold !== null && challenge !== null) asked.set("challenge", challenge);
  if ($("maps").checked) asked.set("maps", "true");
  return asked;
}

let waiting;
function changed() {
  rule();
  wrong("");
  clearTimeout(waiting);
  waiting = setTimeout(async () => {
    state.asked += 1;
    await askAll(state.photos);
  }, 350);
}

// ---- photos

function add(files) {
  const added = [...files].map((file) => {
    const photo = { file, url: URL.createObjectURL(file), image: new Image(), shown: null };
    photo.image.src = photo.url;
    photo.shown = photo.image.decode().then(() => true, () => false);  // this browser may not know the format
    photo.article = frame(photo);
    return photo;
  });
  $("photos").prepend(...added.map((photo) => photo.article));
  state.photos.push(...added);
  added[0]?.article.scrollIntoView({ behavior: "smooth", block: "nearest" });
  askAll(added);
}

function frame(photo) {
  const close = node("button", { className: "close", type: "button", textContent: "×", title: "Remove this photo" });
  close.setAttribute("aria-label", `Remove ${photo.file.name}`);
  photo.count = node("p");
  photo.content = node("div", { className: "content" });
  const article = node("article", { className: "photo" }, node("header", {}, node("h2", { textContent: photo.file.name }), photo.count, close), photo.content);
  close.addEventListener("click", () => {
    URL.revokeObjectURL(photo.url);
    state.photos = state.photos.filter((other) => other !== photo);
    article.remove();
    $("files").focus();
  });
  return article;
}

// a newer question is asked of all photos, so that what belongs to an older one is dropped
async function askAll(photos) {
  const round = state.asked;
  for (const photo of photos) {
    if (round === state.asked) await ask(photo, round);
  }
}

async function ask(photo, round) {
  if (!photo.reply) await show(photo, node("p", { className: "busy", textContent: "Looking for faces …" }));
  const threshold = number("threshold");
  try {
    const reply = await answered(photo.file);
    if (round !== state.asked) return;
    photo.reply = reply;
    await showFaces(photo, reply, threshold);
  } catch (error) {
    if (round !== state.asked) return;
    if (error.status === 422 && /^(threshold|challenge|maps)/.test(error.message)) {
      wrong(error.message);
      if (photo.reply) return;
    }
    photo.count.textContent = "";
    await show(photo, node("p", { className: "message fault", role: "alert", textContent: error.message }));
  }
}

// a full queue says when to come again; the page waits that long, a few times
async function answered(file, attempts = 5) {
  const most = state.limits?.megabytes, size = file.size / 1e6;
  if (size > most) throw new Error(`${file.name} has ${size.toFixed(1)} MB; this server takes ${most} MB.`);
  const form = new FormData();
  form.append("picture", file, file.name);
  let response;
  try {
    response = await fetch(`predict?${query()}`, { method: "POST", body: form });
  } catch {
    throw new Error("The server does not answer; is it still running?");
  }
  if (response.status === 429 && attempts > 1) {
    await new Promise((resolve) => setTimeout(resolve, 1000 * Number(response.headers.get("retry-after") ?? 1)));
    return answered(file, attempts - 1);
  }
  const content = await response.json();
  if (!response.ok) throw Object.assign(new Error(content.error), { status: response.status });
  return content;
}

// ---- what is shown

const widths = new ResizeObserver((entries) => entries.forEach((entry) => arrange(entry.target)));

async function show(photo, ...children) {
  const stage = (await photo.shown) ? [node("div", { className: "stage" }, await sheet(photo, []))] : [];
  photo.content.replaceChildren(...stage, node("div", { className: "faces" }, ...children));
}

async function sheet(photo, boxes) {
  if (await photo.shown) {
    const small = photo.image.naturalWidth < 340;
    photo.image.alt = `The photo ${photo.file.name}`;
    const made = node("div", { className: small ? "sheet small" : "sheet" }, photo.image, ...boxes);
    widths.observe(made);
    return made;
  }
  const size = photo.reply?.pictures[0];
  const said = "This browser cannot show the format; the boxes are where the faces are.";
  const outline = node("div", { className: "sheet outline" }, node("span", { textContent: said }), ...boxes);
  widths.observe(outline);
  outline.style.aspectRatio = size ? `${size.width} / ${size.height}` : "4 / 3";
  return outline;
}

async function showFaces(photo, reply, threshold) {
  const faces = reply.rows.filter((row) => row.value !== null), errors = reply.rows.filter((row) => row.value === null);
  const size = reply.pictures[0];
  const boxes = faces.map((row) => box(photo, row, size));
  const cards = await Promise.all(faces.map((row) => card(photo, row, reply.grid, threshold)));
  const notes = errors.map((row) => node("li", { className: "message", textContent: sentence(row.error) }));
  if (size.faces_left_out) notes.push(node("li", { className: "message", textContent: `${size.faces_left_out} smaller faces are left out.` }));
  photo.count.textContent = faces.length === 1 ? "1 face" : `${faces.length} faces`;
  const stage = faces.length || (await photo.shown) ? [node("div", { className: "stage" }, await sheet(photo, boxes))] : [];
  photo.content.replaceChildren(...stage, list(photo, [...cards, ...notes]));
  $("said").textContent = `${photo.file.name}: ${photo.count.textContent}. ${faces.map(spoken).join(" ")} ${errors.map((row) => sentence(row.error)).join(" ")}`;
}

// a long list scrolls, by keys too
function list(photo, parts) {
  const made = node("ul", { className: "faces", tabIndex: 0 }, ...parts);
  made.setAttribute("aria-label", `Faces of ${photo.file.name}`);
  return made;
}

const sentence = (line) => `${line.charAt(0).toUpperCase()}${line.slice(1)}.`;

function interval(row) {
  const percent = state.model?.coverage ? `${Math.round(100 * state.model.coverage)} % interval` : "interval";
  return row.low === null ? "without an interval" : `${percent} ${years(row.low)} to ${years(row.high)}`;
}

const spoken = (row) => `Face ${row.face + 1}: ${years(row.value)} years, ${interval(row)}.`;

function box(photo, row, size) {
  const full = row.low === null ? `${years(row.value)} years` : `${years(row.value)} years, ${years(row.low)} to ${years(row.high)}`;
  const labels = [node("span", { className: "label", ariaHidden: "true" }), node("span", { className: "full", textContent: full, ariaHidden: "true" })];
  const made = node("button", { className: "box", type: "button" }, ...labels);
  made.dataset.texts = JSON.stringify([years(row.value), row.value.toFixed(0)]);
  made.setAttribute("aria-label", spoken(row));
  const clamp = (value, most) => Math.min(Math.max(value, 0), most);
  const left = clamp(row.left, size.width), top = clamp(row.top, size.height);
  Object.assign(made.style, {
    left: `${(100 * left) / size.width}%`,
    top: `${(100 * top) / size.height}%`,
    width: `${(100 * (clamp(row.right, size.width) - left)) / size.width}%`,
    height: `${(100 * (clamp(row.bottom, size.height) - top)) / size.height}%`,
  });
  made.dataset.face = row.face;
  for (const event of ["click", "focus"]) made.addEventListener(event, () => choose(photo, row.face, true));
  made.addEventListener("mouseenter", () => choose(photo, row.face, false));
  return made;
}

function choose(photo, face, scroll) {
  for (const part of photo.content.querySelectorAll("[data-face]")) part.classList.toggle("chosen", Number(part.dataset.face) === face);
  if (!scroll) return;
  const list = photo.content.querySelector(".faces"), chosen = list.querySelector(".chosen");
  if (list.scrollHeight > list.clientHeight) list.scrollTo({ top: chosen.offsetTop - list.offsetTop - 12, behavior: "smooth" });
}

async function card(photo, row, grid, threshold) {
  const made = node("li", { className: "face" });
  made.dataset.face = row.face;
  made.append((await photo.shown) ? thumbnail(photo.image, row) : node("span", { className: "thumb" }));
  made.append(node("div", {}, node("p", { className: "age" }, years(row.value), node("small", { textContent: " years" })), node("p", { className: "interval", textContent: interval(row) })));
  made.append(row.decision ? decision(row) : node("span"));
  const more = node("div", { className: "more" }, curve(row, grid ?? [state.model.lowest, state.model.highest], threshold, `Distribution of the age: ${spoken(row)}`));
  if (threshold !== null && row.probability !== null && row.probability !== undefined) {
    more.append(node("p", { className: "hint", textContent: `${percentage(row.probability)} of the distribution lies at ${threshold} or above.` }));
  }
  if (row.map) more.append(await mapped(row.map));
  if (row.note && row.note !== state.model?.note) more.append(node("p", { className: "hint", textContent: sentence(row.note) }));
  made.append(more);
  made.addEventListener("mouseenter", () => choose(photo, row.face, false));
  return made;
}

async function mapped(map) {
  const drawn = await heat(map, "Score map over the face");
  const said = drawn.flat ? "All places speak alike for the estimated age." : "Orange places speak most for the estimated age, dark ones least.";
  return node("figure", { className: "map" }, drawn.canvas, node("figcaption", { className: "hint", textContent: said }));
}

function percentage(share) {
  const percent = 100 * share;
  return percent > 0 && percent < 0.1 ? "Under 0.1 %" : percent < 100 && percent > 99.9 ? "Over 99.9 %" : `${percent.toFixed(1)} %`;
}

function decision(row) {
  return node("span", { className: `decision ${row.decision}`, textContent: row.decision === "pass" ? "passes" : "ask for proof" });
}

// ---- events

$("files").addEventListener("change", () => {
  add($("files").files);
  $("files").value = "";
});
for (const name of ["dragenter", "dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", name === "dragenter" || name === "dragover");
    if (name === "drop") add(event.dataTransfer.files);
  });
}
document.addEventListener("paste", (event) => event.clipboardData.files.length && add(event.clipboardData.files));
for (const id of ["threshold", "challenge", "maps"]) $(id).addEventListener("input", changed);
$("question").addEventListener("submit", (event) => event.preventDefault());
window.addEventListener("beforeunload", () => state.photos.forEach((photo) => URL.revokeObjectURL(photo.url)));
connect();
