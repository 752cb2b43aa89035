// An answer on the page: its text with citation marks, what it rests on, and what is honest to say about it.

import { call, count, el, icon, iconButton, notice, placeLink, seconds, t } from "./common.js";
import { openPanel } from "./panel.js";

/** The text of an answer in parts: `{text}`, `{said}` (a quote in a sentence), `{mark}`, and `{quote}` on a line of its own. */
function parts(answer, citations) {
  const found = [];
  let rest = answer;
  let plain = "";
  const flush = () => {
    if (plain) found.push({ text: plain });
    plain = "";
  };
  while (rest) {
    const mark = /^\[(\d{1,3}(?:\s*,\s*\d{1,3})*)\]/.exec(rest);
    if (mark) {
      const numbers = mark[1].split(",").map(Number);
      if (numbers.every((n) => citations.some((citation) => citation.n === n))) {
        // The blank before a mark is the mark's own margin.
        plain = plain.replace(/ $/, "");
        flush();
        for (const n of numbers) found.push({ mark: n });
        rest = rest.slice(mark[0].length);
        continue;
      }
    }
    if (rest[0] === "«") {
      // A quote may itself hold quotation marks: its citation knows where it ends.
      const cited = citations.find((citation) => rest.startsWith(`«${citation.quote}» [${citation.n}]`));
      const length = cited ? cited.quote.length + 2 : rest.indexOf("»") + 1;
      const atLineStart = !plain.trim() && found.every((part, i) => i < found.length - 1 || !part.text);
      if (cited && (atLineStart || plain.endsWith("\n"))) {
        plain = plain.trim();
        flush();
        found.push({ quote: cited.quote, mark: cited.n });
        rest = rest.slice(length + ` [${cited.n}]`.length);
        continue;
      }
      if (length > 0) {
        flush();
        found.push({ said: rest.slice(0, length) });
        rest = rest.slice(length);
        continue;
      }
    }
    plain += rest[0];
    rest = rest.slice(1);
  }
  flush();
  return found;
}

function chip(n, citations) {
  const citation = citations.find((citation) => citation.n === n);
  const place = citation.page ? `${citation.title}, ${t("page")} ${citation.page}` : citation.title;
  const label = t("source_n", { n, title: place });
  const button = el("button", { class: "chip", type: "button", "aria-label": label, title: place, "aria-expanded": "false", "data-n": n }, String(n));
  button.addEventListener("click", () => openPanel(citations, n, button));
  return button;
}

/** The text as nodes: nothing of it is ever read as markup. */
export function textNodes(answer, citations) {
  const nodes = [];
  let paragraph = null;
  for (const part of parts(answer, citations)) {
    if (part.quote !== undefined) {
      nodes.push(el("blockquote", {}, part.quote, chip(part.mark, citations)));
      paragraph = null;
      continue;
    }
    if (!paragraph) {
      paragraph = el("p");
      nodes.push(paragraph);
    }
    if (part.text) paragraph.append(part.text);
    else if (part.said) paragraph.append(el("span", { class: "said" }, part.said));
    else paragraph.append(chip(part.mark, citations));
  }
  return nodes;
}

/** Whether an answer was asked for in a given form: JSON, say. */
const isFormed = (answer) => Boolean(answer.provenance?.form_sha256);

/** Whether its text says why there is none. */
const isRefusal = (answer) => Boolean(answer.abstained || answer.cut_off || answer.no_room);

/** The whole of a finished answer. */
export function answerNode(answer, { messageId = null, rating = null, question }) {
  const node = el("div", { class: "answer" });
  if (answer.fell_back) node.append(el("p", { class: "note" }, t("fell_back")));
  const text = el("div", { class: answer.abstained ? "answer-text abstained" : "answer-text" });
  // In an answer in a given form, `[1]` is a list and no mark.
  text.append(...(isFormed(answer) && !isRefusal(answer) ? [el("pre", {}, answer.answer)] : textNodes(answer.answer, answer.citations)));
  node.append(text);
  if (answer.abstained) node.append(el("p", { class: "quiet small" }, t("abstained_hint")));
  if (answer.nearest?.length) node.append(nearest(answer.nearest));
  if (answer.citations.length) node.append(sources(answer.citations));
  const told = aside(answer);
  if (told) node.append(told);
  node.append(tools(answer, { messageId, rating, question }));
  return node;
}

/** The documents that come near to a question that none answers. */
function nearest(documents) {
  const list = documents.map(({ document_id, title }) =>
    el("li", {}, el("a", { href: placeLink({ document_id, start: 0, end: 0 }) }, title)));
  return el("div", { class: "nearest small" }, el("p", { class: "quiet" }, t("nearest")), el("ul", {}, ...list));
}

