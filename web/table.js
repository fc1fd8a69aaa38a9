// Writes CSV that spreadsheets take for text. Files are read by the server, with the rules of the command line.

/**
 * Puts an apostrophe before each place of a cell where a spreadsheet may begin a formula. Numbers stay numbers.
 *
 * A spreadsheet that expects another separator than the comma begins a cell at it, whatever the quotes say.
 * crates/files/src/formula.rs has the same rule for the command line; tests/reference/formula_cells.json holds both to it.
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
    const words = typeof value === "object" && value !== null ? JSON.stringify(value) : String(value ?? "");
    const safe = guardFormulas(words);
    return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  const line = (values) => values.map(cell).join(",");
  return [columns, ...rows].map(line).join("\r\n") + "\r\n";
}
