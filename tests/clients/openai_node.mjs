// The official `openai` package of npm, unmodified, against a running server: see served.py.
//
// Run by `./test`, or alone:  tests/clients/served.py node --test tests/clients/openai_node.mjs

import assert from "node:assert/strict";
import { env } from "node:process";
import { test } from "node:test";

import OpenAI from "openai";

const EMBEDDER = "all-MiniLM-L6-v2";
const QUESTION = [{ role: "user", content: "How much does the firm contribute to glasses for screen work?" }];
// Rests on several quotes.
const QUOTED = [{ role: "user", content: "How many days' holiday do I get on a British contract?" }];
const ANSWER = "£85";

/** Without retries, so that every answer is seen. */
function client(apiKey = env.SERVED_KEY) {
  return new OpenAI({ baseURL: `${env.SERVED_URL}/v1`, apiKey, maxRetries: 0, timeout: 300_000 });
}

test("an answer with citations and usage", async () => {
  const done = await client().chat.completions.create({ model: "intramuros", messages: QUESTION, temperature: 0 });
  assert.equal(done.object, "chat.completion");
  assert.equal(done.model, "intramuros");
  assert.equal(done.choices.length, 1);
  const { index, finish_reason: finish, message } = done.choices[0];
  assert.deepEqual([index, finish, message.role], [0, "stop", "assistant"]);
  assert.ok(message.content.includes(ANSWER), message.content);
  assert.ok(message.content.includes("[1]"), message.content);
  assert.ok(message.citations.length > 0 && message.citations.every(({ quote, document_id }) => quote && document_id));
  assert.equal(message.abstained, false);
  assert.ok(done.usage.prompt_tokens > 0);
  assert.equal(done.usage.total_tokens, done.usage.prompt_tokens + done.usage.completion_tokens);
});

for (const [model, messages] of [["intramuros", QUESTION], ["intramuros-extract", QUOTED]]) {
  test(`a stream of ${model} arrives in pieces and says the same`, async () => {
    const whole = await client().chat.completions.create({ model, messages });
    const stream = await client().chat.completions.create({
      model, messages, stream: true, stream_options: { include_usage: true },
    });
    const pieces = [];
    const finishes = [];
    const usages = [];
    const ids = new Set();
    for await (const chunk of stream) {
      assert.equal(chunk.object, "chat.completion.chunk");
      assert.equal(usages.length, 0, "something came after the usage");
      ids.add(chunk.id);
      if (chunk.usage) {
        assert.deepEqual(chunk.choices, []);
        usages.push(chunk.usage);
      }
      for (const { delta, finish_reason: finish } of chunk.choices) {
        if (delta.content) pieces.push(delta.content);
        if (finish) finishes.push(finish);
      }
    }
    assert.equal(pieces.join(""), whole.choices[0].message.content);
    // What is written may be a single sentence that holds; the quotes are several.
    assert.ok(pieces.length > (messages === QUOTED ? 1 : 0), `${pieces.length} pieces`);
    assert.deepEqual(finishes, ["stop"]);
    assert.equal(ids.size, 1);
    assert.deepEqual(usages, [whole.usage]);
  });
}

test("the package puts a stream together", async () => {
  const message = await client().chat.completions.stream({ model: "intramuros-extract", messages: QUESTION }).finalMessage();
  assert.ok(message.content.includes(ANSWER), message.content);
});

test("a stream may be left", async () => {
  const stream = await client().chat.completions.create({ model: "intramuros", messages: QUESTION, stream: true });
  for await (const _ of stream) break;
  stream.controller.abort();
  const done = await client().chat.completions.create({ model: "intramuros-extract", messages: QUESTION });
  assert.ok(done.choices[0].message.content.includes(ANSWER));
});

// The smallest model is too small to be right. Both amounts stand in the passage; nobody of that name stands in any.
const AMOUNTS = ["£30", "£85"];
const CONTRIBUTION = {
  type: "json_schema",
  json_schema: {
    name: "contribution",
    strict: true,
    schema: {
      type: "object",
      properties: { amount: { enum: AMOUNTS }, signed_by: { type: ["string", "null"], pattern: "^Xavier Qu[a-z]{2}$" } },
      required: ["amount", "signed_by"],
      additionalProperties: false,
    },
  },
};

test("JSON by a schema, with what each value rests on", async () => {
  const request = { model: "intramuros", messages: QUESTION, response_format: CONTRIBUTION };
  const done = await client().chat.completions.create(request);
  const { message, finish_reason: finish } = done.choices[0];
  assert.equal(finish, "stop");
  const { amount, ...others } = JSON.parse(message.content);
  assert.ok(AMOUNTS.includes(amount), message.content);
  assert.deepEqual(others, { signed_by: null });
  assert.equal(message.refusal, null);
  assert.deepEqual(message.supported.map(({ path }) => path), ["/amount"]);
  assert.ok(message.citations[message.supported[0].n - 1].quote.includes(amount));
  assert.ok(message.unsupported.every(({ path }) => path === "/signed_by"));

  const streamed = await client().chat.completions.stream(request).finalMessage();
  assert.equal(streamed.content, message.content);
});

