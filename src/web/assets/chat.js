// The chat page: the thread and the composer.

import { answerNode, textNodes } from "./answer.js";
import { call, el, notice, seconds, t, user } from "./common.js";
import { closePanel } from "./panel.js";
import { closeRail, refresh, setCurrent, startRail } from "./rail.js";
import { ask } from "./stream.js";

const $ = (id) => document.getElementById(id);
const thread = $("thread");
const scroller = $("main");
const composer = $("composer");
const question = $("question");
const DRAFT = "intramuros.draft";
const MODE = "intramuros.mode";

/** Tells an answer in the making, or a conversation that loads, that the page has moved on. */
let running = null;
let conversation = null;

// The composer.

function fit() {
  question.style.height = "auto";
  question.style.height = `${question.scrollHeight}px`;
  const left = question.maxLength - question.value.length;
  $("left").textContent = left < 200 ? t("characters_left", { n: left }) : "";
  $("send").disabled = !question.value.trim();
}

function mode() {
  return composer.elements.mode.value;
}

function keepDraft(text) {
  // Only its writer finds it again, should somebody else sign in here.
  if (text.trim()) sessionStorage.setItem(DRAFT, JSON.stringify({ user, text }));
  else sessionStorage.removeItem(DRAFT);
}

function takeDraft() {
  const kept = sessionStorage.getItem(DRAFT);
  sessionStorage.removeItem(DRAFT);
  const draft = kept ? JSON.parse(kept) : null;
  return draft?.user === user ? draft.text : "";
}

question.addEventListener("input", fit);
question.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    composer.requestSubmit();
  }
});
question.addEventListener("paste", (event) => {
  const pasted = event.clipboardData.getData("text").length;
  const kept = question.value.length - (question.selectionEnd - question.selectionStart);
  if (kept + pasted > question.maxLength) notice(t("question_cut", { n: question.maxLength }));
});
composer.addEventListener("change", () => localStorage.setItem(MODE, mode()));
composer.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = question.value.trim();
  if (!text || running) return;
  question.value = "";
  fit();
  closePanel();
  question.focus({ preventScroll: true });
  put(text, mode());
});
$("stop").addEventListener("click", () => running?.abort());
document.addEventListener("intramuros:leaving", () => keepDraft(question.value));

function setRunning(controller) {
  running = controller;
  $("send").hidden = Boolean(controller);
  $("stop").hidden = !controller;
}

// The thread.

function turn(asked) {
  $("welcome").hidden = true;
  $("heading").hidden = false;
  const node = el("article", { class: "turn" }, el("h2", { class: "visually-hidden" }, t("question")), el("p", { class: "asked" }, asked));
  thread.append(node);
  return node;
}

function isAtEnd() {
  return scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 120;
}

function toEnd() {
  scroller.scrollTop = scroller.scrollHeight;
}

/** Says that something happens, and after a few seconds for how long already. */
function waiting() {
  const words = el("span", {}, t("looking"));
  const clock = el("span", { class: "small", "aria-hidden": "true" });
  const node = el("div", { class: "waiting", role: "status" }, el("span", { class: "dots", "aria-hidden": "true" }, el("i"), el("i"), el("i")), words, clock);
  const begun = performance.now();
  const timer = setInterval(() => {
    const passed = performance.now() - begun;
    if (passed > 4000 && words.textContent !== t("still_working")) words.textContent = t("still_working");
    if (passed > 4000) clock.textContent = seconds(Math.round(passed / 1000) * 1000);
  }, 500);
  return { node, end: () => { clearInterval(timer); node.remove(); } };
}

/** Asks, and shows the answer as it comes. */
async function put(asked, chosen, node = turn(asked)) {
  const controller = new AbortController();
  setRunning(controller);
  const wait = waiting();
  const text = el("div", { class: "answer-text" });
  const live = el("div", { class: "answer", "aria-live": "polite" }, text, wait.node);
  node.append(live);
  toEnd();

  const citations = [];
  let sofar = "";
  const heard = {
    citation: (citation) => citations.push(citation),
    token: (piece) => {
      const follow = isAtEnd();
      sofar += piece;
      text.replaceChildren(...textNodes(sofar, citations));
      if (follow) toEnd();
    },
  };
  try {
    // A conversation begins with an answer, so that none is left empty.
    const where = conversation ? { conversation_id: conversation } : { new_conversation: true };
    const answer = await ask({ question: asked, mode: chosen, ...where }, heard, controller.signal);
    if (!conversation && answer.conversation_id) begin(answer.conversation_id);
    const here = conversation;
    const follow = isAtEnd();
    live.replaceWith(answerNode(answer, { messageId: answer.message_id, question: asked }));
    if (follow) toEnd();
    refresh().then((all) => entitle(all.find(({ conversation_id }) => conversation_id === here)?.title));
  } catch (failure) {
    if (!text.childElementCount) text.remove();
    if (failure.name === "AbortError") stopped(live);
    else failed(failure, live, node, asked, chosen);
  } finally {
    wait.end();
    // Opening another conversation meanwhile has set one of its own.
    if (running === controller) setRunning(null);
  }
}

