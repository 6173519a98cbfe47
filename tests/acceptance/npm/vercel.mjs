// What the Vercel AI SDK makes of our answers: one JSON object on stdout.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, generateText, Output, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const provider = createOpenAICompatible({ name: "crewMoe", baseURL: process.argv[2], apiKey: "unused", includeUsage: true, supportsStructuredOutputs: true });
const model = provider("gpt-4o");
const prompt = "What do the figures say?";

async function whole() {
  const done = await generateText({ model, prompt, providerOptions: { crewMoe: { crew_moe: { run_id: "npm" } } } });
  return {
    text: done.text,
    expert: done.response.headers["x-crew-moe-expert"],
    cost: done.response.headers["x-crew-moe-cost-usd"],
    model: done.response.modelId,
    tokens: done.usage.totalTokens,
  };
}

async function streamed() {
  const pieces = [];
  const result = streamText({ model, prompt });
  for await (const piece of result.textStream) pieces.push(piece);
  return { text: pieces.join(""), pieces: pieces.length, tokens: (await result.usage).totalTokens, finish: await result.finishReason };
}

async function tools() {
  const look = tool({ inputSchema: z.object({ q: z.string() }), execute: async ({ q }) => `found ${q}` });
  const result = streamText({ model, prompt, tools: { look }, stopWhen: stepCountIs(2) });
  const text = await result.text;
  const steps = await result.steps;
  return { text, input: steps[0].toolCalls[0].input, output: steps[0].toolResults[0].output, steps: steps.length };
}

async function json() {
  const schema = z.object({ what: z.string() });
  return (await generateText({ model, prompt, output: Output.object({ schema }) })).output;
}

async function refused() {
  try {
    await generateText({ model: provider("moe-expert-nobody"), prompt });
  } catch (error) {
    return { isCallError: APICallError.isInstance(error), status: error.statusCode, again: error.isRetryable, data: error.data?.error?.code };
  }
}

const told = { whole: await whole(), streamed: await streamed(), tools: await tools(), json: await json(), refused: await refused() };
process.stdout.write(JSON.stringify(told));
