// Scored rows: filters, charts, the table and the downloads. Filters act on all of them.

import { workbook } from "./api.js";
import { countTable, dateOrder, dayName, overTime, parseDate, png, shareChart, shares, timeChart } from "./charts.js";
import { byId, download, element, fill } from "./dom.js";
import { labelled } from "./render.js";
import { writeCsv } from "./table.js";

const ROWS_A_PAGE = 100;
const EXTREMES = 5;
const MOST_TEXT = 300;

let scored = [];
let source = { columns: [], dates: "", language: "en" };
let view = { sort: "index", descending: false, page: 0 };

/** Forgets the rows of another run. */
export function clearRows() {
  scored = [];
  byId("rows-part").hidden = true;
}

/** Shows the rows of a run. */
export function showResults(rows, from) {
  scored = rows;
  source = from;
  view = { sort: "index", descending: false, page: 0 };
  markSorted();
  addDates();
  const names = shares(scored).slice(1).map(({ name }) => name);
  fill(byId("filter-entity"), element("option", { value: "" }, "All"), names.map((name) => element("option", { value: name }, name)));
  for (const id of ["filter-text", "filter-sentiment", "filter-entity"]) byId(id).value = "";
  byId("rows-part").hidden = false;
  showRows();
}

function addDates() {
  const place = source.dates === "" ? null : Number(source.dates);
  const values = place === null ? [] : scored.map(({ cells }) => cells[place]);
  const { order, isSure } = dateOrder(values);
  scored.forEach((row, index) => { row.date = place === null ? null : parseDate(values[index], order); });
  const missing = scored.filter(({ date }) => date === null).length;
  const notes = [];
  if (place !== null && !isSure) notes.push("Dates are read as day before month.");
  if (place !== null && missing > 0) notes.push(`${missing} ${missing === 1 ? "row has" : "rows have"} no date that can be read.`);
  byId("time-note").textContent = notes.join(" ");
}

/** The rows that pass the filters, in order. */
function shownRows() {
  const words = byId("filter-text").value.toLowerCase().split(/\s+/).filter(Boolean);
  const label = byId("filter-sentiment").value;
  const entity = byId("filter-entity").value;
  const said = (row) => `${row.id} ${row.text} ${row.entities.map(({ entity }) => entity).join(" ")}`.toLowerCase();
  const passes = (row) => {
    const about = row.entities.find((one) => one.entity === entity);
    if (entity && !about) return false;
    // With an entity chosen, the sentiment is the one toward it.
    return (!label || (entity ? about.sentiment : row.label) === label) && words.every((word) => said(row).includes(word));
  };
  const key = (row) => (view.sort === "entities" ? row.entities.map(({ entity }) => entity).join(" ") : row[view.sort]);
  const order = (one, other) => (typeof one === "number" ? one - other : one.localeCompare(other, undefined, { numeric: true }));
  return scored.filter(passes).sort((one, other) => order(key(one), key(other)) * (view.descending ? -1 : 1));
}

export function showRows() {
  const rows = shownRows();
  const pages = Math.max(1, Math.ceil(rows.length / ROWS_A_PAGE));
  view.page = Math.min(view.page, pages - 1);
  const start = view.page * ROWS_A_PAGE;
  fill(byId("row-table").tBodies[0], rows.slice(start, start + ROWS_A_PAGE).map(rowElement));
  byId("row-count").textContent = `${rows.length} of ${scored.length} rows`;
  byId("page").textContent = `Page ${view.page + 1} of ${pages}`;
  byId("previous").disabled = view.page === 0;
  byId("next").disabled = view.page === pages - 1;
  showCharts(rows);
}