function begin(id) {
  conversation = id;
  history.pushState(null, "", `/?c=${id}`);
  setCurrent(id);
}

function stopped(live) {
  live.append(el("p", { class: "note" }, t("stopped")));
  // The button that had the focus is gone.
  if (document.activeElement === document.body) question.focus({ preventScroll: true });
}

function failed(failure, live, node, asked, chosen) {
  if (failure.code === "unauthorized") keepDraft(asked);
  const again = failure.code === "unauthorized"
    ? el("a", { class: "button", href: "/sign-in" }, t("sign_in_again"))
    : el("button", { class: "button", type: "button", onclick: () => {
        if (running) return;
        live.remove();
        put(asked, chosen, node);
      } }, t("try_again"));
  const gone = failure.code === "not_found" && conversation;
  if (gone) {
    // Deleted elsewhere meanwhile: the next try begins a new one.
    conversation = null;
    history.replaceState(null, "", "/");
    refresh();
    setCurrent(null);
  }
  const words = gone ? t("conversation_deleted") : failure.words;
  live.append(el("div", { class: "note note-bad retry", role: "alert" }, el("p", {}, words), again));
  if (failure.code === "busy") countDown(again, failure.retryAfter || 5);
  toEnd();
}

/** A server that is busy says when to come back; earlier is in vain. */
function countDown(button, left) {
  button.disabled = left > 0;
  button.textContent = left > 0 ? t("try_again_in", { seconds: left }) : t("try_again");
  if (left > 0 && button.isConnected) setTimeout(() => countDown(button, left - 1), 1000);
}

// Conversations.

function entitle(title) {
  $("title").textContent = title || "Intramuros";
  $("heading").textContent = title || t("nav_ask");
  document.title = title ? `${title} · Intramuros` : `${t("nav_ask")} · Intramuros`;
}

function clear() {
  running?.abort();
  setRunning(null);
  closePanel();
  thread.replaceChildren();
}

function fresh(push = true) {
  clear();
  conversation = null;
  setCurrent(null);
  entitle("");
  $("welcome").hidden = false;
  $("heading").hidden = true;
  if (push) history.pushState(null, "", "/");
  closeRail();
  question.focus();
}

async function open(id, push = true) {
  clear();
  conversation = id;
  setCurrent(id);
  $("welcome").hidden = true;
  if (push) history.pushState(null, "", `/?c=${id}`);
  thread.setAttribute("aria-busy", "true");
  try {
    const record = await call("GET", `/api/v1/conversations/${encodeURIComponent(id)}`);
    if (conversation !== id) return;
    entitle(record.title);
    for (const message of record.messages) {
      const { question: asked, answer, message_id: messageId, rating } = message;
      const node = turn(asked);
      node.append(answer ? answerNode(answer, { messageId, rating, question: asked }) : el("p", { class: "note" }, t("withheld")));
    }
    toEnd();
    question.focus({ preventScroll: true });
  } catch (failure) {
    if (conversation !== id) return;
    if (failure.code === "unauthorized") {
      location.assign("/sign-in");
      return;
    }
    conversation = null;
    thread.replaceChildren(el("div", { class: "note" }, failure.code === "not_found" ? t("conversation_gone") : failure.words));
  } finally {
    thread.setAttribute("aria-busy", "false");
  }
}

function fromAddress() {
  const id = new URLSearchParams(location.search).get("c");
  if (id) open(id, false);
  else fresh(false);
}

$("new").addEventListener("click", () => fresh());
$("new-narrow").addEventListener("click", () => fresh());
window.addEventListener("popstate", fromAddress);

const remembered = localStorage.getItem(MODE);
if (remembered === "generate" || remembered === "extract") composer.elements.mode.value = remembered;
fromAddress();
startRail({ open, gone: fresh, renamed: entitle });
question.value = takeDraft();
fit();
