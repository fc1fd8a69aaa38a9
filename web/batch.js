// Scores a file of documents: choice of columns, requests and progress.

import { Failure, predict, readFile } from "./api.js";
import { byId, element, fill } from "./dom.js";
import { sentence } from "./problems.js";
import { clearRows, showResults } from "./rows.js";

/** Documents per request: few enough that the bar moves, and enough that requests cost little beside the model. */
const DOCUMENTS_A_REQUEST = 32;
/** Maximum retries of a request that the overloaded server rejects. */
const MOST_TRIES = 30;
/** Notices and bad rows that are listed. */
const LISTED = 20;

let file = null;
let table = { columns: [], rows: [], bad_rows: [] };
let running = null;

/** Has the server read a file, and asks which of its columns are what. */
export async function openFile(chosen, say) {
  file = chosen;
  for (const id of ["read-delimiter", "read-encoding", "read-sheet"]) byId(id).value = "";
  await readAgain(say);
}

/** Reads the file with the delimiter, encoding and sheet that are chosen. */
export async function readAgain(say) {
  byId("batch").hidden = true;
  clearRows();
  const options = {};
  for (const name of ["delimiter", "encoding", "sheet"]) {
    const value = byId(`read-${name}`).value.trim();
    if (value) options[name] = value === "tab" ? "\t" : value;
  }
  say(`Reading ${file.name}…`);
  table = await readFile(file, options);
  if (table.rows.length === 0 && table.bad_rows.length === 0) throw new Failure(0, "empty", `${file.name} has a header, but no rows. Choose a file with rows.`);
  offer("column-text", table.roles.text ?? longestColumn(), false);
  offer("column-id", table.roles.id, true);
  offer("column-entities", table.roles.entities, true);
  offer("column-date", table.roles.date, true);
  byId("batch-title").textContent = `${file.name}: ${count(table.rows.length, "row")}`;
  showNotices();
  byId("batch").hidden = false;
  say(`${file.name} is read as ${table.format}: ${count(table.rows.length, "row")}. Check the columns, then score it.`);
}

/** What was found out about the file, and the rows that are not read. */
function showNotices() {
  const items = [`Read as ${table.format}.`, ...table.notices.map(sentence)];
  if (table.blank_rows > 0) items.push(`${count(table.blank_rows, "row")} without any content left out.`);
  fill(byId("notices"), listed(items).map((text) => element("li", {}, text)));
  const bad = table.bad_rows.map(({ line, column, reason }) => `Line ${line}${column ? `, character ${column}` : ""}: ${reason}`);
  fill(byId("bad-rows"), listed(bad).map((text) => element("li", {}, text)));
  byId("bad-rows-title").textContent = `${count(bad.length, "row")} cannot be read and will be missing from the results:`;
  byId("bad-rows-part").hidden = bad.length === 0;
}

const listed = (items) => (items.length > LISTED ? [...items.slice(0, LISTED), `and ${items.length - LISTED} more`] : items);
const count = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;

function longestColumn() {
  const length = (place) => table.rows.slice(0, 50).reduce((sum, { cells }) => sum + String(cells[place] ?? "").length, 0);
  const places = table.columns.map((_, place) => place);
  return table.columns[places.reduce((best, next) => (length(next) > length(best) ? next : best), 0)];
}

function offer(id, chosen, mayBeNone) {
  const options = table.columns.map((column, place) => element("option", { value: String(place), selected: column === chosen }, column));
  if (mayBeNone) options.unshift(element("option", { value: "", selected: !chosen }, "(none)"));
  fill(byId(id), options);
}

/** Scores every row, in order; calls `say` with the progress. */
export async function runFile(language, commonEntities, say) {
  clearRows();
  const documents = readDocuments(commonEntities);
  running = new AbortController();
  const scored = [];
  const bar = byId("progress");
  bar.max = documents.length;
  bar.value = 0;
  working(true);
  const started = performance.now();
  let size = DOCUMENTS_A_REQUEST;
  try {
    while (scored.length < documents.length) {
      const part = documents.slice(scored.length, scored.length + size);
      const results = await scorePart(part, language, say);
      // The plan allows less in one request than was sent.
      if (results === null) {
        size = Math.max(1, Math.floor(size / 2));
        continue;
      }
      results.forEach((result, index) => scored.push(row(part[index], result)));
      bar.value = scored.length;
      say(`${scored.length} of ${documents.length} documents scored, ${left(started, scored.length, documents.length)}`);
    }
    say(`${count(scored.length, "document")} scored.`);
  } catch (error) {
    if (error.name !== "AbortError") throw error;
    say(`Stopped after ${scored.length} of ${documents.length} documents.`);
  } finally {
    working(false);
    if (scored.length > 0) showResults(scored, { columns: table.columns, dates: byId("column-date").value, language });
  }
}

/** Results of a few documents; null if they are more than the plan allows in one request. */
async function scorePart(part, language, say) {
  try {
    const sent = part.map(({ doc_id, doc, entities }) => ({ doc_id, doc, entities }));
    const { results } = await patiently(() => predict(sent, { language, partial: "true" }, running.signal), say);
    return results;
  } catch (error) {
    if (!(error instanceof Failure) || error.status !== 413) throw error;
    if (part.length > 1) return null;
    return [{ doc_id: part[0].doc_id, error: { code: error.code, message: error.message } }];
  }
}

function left(started, done, all) {
  const seconds = ((performance.now() - started) / 1000 / done) * (all - done);
  return seconds < 90 ? `about ${Math.ceil(seconds)} s left` : `about ${Math.ceil(seconds / 60)} minutes left`;
}

export const stopFile = () => running?.abort();

function working(is) {
  byId("run").disabled = is;
  byId("cancel").hidden = byId("progress").hidden = !is;
}

function readDocuments(commonEntities) {
  const [text, id, entities] = ["column-text", "column-id", "column-entities"].map((name) => byId(name).value);
  const cell = (cells, place) => (place === "" ? null : cells[Number(place)] ?? null);
  return table.rows.map(({ line, cells }, index) => ({
    index, line, cells,
    doc_id: words(cell(cells, id)) || String(line),
    doc: words(cell(cells, text)),
    entities: entities === "" ? commonEntities : entitiesOf(cell(cells, entities)),
  }));
}

const words = (cell) => (cell === null ? "" : typeof cell === "object" ? JSON.stringify(cell) : String(cell));

function entitiesOf(cell) {
  const items = Array.isArray(cell) ? cell : words(cell).split(/[;|]/);
  return items.map((item) => (typeof item === "object" ? item?.name ?? "" : String(item)).trim()).filter(Boolean);
}

/** Waits and retries if the server is overloaded. */
async function patiently(ask, say) {
  for (let tries = 1; ; tries += 1) {
    try {
      return await ask();
    } catch (error) {
      const mayPass = error instanceof Failure && [429, 503].includes(error.status) && error.retryAfter && error.retryAfter < 300;
      if (!mayPass || tries === MOST_TRIES) throw error;
      const why = error.status === 429 ? "The key's requests of this minute are used" : "The server is busy";
      for (let seconds = error.retryAfter; seconds > 0; seconds -= 1) {
        say(`${why}; going on in ${seconds} s`);
        await pause(1000, running.signal);
      }
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

function row({ index, line, cells, doc_id, doc }, result) {
  return {
    index, line, cells, result,
    entities: result.entity_sentiments ?? [],
    id: doc_id,
    text: doc,
    label: result.error ? "error" : result.predicted_label,
    balance: result.error ? -2 : result.probabilities.positive - result.probabilities.negative,
  };
}
