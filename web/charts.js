// Charts of scored rows, as SVG: shares of each entity, and net score over time. Their figures stand in a table beside each chart.

import { element } from "./dom.js";

const NAMESPACE = "http://www.w3.org/2000/svg";
const LABELS = ["negative", "neutral", "positive"];
const MOST_ENTITIES = 15;
const WIDEST = 720;
const NARROWEST = 340;
const ROW = 30;

/** Counts of the document and of each entity, most named first. */
export function shares(rows) {
  const whole = { name: "Text as a whole", counts: [0, 0, 0] };
  const entities = new Map();
  for (const { result } of rows) {
    if (result.error) continue;
    whole.counts[LABELS.indexOf(result.predicted_label)] += 1;
    for (const { entity, sentiment } of result.entity_sentiments) {
      if (!entities.has(entity)) entities.set(entity, { name: entity, counts: [0, 0, 0] });
      entities.get(entity).counts[LABELS.indexOf(sentiment)] += 1;
    }
  }
  const sorted = [...entities.values()].sort((one, other) => total(other.counts) - total(one.counts));
  return [whole, ...sorted];
}

export const total = (counts) => counts.reduce((sum, count) => sum + count, 0);

/** Percentage of positive ones minus percentage of negative ones. */
export const net = (counts) => (total(counts) === 0 ? 0 : (100 * (counts[2] - counts[0])) / total(counts));

export const signed = (number) => `${number > 0.5 ? "+" : number < -0.5 ? "−" : "±"}${Math.abs(Math.round(number))}`;

/** Bars of negative, neutral and positive shares. */
export function shareChart(all, room) {
  const items = all.slice(0, MOST_ENTITIES + 1);
  const width = fitting(room);
  const isNarrow = width < 500;
  const left = isNarrow ? 105 : 180, bar = width - left - (isNarrow ? 75 : 150);
  const chart = svg(width, items.length * ROW + 24, "Share of negative, neutral and positive, as bars; the table below has the figures");
  items.forEach(({ name, counts }, index) => {
    const y = index * ROW + 6;
    chart.append(text(left - 10, y + 14, clipped(name, isNarrow ? 13 : 24), "end"));
    let x = left;
    LABELS.forEach((label, place) => {
      const length = (bar * counts[place]) / Math.max(1, total(counts));
      if (length > 0) chart.append(shape("rect", { x, y, width: length, height: 20, class: `share ${label}` }));
      if (length > 38) chart.append(text(x + length / 2, y + 15, `${Math.round((100 * counts[place]) / total(counts))} %`, "middle", "on"));
      x += length;
    });
    chart.append(text(left + bar + 10, y + 15, isNarrow ? `${total(counts)}, ${signed(net(counts))}` : `${total(counts)}, net ${signed(net(counts))}`, "start", "quiet"));
  });
  const y = items.length * ROW + 16;
  LABELS.forEach((label, place) => {
    const x = (isNarrow ? 10 : left) + place * 105;
    chart.append(shape("rect", { x, y: y - 10, width: 12, height: 12, class: `share ${label}` }), text(x + 18, y, label));
  });
  return chart;
}

/** Dates as written, or null. `order` is `dmy` or `mdy` for dates with the year last. */
export function parseDate(value, order) {
  const words = String(value ?? "").trim();
  const iso = /^(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})/.exec(words);
  if (iso) return day(iso[1], iso[2], iso[3]);
  const other = /^(\d{1,2})[-/.](\d{1,2})[-/.](\d{4}|\d{2})\b/.exec(words);
  if (!other) return null;
  const year = other[3].length === 2 ? `20${other[3]}` : other[3];
  return order === "mdy" ? day(year, other[1], other[2]) : day(year, other[2], other[1]);
}

function day(year, month, dayOfMonth) {
  const date = new Date(Date.UTC(Number(year), Number(month) - 1, Number(dayOfMonth)));
  return date.getUTCMonth() === Number(month) - 1 && date.getUTCDate() === Number(dayOfMonth) ? date : null;
}

/** Whether days or months stand first in dates with the year last; days, where both are possible. */
export function dateOrder(values) {
  const parts = values.map((value) => /^\s*(\d{1,2})[-/.](\d{1,2})[-/.]\d{2,4}\b/.exec(String(value ?? ""))).filter(Boolean);
  const isMonthFirst = parts.some(([, , second]) => Number(second) > 12) && !parts.some(([, first]) => Number(first) > 12);
  const isSure = parts.length === 0 || parts.some(([, first, second]) => Number(first) > 12 || Number(second) > 12);
  return { order: isMonthFirst ? "mdy" : "dmy", isSure };
}

