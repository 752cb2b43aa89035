// The passage behind a citation: beside the thread, or as a sheet from below on a phone.

import { call, el, icon, originalLink, placeLink, t } from "./common.js";

/** Characters shown before and after a quote. */
const AROUND = 700;

const $ = (id) => document.getElementById(id);
const panel = $("panel");
const veil = $("veil");
const isSheet = window.matchMedia("(max-width: 60rem)");

let shown = null;
let opener = null;
let loading = null;

/** Opens the panel at the citation with the number `n`; `from` gets the focus back. */
export function openPanel(citations, n, from) {
  if (from) {
    opener?.setAttribute("aria-expanded", "false");
    opener = from;
    opener.setAttribute("aria-expanded", "true");
  }
  shown = { citations, at: citations.findIndex((citation) => citation.n === n) };
  panel.hidden = false;
  veil.hidden = !isSheet.matches;
  show();
  $("panel-title").focus({ preventScroll: true });
}

export function closePanel() {
  if (panel.hidden) return;
  loading?.abort();
  panel.hidden = true;
  veil.hidden = true;
  shown = null;
  opener?.setAttribute("aria-expanded", "false");
  if (opener?.isConnected) opener.focus({ preventScroll: true });
  opener = null;
}

async function show() {
  const { citations, at } = shown;
  const citation = citations[at];
  $("panel-count").textContent = t("source_of", { n: citation.n, all: citations.length });
  $("panel-prev").disabled = at === 0;
  $("panel-next").disabled = at === citations.length - 1;
  $("panel-title").textContent = citation.title;
  $("panel-place").textContent = citation.page ? `${t("page")} ${citation.page}` : "";
  $("panel-place").hidden = !citation.page;
  const original = el("a", { class: "button", href: originalLink(citation), target: "_blank", rel: "noopener" }, icon("out"),
    citation.page ? `${t("original")} · ${t("page")} ${citation.page}` : t("original"));
  $("panel-links").replaceChildren(
    el("a", { class: "button button-main", href: placeLink(citation), target: "_blank", rel: "noopener" }, icon("doc"), t("in_document")), original);

  // The quote is known already; what stands around it comes in a moment.
  const text = $("panel-text");
  text.replaceChildren(el("mark", {}, citation.quote));
  text.setAttribute("aria-busy", "true");
  loading?.abort();
  loading = new AbortController();
  const from = Math.max(0, citation.start - AROUND);
  try {
    const path = `/api/v1/documents/${citation.document_id}/text?start=${from}&end=${citation.end + AROUND}`;
    const slice = await call("GET", path, { signal: loading.signal });
    text.replaceChildren(...marked(slice, citation));
    text.querySelector("mark")?.scrollIntoView({ block: "center" });
  } catch (failure) {
    if (failure.name === "AbortError") return;
    text.replaceChildren(el("p", { class: "note" }, failure.code === "not_found" ? t("passage_gone") : failure.words));
  }
  text.setAttribute("aria-busy", "false");
}

/** Offsets count characters (Unicode scalar values), not UTF-16 units. */
function marked(slice, citation) {
  const characters = Array.from(slice.text);
  const from = slice.start;
  const part = (start, end) => characters.slice(Math.max(0, start - from), Math.max(0, end - from)).join("");
  if (part(citation.start, citation.end) !== citation.quote) return [el("p", { class: "note" }, t("document_changed"))];
  const cut = characters.length >= citation.end + AROUND - from;
  return [
    el("span", { class: "dim" }, from > 0 ? "… " : "", part(from, citation.start)),
    el("mark", {}, part(citation.start, citation.end)),
    el("span", { class: "dim" }, part(citation.end, Infinity), cut ? " …" : ""),
  ];
}

function step(by) {
  const citation = shown?.citations[shown.at + by];
  if (citation) openPanel(shown.citations, citation.n, null);
}

$("panel-close").addEventListener("click", closePanel);
$("panel-prev").addEventListener("click", () => step(-1));
$("panel-next").addEventListener("click", () => step(1));
veil.addEventListener("click", closePanel);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !document.querySelector("dialog[open]")) closePanel();
});
