// Renders the API reference from the OpenAPI description, and sends its examples to the server.

import { keepKey, readKey, serverUrl } from "./api.js";
import { byId, element, fill } from "./dom.js";

const METHODS = ["get", "post", "put", "patch", "delete"];

async function draw() {
  const description = await (await fetch(serverUrl("/openapi.json"))).json();
  const operations = Object.entries(description.paths).flatMap(([path, item]) =>
    METHODS.filter((method) => item[method]).map((method) => ({ path, method, ...item[method] })));
  const parts = [keyField()];
  for (const tag of description.tags) {
    const own = operations.filter((operation) => operation.tags?.includes(tag.name));
    if (own.length === 0) continue;
    parts.push(element("h2", { id: tag.name }, tag.description));
    parts.push(...own.map((operation) => operationElement(operation, description)));
  }
  parts.push(element("h2", { id: "schemas" }, "Shapes"));
  for (const [name, schema] of Object.entries(description.components.schemas)) {
    parts.push(element("details", { id: anchor(name) }, element("summary", {}, name), describe(schema)));
  }
  fill(byId("reference"), parts);
  window.addEventListener("hashchange", openTarget);
  openTarget();
}

/** Opens the schema that a link points to. */
function openTarget() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target?.tagName === "DETAILS") target.open = true;
  target?.scrollIntoView();
}

function keyField() {
  const input = element("input", { id: "key", type: "password", value: readKey(), autocomplete: "off", spellcheck: false });
  input.addEventListener("input", () => keepKey(input.value.trim()));
  return element("div", { className: "field" },
    element("label", { htmlFor: "key" }, "API key, for trying the operations"), input,
    element("p", { className: "hint" }, "Kept in this tab only, and gone when it closes."));
}

function operationElement(operation, description) {
  const { path, method, summary, parameters = [], requestBody, responses, deprecated } = operation;
  const body = requestBody?.content?.["application/json"];
  const id = operation.operationId;
  const about = deprecated ? null : operation.description;
  return element("section", { className: "operation", id, "aria-labelledby": `${id}-title` },
    element("h3", { id: `${id}-title` }, element("span", { className: "method" }, method.toUpperCase()), element("code", {}, path)),
    element("p", {}, `${summary}.`),
    about ? element("p", {}, prose(about)) : null,
    parameters.length ? parameterTable(parameters, description) : null,
    body ? element("p", {}, "Body: ", schemaLink(body.schema)) : null,
    tryForm(operation, body),
    element("details", {}, element("summary", {}, "Answers"), Object.entries(responses).map(([status, response]) => responseElement(status, response))),
  );
}

function parameterTable(parameters, description) {
  const rows = parameters.map(({ name, schema, description: about }) => element("tr", {},
    element("th", { scope: "row" }, element("code", {}, name)), element("td", {}, typeOf(schema, description)), element("td", {}, prose(about ?? ""))));
  const heads = ["Parameter", "Values", "Meaning"].map((head) => element("th", { scope: "col" }, head));
  return element("div", { className: "scroll" }, element("table", {}, element("thead", {}, element("tr", {}, heads)), element("tbody", {}, rows)));
}

function responseElement(status, { description, content = {} }) {
  const parts = [element("h4", {}, `${status}: `, prose(description))];
  for (const { schema, example, examples = {} } of Object.values(content)) {
    if (schema) parts.push(element("p", {}, schemaLink(schema)));
    if (example !== undefined) parts.push(pre(example));
    for (const [name, { value }] of Object.entries(examples)) {
      parts.push(element("details", {}, element("summary", {}, name), pre(value)));
    }
  }
  return element("div", {}, parts);
}

function tryForm({ operationId, path, method }, body) {
  const editor = body ? element("textarea", { id: `${operationId}-body`, rows: 6, spellcheck: false, value: JSON.stringify(body.example ?? {}, null, 2) }) : null;
  const target = element("input", { id: `${operationId}-path`, value: path, spellcheck: false });
  const answer = element("pre", { hidden: true, tabIndex: 0, "aria-label": "Answer", role: "status" });
  const send = element("button", { type: "button" }, "Send");
  send.addEventListener("click", async () => {
    const headers = readKey() ? { "x-api-key": readKey() } : {};
    if (editor) headers["content-type"] = "application/json";
    const request = { method: method.toUpperCase(), headers, body: editor?.value, credentials: "omit" };
    answer.hidden = false;
    try {
      const response = await fetch(serverUrl(target.value), request);
      const text = await response.text();
      answer.textContent = `${response.status} ${response.statusText}\n\n${pretty(text)}`;
    } catch {
      answer.textContent = "The server does not answer, or the address is of another server.";
    }
  });
  return element("details", {}, element("summary", {}, "Try it"),
    element("div", { className: "field" }, element("label", { htmlFor: target.id }, "Path and query"), target),
    editor ? element("div", { className: "field" }, element("label", { htmlFor: editor.id }, "Body"), editor) : null,
    send, answer);
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

/** A schema in full: its members, or its values. */
function describe(schema) {
  const about = schema.description ? [element("p", {}, prose(schema.description))] : [];
  if (schema.enum) return element("div", {}, about, element("p", {}, schema.enum.map((word) => JSON.stringify(word)).join(", ")));
  for (const kind of ["allOf", "oneOf", "anyOf"]) {
    if (schema[kind]) {
      const intro = kind === "allOf" ? "All of:" : "One of:";
      return element("div", {}, about, element("p", {}, intro), element("ul", { className: "schema" }, schema[kind].map((part) => element("li", {}, part.$ref ? schemaLink(part) : describe(part)))));
    }
  }
  const members = Object.entries(schema.properties ?? {}).map(([name, member]) => {
    const needed = schema.required?.includes(name) ? "" : ", may be missing";
    return element("li", {}, element("code", {}, name), ": ", schemaLink(member), needed, member.description ? [" — ", prose(member.description)] : null);
  });
  return element("div", {}, about, members.length ? element("ul", { className: "schema" }, members) : element("p", {}, typeOf(schema)));
}

function schemaLink(schema) {
  const name = schema.$ref?.split("/").at(-1);
  if (name) return element("a", { href: `#${anchor(name)}` }, name);
  if (schema.type === "array" || schema.items) return element("span", {}, "list of ", schemaLink(schema.items));
  const choices = (schema.oneOf ?? schema.anyOf ?? schema.allOf ?? []).map(schemaLink);
  if (choices.length) return element("span", {}, choices.flatMap((choice, index) => (index ? [" or ", choice] : [choice])));
  return element("span", {}, typeOf(schema));
}

function typeOf(schema, description) {
  if (!schema) return "";
  const name = schema.$ref?.split("/").at(-1);
  if (name) return typeOf(description?.components.schemas[name]) || name;
  if (schema.enum) return schema.enum.join(", ");
  const parts = schema.oneOf ?? schema.anyOf;
  if (parts) return parts.filter((part) => part.type !== "null").map((part) => typeOf(part, description)).join(" or ");
  const types = [schema.type ?? "anything"].flat().filter((type) => type !== "null").join(" or ");
  return schema.maximum === undefined ? types : `${types} from ${schema.minimum} to ${schema.maximum}`;
}

/** Renders words between backticks as code. */
const prose = (text) => text.split("`").map((part, index) => (index % 2 ? element("code", {}, part) : part));
const anchor = (name) => `shape-${name}`;
const pre = (value) => element("pre", { tabIndex: 0 }, typeof value === "string" ? value : JSON.stringify(value, null, 2));

draw().catch(() => fill(byId("reference"), element("p", { className: "notice failure" }, "The description could not be read.")));
