// The `@openrouter/sdk` package, which checks every answer against OpenRouter's own schema.

import { OpenRouter } from "@openrouter/sdk";
import { OpenRouterError, UnauthorizedResponseError } from "@openrouter/sdk/models/errors";

import {
  bad, check, closed, embedder, end, key, model, must, parameters, refused, refusing, servers, token,
  versions,
} from "./report.mjs";

const messages = [{ role: "user", content: "What is a lease?" }];
const tools = [{ type: "function", function: { name: "look_up", parameters } }];
const toolChoice = { type: "function", function: { name: "look_up" } };

const client = (origin, apiKey = key) =>
  new OpenRouter({ serverURL: `${origin}/api/v1`, apiKey, retryConfig: { strategy: "none" } });
const ask = (it, more = {}) => it.chat.send({ chatRequest: { model, messages, ...more } });

const everywhere = {
  "a plain answer is whole": async (it) => {
    const answer = await ask(it);
    must(answer.choices[0].message.content && answer.usage.totalTokens > 0, answer);
  },
  "a streamed answer is whole": async (it) => {
    let [text, usage] = ["", null];
    for await (const chunk of await ask(it, { stream: true })) {
      text += chunk.choices[0]?.delta?.content ?? "";
      usage = chunk.usage ?? usage;
    }
    must(text && usage?.completionTokens > 0, { text, usage });
  },
  "a tool is called, and its result answered": async (it) => {
    const { message } = (await ask(it, { tools, toolChoice })).choices[0];
    const call = message.toolCalls[0];
    must(call.function.name === "look_up" && call.id, message);
    const result = { role: "tool", toolCallId: call.id, content: "a contract" };
    const answer = await ask(it, { tools, messages: [...messages, message, result] });
    must(answer.choices[0].message.content, answer);
  },
  "a tool call is streamed": async (it) => {
    let [name, text] = ["", ""];
    for await (const chunk of await ask(it, { tools, toolChoice, stream: true })) {
      const call = chunk.choices[0]?.delta?.toolCalls?.[0]?.function;
      name += call?.name ?? "";
      text += call?.arguments ?? "";
    }
    must(name === "look_up", name);
    JSON.parse(text);
  },
  "responses: an answer is whole": async (it) => {
    const answer = await it.beta.responses.send({
      responsesRequest: { model, input: "What is a lease?" },
    });
    must(answer.status === "completed" && answer.output.length > 0, answer);
  },
  "texts are embedded": async (it) => {
    const requestBody = { model: embedder, input: ["a", "b"] };
    const answer = await it.embeddings.generate({ requestBody });
    must(answer.data.length === 2 && answer.data[0].embedding.length > 0, answer.usage);
  },
  "models are listed": async (it) => {
    const names = [];
    for await (const page of await it.models.list()) {
      names.push(...(page.result ?? page).data.map((found) => found.id));
    }
    must(names.includes(model), names);
  },
  "a stream of responses is whole": async (it) => {
    const kinds = [];
    const responsesRequest = { model, input: "Lease?", stream: true };
    for await (const event of await it.beta.responses.send({ responsesRequest })) {
      kinds.push(event.type);
    }
    must(kinds[0] === "response.created" && kinds.at(-1) === "response.completed", kinds);
  },
  "endpoints of a model are listed": async (it) => {
    const [author, slug] = model.split("/");
    const { data } = await it.endpoints.list({ author, slug });
    must(data.endpoints.length > 0, data);
  },
  "providers are listed": async (it) => must((await it.providers.list()).data.length > 0, "some"),
  "an unknown model is told of": async (it) => {
    // In its newest form an error has no code, which the package itself does not expect: what it
    // throws then is still one of its errors, with status and body.
    const error = await refused(OpenRouterError, () => ask(it, { model: "nothing" }));
    must([400, 404].includes(error.statusCode), error.statusCode);
    must(error.body.includes("nothing"), error.body);
  },
};

versions("@openrouter/sdk");
for (const [server, origin] of Object.entries(servers)) {
  for (const [name, test] of Object.entries(everywhere)) {
    await check(`${server}: ${name}`, test, client(origin));
  }
}
await check("mock: a revoked key is an authentication error", () =>
  refused(UnauthorizedResponseError, () => ask(client(refusing, "sk-or-v1-revoked"))));
await check("serve: a failure is one of the package's errors", async () => {
  const down = () => ask(client(bad.serve), { model: "test/down" });
  must((await refused(OpenRouterError, down)).statusCode >= 500);
});
await check("serve: too long a prompt is a bad request", async () => {
  const long = () => ask(client(bad.serve), { model: "test/long" });
  must((await refused(OpenRouterError, long, "context")).statusCode === 400);
});
await check("serve: a token opens", () => ask(client(closed, token)));
await check("serve: a wrong token is an authentication error", () =>
  refused(UnauthorizedResponseError, () => ask(client(closed))));
end();
