// The `@anthropic-ai/sdk` package, whose base URL is without `/v1`.

import Anthropic from "@anthropic-ai/sdk";

import {
  bad, check, claude, closed, counting, end, key, must, parameters, refused, refusing, servers, token,
  versions,
} from "./report.mjs";

const messages = [{ role: "user", content: "What is a lease?" }];
const tools = [{ name: "look_up", input_schema: parameters }];
const tool_choice = { type: "tool", name: "look_up" };
const asked = { model: claude, max_tokens: 50, messages };

const client = (origin, more = {}) =>
  new Anthropic({ baseURL: `${origin}/api`, apiKey: key, maxRetries: 0, ...more });

const everywhere = {
  "a plain answer is whole": async (it) => {
    const answer = await it.messages.create(asked);
    must(answer.content[0].text && answer.usage.output_tokens > 0, answer);
  },
  "a streamed answer is whole": async (it) => {
    const stream = it.messages.stream(asked);
    let text = "";
    stream.on("text", (more) => (text += more));
    const answer = await stream.finalMessage();
    must(text && answer.content[0].text === text && answer.usage.output_tokens > 0, answer);
  },
  "a tool is called, and its result answered": async (it) => {
    const called = await it.messages.create({ ...asked, tools, tool_choice });
    const call = called.content.find((block) => block.type === "tool_use");
    must(call.name === "look_up" && called.stop_reason === "tool_use", called);
    const result = { type: "tool_result", tool_use_id: call.id, content: "a contract" };
    const answer = await it.messages.create({
      ...asked,
      tools,
      messages: [
        ...messages,
        { role: "assistant", content: called.content },
        { role: "user", content: [result] },
      ],
    });
    must(answer.content[0].text, answer);
  },
  "a tool call is streamed": async (it) => {
    const stream = it.messages.stream({ ...asked, max_tokens: 200, tools, tool_choice });
    const answer = await stream.finalMessage();
    const call = answer.content.find((block) => block.type === "tool_use");
    must(call?.name === "look_up" && typeof call.input === "object", answer);
  },
  "an unknown model is a bad request": async (it) => {
    const unknown = { ...asked, model: "nothing" };
    const error = await refused(Anthropic.APIError, () => it.messages.create(unknown), "nothing");
    must([400, 404].includes(error.status), error.status);
  },
};

versions("@anthropic-ai/sdk");
for (const [server, origin] of Object.entries(servers)) {
  for (const [name, test] of Object.entries(everywhere)) {
    await check(`${server}: ${name}`, test, client(origin));
  }
}
await check("mock: a revoked key is an authentication error", () =>
  refused(Anthropic.AuthenticationError, () =>
    client(refusing, { apiKey: "sk-or-v1-revoked" }).messages.create(asked)));
await check("serve: what OpenRouter lacks is not found", async () => {
  const count = () => client(servers.serve).messages.countTokens({ model: claude, messages });
  const { error } = await refused(Anthropic.NotFoundError, count);
  must(error.error.type === "not_found_error", error);
});
await check("serve: a refusal with a time is waited for", async () => {
  const { fetch, seen } = counting();
  const it = client(bad.serve, { fetch, maxRetries: 2 });
  await it.messages.create({ ...asked, model: "test/full-once" });
  must(seen.join() === "429,200", seen);
});
await check("serve: what was tried is not tried again", async () => {
  const { fetch, seen } = counting();
  const it = client(bad.serve, { fetch, maxRetries: 2 });
  await refused(Anthropic.APIError, () => it.messages.create({ ...asked, model: "test/down" }));
  must(seen.length === 1, seen);
});
await check("serve: a broken stream is an error", () =>
  refused(Anthropic.APIError, async () => {
    const broken = { ...asked, model: "test/breaks", stream: true };
    for await (const _ of await client(bad.serve).messages.create(broken));
  }));
await check("serve: a token opens", () => client(closed, { apiKey: token }).messages.create(asked));
await check("serve: a wrong token is an authentication error", () =>
  refused(Anthropic.AuthenticationError, () => client(closed).messages.create(asked)));
end();
