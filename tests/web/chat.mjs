// The pages as people use them: real Chromium, real binary, real models. See browser.mjs and ../clients/served.py.
//
// Run by `./test`, or alone:  tests/clients/served.py node --test tests/web/chat.mjs

import assert from "node:assert/strict";
import { env } from "node:process";
import { after, before, test } from "node:test";

import { BASE, PATIENCE, SCREENSHOTS, api, ask, launch, put, signIn, signOut, visitor } from "./browser.mjs";

const ENGLISH = "How much does the firm contribute to glasses for screen work?";
const SPANISH = "¿Qué penalización paga Torrubia si se retrasa en una entrega?";
/** Stands in a contract that only the group legal may read. */
const RESTRICTED = "0,4 %";

let browser;
/** A conversation of ana's with both questions, and the address of a passage of the contract. */
let conversation;
let restricted;

before(async () => {
  browser = await launch();
});
after(() => browser.close());

test("who is not signed in is led to the door, and a wrong password does not open it", async () => {
  const { page, leave } = await visitor(browser, {}, [/status of 401/]);
  for (const path of ["/", "/documents", "/documents/00000000-0000-0000-0000-000000000000"]) {
    await page.goto(BASE + path);
    assert.equal(page.url(), `${BASE}/sign-in`);
  }
  await page.locator('input[name="user"]').fill("ana");
  await page.locator('input[name="password"]').fill("not the password");
  await page.locator('form button[type="submit"]').click();
  await page.locator('[role="alert"]').waitFor();
  assert.equal(await page.locator('input[name="user"]').inputValue(), "ana");
  assert.equal(await page.locator('input[name="password"]').inputValue(), "");
  assert.deepEqual(await page.context().cookies(), []);
  await leave();
});

test("the session is out of scripts' reach, and the policy allows nothing from elsewhere", async () => {
  const { page, context, leave } = await visitor(browser);
  await signIn(page, "ana");
  const [cookie] = (await context.cookies()).filter(({ name }) => name === "intramuros_session");
  assert.deepEqual([cookie.httpOnly, cookie.secure, cookie.sameSite, cookie.path], [true, true, "Lax", "/"]);
  assert.ok(!(await page.evaluate(() => document.cookie)).includes("intramuros_session"));
  const policy = (await page.goto(`${BASE}/`)).headers()["content-security-policy"];
  assert.match(policy, /default-src 'none'/);
  assert.doesNotMatch(policy, /unsafe|\*|https?:/);
  await leave();
});

test("an answer streams, and its citation opens with its place marked", async () => {
  const { page, context, leave } = await visitor(browser);
  await signIn(page, "ana");
  await page.evaluate(() => {
    window.lengths = [];
    new MutationObserver(() => {
      const text = document.querySelector(".turn:last-child .answer-text")?.textContent ?? "";
      if (text && text.length !== window.lengths.at(-1)) window.lengths.push(text.length);
    }).observe(document.getElementById("thread"), { childList: true, subtree: true });
  });
  const turn = await put(page, ENGLISH, "generate");
  await page.locator("#stop").waitFor();
  await page.screenshot({ path: `${SCREENSHOTS}asking-1280-light.png` });
  const answer = turn.locator(".answer");
  await answer.locator(".tools").waitFor({ timeout: PATIENCE });
  const lengths = await page.evaluate(() => window.lengths);
  assert.ok(lengths.length > 1, `the text came at once: ${lengths}`);
  assert.ok((await answer.locator(".answer-text").innerText()).includes("£85"));

  // The passage beside the thread.
  const chip = answer.locator(".answer-text .chip").first();
  await chip.click();
  await page.locator('#panel-text[aria-busy="false"]').waitFor();
  const mark = page.locator("#panel-text mark");
  const quote = await mark.textContent();
  assert.ok(quote.length > 10);
  assert.ok((await page.locator("#panel-text").textContent()).length > quote.length, "nothing stands around the quote");
  await inSight(mark);
  assert.equal(await chip.getAttribute("aria-expanded"), "true");

  // The same place in the document.
  const [document] = await Promise.all([context.waitForEvent("page"), page.locator("#panel-links .button-main").click()]);
  await document.waitForLoadState();
  const cited = document.locator("#cited");
  assert.equal(squeezed(await document.locator("mark").allTextContents().then((all) => all.join(""))), squeezed(quote));
  await inSight(cited);
  await document.close();
  await page.keyboard.press("Escape");
  assert.ok(await page.locator("#panel").isHidden());
  await leave();
});

