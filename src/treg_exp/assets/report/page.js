"use strict";
const $ = (id) => document.getElementById(id);
// Colours of text and lines are those of the page (page.css), so that a figure need not be drawn again for the other theme.
$("theme").onclick = () => {
  const dark = document.documentElement.classList.toggle("dark");
  try { localStorage.theme = dark ? "dark" : "light"; } catch { /* for this visit alone */ }
};

// Filters stand below the headings, where they are seen beside a long table.
const raiseFilters = () => document.querySelectorAll("table.dataTable").forEach((table) => {
  if (table.tFoot?.querySelector("input")) { table.tFoot.rows[0].className = "filters"; table.tHead.append(table.tFoot.rows[0]); table.tFoot.remove(); }
});
addEventListener("load", raiseFilters);
// Tables with filters sort by a click on the arrow of a heading; so does one on its text.
addEventListener("click", (event) => {
  const head = event.target.closest?.("th[data-dt-order='icon-only']");
  if (head && !event.target.closest(".dt-column-order")) head.querySelector(".dt-column-order")?.dispatchEvent(new MouseEvent("click", { bubbles: true, shiftKey: event.shiftKey }));
});

// All restorations may be many: their table is made when a reader comes near it.
new IntersectionObserver((seen, watching) => {
  if (!seen.some((entry) => entry.isIntersecting)) return;
  watching.disconnect();
  const place = document.querySelector("#restorations .scroll");
  new MutationObserver(raiseFilters).observe(place, { childList: true, subtree: true });
  place.append(document.importNode($("rows").content, true));
}, { rootMargin: "400px" }).observe($("restorations"));

// A figure is drawn when it comes near the window; printing draws them all.
const drawn = new Map();
const drawChart = (element) => {
  if (!drawn.has(element)) drawn.set(element, embed(element));
  return drawn.get(element);
};
const embed = (element) => {
  const spec = specs[element.dataset.name];
  return vegaEmbed(element, { ...spec, width: Math.max(280, Math.min(spec.width, element.parentElement.clientWidth - 44)) }, { renderer: "svg", actions: { export: true, source: false, compiled: false, editor: false } });
};
const watcher = new IntersectionObserver((seen) => seen.filter((entry) => entry.isIntersecting).forEach((entry) => { watcher.unobserve(entry.target); drawChart(entry.target); }), { rootMargin: "600px" });
const charts = [...document.querySelectorAll(".chart")];
const AXIS = 50; // px below a figure: with its height kept free, what stands below does not move when it is drawn
charts.forEach((element) => { element.style.minHeight = `${specs[element.dataset.name].height + AXIS}px`; watcher.observe(element); });
window.drawAll = () => Promise.all(charts.map(drawChart));
addEventListener("beforeprint", window.drawAll);
if ($("metric")) $("metric").onchange = () => {
  for (const figure of document.querySelectorAll("#figures figure")) figure.hidden = $("metric").value !== "" && figure.dataset.metric !== $("metric").value;
};

// The picture browser: two pictures of every sample, the right one over the left one as far as the slider says.
const data = JSON.parse($("data").textContent), PAGE = 24;
let page = 0;
const fill = (id, values, texts = {}) => { const kept = $(id).value; $(id).replaceChildren(...values.map((value) => new Option(texts[value] ?? value, value))); if (values.includes(kept)) $(id).value = kept; };
const task = () => data.tasks[$("task").value];