function showCharts(rows) {
  const entity = byId("filter-entity").value;
  const counts = shares(rows);
  fill(byId("share-chart"), shareChart(counts, byId("share-chart").clientWidth));
  fill(byId("share-table"), countTable("Entity", counts));
  const label = (row) => (entity ? row.entities.find((one) => one.entity === entity).sentiment : row.label);
  const dated = rows.filter(({ date, result }) => date && !result.error).map((row) => ({ date: row.date, label: label(row) }));
  const time = overTime(dated);
  byId("time-part").hidden = time.points.length < 2;
  if (time.points.length >= 2) {
    byId("time-title").textContent = `Net score by ${time.unit}${entity ? `: ${entity}` : ""}`;
    fill(byId("time-chart"), timeChart(time, byId("time-chart").clientWidth));
    fill(byId("time-table"), countTable(time.unit === "day" ? "Day" : `${time.unit === "week" ? "Week" : "Month"} from`, time.points.map(({ start, counts }) => ({ name: dayName(start), counts }))));
  }
  const balance = (row) => {
    const about = entity ? row.entities.find((one) => one.entity === entity) : null;
    return about ? about.polarity : row.balance;
  };
  const judged = rows.filter(({ result }) => !result.error).sort((one, other) => balance(one) - balance(other));
  fill(byId("most-negative"), judged.filter((row) => balance(row) < 0).slice(0, EXTREMES).map((row) => extreme(row, balance(row))));
  fill(byId("most-positive"), judged.filter((row) => balance(row) > 0).slice(-EXTREMES).reverse().map((row) => extreme(row, balance(row))));
}

function extreme(row, balance) {
  return element("li", {}, element("strong", {}, `${balance > 0 ? "+" : "−"}${Math.abs(balance).toFixed(2)} `), clipped(row.text), element("span", { className: "hint" }, ` (${row.id})`));
}

const clipped = (text) => (text.length > MOST_TEXT ? `${text.slice(0, MOST_TEXT)}…` : text);

function rowElement({ index, id, text, result, entities }) {
  const verdict = result.error
    ? element("td", {}, `failed: ${result.error.message}`)
    : element("td", { className: "whole" }, labelled(result.predicted_label, result.probabilities[result.predicted_label]));
  const warnings = (result.warnings ?? []).map(({ message }) => element("p", { className: "hint" }, message));
  return element("tr", {},
    element("td", {}, String(index + 1)),
    element("td", {}, id),
    element("td", { className: "text" }, clipped(text), warnings),
    verdict,
    element("td", {}, entities.map(({ entity, sentiment, score }) => element("div", {}, `${entity}: `, labelled(sentiment, score)))),
  );
}

export function sortBy(column) {
  view = { sort: column, descending: view.sort === column && !view.descending, page: 0 };
  markSorted();
  showRows();
}

function markSorted() {
  for (const button of document.querySelectorAll("[data-sort]")) {
    const heading = button.closest("th");
    if (button.dataset.sort === view.sort) heading.setAttribute("aria-sort", view.descending ? "descending" : "ascending");
    else heading.removeAttribute("aria-sort");
  }
}

export function turnPage(by) {
  view.page += by;
  showRows();
}

export function filterRows() {
  view.page = 0;
  showRows();
}

export function downloadJsonl() {
  const lines = shownRows().map(({ result, text, line }) => JSON.stringify({ ...result, doc: text, line }));
  download("sentor.jsonl", "application/x-ndjson", lines.map((line) => `${line}\n`).join(""));
}

/** The columns of the file, and the results beside them: a row for each document and entity, as the command line writes it. */
function resultTable() {
  const own = ["doc_id", "language", "predicted_label", "negative", "neutral", "positive", "entity", "sentiment", "score", "polarity", "match", "mentions", "entity_negative", "entity_neutral", "entity_positive", "warnings", "error"];
  const names = own.map((name) => (source.columns.includes(name) ? `sentor_${name}` : name));
  const figures = (of) => (of ? [of.negative, of.neutral, of.positive] : [null, null, null]);
  const rows = shownRows().flatMap(({ id, cells, result, entities }) => {
    const caller = source.columns.map((_, place) => cells[place] ?? null);
    const head = [...caller, id, result.language ?? null, result.predicted_label ?? null, ...figures(result.probabilities)];
    const end = [(result.warnings ?? []).map(({ message }) => message).join("; ") || null, result.error?.message ?? null];
    if (entities.length === 0) return [[...head, ...Array(9).fill(null), ...end]];
    return entities.map((one) => [...head, one.entity, one.sentiment, one.score, one.polarity, one.match, one.mentions.length, ...figures(one.probabilities), ...end]);
  });
  return { columns: [...source.columns, ...names], rows };
}

export function downloadCsv() {
  const { columns, rows } = resultTable();
  download("sentor.csv", "text/csv", writeCsv(columns, rows));
}

export async function downloadExcel() {
  const { columns, rows } = resultTable();
  download("sentor.xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", await workbook(columns, rows));
}

/** Downloads one of the charts as a picture. */
export async function downloadPng(id) {
  download(`sentor-${id}.png`, "image/png", await png(byId(id).querySelector("svg")));
}
