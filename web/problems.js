// What went wrong, in sentences that say what to do.

/** Sentences for a refusal of the server, or for any other error. */
export function explain(error) {
  const details = error.details ?? {};
  const wait = error.retryAfter;
  switch (error.code) {
    case "empty": return error.message;
    case "unreachable": return "The server does not answer. Check that it runs and that this computer reaches it, then try again.";
    case "missing_key": return "Scoring needs an API key. Paste one into the field at the top; sentor keys create NAME makes one.";
    case "invalid_key": return `The key is not accepted: ${error.message}. Copy it again, whole and without blanks; a server knows only the keys in its own data folder.`;
    case "expired_key": return `The key has expired${details.expires_at ? ` on ${date(details.expires_at)}` : ""}. Ask who runs the server for a new one.`;
    case "revoked_key": return "The key was revoked. Ask who runs the server for a new one.";
    case "insufficient_scope": return `The key may not do this: it lacks the scope ${details.required}. Ask for a key with it.`;
    case "unknown_plan": return `${sentence(error.message)} Tell who runs the server.`;
    case "quota_exceeded": return `The ${details.limit ?? ""} requests that this key has in a ${details.window} are used. ${details.resets_at ? `They are given back on ${date(details.resets_at)}.` : "Ask for a larger plan."}`;
    case "rate_limit_exceeded": return details.window === "concurrent"
      ? `This key may have ${details.limit} requests at once. Wait until another one has ended, then try again.`
      : `The ${details.limit ?? ""} requests that this key has in a minute are used. Try again in ${seconds(wait)}.`;
    case "overloaded": return `The server has more work than it can do in time. Try again in ${seconds(wait)}.`;
    case "not_ready": return `The server cannot score yet: ${error.message}. Try again in ${seconds(wait)}.`;
    case "request_timeout": return "The text did not arrive in time. Try again on a faster connection, or with less text.";
    case "payload_too_large": return tooLarge(error, details);
    case "unsupported_media_type": return `${sentence(error.message)} Reload the page; it may be older than the server.`;
    case "validation_error": return invalid(error, details);
    case "server_error": return "The server failed. Try again; if it fails again, give who runs the server the number below.";
    default: return sentence(error.message);
  }
}

function tooLarge(error, details) {
  const [noun, limit] = details.characters !== undefined ? ["characters", details.characters_per_call] : ["documents", details.documents_per_call];
  if (limit === undefined) return `${sentence(error.message)} A file of any size can be scored with sentor predict.`;
  return `The text has ${details[noun]} ${noun}, and a request on the plan ${details.plan} may have ${limit}. Shorten the text, or ask for a larger plan.`;
}

/** Paths such as `docs[3].doc` as a person names them. */
function invalid(error, details) {
  if (!Array.isArray(details.fields) || details.fields.length === 0) return sentence(error.message);
  const problems = details.fields.slice(0, 5).map(({ path, problem }) => {
    const [, row, field] = /^docs\[(\d+)\]\.?(.*)$/.exec(path) ?? [null, null, path];
    const what = field.startsWith("entities") ? "the entities" : field === "doc" ? "the text" : field || "the document";
    return `${row === null || row === "0" ? "" : `row ${Number(row) + 1}, `}${what}: ${problem}`;
  });
  const more = details.fields.length > 5 ? ` And ${details.fields.length - 5} more like these.` : "";
  return `This cannot be scored. ${problems.map(sentence).join(" ")}${more}`;
}

function seconds(wait) {
  if (!wait) return "a moment";
  if (wait < 120) return `${wait} s`;
  return wait < 7200 ? `${Math.ceil(wait / 60)} minutes` : `${Math.ceil(wait / 3600)} hours`;
}

const date = (iso) => new Date(iso).toLocaleString();

/** A fragment as a sentence. */
export function sentence(fragment) {
  const text = fragment.trim();
  return `${text[0]?.toUpperCase() ?? ""}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;
}
