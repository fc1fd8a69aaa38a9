// Scores a file of documents: choice of columns, requests, and the table of results.

import { Failure, predict } from "./api.js";
import { byId, download, element, fill } from "./dom.js";
import { labelled } from "./render.js";
import { parseTable, writeCsv } from "./table.js";

/** Documents per request: few enough that the bar moves, and enough that requests cost little beside the model. */
const DOCUMENTS_A_REQUEST = 32;
/** Maximum retries of a request that the overloaded server rejects. */
const MOST_TRIES = 10;
const ROWS_A_PAGE = 100;
/** Limit of a file, since a browser holds the file, its documents and all results in memory. */
const LARGEST_FILE_BYTES = 50 * 1024 * 1024;

const TEXT_NAMES = ["doc", "text", "review", "comment", "body", "content", "message", "sentence", "tekst"];
const ID_NAMES = ["doc_id", "id", "identifier", "nr", "number"];
const ENTITY_NAMES = ["entities", "entity", "targets", "target", "aspects", "aspect"];

let table = { columns: [], rows: [] };
let scored = [];
let view = { sort: "index", descending: false, page: 0 };
let running = null;

/** Reads a file and asks for the roles of its columns. */
export async function openFile(file) {
  if (file.size > LARGEST_FILE_BYTES) throw new Error(`${file.name} is larger than 50 MiB; \`sentor predict\` takes files of any size.`);
  table = parseTable(file.name, await file.text());
  if (table.rows.length === 0) throw new Error(`${file.name} has a header, but no rows.`);
  offer("column-text", guess(TEXT_NAMES) ?? longestColumn(), false);
  offer("column-id", guess(ID_NAMES), true);
  offer("column-entities", guess(ENTITY_NAMES), true);
  byId("batch-title").textContent = `${file.name}: ${table.rows.length} rows`;
  byId("rows-part").hidden = true;
  byId("batch").hidden = false;
}

const guess = (names) => table.columns.find((column) => names.includes(column.trim().toLowerCase()));

function longestColumn() {
  const length = (column) => table.rows.slice(0, 50).reduce((sum, row) => sum + String(row[column] ?? "").length, 0);
  return table.columns.reduce((best, next) => (length(next) > length(best) ? next : best));
}

function offer(id, chosen, mayBeNone) {
  const options = table.columns.map((column) => element("option", { value: column, selected: column === chosen }, column));
  if (mayBeNone) options.unshift(element("option", { value: "", selected: chosen === undefined }, "(none)"));
  fill(byId(id), options);
}

/** Scores every row, in order; calls `say` with the progress. */
export async function runFile(language, commonEntities, say) {
  const documents = readDocuments(commonEntities);
  running = new AbortController();
  scored = [];
  const bar = byId("progress");
  bar.max = documents.length;
  bar.value = 0;
  working(true);
  try {
    for (let at = 0; at < documents.length; at += DOCUMENTS_A_REQUEST) {
      const part = documents.slice(at, at + DOCUMENTS_A_REQUEST);
      const { results } = await patiently(() => predict(part, { language, partial: "true" }, running.signal), say);
      results.forEach((result, index) => scored.push(row(at + index, part[index], result)));
      bar.value = scored.length;
      say(`${scored.length} of ${documents.length} documents scored`);
    }
  } catch (error) {
    if (error.name !== "AbortError") throw error;
    say(`Stopped after ${scored.length} of ${documents.length} documents`);
  } finally {
    working(false);
    view = { sort: "index", descending: false, page: 0 };
    if (scored.length > 0) showRows();
  }
}

export const stopFile = () => running?.abort();

function working(is) {
  byId("run").disabled = is;
  byId("cancel").hidden = byId("progress").hidden = !is;
}

function readDocuments(commonEntities) {
  const [textColumn, idColumn, entityColumn] = ["column-text", "column-id", "column-entities"].map((id) => byId(id).value);
  return table.rows.map((row, index) => ({
    doc_id: String(row[idColumn] ?? index + 1),
    doc: String(row[textColumn] ?? ""),
    entities: entityColumn ? entitiesOf(row[entityColumn]) : commonEntities,
  }));
}

function entitiesOf(cell) {
  const items = Array.isArray(cell) ? cell.map(String) : String(cell ?? "").split(/[;|]/);
  return items.map((item) => item.trim()).filter(Boolean);
}