function choices() {
  const shared = new Set(), restored = new Set();
  for (const sample of task().samples) {
    Object.keys(sample.shared).forEach((label) => shared.add(label));
    for (const [method, entry] of Object.entries(sample.restored)) Object.keys(entry.pictures).forEach((kind) => restored.add(label(method, kind)));
  }
  return [[...shared], [...restored]];
}
const label = (method, kind) => (kind === "restored" ? method : `${method} · ${kind}`);
function chosen(sample, name) {
  if (sample.shared[name]) return { picture: sample.shared[name], text: name };
  for (const [method, entry] of Object.entries(sample.restored))
    for (const [kind, picture] of Object.entries(entry.pictures))
      if (label(method, kind) === name) return { picture, text: method, entry };
  return null;
}
function chooseTask() {
  const [shared, restored] = choices(), all = [...shared, ...restored];
  fill("left", all); fill("right", all);
  $("left").value = shared.includes("measurement") ? "measurement" : all[0];
  $("right").value = restored[0] ?? all[0];
  const numbers = new Set(task().samples.flatMap((sample) => Object.values(sample.restored).flatMap((entry) => Object.keys(entry.numbers))));
  const orders = [...numbers].flatMap((name) => ["↑", "↓"].map((way) => [`${name} ${way}`, `${data.columns[name][0]} ${way}`]));
  fill("order", ["as in the data", ...orders.map(([value]) => value)], Object.fromEntries(orders));
  first();
}
function ordered() {
  const [name, way] = $("order").value.split(" "), words = $("find").value.toLowerCase();
  const value = (sample) => chosen(sample, $("right").value)?.entry?.numbers[name] ?? Object.values(sample.restored)[0]?.numbers[name] ?? NaN;
  const found = task().samples.filter((sample) => sample.id.toLowerCase().includes(words) || Object.values(sample.restored).some((entry) => String(entry.prompt).toLowerCase().includes(words)));
  return way === "↑" || way === "↓" ? found.sort((a, b) => (way === "↑" ? 1 : -1) * (value(a) - value(b))) : found;
}
function told([name, value]) {
  const [heading, unit, digits] = data.columns[name];
  return [heading, value.toFixed(digits), unit].filter(Boolean).join(" ");
}
function figure(sample) {
  const [left, right] = [chosen(sample, $("left").value), chosen(sample, $("right").value)];
  const made = document.createElement("figure"), pair = document.createElement("div"), caption = document.createElement("figcaption");
  made.className = "sample"; pair.className = "pair";
  for (const side of [left, right].filter(Boolean)) {
    const image = new Image(); image.decoding = "async"; image.alt = side.text;
    image.onload = () => image.classList.toggle("crisp", image.naturalWidth <= 128);
    image.src = side.picture; pair.append(image);
  }
  const slider = Object.assign(document.createElement("input"), { type: "range", min: 0, max: 100, value: 50 });
  slider.setAttribute("aria-label", `${sample.id}: how much of the right picture`);
  slider.oninput = () => pair.style.setProperty("--cut", `${slider.value}%`);
  pair.append(slider);
  const name = document.createElement("b"); name.textContent = sample.id; caption.append(name);
  const shown = right?.entry ?? left?.entry;
  if (shown) caption.append(`${shown.prompt ? `“${shown.prompt}”, ` : ""}${Object.entries(shown.numbers).slice(0, 4).map(told).join(", ")}`);
  made.append(pair, caption);
  return made;
}
function draw() {
  const found = ordered(), pages = Math.max(1, Math.ceil(found.length / PAGE));
  page = Math.min(Math.max(page, 0), pages - 1);
  $("gallery").replaceChildren(...found.slice(page * PAGE, (page + 1) * PAGE).map(figure));
  $("page").textContent = `page ${page + 1} of ${pages}`;
  $("count").textContent = `${found.length} samples` + (data.left_out ? `; pictures of ${data.left_out} more were left out of this file, --pictures takes more` : "");
}
const first = () => { page = 0; draw(); };
fill("task", Object.keys(data.tasks));
$("task").onchange = chooseTask;
for (const id of ["left", "right", "order"]) $(id).onchange = first;
$("find").oninput = first;
$("size").oninput = () => $("gallery").style.setProperty("--side", `${$("size").value}px`);
$("before").onclick = () => { page -= 1; draw(); };
$("after").onclick = () => { page += 1; draw(); };
chooseTask();
