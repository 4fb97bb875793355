// Where the servers are, and how a check is told of.

import { readFileSync } from "node:fs";

export const servers = { mock: process.env.FAIRKEY_MOCK, serve: process.env.FAIRKEY_SERVE };
export const refusing = process.env.FAIRKEY_REFUSING;
export const bad = { mock: process.env.FAIRKEY_BAD_MOCK, serve: process.env.FAIRKEY_BAD_SERVE };
export const closed = process.env.FAIRKEY_CLOSED;
export const token = "tok-team-a";
export const model = "openai/gpt-4o-mini";
export const claude = "anthropic/claude-sonnet-4.5";
export const embedder = "openai/text-embedding-3-small";
export const key = "sk-or-v1-any";
export const parameters = {
  type: "object",
  properties: { word: { type: "string" } },
  required: ["word"],
};

let passed = 0;
let failed = 0;

/** Says which versions are tried. */
export function versions(...names) {
  const shown = names.map((name) => {
    const path = new URL(`./node_modules/${name}/package.json`, import.meta.url);
    return `${name} ${JSON.parse(readFileSync(path, "utf8")).version}`;
  });
  console.log(`   ${shown.join(", ")}`);
}

export async function check(name, test, ...args) {
  try {
    await test(...args);
    passed += 1;
    console.log(`ok     ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED ${name}: ${error?.name}: ${String(error?.message).slice(0, 500)}`);
  }
}

export function end() {
  console.log(`${passed} passed, ${failed} failed`);
  process.exit(failed ? 1 : 0);
}

export function must(is, what) {
  if (!is) throw new Error(`not so: ${typeof what === "string" ? what : JSON.stringify(what)}`);
}

/** The error with which a call is refused, which must be of the class. */
export async function refused(errorClass, call, says = "") {
  let error;
  try {
    await call();
  } catch (thrown) {
    error = thrown;
  }
  must(error, "it was refused");
  must(error instanceof errorClass, `${error?.name} is a ${errorClass.name}: ${error?.message}`);
  must(String(error.message).includes(says), error.message);
  return error;
}

/** A `fetch` that notes the statuses it has seen. */
export function counting() {
  const seen = [];
  const counted = async (...args) => {
    const answer = await fetch(...args);
    seen.push(answer.status);
    return answer;
  };
  return { fetch: counted, seen };
}