/** Waits and retries if the server is overloaded. */
async function patiently(ask, say) {
  for (let tries = 1; ; tries += 1) {
    try {
      return await ask();
    } catch (error) {
      const mayPass = error instanceof Failure && [429, 503].includes(error.status) && error.retryAfter;
      if (!mayPass || tries === MOST_TRIES) throw error;
      say(`The server is busy; trying again in ${error.retryAfter} s`);
      await pause(error.retryAfter * 1000, running.signal);
    }
  }
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("stopped", "AbortError"));
    }, { once: true });
  });
}

function row(index, document, result) {
  const entities = result.entity_sentiments ?? [];
  return {
    index, result, entities,
    id: document.doc_id,
    text: document.doc,
    label: result.error ? "error" : result.predicted_label,
    balance: result.error ? -2 : result.probabilities.positive - result.probabilities.negative,
  };
}

/** The rows that pass the filters, in order. */
function shownRows() {
  const words = byId("filter-text").value.toLowerCase().split(/\s+/).filter(Boolean);
  const label = byId("filter-sentiment").value;
  const said = (row) => `${row.id} ${row.text} ${row.entities.map(({ entity }) => entity).join(" ")}`.toLowerCase();
  const rows = scored.filter((row) => (!label || row.label === label) && words.every((word) => said(row).includes(word)));
  const key = (row) => (view.sort === "entities" ? row.entities.map(({ entity }) => entity).join(" ") : row[view.sort]);
  const order = (one, other) => (typeof one === "number" ? one - other : one.localeCompare(other, undefined, { numeric: true }));
  rows.sort((one, other) => order(key(one), key(other)) * (view.descending ? -1 : 1));
  return rows;
}

export function showRows() {
  const rows = shownRows();
  const pages = Math.max(1, Math.ceil(rows.length / ROWS_A_PAGE));
  view.page = Math.min(view.page, pages - 1);
  const start = view.page * ROWS_A_PAGE;
  fill(byId("row-table").tBodies[0], rows.slice(start, start + ROWS_A_PAGE).map(rowElement));
  byId("rows-part").hidden = false;
  byId("row-count").textContent = `${rows.length} of ${scored.length} rows`;
  byId("page").textContent = `Page ${view.page + 1} of ${pages}`;
  byId("previous").disabled = view.page === 0;
  byId("next").disabled = view.page === pages - 1;
}

function rowElement({ index, id, text, result, entities }) {
  const verdict = result.error
    ? element("td", {}, `failed: ${result.error.message}`)
    : element("td", { className: "whole" }, labelled(result.predicted_label, result.probabilities[result.predicted_label]));
  return element("tr", {},
    element("td", {}, String(index + 1)),
    element("td", {}, id),
    element("td", { className: "text" }, text.length > 300 ? `${text.slice(0, 300)}…` : text),
    verdict,
    element("td", {}, entities.map(({ entity, sentiment, score }) => element("div", {}, `${entity}: `, labelled(sentiment, score)))),
  );
}

export function sortBy(column) {
  view = { sort: column, descending: view.sort === column && !view.descending, page: 0 };
  for (const button of document.querySelectorAll("[data-sort]")) {
    const heading = button.closest("th");
    if (button.dataset.sort === column) heading.setAttribute("aria-sort", view.descending ? "descending" : "ascending");
    else heading.removeAttribute("aria-sort");
  }
  showRows();
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
  const lines = shownRows().map(({ result, text }) => JSON.stringify({ ...result, doc: text }));
  download("sentor.jsonl", "application/x-ndjson", lines.map((line) => `${line}\n`).join(""));
}

/** One line for each document and entity, for spreadsheets; a document without entities has one line. */
export function downloadCsv() {
  const columns = ["doc_id", "doc", "sentiment", "negative", "neutral", "positive", "entity", "entity_sentiment", "entity_negative", "entity_neutral", "entity_positive", "entity_mentions", "error"];
  const figures = (of) => (of ? [of.negative, of.neutral, of.positive] : ["", "", ""]);
  const rows = shownRows().flatMap(({ id, text, result, entities }) => {
    const head = [id, text, result.predicted_label ?? "", ...figures(result.probabilities)];
    const error = result.error?.message ?? "";
    if (entities.length === 0) return [[...head, "", "", "", "", "", "", error]];
    return entities.map((entity) => [...head, entity.entity, entity.sentiment, ...figures(entity.probabilities), entity.mentions.length, error]);
  });
  download("sentor.csv", "text/csv", writeCsv(columns, rows));
}