test("exact quotes are the documents' own words, in Spanish with the page of the PDF", async () => {
  const { page, leave } = await visitor(browser, { locale: "es-ES" });
  await signIn(page, "ana");
  assert.equal(await page.locator("html").getAttribute("lang"), "es");
  const answer = await ask(page, SPANISH, "extract");
  assert.ok((await answer.locator(".answer-text").innerText()).includes(RESTRICTED));
  assert.match(await answer.locator(".sources").innerText(), /página 2/);
  const { body } = await api(page, `/api/v1/conversations/${new URL(page.url()).searchParams.get("c")}`);
  const { citations } = body.messages[0].answer;
  assert.equal(await answer.locator("blockquote").count(), citations.length);
  for (const { document_id: id, start, end, quote } of citations) {
    const { body } = await api(page, `/api/v1/documents/${id}/text?start=${start}&end=${end}`);
    assert.equal(body.text, quote);
  }
  const cited = citations.find(({ quote }) => quote.includes(RESTRICTED));
  restricted = { id: cited.document_id, path: `/documents/${cited.document_id}?start=${cited.start}&end=${cited.end}` };

  // A second question in the same conversation, written this time.
  const written = await ask(page, "¿Cuántos días de vacaciones me corresponden este año con contrato español?", "generate");
  assert.match(await written.locator(".answer-text").innerText(), /24 días laborables/);
  assert.equal(await page.locator(".turn").count(), 2);
  conversation = new URL(page.url()).searchParams.get("c");
  await leave();
});

test("stop stops, and the page goes on", async () => {
  const { page, leave } = await visitor(browser);
  await signIn(page, "ana");
  const asked = page.waitForRequest((request) => request.url() === `${BASE}/api/v1/ask`);
  // An answer may be quicker than a hand: this one is kept waiting.
  await page.route("**/api/v1/ask", async (route) => {
    await new Promise((resolve) => setTimeout(resolve, 3000));
    await route.continue().catch(() => {});
  });
  const turn = await put(page, ENGLISH, "generate");
  await asked;
  await page.locator("#stop:visible").dispatchEvent("click");
  await turn.locator(".note").waitFor();
  assert.match(await turn.locator(".note").innerText(), /Stopped/);
  await page.locator("#send").waitFor();
  assert.equal(await turn.locator(".tools").count(), 0);
  await page.unroute("**/api/v1/ask");
  const answer = await ask(page, ENGLISH, "extract");
  assert.ok((await answer.innerText()).includes("£85"));
  await leave();
});

test("conversations are kept, renamed and deleted", async () => {
  const { page, leave } = await visitor(browser);
  await signIn(page, "ana");
  await ask(page, "What does VPN error Q-412 mean?", "extract");
  const own = page.locator('#conversations a[aria-current="page"]');
  await own.filter({ hasText: "Q-412" }).waitFor();
  const shown = await page.locator(".turn .answer-text").innerText();

  await page.locator("#new").click();
  assert.ok(await page.locator("#welcome").isVisible());
  await page.locator("#conversations a", { hasText: "Q-412" }).click();
  await page.locator(".turn .tools").waitFor();
  assert.equal(await page.locator(".turn .answer-text").innerText(), shown);

  await page.reload();
  await page.locator(".turn .tools").waitFor();
  const item = page.locator(".rail-item", { hasText: "Q-412" });
  await item.hover();
  await item.locator(".rail-tools button").first().click();
  await page.locator("#dialog-input").fill("Certificates");
  await page.locator("#dialog-go").click();
  const renamed = page.locator(".rail-item", { hasText: "Certificates" });
  await renamed.waitFor();
  assert.match(await page.title(), /Certificates/);

  await page.locator(".turn .tools button").nth(1).click();
  await page.locator('.turn .tools button[aria-pressed="true"]').waitFor();

  await renamed.hover();
  await renamed.locator(".rail-tools button").last().click();
  await page.locator("#dialog-go").click();
  await renamed.waitFor({ state: "detached" });
  assert.ok(await page.locator("#welcome").isVisible());
  await leave();
});

