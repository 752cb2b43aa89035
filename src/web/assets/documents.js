// The documents page: the list, and for administrators uploads and what becomes of them.

import { call, confirmed, count, el, iconButton, language, notice, shortDate, longDate, t } from "./common.js";

const $ = (id) => document.getElementById(id);
const list = $("documents");
const isAdmin = list.dataset.admin === "yes";
const PAGE = 100;

let documents = [];
let after = null;

// The list.

let loading = null;

/** Reads the list from its beginning, or what follows after `from`. */
async function load(from = null) {
  loading?.abort();
  loading = new AbortController();
  list.setAttribute("aria-busy", "true");
  const query = new URLSearchParams({ limit: PAGE, q: $("filter").value.trim() });
  if (from) query.set("after", from);
  try {
    const page = await call("GET", `/api/v1/documents?${query}`, { signal: loading.signal });
    documents = from ? documents.concat(page.documents) : page.documents;
    after = page.next;
    show();
  } catch (failure) {
    if (failure.name === "AbortError") return;
    if (failure.code === "unauthorized") location.assign("/sign-in");
    list.replaceChildren(el("p", { class: "note note-bad" }, failure.words));
  }
  list.setAttribute("aria-busy", "false");
}

function show() {
  $("count").textContent = documents.length ? `${new Intl.NumberFormat(language).format(documents.length)}${after ? "+" : ""}` : "";
  $("more").hidden = !after;
  if (documents.length) list.replaceChildren(...documents.map(item));
  else list.replaceChildren(el("p", { class: "quiet" }, t($("filter").value.trim() ? "none_match" : "none_readable")));
}

function item(record) {
  const facts = [record.pages && count("pages", record.pages), record.language?.toUpperCase()].filter(Boolean).join(" · ");
  const changed = el("time", { datetime: new Date(record.updated_ms).toISOString(), title: longDate(record.updated_ms) }, shortDate(record.updated_ms));
  const title = record.state === "indexed"
    ? el("a", { class: "item-title", href: `/documents/${record.document_id}` }, record.title)
    : el("span", { class: "item-title" }, record.title);
  const state = record.state === "indexed" ? null : el("span", { class: `state state-${record.state}`, title: record.reason ?? "" }, t(`state_${record.state}`), " ");
  return el("div", { class: "item" },
    title,
    el("span", { class: "path quiet" }, state, `${record.source} · ${record.path}`),
    el("span", { class: "facts" }, facts ? `${facts} · ` : "", changed),
    isAdmin && record.source === "uploads" && iconButton("trash", t("delete_title", { title: record.title }), () => remove(record)));
}

async function remove(record) {
  const agreed = await confirmed({ title: t("delete_document"), text: t("delete_document_text", { title: record.title }), go: t("delete"), bad: true });
  if (!agreed) return;
  try {
    await call("DELETE", `/api/v1/documents/${record.document_id}`);
    documents = documents.filter(({ document_id }) => document_id !== record.document_id);
    show();
    notice(t("deleted"));
    recentJobs();
  } catch (failure) {
    notice(failure.words);
  }
}

let typing = 0;
$("filter").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => load(), 200);
});
$("more").addEventListener("click", () => load(after));
load();

// Uploads.

let chosen = [];
/** The job of the latest upload: what is said of it holds until it has ended. */
let awaited = null;

function choose(files) {
  const most = Number($("upload").dataset.maxMib) * 1024 * 1024;
  const refused = [];
  for (const file of files) {
    if (file.size > most) refused.push(file.name);
    else if (!chosen.some(({ name }) => name === file.name)) chosen.push(file);
  }
  say(refused.length ? t("file_too_large", { name: refused.join(", ") }) : "", true);
  showChosen();
}

function showChosen() {
  $("chosen").replaceChildren(...chosen.map((file) => el("li", {},
    el("span", { class: "name" }, file.name),
    el("span", { class: "quiet" }, size(file.size)),
    iconButton("close", t("take_away", { name: file.name }), () => {
      chosen = chosen.filter((other) => other !== file);
      showChosen();
    }))));
  $("chosen").hidden = !chosen.length;
  $("upload-go").disabled = !chosen.length;
}

function size(bytes) {
  const [unit, factor] = bytes < 1e6 ? ["kilobyte", 1e3] : ["megabyte", 1e6];
  return new Intl.NumberFormat(language, { style: "unit", unit, maximumFractionDigits: 1 }).format(bytes / factor);
}

function say(text, bad = false) {
  $("upload-said").textContent = text;
  $("upload-said").className = bad ? "said bad" : "said quiet";
}

async function upload(event) {
  event.preventDefault();
  const button = $("upload-go");
  const readers = $("readers").value.trim();
  button.disabled = true;
  const waiting = chosen;
  let sent = 0;
  for (const file of waiting) {
    say(t("uploading", { n: sent + 1, all: waiting.length }));
    const body = new FormData();
    // The fields before the files: a server that reads as it comes knows the readers first.
    body.append("readers", readers);
    body.append("file", file);
    try {
      const { job } = await call("POST", "/api/v1/documents", { body });
      chosen = chosen.filter((other) => other !== file);
      sent += 1;
      awaited = job.job_id;
      watch(job);
    } catch (failure) {
      showChosen();
      say(`${file.name}: ${failure.words}`, true);
      return;
    }
  }
  showChosen();
  say(count("uploaded", sent));
}

