// The `openai` package.

import OpenAI from "openai";

import {
  bad, check, closed, counting, embedder, end, key, model, must, parameters, refused, refusing, servers, token,
  versions,
} from "./report.mjs";

const messages = [{ role: "user", content: "What is a lease?" }];
const tools = [{ type: "function", function: { name: "look_up", parameters } }];
const tool_choice = { type: "function", function: { name: "look_up" } };

const client = (origin, more = {}) =>
  new OpenAI({ baseURL: `${origin}/api/v1`, apiKey: key, maxRetries: 0, ...more });
const plain = async (it, name = model) => {
  const answer = await it.chat.completions.create({ model: name, messages });
  must(answer.choices[0].message.content && answer.usage.total_tokens > 0, answer);
};

const everywhere = {
  "a plain answer is whole": plain,
  "a streamed answer is whole": async (it) => {
    const stream = await it.chat.completions.create({ model, messages, stream: true });
    let [text, finish] = ["", null];
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta?.content ?? "";
      finish = chunk.choices[0]?.finish_reason ?? finish;
    }
    must(text && finish, { text, finish });
  },
  "a tool is called, and its result answered": async (it) => {
    const asked = { model, messages, tools, tool_choice };
    const { message } = (await it.chat.completions.create(asked)).choices[0];
    const call = message.tool_calls[0];
    must(call.function.name === "look_up" && call.id, message);
    const result = { role: "tool", tool_call_id: call.id, content: "a contract" };
    const answer = await it.chat.completions.create({
      model, messages: [...messages, message, result], tools,
    });
    must(answer.choices[0].message.content, answer);
  },
  "a tool call is streamed": async (it) => {
    const stream = it.chat.completions.stream({ model, messages, tools, tool_choice });
    const { message } = (await stream.finalChatCompletion()).choices[0];
    must(message.tool_calls[0].function.name === "look_up", message);
    JSON.parse(message.tool_calls[0].function.arguments);
  },
  "responses: an answer is whole": async (it) => {
    const answer = await it.responses.create({ model, input: "What is a lease?" });
    must(answer.output_text && answer.status === "completed", answer);
  },
  "responses: a stream is whole": async (it) => {
    const stream = await it.responses.create({ model, input: "Lease?", stream: true });
    const kinds = [];
    for await (const event of stream) kinds.push(event.type);
    must(kinds[0] === "response.created" && kinds.at(-1) === "response.completed", kinds);
  },
  "texts are embedded": async (it) => {
    const answer = await it.embeddings.create({ model: embedder, input: ["a", "b"] });
    must(answer.data.length === 2 && typeof answer.data[0].embedding[0] === "number", answer.usage);
  },
  "models are listed": async (it) => {
    const names = [];
    for await (const found of it.models.list()) names.push(found.id);
    must(names.includes(model), names);
  },
  "an unknown model is a bad request": (it) =>
    refused(OpenAI.BadRequestError, () => plain(it, "nothing"), "nothing"),
  "an unknown path is not found": (it) =>
    refused(OpenAI.NotFoundError, () => it.fineTuning.jobs.list()),
};

versions("openai");
for (const [server, origin] of Object.entries(servers)) {
  for (const [name, test] of Object.entries(everywhere)) {
    await check(`${server}: ${name}`, test, client(origin));
  }
}
const revoked = client(refusing, { apiKey: "sk-or-v1-revoked" });
await check("mock: a revoked key is an authentication error", () =>
  refused(OpenAI.AuthenticationError, () => plain(revoked)));
await check("serve: a refusal with a time is waited for", async () => {
  const { fetch, seen } = counting();
  await plain(client(bad.serve, { fetch, maxRetries: 2 }), "test/full-once");
  must(seen.join() === "429,200", seen);
});
await check("serve: what was tried is not tried again", async () => {
  const { fetch, seen } = counting();
  const it = client(bad.serve, { fetch, maxRetries: 2 });
  await refused(OpenAI.InternalServerError, () => plain(it, "test/down"));
  must(seen.length === 1, seen);
});
await check("serve: a broken stream is an error", () =>
  refused(Error, async () => {
    const asked = { model: "test/breaks", messages, stream: true };
    for await (const _ of await client(bad.serve).chat.completions.create(asked));
  }));
await check("serve: a token opens", () => plain(client(closed, { apiKey: token })));
await check("serve: a wrong token is an authentication error", () =>
  refused(OpenAI.AuthenticationError, () => plain(client(closed))));
end();