test("another person at the same browser sees less", async () => {
  const { page, leave } = await visitor(browser, { locale: "es-ES" }, [/status of 404/]);
  await signIn(page, "ana");
  const titles = async () => {
    await page.goto(`${BASE}/documents`);
    await page.locator("#documents .item").first().waitFor();
    return page.locator("#documents .item-title").allTextContents();
  };
  const anas = await titles();
  await page.goto(BASE + restricted.path);
  assert.ok((await page.locator("mark").first().textContent()).length > 0);
  await page.goto(`${BASE}/?c=${conversation}`);
  await page.locator(".turn .tools").first().waitFor();
  await signOut(page);

  await signIn(page, "rosa");
  const answer = await ask(page, SPANISH, "extract");
  assert.ok(!(await answer.innerText()).includes(RESTRICTED));
  const rosas = await titles();
  assert.ok(rosas.length < anas.length, `${rosas.length} of ${anas.length}`);
  assert.deepEqual(rosas.filter((title) => !anas.includes(title)), []);
  const unknown = async (path) => {
    const response = await page.goto(BASE + path);
    assert.equal(response.status(), 404);
    return page.locator("main").innerText();
  };
  const nobodys = "/documents/7d0f2f3c-7a52-5c1e-9a59-000000000000?start=1&end=20";
  assert.equal(await unknown(restricted.path), await unknown(nobodys));
  await page.goto(`${BASE}/?c=${conversation}`);
  await page.locator("#thread .note").waitFor();
  assert.equal(await page.locator(".turn").count(), 0);
  await signOut(page);
  await page.goto(`${BASE}/`);
  assert.equal(page.url(), `${BASE}/sign-in`);
  await leave();
});

test("an admin brings a document in and takes it away", async () => {
  const { page, leave } = await visitor(browser);
  await signIn(page, "marta");
  await page.goto(`${BASE}/documents`);
  await page.locator("#files").setInputFiles({
    name: "lighthouse-rota.md", mimeType: "text/markdown",
    buffer: Buffer.from("# Lighthouse rota\n\nThe lamp of the Cape Ostrel lighthouse is polished every eleventh Thursday.\n"),
  });
  assert.match(await page.locator("#chosen").innerText(), /lighthouse-rota\.md/);
  await page.locator("#readers").fill("everyone");
  await page.locator("#upload-go").click();
  await page.locator("#jobs .job").first().waitFor();
  await page.screenshot({ path: `${SCREENSHOTS}uploading-1280-light.png` });
  await page.locator("#jobs .state-done").first().waitFor({ timeout: PATIENCE });
  const item = page.locator("#documents .item", { hasText: "Lighthouse rota" });
  await item.waitFor();
  await page.screenshot({ path: `${SCREENSHOTS}uploaded-1280-light.png` });

  await page.goto(`${BASE}/`);
  const answer = await ask(page, "How often is the lamp of the Cape Ostrel lighthouse polished?", "extract");
  assert.match(await answer.locator(".answer-text").innerText(), /every eleventh Thursday/);

  await page.goto(`${BASE}/documents`);
  await item.locator("button").click();
  await page.locator("#dialog-go").click();
  await item.waitFor({ state: "detached" });
  await leave();
});

test("files are dropped, sources are looked through, and work can be stopped", async () => {
  const { page, leave } = await visitor(browser, {}, [/status of 409/]);
  await signIn(page, "marta");
  await page.goto(`${BASE}/documents`);
  const dropped = await page.evaluateHandle(() => {
    const data = new DataTransfer();
    data.items.add(new File(["# Buoy log\n\nThe buoy off Cape Ostrel is painted in odd years.\n"], "buoy-log.md"));
    return data;
  });
  await page.locator("#drop").dispatchEvent("drop", { dataTransfer: dropped });
  assert.match(await page.locator("#chosen").innerText(), /buoy-log\.md/);
  await page.locator("#chosen button").click();
  assert.ok(await page.locator("#chosen").isHidden());

  const folder = page.locator("#sources .job", { hasText: "docs" });
  await folder.locator("button").click();
  await page.locator("#jobs .job", { hasText: "60 unchanged" }).first().waitFor({ timeout: PATIENCE });

  // Stopped at once, or through already: either way it ends, and is offered no more.
  await folder.locator("button").click();
  await page.locator("#jobs .job").first().locator('button[aria-label="Stop this work"]').click({ timeout: 5000 }).catch(() => {});
  await page.locator("#jobs .job").first().locator(".state-interrupted, .state-done").waitFor({ timeout: PATIENCE });
  assert.equal(await page.locator("#jobs button").count(), 0);
  await leave();
});

