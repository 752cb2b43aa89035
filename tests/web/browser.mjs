// A real Chromium that is watched: what it asks for, what its console says, and what the pages' policy had to refuse.

import assert from "node:assert/strict";
import { existsSync, mkdirSync } from "node:fs";
import { env, getuid } from "node:process";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";

export const BASE = env.SERVED_URL;
export const SCREENSHOTS = fileURLToPath(new URL("../../target/screenshots/", import.meta.url));
/** What a model of a small machine may take for an answer. */
export const PATIENCE = 240_000;

mkdirSync(SCREENSHOTS, { recursive: true });

const CHROMIUM = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

export function launch() {
  const executablePath = env.CHROMIUM ?? CHROMIUM.find(existsSync);
  assert.ok(executablePath, "there is no Chromium: apt-get install chromium");
  // Chromium's own sandbox does not start as root, in a container say.
  const args = ["--disable-background-networking", ...(getuid() === 0 ? ["--no-sandbox"] : [])];
  return chromium.launch({ executablePath, args });
}

/** A browser profile of its own. `options` are Playwright's; `expected` names console messages that the test provokes. */
export async function visitor(browser, options = {}, expected = []) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, locale: "en-GB", ...options });
  context.setDefaultTimeout(60_000);
  const seen = { wrong: [], requests: 0 };
  await context.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) => {
      console.error(`policy: ${event.violatedDirective} refused ${event.blockedURI || "inline"}`);
    });
  });
  context.on("request", (request) => {
    seen.requests += 1;
    const { origin, protocol } = new URL(request.url());
    if (origin !== BASE && protocol !== "data:" && protocol !== "blob:") seen.wrong.push(`a request to ${request.url()}`);
  });
  context.on("console", (message) => {
    const text = message.text();
    const bad = message.type() === "error" || message.type() === "warning" || /content security policy/i.test(text);
    if (bad && !expected.some((one) => one.test(text))) seen.wrong.push(`console, ${message.type()}: ${text}`);
  });
  context.on("weberror", (failure) => seen.wrong.push(`a script failed: ${failure.error().stack}`));
  context.on("response", (response) => {
    if (response.status() >= 500) seen.wrong.push(`${response.status()} from ${response.url()}`);
  });
  const page = await context.newPage();
  return {
    page,
    context,
    /** Fails if anything was wrong, and ends. */
    async leave() {
      await context.close();
      assert.deepEqual(seen.wrong, []);
      assert.ok(seen.requests > 0);
    },
  };
}

export async function signIn(page, user) {
  await page.goto(`${BASE}/sign-in`);
  await page.locator('input[name="user"]').fill(user);
  await page.locator('input[name="password"]').fill(env.SERVED_PASSWORD);
  await page.locator('form button[type="submit"]').click();
  await page.waitForURL(`${BASE}/`);
  await page.locator("#question").waitFor();
}

export async function signOut(page) {
  await page.locator("details.menu summary:visible").click();
  await page.locator("[data-sign-out]:visible").click();
  await page.waitForURL(`${BASE}/sign-in`);
}

/** Puts a question without waiting for the answer. */
export async function put(page, question, mode) {
  await page.locator(`input[name="mode"][value="${mode}"]`).check({ force: true });
  await page.locator("#question").fill(question);
  await page.locator("#question").press("Enter");
  return page.locator(".turn").last();
}

/** Puts a question; returns the finished answer's element. */
export async function ask(page, question, mode) {
  const answer = (await put(page, question, mode)).locator(".answer");
  await answer.locator(".tools").waitFor({ timeout: PATIENCE });
  return answer;
}

/** A program's view of the API with the page's own session. */
export function api(page, path) {
  return page.evaluate(async (path) => {
    const response = await fetch(path);
    return { status: response.status, body: await response.json() };
  }, path);
}
