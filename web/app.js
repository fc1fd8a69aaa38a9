// The page at /: one text or one file in, scores out.

import { curl, demo, Failure, health, keepKey, predict, readKey } from "./api.js";
import * as batch from "./batch.js";
import { byId, element, fill } from "./dom.js";
import { explain } from "./problems.js";
import * as rows from "./rows.js";
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
  byId("ask").addEventListener("submit", (event) => { event.preventDefault(); attempt(score, "result"); });
  byId("text").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) byId("ask").requestSubmit();
  });
  for (const button of document.querySelectorAll("[data-example]")) button.addEventListener("click", () => useExample(button.dataset.example));
  for (const button of document.querySelectorAll("[data-copy]")) button.addEventListener("click", () => copy(button));
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hideTip(); });
  byId("tip").addEventListener("mouseleave", hideTip);
  byId("retry").addEventListener("click", () => retryAction?.());
  listenForFiles();
}

function listenForFiles() {
  const open = (file) => attempt(async () => {
    await batch.openFile(file, say);
    byId("batch-title").focus();
  }, "batch");
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
  byId("read-again").addEventListener("click", () => attempt(() => batch.readAgain(say)));
  for (const button of document.querySelectorAll("[data-sort]")) button.addEventListener("click", () => rows.sortBy(button.dataset.sort));
  byId("filter-text").addEventListener("input", rows.filterRows);
  for (const id of ["filter-sentiment", "filter-entity"]) byId(id).addEventListener("change", rows.filterRows);
  byId("previous").addEventListener("click", () => rows.turnPage(-1));
  byId("next").addEventListener("click", () => rows.turnPage(1));
  byId("download-csv").addEventListener("click", rows.downloadCsv);
  byId("download-jsonl").addEventListener("click", rows.downloadJsonl);
  byId("download-excel").addEventListener("click", () => attempt(rows.downloadExcel));
  for (const button of document.querySelectorAll("[data-png]")) button.addEventListener("click", () => attempt(() => rows.downloadPng(button.dataset.png)));
}

let countdown = null;
let retryAction = null;

/** Runs an action and shows its error. An error hides the part that would show an older result. */
async function attempt(action, part) {
  clearInterval(countdown);
  byId("problem").hidden = true;
  try {
    await action();
  } catch (error) {
    say("");
    if (part) byId(part).hidden = true;
    showProblem(error, () => attempt(action, part));
    if (error instanceof Failure && error.status === 401) byId("key").focus();
    else if (!(error instanceof Failure)) console.error(error);
  }
}

function showProblem(error, again) {
  byId("problem").hidden = false;
  byId("problem-text").textContent = explain(error);
  byId("problem-reference").textContent = error.requestId ? `Request ${error.requestId}` : "";
  const mayPass = [0, 408, 429, 500, 503].includes(error.status) && error.code !== "empty";
  const retry = byId("retry");
  retry.hidden = !mayPass;
  retryAction = again;
  let seconds = error.retryAfter && error.retryAfter < 3600 ? error.retryAfter : 0;
  const tick = () => {
    retry.disabled = seconds > 0;
    byId("problem-wait").textContent = seconds > 0 ? `${seconds} s left` : "";
    if (seconds === 0) clearInterval(countdown);
    seconds -= 1;
  };
  tick();
  if (seconds >= 0) countdown = setInterval(tick, 1000);
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
  showAnswer(docs, query, answer);
}

/** The text that the shown answer is about. */
let shownText = null;

function showAnswer(docs, query, answer) {
  const [{ doc }] = docs;
  const [result] = answer.results;
  const place = shownText === doc ? byId("reading").scrollTop : 0;
  showReading(doc, result);
  shownText = doc;
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
  // A long text that is scored again keeps its place.
  byId("reading").scrollTop = place;
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

/** Shows a sample that the server scores without a key, where it does so. */
async function showSample() {
  if (readKey() || byId("text").value) return;
  const language = navigator.language.startsWith("nl") ? "nl" : "en";
  const sample = await demo(language).catch(() => ({ enabled: false }));
  // The reader may have begun to type meanwhile.
  if (!sample.enabled || byId("text").value) return;
  byId("text").value = sample.document.doc;
  byId("entities").value = sample.document.entities.join(", ");
  showAnswer([{ ...sample.document, doc_id: "1" }], { language: sample.language }, sample.answer);
  say("This sample was scored by the server. With a key you can score your own texts.");
}

async function showServer() {
  try {
    const { version, status } = await health();
    byId("server").textContent = status === "healthy" ? `version ${version}` : `version ${version}: a model is missing or still loading`;
  } catch (error) {
    byId("server").textContent = explain(error);
  }
}

listen();
showServer();
showSample();