/** Each document once, and once more for each other page, with the numbers of its citations. */
function sources(citations) {
  const rows = new Map();
  for (const citation of citations) {
    const place = `${citation.document_id} ${citation.page}`;
    if (!rows.has(place)) rows.set(place, []);
    rows.get(place).push(citation);
  }
  const list = el("div", { class: "sources" }, el("h3", {}, t("sources")));
  for (const [first, ...others] of rows.values()) {
    const title = el("button", { class: "source-title", type: "button", "aria-expanded": "false" }, first.title,
      first.page && el("span", { class: "quiet" }, ` · ${t("page")} ${first.page}`));
    title.addEventListener("click", () => openPanel(citations, first.n, title));
    list.append(el("div", { class: "source" },
      el("span", { class: "numbers" }, ...[first, ...others].map(({ n }) => chip(n, citations))), title));
  }
  return list;
}

/** What was taken out and what had no room. */
function aside(answer) {
  const told = el("div", { class: "told" });
  if (answer.unsupported.length) {
    const list = answer.unsupported.map(({ sentence, reason, path, kept }) =>
      el("li", {}, el("span", { class: kept ? null : "removed" }, sentence), path ? ` (${path})` : null, el("br"),
        el("span", { class: "quiet" }, t(`removed_${reason}`))));
    const removed = answer.unsupported.length;
    const summary = isFormed(answer) ? count("unsupported_value", removed) : count("unsupported", removed);
    told.append(el("details", {}, el("summary", {}, summary), el("ul", {}, ...list)));
  }
  if (answer.left_out.length) {
    const list = answer.left_out.map((passage) =>
      el("li", {}, el("a", { href: placeLink(passage) }, passage.title),
        passage.page ? ` · ${t("page")} ${passage.page}` : null));
    told.append(el("details", {}, el("summary", {}, count("left_out", answer.left_out.length)), el("ul", {}, ...list)));
  }
  return told.childElementCount ? told : null;
}

function tools(answer, { messageId, rating, question }) {
  const row = el("div", { class: "tools" });
  const copy = iconButton("copy", t("copy"), async () => {
    try {
      await navigator.clipboard.writeText(plainText(question, answer));
    } catch {
      // Browsers keep the clipboard from pages served over plain http.
      copyBySelection(plainText(question, answer));
    }
    copy.replaceChildren(icon("check"));
    setTimeout(() => copy.replaceChildren(icon("copy")), 2000);
    notice(t(answer.citations.length ? "copied" : "copied_alone"));
  });
  row.append(copy);
  const comment = el("div", { class: "comment", hidden: true });
  if (messageId) {
    const buttons = {};
    const rate = async (value) => {
      try {
        await call("POST", "/api/v1/feedback", { json: { message_id: messageId, rating: value } });
        for (const [name, button] of Object.entries(buttons)) button.setAttribute("aria-pressed", String(name === value));
        comment.hidden = value !== "down";
        if (value === "up") notice(t("thanks"));
        else comment.querySelector("input").focus();
      } catch (failure) {
        notice(failure.words);
      }
    };
    for (const [value, label] of [["up", t("helpful")], ["down", t("not_helpful")]]) {
      buttons[value] = iconButton(value, label, () => rate(value), { "aria-pressed": String(rating === value) });
      row.append(buttons[value]);
    }
    comment.append(...commentForm(messageId, comment));
  }
  if (!answer.abstained) row.append(el("span", { class: "took quiet", title: answer.model ?? "" },
    t(answer.mode === "extract" ? "took_quotes" : "took_answer", { seconds: seconds(answer.timings_ms.total) })));
  return el("div", { class: "stack" }, row, comment);
}

function commentForm(messageId, comment) {
  const input = el("input", { class: "input", maxlength: "4000", "aria-label": t("comment"), placeholder: t("comment") });
  const send = async () => {
    try {
      await call("POST", "/api/v1/feedback", { json: { message_id: messageId, rating: "down", comment: input.value.trim() } });
      comment.hidden = true;
      notice(t("thanks"));
    } catch (failure) {
      notice(failure.words);
    }
  };
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter") send();
  });
  return [input, el("button", { class: "button", type: "button", onclick: send }, t("send_comment"))];
}

/** For pasting elsewhere: the question, the answer, and its sources by number with their addresses. */
function plainText(question, answer) {
  const lines = [question, "", answer.answer];
  if (answer.citations.length) lines.push("", `${t("sources")}:`);
  for (const citation of answer.citations) {
    const place = citation.page ? `${citation.title}, ${t("page")} ${citation.page}` : citation.title;
    const link = new URL(placeLink(citation), location.origin);
    lines.push(`[${citation.n}] ${place}: «${citation.quote}»`, `    ${link}`);
  }
  return lines.join("\n");
}

function copyBySelection(text) {
  const area = el("textarea", { class: "visually-hidden" });
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}
