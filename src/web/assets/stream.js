// An answer as it is made: `POST /api/v1/ask` with server-sent events read from the response's body.
// (`EventSource` cannot send a body. https://html.spec.whatwg.org/multipage/server-sent-events.html)

import { Failure, send } from "./common.js";

/**
 * Asks; calls `heard.citation(citation)` and `heard.token(text)` as they come, resolves to the whole answer.
 * Aborting `signal` closes the connection, and the server stops.
 */
export async function ask(request, heard, signal) {
  const response = await send("POST", "/api/v1/ask", { json: { ...request, stream: true }, accept: "text/event-stream", signal });
  let done = null;
  try {
    for await (const { event, data } of events(response.body)) {
      if (event === "token") heard.token(data.text);
      else if (event === "citation") heard.citation(data);
      else if (event === "done") done = data;
      else if (event === "error") throw new Failure({ status: response.status, code: data.code, message: data.message, requestId: data.request_id });
    }
  } catch (error) {
    if (error instanceof Failure || error.name === "AbortError") throw error;
    throw new Failure({});
  }
  if (!done) throw new Failure({});
  return done;
}

async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      buffer += value.replaceAll("\r", "");
      let end;
      while ((end = buffer.indexOf("\n\n")) >= 0) {
        const event = parsed(buffer.slice(0, end));
        buffer = buffer.slice(end + 2);
        if (event) yield event;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** One event; `null` for comments, which only keep the connection alive. */
function parsed(block) {
  let event = "message";
  const data = [];
  for (const line of block.split("\n")) {
    if (line.startsWith("event:")) event = line.slice(6).trim();
    else if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
  }
  return data.length ? { event, data: JSON.parse(data.join("\n")) } : null;
}
