// The AI SDK with OpenRouter's provider.

import { createOpenRouter } from "@openrouter/ai-sdk-provider";
import {
  APICallError, embedMany, generateText, jsonSchema, stepCountIs, streamText, tool,
} from "ai";

import {
  bad, check, embedder, end, key, model, must, parameters, refused, refusing, servers, versions,
} from "./report.mjs";

const provider = (origin, apiKey = key) =>
  createOpenRouter({ baseURL: `${origin}/api/v1`, apiKey });
const prompt = "What is a lease?";
const tools = {
  look_up: tool({
    description: "Looks a word up",
    inputSchema: jsonSchema(parameters),
    execute: async () => "a contract",
  }),
};
const forced = { tools, toolChoice: { type: "tool", toolName: "look_up" } };

const everywhere = {
  "a plain answer is whole": async (it) => {
    const answer = await generateText({ model: it.chat(model), prompt, maxRetries: 0 });
    must(answer.text && answer.usage.totalTokens > 0, answer.usage);
  },
  "a streamed answer is whole": async (it) => {
    const answer = streamText({ model: it.chat(model), prompt, maxRetries: 0 });
    let text = "";
    for await (const more of answer.textStream) text += more;
    must(text && (await answer.usage).outputTokens > 0, text);
  },
  "a tool is called, and its result answered": async (it) => {
    const answer = await generateText({
      model: it.chat(model),
      prompt,
      maxRetries: 0,
      ...forced,
      stopWhen: stepCountIs(2),
      // Only the first step is made to call.
      prepareStep: ({ stepNumber }) => (stepNumber > 0 ? { toolChoice: "auto" } : {}),
    });
    must(answer.steps.length === 2 && answer.text, answer.steps.length);
    must(answer.steps[0].toolResults[0].output === "a contract", answer.steps[0].toolResults);
  },
  "a tool call is streamed": async (it) => {
    const answer = streamText({ model: it.chat(model), prompt, maxRetries: 0, ...forced });
    await answer.consumeStream();
    must((await answer.toolCalls)[0].toolName === "look_up", "the tool");
  },
  "texts are embedded": async (it) => {
    const { embeddings } = await embedMany({
      model: it.textEmbeddingModel(embedder),
      values: ["a", "b"],
      maxRetries: 0,
    });
    must(embeddings.length === 2 && embeddings[0].length > 0, embeddings.length);
  },
  "an unknown model is a bad request": async (it) => {
    const unknown = { model: it.chat("nothing"), prompt, maxRetries: 0 };
    const error = await refused(Error, () => generateText(unknown), "nothing");
    must(APICallError.isInstance(error), error.name);
    must([400, 404].includes(error.statusCode) && !error.isRetryable, error.statusCode);
  },
};

versions("ai", "@openrouter/ai-sdk-provider");
for (const [server, origin] of Object.entries(servers)) {
  for (const [name, test] of Object.entries(everywhere)) {
    await check(`${server}: ${name}`, test, provider(origin));
  }
}
await check("mock: a revoked key is a 401", async () => {
  const revoked = { model: provider(refusing, "sk-or-v1-revoked").chat(model), prompt };
  const error = await refused(Error, () => generateText({ ...revoked, maxRetries: 0 }));
  must(APICallError.isInstance(error) && error.statusCode === 401, error.statusCode);
});
await check("serve: a refusal with a time is waited for", async () => {
  const full = { model: provider(bad.serve).chat("test/full-once"), prompt, maxRetries: 2 };
  must((await generateText(full)).text, "an answer");
});
await check("serve: a broken stream is an error", async () => {
  let error = null;
  const broken = streamText({
    model: provider(bad.serve).chat("test/breaks"),
    prompt,
    maxRetries: 0,
    onError: (event) => (error = event.error),
  });
  for await (const part of broken.fullStream) if (part.type === "error") error ??= part.error;
  must(error, "an error");
});
end();
