// Calls the server. The key is kept in this tab's session storage, and nowhere else.

const KEY = "sentor-key";

export const readKey = () => sessionStorage.getItem(KEY) ?? "";

export function keepKey(key) {
  if (key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
}

/** An error answer, or none at all (`status` 0). */
export class Failure extends Error {
  constructor(status, code, message, retryAfter, requestId, details = {}) {
    super(message);
    this.status = status;
    this.code = code;
    /** Seconds after which to retry, if the server says so. */
    this.retryAfter = retryAfter;
    this.requestId = requestId;
    /** The facts of the message. */
    this.details = details;
  }
}

/** Scores documents; offsets are in UTF-16 units, as in JavaScript's strings. */
export function predict(docs, query, signal) {
  return call(predictPath({ ...query, offsets: "utf16" }), {
    method: "POST",
    headers: { "content-type": "application/json", "x-api-key": readKey() },
    body: JSON.stringify({ docs }),
    signal,
  });
}

/** The rows of a file, read with the rules of the command line. */
export function readFile(file, options) {
  const query = new URLSearchParams({ name: file.name, ...options });
  const headers = { "content-type": "application/octet-stream", "x-api-key": readKey() };
  return call(`/api/files/read?${query}`, { method: "POST", headers, body: file });
}

/** Rows as a workbook of Excel. */
export async function workbook(columns, rows) {
  const headers = { "content-type": "application/json", "x-api-key": readKey() };
  const answer = await send("/api/files/workbook", { method: "POST", headers, body: JSON.stringify({ columns, rows }) });
  if (!answer.ok) throw await failure(answer);
  return answer.blob();
}

/** The sample that the server scores for visitors without a key; `enabled` is false where it does not. */
export const demo = (language) => call(`/api/demo?${new URLSearchParams({ language })}`, {});

export const health = () => call("/api/health", {});

/** The same request as a shell command; the key comes from the reader's environment. */
export function curl(docs, query) {
  const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;
  return [
    `curl ${quoted(serverUrl(predictPath(query)))}`,
    `-H "x-api-key: $SENTOR_API_KEY"`,
    `-H 'content-type: application/json'`,
    `-d ${quoted(JSON.stringify({ docs }))}`,
  ].join(" \\\n  ");
}

/** The URL of a path of the server, which a proxy may serve below a path of its own. */
export const serverUrl = (path) => new URL(path.replace(/^\//, ""), new URL("../", import.meta.url)).href;

const predictPath = (query) => `/api/predicts?${new URLSearchParams(query)}`;

async function call(path, request) {
  const answer = await send(path, request);
  const body = answer.ok ? await answer.clone().json().catch(() => null) : null;
  if (body !== null) return body;
  throw await failure(answer);
}

async function send(path, request) {
  try {
    return await fetch(serverUrl(path), { credentials: "omit", ...request });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure(0, "unreachable", "the server does not answer");
  }
}

async function failure(answer) {
  const body = await answer.json().catch(() => null);
  const retryAfter = Number(answer.headers.get("retry-after")) || undefined;
  const message = body?.detail ?? `the server answered with status ${answer.status}`;
  return new Failure(answer.status, body?.error?.code, message, retryAfter, body?.error?.request_id, body?.error?.details);
}