// Jobs: looked at again and again until they have ended.

const watched = new Map();
/** Jobs that are being looked at: several uploads may share one. */
const looking = new Set();

function watch(job) {
  if (!watched.has(job.job_id)) {
    const node = el("li", { class: "job" });
    $("jobs").prepend(node);
    watched.set(job.job_id, node);
  }
  $("jobs-section").hidden = false;
  showJob(job);
  if (job.state === "queued" || job.state === "running") lookIn(job.job_id, 1000);
}

function lookIn(id, ms) {
  if (looking.has(id)) return;
  looking.add(id);
  setTimeout(() => look(id), ms);
}

async function look(id) {
  looking.delete(id);
  try {
    const job = await call("GET", `/api/v1/jobs/${id}`);
    watch(job);
    if (job.job_id === awaited && job.finished_ms) say("");
    if (job.state === "done") {
      load();
      loadSources();
    }
  } catch (failure) {
    // A server that is starting again takes the job up where it was.
    if (failure.code === "network" || failure.code === "unavailable" || failure.code === "busy") lookIn(id, 3000);
    else notice(failure.words);
  }
}

function showJob(job) {
  const done = job.progress?.documents_done ?? 0;
  const total = job.progress?.documents_total ?? 0;
  const figures = job.report ? summary(job.report) : total ? t("progress", { done, total }) : "";
  const open = job.state === "running" || job.state === "queued";
  const rows = [el("div", { class: "job-head" },
    el("span", { class: `state state-${job.state}` }, t(`job_${job.state}`)),
    el("span", { class: "quiet" }, [job.source, job.queued_ms && longDate(job.queued_ms)].filter(Boolean).join(" · ")),
    open && iconButton("stop", t("cancel_job"), () => cancel(job)))];
  if (open) {
    rows.push(el("progress", { max: total || 1, value: job.state === "queued" ? 0 : total ? done : null, "aria-label": t(`job_${job.state}`) }));
  }
  if (figures) rows.push(el("p", { class: "quiet" }, figures));
  if (job.error) rows.push(el("p", { class: "note note-bad" }, job.error));
  const failures = (job.report?.failures ?? []).slice(0, 20);
  if (failures.length) rows.push(el("ul", {}, ...failures.map(({ path, reason }) => el("li", {}, el("span", { class: "path" }, path), el("span", { class: "quiet" }, `: ${reason}`)))));
  if (failures.length && job.unnamed) rows.push(el("p", { class: "quiet" }, count("unnamed", job.unnamed)));
  watched.get(job.job_id).replaceChildren(...rows);
}

function summary(report) {
  return ["new", "changed", "moved", "rights", "deleted", "unchanged", "failed"]
    .filter((name) => Number.isInteger(report[name]) && report[name] > 0)
    .map((name) => count(`report_${name}`, report[name])).join(" · ");
}

async function cancel({ job_id: id }) {
  try {
    watch(await call("POST", `/api/v1/jobs/${id}/cancel`));
    notice(t("cancelling"));
  } catch (failure) {
    notice(failure.words);
  }
}

// Sources: what jobs bring the index in step with.

async function loadSources() {
  try {
    const { sources } = await call("GET", "/api/v1/sources");
    $("sources").replaceChildren(...sources.map(source));
    $("sources-section").hidden = !sources.length;
  } catch (failure) {
    notice(failure.words);
  }
}

function source({ name, documents, last_job: last }) {
  const { indexed, failed } = documents;
  const looked = last?.finished_ms && t("last_looked", { when: longDate(last.finished_ms) });
  return el("li", { class: "job job-head" },
    el("span", {}, el("span", { class: "path" }, name), el("span", { class: "quiet" }, ` · ${[count("documents", indexed), failed && count("report_failed", failed), looked].filter(Boolean).join(" · ")}`)),
    el("button", { class: "button", type: "button", "aria-label": t("sync_of", { name }), onclick: () => sync(name) }, t("sync")));
}

async function sync(name) {
  try {
    watch(await call("POST", `/api/v1/sources/${encodeURIComponent(name)}/sync`));
    $("jobs-section").scrollIntoView({ block: "nearest" });
  } catch (failure) {
    notice(failure.words);
  }
}

async function recentJobs() {
  try {
    const { jobs } = await call("GET", "/api/v1/jobs?limit=5");
    // A list has the figures alone.
    for (const job of jobs.reverse()) watch(job.report?.failed ? await call("GET", `/api/v1/jobs/${job.job_id}`) : job);
  } catch (failure) {
    notice(failure.words);
  }
}

if (isAdmin) {
  const drop = $("drop");
  $("files").addEventListener("change", (event) => {
    choose(event.target.files);
    event.target.value = "";
  });
  drop.addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    choose(event.dataTransfer.files);
  });
  $("upload").addEventListener("submit", upload);
  recentJobs();
  loadSources();
}
