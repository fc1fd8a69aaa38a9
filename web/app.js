// The page at /: one text or one file in, scores out.

import { curl, Failure, health, keepKey, predict, readKey } from "./api.js";
import * as batch from "./batch.js";
import { byId, element, fill } from "./dom.js";
import { hideTip, SIGNS, showEntities, showReading, showSentences } from "./render.js";

const EXAMPLES = {
  en: {
    text: "The camera is superb, but the battery is a joke. Delivery took two days. I would buy from Acme again, although Acme's support never answered.",
    entities: "camera, battery, Acme, price",
  },
  nl: {
    text: "Geweldig product, maar de bezorging duurde eindeloos. De camera maakt prachtige foto's. De klantenservice was onbeschoft.",
    entities: "product, bezorging, camera, klantenservice",
  },
};

const say = (text) => { byId("status").textContent = text; };

function listen() {
  byId("key").value = readKey();
  byId("key").addEventListener("input", () => keepKey(byId("key").value.trim()));
  byId("show-key").addEventListener("click", toggleKey);
  byId("ask").addEventListener("submit", (event) => { event.preventDefault(); attempt(score); });
  byId("text").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) byId("ask").requestSubmit();
  });
  for (const button of document.querySelectorAll("[data-example]")) button.addEventListener("click", () => useExample(button.dataset.example));
  for (const button of document.querySelectorAll("[data-copy]")) button.addEventListener("click", () => copy(button));
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hideTip(); });
  byId("tip").addEventListener("mouseleave", hideTip);
  listenForFiles();
}

function listenForFiles() {
  const open = (file) => attempt(async () => {
    await batch.openFile(file);
    byId("batch-title").focus();
  });
  byId("file").addEventListener("change", (event) => {
    const [file] = event.target.files;
    // The same file can then be chosen again after it was changed.
    if (file) open(file).then(() => { event.target.value = ""; });
  });
  // A file dropped beside the field would make the browser leave the page.
  document.addEventListener("dragover", (event) => { event.preventDefault(); byId("drop").classList.add("over"); });
  document.addEventListener("dragleave", () => byId("drop").classList.remove("over"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    byId("drop").classList.remove("over");
    const [file] = event.dataTransfer.files;
    if (file) open(file);
  });
  byId("run").addEventListener("click", () => attempt(() => batch.runFile(byId("language").value, entities(), say)));
  byId("cancel").addEventListener("click", batch.stopFile);
  for (const button of document.querySelectorAll("[data-sort]")) button.addEventListener("click", () => batch.sortBy(button.dataset.sort));
  byId("filter-text").addEventListener("input", batch.filterRows);
  byId("filter-sentiment").addEventListener("change", batch.filterRows);
  byId("previous").addEventListener("click", () => batch.turnPage(-1));
  byId("next").addEventListener("click", () => batch.turnPage(1));
  byId("download-csv").addEventListener("click", batch.downloadCsv);
  byId("download-jsonl").addEventListener("click", batch.downloadJsonl);
}

/** Runs an action and shows its error. */
async function attempt(action) {
  byId("problem").hidden = true;
  try {
    await action();
  } catch (error) {
    say("");
    const reference = error.requestId ? `\nRequest ${error.requestId}` : "";
    byId("problem").textContent = `${error.message}${reference}`;
    byId("problem").hidden = false;
    if (error instanceof Failure && error.status === 401) byId("key").focus();
    else if (!(error instanceof Failure)) console.error(error);
  }
}

async function score() {
  const doc = byId("text").value;
  if (!doc.trim()) {
    byId("text").focus();
    throw new Failure(0, "empty", "Type or paste a text first.");
  }
  const docs = [{ doc_id: "1", doc, entities: entities() }];
  const query = { language: byId("language").value };
  say("Scoring…");
  const answer = await predict(docs, query);
  const [result] = answer.results;
  showReading(doc, result);
  showEntities(result.entity_sentiments);
  showSentences(result.details);
  fill(byId("warnings"), result.warnings.map(({ message }) => element("li", {}, message)));
  byId("warnings").hidden = result.warnings.length === 0;
  const label = result.predicted_label;
  const words = `${label}, with probability ${result.probabilities[label].toFixed(2)}; read as ${result.language === "nl" ? "Dutch" : "English"}`;
  fill(byId("verdict"), "The text as a whole: ", element("span", { className: `sign ${label}`, "aria-hidden": "true" }, SIGNS[label]), ` ${words}.`);
  byId("json").textContent = JSON.stringify(answer, null, 2);
  byId("curl").textContent = curl(docs, query);
  byId("result").hidden = false;
  say(`Scored: ${words}.`);
}

const entities = () => byId("entities").value.split(",").map((entity) => entity.trim()).filter(Boolean);

function useExample(language) {
  byId("text").value = EXAMPLES[language].text;
  byId("entities").value = EXAMPLES[language].entities;
  byId("text").focus();
}

function toggleKey() {
  const isShown = byId("key").type === "text";
  byId("key").type = isShown ? "password" : "text";
  byId("show-key").textContent = isShown ? "Show key" : "Hide key";
}

async function copy(button) {
  const source = byId(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(source.textContent);
    button.textContent = "Copied";
    say("Copied.");
  } catch {
    // Without access to the clipboard, the text is selected for the reader to copy.
    getSelection().selectAllChildren(source);
    button.textContent = "Selected";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
}

async function showServer() {
  try {
    const { version, status } = await health();
    byId("server").textContent = status === "healthy" ? `version ${version}` : `version ${version}: a model is missing or still loading`;
  } catch (error) {
    byId("server").textContent = error.message;
  }
}

listen();
showServer();