test("no answer in a form is a refusal", async () => {
  const messages = [{ role: "user", content: "Zxqv blorp wuggly frandish?" }];
  const request = { model: "intramuros", messages, response_format: CONTRIBUTION };
  const { message, finish_reason: finish } = (await client().chat.completions.create(request)).choices[0];
  assert.deepEqual([message.content, finish, message.abstained], [null, "stop", true]);
  assert.ok(message.refusal.includes("not in the documents"), message.refusal);
  const streamed = await client().chat.completions.stream(request).finalMessage();
  assert.equal(streamed.refusal, message.refusal);
});

test("models are listed, and each can be had", async () => {
  const { data } = await client().models.list();
  const ids = data.map(({ id }) => id);
  for (const id of ["intramuros", "intramuros-extract", EMBEDDER]) assert.ok(ids.includes(id), `${id} in ${ids}`);
  for (const model of data) assert.deepEqual({ ...(await client().models.retrieve(model.id)) }, { ...model });
});

async function embed(input, options = {}) {
  const made = await client().embeddings.create({ model: EMBEDDER, input, ...options });
  assert.deepEqual(made.data.map(({ index }) => index), made.data.map((_, i) => i));
  assert.ok(made.usage.total_tokens > 0);
  return made.data.map(({ embedding }) => Array.from(embedding));
}

function assertSame(left, right, within) {
  assert.equal(left.length, right.length);
  const apart = Math.max(...left.map((value, i) => Math.abs(value - right[i])));
  assert.ok(apart < within, `${apart} apart`);
}

test("vectors as numbers and as base64", async () => {
  // The package asks for base64 by default and decodes it itself.
  const [[byDefault], [numbers]] = [await embed("water meter"), await embed("water meter", { encoding_format: "float" })];
  assert.equal(numbers.length, 384);
  assert.ok(Math.abs(Math.hypot(...numbers) - 1) < 1e-3);
  assertSame(byDefault, numbers, 1e-6);
});

test("vectors of one text and of several", async () => {
  const texts = ["water meter", "contador de agua", "annual leave"];
  const together = await embed(texts);
  assert.equal(together.length, texts.length);
  for (const [i, text] of texts.entries()) assertSame(together[i], (await embed(text))[0], 1e-4);
  assert.notDeepEqual(together[0], together[2]);
});

async function refused(kind, status, work) {
  await assert.rejects(work, (error) => {
    assert.ok(error instanceof kind, `${error}`);
    assert.equal(error.status, status);
    assert.ok(error.requestID && error.code);
    return true;
  });
}

test("a wrong key", async () => {
  const wrong = client(`im_${"x".repeat(43)}`);
  await refused(OpenAI.AuthenticationError, 401, () => wrong.models.list());
  await refused(OpenAI.AuthenticationError, 401, () => wrong.chat.completions.create({ model: "intramuros", messages: QUESTION }));
  await refused(OpenAI.AuthenticationError, 401, () => wrong.embeddings.create({ model: EMBEDDER, input: "x" }));
});

test("an unknown model", async () => {
  await refused(OpenAI.NotFoundError, 404, () => client().models.retrieve("gpt-9"));
  await refused(OpenAI.NotFoundError, 404, () => client().chat.completions.create({ model: "gpt-9", messages: QUESTION }));
  await refused(OpenAI.NotFoundError, 404, () => client().embeddings.create({ model: "gpt-9", input: "x" }));
});

test("bad input", async () => {
  const image = [{ role: "user", content: [{ type: "image_url", image_url: { url: "data:," } }] }];
  for (const request of [
    { messages: [] }, { messages: [{ role: "user", content: "" }] }, { messages: [{ role: "user", content: "x".repeat(5000) }] },
    { messages: image }, { messages: QUESTION, n: 2 }, { messages: QUESTION, n: 2, stream: true }, { messages: "not a list" },
  ]) {
    await refused(OpenAI.BadRequestError, 400, () => client().chat.completions.create({ model: "intramuros", ...request }));
  }
  const form = { type: "json_schema", json_schema: { name: "x", schema: { items: { not: {} } } } };
  await assert.rejects(
    () => client().chat.completions.create({ model: "intramuros", messages: QUESTION, response_format: form }),
    (error) => error.status === 400 && error.message.includes("#/items/not"),
  );
  for (const request of [{ input: "" }, { input: [] }, { input: ["x", " "] }, { input: "word ".repeat(2000) }, { input: "x", dimensions: 7 }]) {
    await refused(OpenAI.BadRequestError, 400, () => client().embeddings.create({ model: EMBEDDER, ...request }));
  }
});