/** Counts by day, week or month, whichever gives a readable number of points. */
export function overTime(dated) {
  if (dated.length === 0) return { unit: "day", points: [] };
  const times = dated.map(({ date }) => date.getTime());
  const days = (Math.max(...times) - Math.min(...times)) / 86_400_000;
  const unit = days <= 45 ? "day" : days <= 300 ? "week" : "month";
  const points = new Map();
  for (const { date, label } of dated) {
    const start = startOf(date, unit);
    if (!points.has(start)) points.set(start, { start, counts: [0, 0, 0] });
    points.get(start).counts[LABELS.indexOf(label)] += 1;
  }
  return { unit, points: [...points.values()].sort((one, other) => one.start - other.start) };
}

function startOf(date, unit) {
  if (unit === "month") return Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), 1);
  const back = unit === "week" ? (date.getUTCDay() + 6) % 7 : 0;
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), date.getUTCDate() - back);
}

export const dayName = (time) => new Date(time).toISOString().slice(0, 10);

/** A line of net scores from −100 to 100. */
export function timeChart({ unit, points }, room) {
  const width = fitting(room);
  const height = 240, left = 50, right = 20, top = 12, bottom = 34;
  const chart = svg(width, height, `Net score by ${unit}, as a line; the table below has the figures`);
  const first = points[0].start, last = points.at(-1).start;
  const x = (time) => left + ((width - left - right) * (time - first)) / Math.max(1, last - first);
  const y = (score) => top + ((height - top - bottom) * (100 - score)) / 200;
  for (const score of [-100, -50, 0, 50, 100]) {
    chart.append(shape("line", { x1: left, x2: width - right, y1: y(score), y2: y(score), class: score === 0 ? "axis" : "grid" }), text(left - 8, y(score) + 4, signed(score), "end", "quiet"));
  }
  const path = points.map(({ start, counts }, index) => `${index === 0 ? "M" : "L"}${x(start).toFixed(1)} ${y(net(counts)).toFixed(1)}`).join("");
  chart.append(shape("path", { d: path, class: "line" }));
  for (const { start, counts } of points) chart.append(shape("circle", { cx: x(start), cy: y(net(counts)), r: 4, class: "dot" }));
  const name = (time) => (unit === "month" ? dayName(time).slice(0, 7) : dayName(time));
  chart.append(text(x(first), height - 12, name(first), "start", "quiet"), text(x(last), height - 12, name(last), "end", "quiet"));
  // Those between have room beside one another.
  let free = x(first) + 130;
  for (const { start } of points) {
    if (x(start) < free || x(start) > x(last) - 130) continue;
    chart.append(text(x(start), height - 12, name(start), "middle", "quiet"));
    free = x(start) + 90;
  }
  return chart;
}

/** A table of counts, for those who do not see the chart or want the figures. */
export function countTable(head, items) {
  const heads = [head, "All", "Positive", "Neutral", "Negative", "Net"].map((name) => element("th", { scope: "col" }, name));
  const rows = items.map(({ name, counts }) => element("tr", {},
    element("th", { scope: "row" }, name),
    [total(counts), counts[2], counts[1], counts[0], signed(net(counts))].map((figure) => element("td", {}, String(figure)))));
  return element("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": `${head}: figures` },
    element("table", {}, element("thead", {}, element("tr", {}, heads)), element("tbody", {}, rows)));
}

/** The chart as a PNG picture, on the page's background. */
export async function png(chart) {
  const copy = chart.cloneNode(true);
  // A picture has no style sheet: what the sheet gives is written into the elements.
  const [from, to] = [chart.querySelectorAll("*"), copy.querySelectorAll("*")];
  from.forEach((one, index) => {
    const style = getComputedStyle(one);
    for (const name of ["fill", "stroke", "stroke-width", "stroke-dasharray", "font-family", "font-size", "font-weight"]) to[index].setAttribute(name, style.getPropertyValue(name));
    to[index].removeAttribute("class");
  });
  const [, , width, height] = chart.getAttribute("viewBox").split(" ").map(Number);
  copy.setAttribute("width", width);
  copy.setAttribute("height", height);
  const url = URL.createObjectURL(new Blob([new XMLSerializer().serializeToString(copy)], { type: "image/svg+xml" }));
  try {
    const picture = new Image();
    picture.src = url;
    await picture.decode();
    const canvas = element("canvas", { width: 2 * width, height: 2 * height });
    const pen = canvas.getContext("2d");
    pen.fillStyle = getComputedStyle(document.body).backgroundColor;
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
    return await new Promise((resolve) => { canvas.toBlob(resolve, "image/png"); });
  } finally {
    URL.revokeObjectURL(url);
  }
}

const fitting = (room) => Math.max(NARROWEST, Math.min(WIDEST, Math.round(room)));

function svg(width, height, label) {
  return shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label, class: "chart" });
}

function shape(tag, attributes) {
  const made = document.createElementNS(NAMESPACE, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function text(x, y, words, anchor = "start", kind = "") {
  const made = shape("text", { x, y, "text-anchor": anchor, class: kind });
  made.textContent = words;
  return made;
}

const clipped = (words, most) => (words.length > most ? `${words.slice(0, most - 1)}…` : words);
