// Shows one scored document: the text with its sentences and mentions, and the tables below it.

import { byId, element, fill } from "./dom.js";

export const SIGNS = { negative: "−", neutral: "○", positive: "+" };
const LABELS = ["negative", "neutral", "positive"];

/** The text of `doc`, with sentences shaded and mentions marked. */
export function showReading(doc, result) {
  const groups = result.details.map(() => []);
  for (const entity of result.entity_sentiments) {
    for (const mention of entity.mentions) groups[mention.sentence_index]?.push({ ...mention, entity: entity.entity });
  }
  const parts = [];
  let end = 0;
  for (const sentence of result.details) {
    parts.push(doc.slice(end, sentence.start), sentenceElement(doc, sentence, groups[sentence.sentence_index]));
    end = sentence.end;
  }
  parts.push(doc.slice(end));
  fill(byId("reading"), parts);
}

function sentenceElement(doc, sentence, mentions) {
  const label = sentence.predicted_label;
  const parts = [sign(label, `${label} sentence: `)];
  let at = sentence.start;
  for (const group of overlapping(mentions)) {
    // A mention may extend into the next sentence, which shows those letters itself.
    const end = Math.min(group.end, sentence.end);
    parts.push(doc.slice(at, group.start), mentionButton(doc.slice(group.start, end), group.mentions));
    at = end;
  }
  parts.push(doc.slice(at, sentence.end));
  const made = element("span", { className: `sentence ${label}` }, parts);
  made.style.setProperty("--strength", sentence.probabilities[label].toFixed(2));
  describe(made, () => tipLines(`${capital(label)} sentence`, sentence.probabilities));
  return made;
}

/** Joins overlapping mentions (Apple, Apple Watch) to one place with all of them. */
export function overlapping(mentions) {
  const groups = [];
  for (const mention of [...mentions].sort((one, other) => one.start - other.start || other.end - one.end)) {
    const last = groups.at(-1);
    if (last && mention.start < last.end) {
      last.end = Math.max(last.end, mention.end);
      last.mentions.push(mention);
    } else {
      groups.push({ start: mention.start, end: mention.end, mentions: [mention] });
    }
  }
  return groups;
}

function mentionButton(text, mentions) {
  const label = mentions[0].sentiment;
  const words = mentions.map(({ entity, sentiment, probabilities }) => `${entity} ${sentiment} ${percent(probabilities[sentiment])}`);
  const made = element(
    "button",
    { type: "button", className: `mention ${label}` },
    text, sign(label), element("span", { className: "hidden" }, ` (${words.join(", ")})`),
  );
  describe(made, () => mentions.map((mention) => {
    const form = mention.form === "exact" ? "" : `, ${mention.form}`;
    return tipLines(`${mention.entity}: ${mention.sentiment}${form}`, mention.probabilities);
  }));
  return made;
}

export function showEntities(entities) {
  byId("entities-part").hidden = entities.length === 0;
  const rows = entities.map((entity) => element("tr", {},
    element("th", { scope: "row" }, entity.entity),
    element("td", { className: "whole" }, labelled(entity.sentiment, entity.score)),
    element("td", {}, bar(entity.probabilities)),
    element("td", {}, entity.match === "explicit" ? String(entity.mentions.length) : "none, judged by the whole text"),
  ));
  fill(byId("entity-table").tBodies[0], rows);
}

export function showSentences(sentences) {
  const rows = sentences.map((sentence) => element("tr", {},
    element("td", {}, String(sentence.sentence_index + 1)),
    element("td", { className: "text" }, sentence.sentence_text),
    element("td", { className: "whole" }, labelled(sentence.predicted_label, sentence.probabilities[sentence.predicted_label])),
    element("td", {}, bar(sentence.probabilities)),
  ));
  fill(byId("sentence-table").tBodies[0], rows);
}

/** A sentiment as sign, word and probability. */
export function labelled(label, probability) {
  return element("span", {}, sign(label), ` ${label} ${percent(probability)}`);
}

/** Three probabilities as a bar, and as figures for screen readers. */
function bar(probabilities) {
  const spans = LABELS.map((label) => {
    const span = element("span", { className: label });
    span.style.width = percent(probabilities[label]).replace(" ", "");
    return span;
  });
  // A line may break between two of them, not before a percent sign.
  const figures = LABELS.map((label, index) => [index > 0 ? ", " : "", element("span", { className: "whole" }, percent(probabilities[label]))]);
  return element("div", {},
    element("div", { className: "bar", "aria-hidden": "true" }, spans),
    element("span", { className: "figures" }, figures));
}

function sign(label, spoken) {
  const shown = element("span", { className: `sign ${label}`, "aria-hidden": "true" }, SIGNS[label]);
  return spoken ? [shown, element("span", { className: "hidden" }, spoken)] : shown;
}

function tipLines(title, probabilities) {
  return element("div", {}, element("p", {}, element("strong", {}, title)), bar(probabilities));
}

const percent = (probability) => `${(probability * 100).toFixed(probability < 0.0995 ? 1 : 0)} %`;
const capital = (word) => word[0].toUpperCase() + word.slice(1);

/** Shows a tip while `target` is hovered or focused; a press shows it on touch screens. */
function describe(target, content) {
  const show = (event) => {
    event.stopPropagation();
    const tip = byId("tip");
    fill(tip, [content()].flat());
    tip.hidden = false;
    place(tip, event.clientX !== undefined && target.tagName === "SPAN" ? pointBox(event) : target.getBoundingClientRect());
    if (target.tagName === "BUTTON") target.setAttribute("aria-describedby", "tip");
  };
  target.addEventListener("mouseover", show);
  target.addEventListener("mouseout", (event) => { if (!byId("tip").contains(event.relatedTarget)) hideTip(); });
  if (target.tagName === "BUTTON") {
    target.addEventListener("focus", show);
    target.addEventListener("click", show);
    target.addEventListener("blur", hideTip);
  }
}

const pointBox = ({ clientX, clientY }) => ({ left: clientX, top: clientY - 8, bottom: clientY + 14 });

function place(tip, box) {
  const left = Math.min(box.left, document.documentElement.clientWidth - tip.offsetWidth - 8);
  const below = box.bottom + 4;
  const top = below + tip.offsetHeight > window.innerHeight ? box.top - tip.offsetHeight - 4 : below;
  tip.style.left = `${Math.max(8, left) + window.scrollX}px`;
  tip.style.top = `${Math.max(0, top) + window.scrollY}px`;
}

export function hideTip() {
  byId("tip").hidden = true;
  for (const described of document.querySelectorAll("[aria-describedby=tip]")) described.removeAttribute("aria-describedby");
}
