// The list of conversations.

import { call, confirmed, el, iconButton, notice, t } from "./common.js";

const $ = (id) => document.getElementById(id);
const rail = $("rail");
const veil = $("veil");
const list = $("conversations");
const narrow = window.matchMedia("(max-width: 60rem)");

let hooks = {};
let current = null;
/** Conversations that are shown at first, and that come with each further look; and the most in one reply. */
const PART = 50;
const MOST = 200;
let wanted = PART;

/** `open(id)` shows a conversation, `gone()` follows the deletion of the one shown, `renamed(title)` its new name. */
export function startRail(given) {
  hooks = given;
  $("rail-open").addEventListener("click", openRail);
  $("rail-close").addEventListener("click", closeRail);
  veil.addEventListener("click", closeRail);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") closeRail();
  });
  return refresh();
}

export function setCurrent(id) {
  current = id;
  for (const link of list.querySelectorAll("a")) {
    if (link.dataset.id === id) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

/** Reads the list again, as far as it is shown. Returns it. */
export async function refresh() {
  const conversations = [];
  let after = null;
  try {
    do {
      const query = new URLSearchParams({ limit: Math.min(wanted - conversations.length, MOST), ...(after && { after }) });
      const part = await call("GET", `/api/v1/conversations?${query}`);
      conversations.push(...part.conversations);
      after = part.next;
    } while (after && conversations.length < wanted);
  } catch (failure) {
    list.replaceChildren(el("p", { class: "quiet" }, failure.words));
    return [];
  }
  const nodes = [];
  let heading = "";
  for (const conversation of conversations) {
    const name = period(conversation.updated_ms);
    if (name !== heading) nodes.push(el("h2", {}, name));
    heading = name;
    nodes.push(item(conversation));
  }
  if (after) nodes.push(el("button", { class: "button rail-more", type: "button", onclick: more }, t("show_more")));
  list.replaceChildren(...(nodes.length ? nodes : [el("p", { class: "quiet" }, t("no_conversations"))]));
  setCurrent(current);
  return conversations;
}

async function more() {
  const shown = list.querySelectorAll("a").length;
  wanted += PART;
  await refresh();
  list.querySelectorAll("a")[shown]?.focus();
}

function item({ conversation_id: id, title: given }) {
  // A program may begin one without a question.
  const title = given || t("untitled");
  const open = (event) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    closeRail();
    hooks.open(id);
  };
  return el("div", { class: "rail-item" },
    el("a", { href: `/?c=${id}`, "data-id": id, title, onclick: open }, title),
    el("span", { class: "rail-tools" },
      iconButton("dots", t("rename_title", { title }), () => rename(id, title)),
      iconButton("trash", t("delete_title", { title }), () => remove(id, title))));
}

async function rename(id, title) {
  const name = await confirmed({ title: t("rename"), go: t("save"), value: title });
  if (!name || name === title) return;
  await told(call("PATCH", `/api/v1/conversations/${id}`, { json: { title: name } }));
  if (id === current) hooks.renamed(name);
}

async function remove(id, title) {
  if (!(await confirmed({ title: t("delete_conversation"), text: t("delete_conversation_text", { title }), go: t("delete"), bad: true }))) return;
  await told(call("DELETE", `/api/v1/conversations/${id}`));
  if (id === current) hooks.gone();
}

async function told(work) {
  try {
    await work;
    await refresh();
  } catch (failure) {
    notice(failure.words);
  }
}

function period(ms) {
  const midnight = new Date().setHours(0, 0, 0, 0);
  const day = 24 * 60 * 60 * 1000;
  if (ms >= midnight) return t("today");
  if (ms >= midnight - day) return t("yesterday");
  if (ms >= midnight - 7 * day) return t("this_week");
  return t("earlier");
}

function openRail() {
  rail.classList.add("open");
  veil.hidden = false;
  $("rail-open").setAttribute("aria-expanded", "true");
  $("rail-close").focus();
}

export function closeRail() {
  if (!rail.classList.contains("open")) return;
  rail.classList.remove("open");
  veil.hidden = true;
  $("rail-open").setAttribute("aria-expanded", "false");
  if (narrow.matches) $("rail-open").focus();
}
