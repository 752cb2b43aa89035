// What every page's script needs: words, elements, requests, and failures in clear words.

const strings = JSON.parse(document.getElementById("strings").textContent);
const meta = (name) => document.querySelector(`meta[name="${name}"]`)?.content ?? "";

const page = document.documentElement.lang;
/** The page's language, in the reader's own region if they speak it: dates differ between them. */
export const language = navigator.language.split("-")[0] === page ? navigator.language : page;
export const user = meta("user");

/** A string of the page's language with its `{names}` filled in. */
export function t(key, values = {}) {
  return strings[key].replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

/** `key_one` or `key_other`, as the language counts. */
export function count(key, n) {
  const number = new Intl.NumberFormat(language).format(n);
  return t(new Intl.PluralRules(language).select(n) === "one" ? `${key}_one` : `${key}_other`, { n: number });
}

/** An element. Strings among the children become text, never markup. */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null && child !== false));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

/** A button that shows an icon and says its name. */
export function iconButton(name, label, onclick, attributes = {}) {
  return el("button", { class: "ghost", type: "button", "aria-label": label, title: label, onclick, ...attributes }, icon(name));
}

/** What the server refused, or that it could not be reached. */
export class Failure extends Error {
  constructor({ status = 0, code = "network", message = "", requestId = "", retryAfter = 0 }) {
    super(message || code);
    Object.assign(this, { status, code, requestId, retryAfter, told: message });
  }

  static async from(response) {
    const body = await response.json().catch(() => ({}));
    return new Failure({
      status: response.status,
      code: body.code,
      message: body.message,
      requestId: body.request_id ?? response.headers.get("x-request-id") ?? "",
      retryAfter: Number(response.headers.get("retry-after")) || 0,
    });
  }

  /** For people. */
  get words() {
    switch (this.code) {
      case "network": return t("fail_network");
      case "unauthorized": return t("fail_session");
      case "forbidden": return t("fail_forbidden");
      case "not_found": return t("fail_not_found");
      case "busy": return t("fail_busy", { seconds: this.retryAfter || 5 });
      case "unavailable": return t("fail_unavailable");
      case "timeout": return t("fail_timeout");
      case "too_large": return t("fail_too_large");
      case "invalid_request":
      case "conflict": return t("fail_refused", { message: this.told });
      default: return t("fail_server", { id: this.requestId });
    }
  }
}

/** A request to the server; throws `Failure`, or what `fetch` throws when it is aborted. */
export async function send(method, path, { json, body, signal, accept } = {}) {
  const headers = { "X-CSRF-Token": meta("csrf-token"), Accept: accept ?? "application/json" };
  if (json !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path, { method, headers, body: json === undefined ? body : JSON.stringify(json), signal, credentials: "same-origin" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure({});
  }
  if (!response.ok) throw await Failure.from(response);
  return response;
}

/** The same, for an answer in JSON. */
export async function call(method, path, options) {
  const response = await send(method, path, options);
  return response.status === 204 ? null : response.json();
}

/** Says something for a few seconds. */
export function notice(text) {
  const said = el("p", {}, text);
  document.getElementById("notices").append(said);
  setTimeout(() => said.remove(), 5000);
}

/** Asks before something happens; with `value`, for a text. Resolves to the text, `true`, or `null`. */
export function confirmed({ title, text = "", go, bad = false, value }) {
  const dialog = document.getElementById("dialog");
  const input = document.getElementById("dialog-input");
  const button = document.getElementById("dialog-go");
  document.getElementById("dialog-title").textContent = title;
  document.getElementById("dialog-text").textContent = text;
  document.getElementById("dialog-text").hidden = !text;
  button.textContent = go;
  button.className = bad ? "button button-bad" : "button button-main";
  input.hidden = value === undefined;
  input.required = value !== undefined;
  input.value = value ?? "";
  input.setAttribute("aria-label", title);
  dialog.returnValue = "";
  dialog.showModal();
  if (value === undefined) button.focus();
  else input.select();
  input.onkeydown = (event) => {
    // Without this, Enter would press the first button, which cancels.
    if (event.key === "Enter") {
      event.preventDefault();
      button.click();
    }
  };
  return new Promise((resolve) => {
    dialog.onclose = () => {
      const agreed = dialog.returnValue === "go";
      resolve(agreed ? (value === undefined ? true : input.value.trim()) : null);
    };
  });
}

export function shortDate(ms) {
  const date = new Date(ms);
  const sameYear = date.getFullYear() === new Date().getFullYear();
  return new Intl.DateTimeFormat(language, { day: "numeric", month: "short", year: sameYear ? undefined : "numeric" }).format(date);
}

export function longDate(ms) {
  return new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" }).format(new Date(ms));
}

export function seconds(ms) {
  return new Intl.NumberFormat(language, { style: "unit", unit: "second", maximumFractionDigits: ms < 9950 ? 1 : 0 }).format(ms / 1000);
}

/** The reading page of a document at a place; of a quote, with what tells whether it still stands there. */
export function placeLink({ document_id, start, end, quote }) {
  const sum = quote === undefined ? "" : `&sum=${checksum(quote)}`;
  return `/documents/${document_id}?start=${start}&end=${end}${sum}#cited`;
}

/** FNV-1a of the text in UTF-8, as the server reckons it. Browsers keep better ones from pages served over plain http. */
function checksum(text) {
  let sum = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) sum = Math.imul(sum ^ byte, 0x01000193);
  return (sum >>> 0).toString(16);
}

/** The file itself, at its page where it has pages. */
export function originalLink({ document_id, page }) {
  return `/api/v1/documents/${document_id}/original${page ? `#page=${page}` : ""}`;
}
