// Calls the server. The key is kept in this tab's session storage, and nowhere else.

const KEY = "sentor-key";

export const readKey = () => sessionStorage.getItem(KEY) ?? "";

export function keepKey(key) {
  if (key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
}

/** An error answer, or none at all (`status` 0). */
export class Failure extends Error {
  constructor(status, code, message, retryAfter, requestId) {
    super(message);
    this.status = status;
    this.code = code;
    /** Seconds after which to retry, if the server says so. */
    this.retryAfter = retryAfter;
    this.requestId = requestId;
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
  let answer;
  try {
    answer = await fetch(serverUrl(path), { credentials: "omit", ...request });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure(0, "unreachable", "The server does not answer. Is it running?");
  }
  const body = await answer.json().catch(() => null);
  if (answer.ok && body !== null) return body;
  const retryAfter = Number(answer.headers.get("retry-after")) || undefined;
  const message = body?.detail ?? `The server answered with status ${answer.status}.`;
  throw new Failure(answer.status, body?.error?.code, message, retryAfter, body?.error?.request_id);
}
