// Asks a Muserve server a question, or asks it for questions that a text answers. It reads proto/ when it runs: no code
// is generated.
//
//   node ask.mjs --question TEXT [--context FILE] [--server HOST:PORT] [--model NAME] [--count N] [--seed N]
//   node ask.mjs --about FILE [--count N] [--seed N] ...
import { readFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { connect, load, refuse, report, seedOf, within } from "./muserve.mjs";

const { values: flags } = parseArgs({
  options: {
    server: { type: "string", default: "localhost:8001" },
    model: { type: "string", default: "" }, // empty: the server's default
    question: { type: "string" },
    context: { type: "string" }, // a text to answer from; without it the model's own corpus is searched
    about: { type: "string" }, // a text to ask about
    count: { type: "string" },
    seed: { type: "string" },
    "timeout-s": { type: "string", default: "60" },
  },
});
if ((flags.question === undefined) === (flags.about === undefined)) {
  refuse("give --question TEXT to have it answered, or --about FILE to have a text asked about");
}
if (flags.count !== undefined && !/^\d{1,9}$/.test(flags.count)) refuse(`--count is '${flags.count}'; it must be a number`);

const read = (path) => readFile(path, "utf8").catch(({ message }) => refuse(message));
const { AnswerService } = await load("muserve/v1/answer.proto");
const client = connect(AnswerService, flags.server);
const request = { model: flags.model, ...(flags.count && { count: Number(flags.count) }), ...seedOf(flags.seed) };

if (flags.about !== undefined) {
  client.GenerateQuestions({ ...request, context: await read(flags.about) }, within(flags["timeout-s"]), (error, response) => {
    client.close();
    if (error) return report(error);
    for (const { question, answer } of response.pairs ?? []) console.log(`${question}\n  ${answer}`);
    console.log(`[${response.info.model} version ${response.info.version}, seed ${response.info.seed ?? "0"}]`);
  });
} else {
  if (flags.context !== undefined) request.context = await read(flags.context);
  request.question = flags.question;
  client.AnswerQuestion(request, within(flags["timeout-s"]), (error, response) => {
    client.close();
    if (error) return report(error);
    const { answers, isAnswerable, nearest, source, info } = response;
    if (!isAnswerable) console.log(["I don't know.", ...(nearest ? [`Nearest: ${nearest.join(", ")}`] : [])].join("\n"));
    for (const { text } of answers ?? []) console.log(text);
    const from = source?.title ? `${source.title}, ` : "";
    console.log(`[${from}${info.model} version ${info.version}, seed ${info.seed ?? "0"}]`);
  });
}
