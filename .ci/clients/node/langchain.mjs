// `@langchain/openai`.

import { HumanMessage, ToolMessage } from "@langchain/core/messages";
import { ChatOpenAI, OpenAIEmbeddings } from "@langchain/openai";

import {
  bad, check, embedder, end, key, model, must, parameters, refused, servers, versions,
} from "./report.mjs";

const chat = (origin, name = model) =>
  new ChatOpenAI({
    model: name, apiKey: key, maxRetries: 0, configuration: { baseURL: `${origin}/api/v1` },
  });
const tools = [{ type: "function", function: { name: "look_up", parameters } }];
const forced = { tool_choice: { type: "function", function: { name: "look_up" } } };

const everywhere = {
  "a plain answer is whole": async (origin) => {
    const answer = await chat(origin).invoke("What is a lease?");
    must(answer.content && answer.usage_metadata.total_tokens > 0, answer.usage_metadata);
  },
  "a streamed answer is whole": async (origin) => {
    let text = "";
    for await (const chunk of await chat(origin).stream("Lease?")) text += chunk.content;
    must(text, text);
  },
  "a tool is called, and its result answered": async (origin) => {
    const question = new HumanMessage("What is a lease?");
    const answer = await chat(origin).bindTools(tools, forced).invoke([question]);
    const call = answer.tool_calls[0];
    must(call.name === "look_up" && call.id, answer.tool_calls);
    const result = new ToolMessage({ content: "a contract", tool_call_id: call.id });
    const last = await chat(origin).bindTools(tools).invoke([question, answer, result]);
    must(last.content, last.content);
  },
  "a tool call is streamed": async (origin) => {
    let whole;
    for await (const chunk of await chat(origin).bindTools(tools, forced).stream("Lease?")) {
      whole = whole ? whole.concat(chunk) : chunk;
    }
    must(whole.tool_calls[0].name === "look_up", whole.tool_calls);
  },
  "texts are embedded": async (origin) => {
    const it = new OpenAIEmbeddings({
      model: embedder, apiKey: key, configuration: { baseURL: `${origin}/api/v1` },
    });
    const vectors = await it.embedDocuments(["a", "b"]);
    must(vectors.length === 2 && vectors[0].length > 0, vectors.length);
  },
  "an unknown model is a bad request": (origin) =>
    refused(Error, () => chat(origin, "nothing").invoke("x"), "nothing"),
};

versions("@langchain/openai", "@langchain/core");
for (const [server, origin] of Object.entries(servers)) {
  for (const [name, test] of Object.entries(everywhere)) {
    await check(`${server}: ${name}`, test, origin);
  }
}
await check("serve: a broken stream is an error", () =>
  refused(Error, async () => {
    for await (const _ of await chat(bad.serve, "test/breaks").stream("Lease?"));
  }));
end();