test("a citation says when its document has changed since", async () => {
  const { page, leave } = await visitor(browser, { locale: "es-ES" });
  await signIn(page, "marta");
  const lamp = (words) => `# Beacon rota\n\nThe beacon of Cape Ostrel is ${words}.\n`;
  await uploaded(lamp("painted white every ninth Monday"));
  const question = "How often is the beacon of Cape Ostrel painted?";
  const answer = await ask(page, question, "extract");
  assert.match(await answer.locator(".answer-text").innerText(), /ninth Monday/);
  const mark = page.locator("#panel-text mark, .document mark");
  await answer.locator(".answer-text .chip").first().click();
  await page.locator('#panel-text[aria-busy="false"]').waitFor();
  assert.equal(await mark.count(), 1);
  const place = await page.locator("#panel-links .button-main").getAttribute("href");
  const document = await page.context().newPage();
  await document.goto(BASE + place);
  assert.match(await document.locator("#cited").innerText(), /ninth Monday/);

  const { body } = await api(page, `/api/v1/conversations/${new URL(page.url()).searchParams.get("c")}`);
  assert.ok(body.messages[0].answer);
  await uploaded(lamp("taken down, and nobody paints it"));
  await page.keyboard.press("Escape");
  await answer.locator(".answer-text .chip").first().click();
  await page.locator('#panel-text[aria-busy="false"]').waitFor();
  assert.match(await page.locator("#panel-text").innerText(), /ha cambiado desde entonces/);
  assert.equal(await mark.count(), 0);
  await document.reload();
  assert.match(await document.locator(".document .note").innerText(), /ha cambiado desde entonces/);
  assert.match(await document.locator(".document").innerText(), /nobody paints it/);
  assert.equal(await document.locator("mark").count(), 0);
  await document.close();

  await page.reload();
  await page.locator(".turn .note").waitFor();
  assert.match(await page.locator(".turn").innerText(), /ha cambiado/);
  assert.ok(!(await page.locator(".turn").innerText()).includes("ninth Monday"));
  await leave();
});

test("all conversations can be reached, and a question that is refused begins none", async () => {
  const { page, leave } = await visitor(browser, {}, [/status of 429/]);
  for (let number = 0; number < 60; number += 1) {
    await asAdmin("/api/v1/conversations", { json: { title: number ? `Errand ${number}` : "" } });
  }
  await signIn(page, "marta");
  const links = page.locator("#conversations a");
  await links.first().waitFor();
  assert.equal(await links.count(), 50);
  await page.locator("#conversations button", { hasText: "Show more" }).click();
  await links.nth(59).waitFor();
  assert.equal(await page.locator("#conversations a", { hasText: "Without a title" }).count(), 1);
  assert.equal(await page.locator("#conversations button", { hasText: "Show more" }).count(), 0);
  const all = await links.count();

  await page.route("**/api/v1/ask", (route) => route.fulfill({
    status: 429, headers: { "Retry-After": "30" }, json: { code: "busy", message: "busy", request_id: "x" },
  }));
  const turn = await put(page, ENGLISH, "extract");
  await turn.locator(".retry").waitFor();
  assert.equal(page.url(), `${BASE}/`);
  const { body } = await api(page, "/api/v1/conversations");
  assert.equal(body.conversations.length, all);
  await leave();
});

test("a member is offered no uploads", async () => {
  const { page, leave } = await visitor(browser);
  await signIn(page, "ana");
  await page.goto(`${BASE}/documents`);
  await page.locator("#documents .item").first().waitFor();
  assert.equal(await page.locator("#upload, #jobs").count(), 0);
  await leave();
});

