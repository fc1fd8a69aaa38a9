// Reads and writes tables: CSV (RFC 4180, with a comma, semicolon or tab) and one JSON object a line.

/** Parses objects by column name, and the names in order. Throws an error that names the wrong line. */
export function parseTable(name, text) {
  const content = text.replace(/^\uFEFF/, "");
  if (!content.trim()) throw new Error(`${name} is empty.`);
  const isLines = /\.(jsonl|ndjson)$/i.test(name) || content.trimStart().startsWith("{");
  return isLines ? parseLines(content) : parseCsv(content);
}

function parseLines(text) {
  const columns = new Set();
  const rows = [];
  for (const [index, line] of text.split("\n").entries()) {
    if (!line.trim()) continue;
    let row;
    try {
      row = JSON.parse(line);
    } catch (error) {
      throw new Error(`Line ${index + 1} is not JSON: ${error.message}`);
    }
    if (row === null || typeof row !== "object" || Array.isArray(row)) throw new Error(`Line ${index + 1} is JSON, but not an object.`);
    Object.keys(row).forEach((column) => columns.add(column));
    rows.push(row);
  }
  return { columns: [...columns], rows };
}

function parseCsv(text) {
  const records = csvRecords(text, separatorOf(text));
  const [header, ...body] = records;
  const columns = header.cells.map((cell, index) => cell.trim() || `column ${index + 1}`);
  if (new Set(columns).size < columns.length) throw new Error("Two columns have the same name; the first line must name each column.");
  const rows = body.map(({ cells, line }) => {
    if (cells.length > columns.length) throw new Error(`Line ${line} has ${cells.length} cells, but there are ${columns.length} columns.`);
    return Object.fromEntries(columns.map((column, index) => [column, cells[index] ?? ""]));
  });
  return { columns, rows };
}

/** The most frequent separator of the first line, outside quotes. */
function separatorOf(text) {
  const line = text.slice(0, 10_000).replace(/"[^"]*"/g, "").split(/\r?\n/, 1)[0];
  const count = (separator) => line.split(separator).length;
  return [",", ";", "\t"].reduce((best, next) => (count(next) > count(best) ? next : best));
}

function csvRecords(text, separator) {
  const records = [];
  let cells = [], cell = "", quoted = false, wasQuoted = false, line = 1, start = 1;
  const endCell = () => { cells.push(cell); cell = ""; wasQuoted = false; };
  const endRecord = () => {
    endCell();
    // An empty line is not a record.
    if (cells.length > 1 || cells[0] !== "") records.push({ cells, line: start });
    cells = [];
    start = line;
  };
  for (let at = 0; at < text.length; at += 1) {
    const letter = text[at];
    if (letter === "\n") line += 1;
    if (quoted) {
      if (letter !== '"') cell += letter;
      else if (text[at + 1] === '"') { cell += '"'; at += 1; }
      else quoted = false;
    } else if (letter === '"' && cell === "" && !wasQuoted) {
      quoted = wasQuoted = true;
    } else if (letter === separator) {
      endCell();
    } else if (letter === "\n") {
      endRecord();
    } else if (letter !== "\r" || text[at + 1] !== "\n") {
      cell += letter;
    }
  }
  if (quoted) throw new Error(`The quote in the record that starts in line ${start} is never closed.`);
  if (cell !== "" || cells.length > 0) endRecord();
  return records;
}

/**
 * Puts an apostrophe before each place of a cell where a spreadsheet may begin a formula. Numbers stay numbers.
 *
 * A spreadsheet that expects another separator than the comma begins a cell at it, whatever the quotes say.
 * src/cli/spreadsheet.rs has the same rule for the command line; tests/reference/formula_cells.json holds both to it.
 */
export function guardFormulas(text) {
  const guard = (piece) => (/^"*[=+\-@＝＋－＠﹦﹢﹣﹫]/.test(piece) && !isNumber(piece) ? `'${piece}` : piece);
  const guarded = text.split(/([;\t\r\n])/).map(guard).join("");
  return /^[\t\r\n]/.test(text) ? `'${guarded}` : guarded;
}

function isNumber(text) {
  return /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/.test(text);
}

/** CSV whose cells spreadsheets treat as text. */
export function writeCsv(columns, rows) {
  const cell = (value) => {
    const safe = guardFormulas(String(value ?? ""));
    return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  const line = (values) => values.map(cell).join(",");
  return [columns, ...rows].map(line).join("\r\n") + "\r\n";
}
