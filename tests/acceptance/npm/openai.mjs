// What the npm `openai` package makes of our answers: one JSON object on stdout.
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.argv[2], apiKey: "unused" });
const messages = [{ role: "user", content: "What do the figures say?" }];
const model = "gpt-4o";
const look = { type: "function", function: { name: "look", parameters: { type: "object", properties: { q: { type: "string" } } } } };

async function whole() {
  const { data, response } = await client.chat.completions.create({ model, messages, crew_moe: { run_id: "npm" } }).withResponse();
  return {
    text: data.choices[0].message.content,
    model: data.model,
    cost: data.crew_moe.cost_usd,
    decision: response.headers.get("x-crew-moe-decision") === data.crew_moe.decision_id,
    tokens: data.usage.total_tokens,
  };
}

async function streamed() {
  const pieces = [];
  let usage = null;
  const stream = await client.chat.completions.create({ model, messages, stream: true, stream_options: { include_usage: true } });
  for await (const chunk of stream) {
    pieces.push(chunk.choices[0]?.delta?.content ?? "");
    usage = chunk.usage ?? usage;
  }
  return { text: pieces.join(""), pieces: pieces.length, tokens: usage.total_tokens };
}

async function tools() {
  const runner = client.chat.completions.stream({ model, messages, tools: [look] });
  const done = await runner.finalChatCompletion();
  const call = done.choices[0].message.tool_calls[0];
  return { name: call.function.name, arguments: JSON.parse(call.function.arguments), finish: done.choices[0].finish_reason };
}

async function json() {
  const done = await client.chat.completions.create({ model, messages, response_format: { type: "json_object" } });
  return JSON.parse(done.choices[0].message.content);
}

async function refused() {
  try {
    await client.chat.completions.create({ model: "moe-expert-nobody", messages });
  } catch (error) {
    return { kind: error.constructor.name, status: error.status, code: error.code, param: error.param };
  }
}

async function models() {
  const ids = [];
  for await (const one of client.models.list()) ids.push(one.id);
  return ids;
}

const told = { whole: await whole(), streamed: await streamed(), tools: await tools(), json: await json(), refused: await refused(), models: await models() };
process.stdout.write(JSON.stringify(told));