test("language and appearance are a matter of choice", async () => {
  const { page, leave } = await visitor(browser, { colorScheme: "light" });
  await signIn(page, "ana");
  const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await background();
  await page.locator("details.menu summary:visible").click();
  await page.locator('[data-preference="intramuros_theme"]:visible').selectOption("dark");
  assert.notEqual(await background(), light);
  await page.locator("#question").fill("half a question");
  await page.locator("details.menu[open]").waitFor();
  await page.locator('[data-preference="intramuros_lang"]:visible').selectOption("es");
  await page.waitForFunction(() => document.documentElement.lang === "es" && document.readyState === "complete");
  assert.equal(await page.locator("#question").inputValue(), "half a question");
  assert.equal(await page.locator("html").getAttribute("data-theme"), "dark");
  await leave();
});

for (const width of [360, 1280]) {
  for (const colorScheme of ["light", "dark"]) {
    test(`the pages at ${width} pixels, ${colorScheme}`, async () => {
      const narrow = width === 360;
      const viewport = { width, height: narrow ? 720 : 800 };
      const { page, leave } = await visitor(browser, { viewport, colorScheme, hasTouch: narrow, locale: narrow ? "es-ES" : "en-GB" });
      const shot = async (name) => {
        const cut = await page.evaluate(() => [document.documentElement, ...document.querySelectorAll(".top-links")]
          .filter((node) => node.scrollWidth > node.clientWidth).map((node) => node.className || node.tagName));
        assert.deepEqual(cut, [], `${name} is wider than ${width} pixels`);
        await page.screenshot({ path: `${SCREENSHOTS}${name}-${width}-${colorScheme}.png` });
      };
      await page.goto(`${BASE}/sign-in`);
      await shot("sign-in");
      await signIn(page, "ana");
      await page.locator("#conversations a").first().waitFor({ state: "attached" });
      await shot("welcome");
      if (narrow) {
        await page.locator("#rail-open").click();
        await page.locator("#rail.open").waitFor();
        await page.waitForTimeout(400);
        await shot("conversations");
        await page.locator("#rail-close").click();
      }
      await page.goto(`${BASE}/?c=${conversation}`);
      await page.locator(".turn .tools").last().waitFor();
      await shot("answer");
      await page.locator(".turn").first().locator(".chip").first().click();
      await page.locator('#panel-text[aria-busy="false"]').waitFor();
      await page.waitForTimeout(400);
      await shot("citation");
      await page.goto(`${BASE}${restricted.path}#cited`);
      await inSight(page.locator("#cited"));
      await shot("document");
      await page.goto(`${BASE}/documents`);
      await page.locator("#documents .item").first().waitFor();
      await shot("documents");
      await page.goto(`${BASE}/api`);
      await shot("api");
      await leave();
    });
  }
}

/** Fails unless the element stands within the window. */
async function inSight(locator) {
  await locator.waitFor();
  const seen = await locator.evaluate(async (node) => {
    for (let tries = 0; tries < 50; tries += 1) {
      const { top, bottom } = node.getBoundingClientRect();
      if (bottom > 0 && top < innerHeight) return true;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return false;
  });
  assert.ok(seen, "it is out of sight");
}

/** A request of a program of marta's. */
async function asAdmin(path, { json, form } = {}) {
  const headers = { Authorization: `Bearer ${env.SERVED_ADMIN_KEY}`, ...(json && { "Content-Type": "application/json" }) };
  const body = form ?? (json && JSON.stringify(json));
  const response = await fetch(BASE + path, { method: body ? "POST" : "GET", headers, body });
  assert.ok(response.ok, `${response.status} from ${path}`);
  return response.json();
}

/** Brings a version of one document in, for everyone. */
async function uploaded(text) {
  const form = new FormData();
  form.set("readers", "everyone");
  form.set("file", new Blob([text]), "beacon-rota.md");
  const { job: { job_id: id } } = await asAdmin("/api/v1/documents", { form });
  for (;;) {
    const { state } = await asAdmin(`/api/v1/jobs/${id}`);
    if (state === "done") return;
    assert.ok(["queued", "running"].includes(state), state);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

function squeezed(text) {
  return text.replace(/\s+/g, " ").trim();
}
