// The documentation: search, buttons to copy commands, and a menu that is closed on a narrow screen.

import { serverUrl } from "./api.js";
import { byId, element, fill } from "./dom.js";

const MOST_RESULTS = 12;
const WORDS_AROUND = 60;

let index = null;

async function readIndex() {
  index ??= fetch(serverUrl("/docs/search.json")).then((answer) => answer.json());
  return index;
}

/** Sections that have all words, those with most of them in their headings first. */
export function find(sections, query) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return [];
  const scored = sections.map((section) => {
    const heading = `${section.title} ${section.heading}`.toLowerCase();
    const text = section.text.toLowerCase();
    let score = 0;
    for (const word of words) {
      if (section.heading.toLowerCase().includes(word)) score += 5;
      else if (heading.includes(word)) score += 2;
      else if (text.includes(word)) score += 1;
      else return { section, score: 0 };
    }
    return { section, score };
  });
  const found = scored.filter(({ score }) => score > 0);
  found.sort((one, other) => other.score - one.score);
  return found.slice(0, MOST_RESULTS).map(({ section }) => section);
}

/** The words around the first match. */
function excerpt(text, query) {
  const word = query.toLowerCase().split(/\s+/).find((word) => word && text.toLowerCase().includes(word));
  const at = word ? text.toLowerCase().indexOf(word) : 0;
  const start = Math.max(0, at - WORDS_AROUND);
  const end = Math.min(text.length, at + 2 * WORDS_AROUND);
  return `${start > 0 ? "…" : ""}${text.slice(start, end)}${end < text.length ? "…" : ""}`;
}

async function search() {
  const query = byId("search-words").value.trim();
  const list = byId("search-results");
  if (!query) {
    list.hidden = true;
    byId("search-status").textContent = "";
    return;
  }
  const found = find(await readIndex(), query);
  fill(list, found.map((section) => element("li", {},
    element("a", { href: `${section.page}${section.id ? `#${section.id}` : ""}` },
      element("strong", {}, section.heading ? `${section.title}: ${section.heading}` : section.title),
      element("span", {}, excerpt(section.text, query))))));
  if (found.length === 0) fill(list, element("li", { className: "none" }, `Nothing has “${query}”.`));
  byId("search-status").textContent = found.length === 1 ? "1 section found" : `${found.length} sections found`;
  list.hidden = false;
}

function listen() {
  byId("search").hidden = false;
  const words = byId("search-words");
  words.addEventListener("input", search);
  words.addEventListener("focus", () => { readIndex(); if (words.value) search(); });
  words.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown") { byId("search-results").querySelector("a")?.focus(); event.preventDefault(); }
    if (event.key === "Enter") byId("search-results").querySelector("a")?.click();
  });
  byId("search").addEventListener("keydown", (event) => {
    if (event.key === "Escape") { byId("search-results").hidden = true; words.focus(); }
  });
  document.addEventListener("click", (event) => { if (!byId("search").contains(event.target)) byId("search-results").hidden = true; });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !["INPUT", "TEXTAREA", "SELECT"].includes(event.target.tagName)) { words.focus(); event.preventDefault(); }
  });
  if (window.matchMedia("(max-width: 56rem)").matches) byId("menu").open = false;
  for (const block of document.querySelectorAll("article > pre")) addCopy(block);
}

/** A button that copies a block of code. */
function addCopy(block) {
  const button = element("button", { type: "button", className: "copy" }, "Copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(block.textContent);
      button.textContent = "Copied";
    } catch {
      // Without access to the clipboard, the text is selected for the reader to copy.
      getSelection().selectAllChildren(block);
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  const frame = element("div", { className: "code" });
  block.replaceWith(frame);
  frame.append(button, block);
}

listen();
