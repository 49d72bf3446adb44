// Asks a Muserve server for images and saves them as one PNG. It reads proto/ when it runs: no code is generated.
//
//   node generate.mjs [--server HOST:PORT] [--model NAME] [--count N] [--labels 7,3] [--seed N] [--out FILE]
import { writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { connect, load, report, seedOf, within } from "./muserve.mjs";

const { values: flags } = parseArgs({
  options: {
    server: { type: "string", default: "localhost:8001" },
    model: { type: "string", default: "" }, // empty: the server's default
    count: { type: "string", default: "16" },
    labels: { type: "string", default: "" },
    seed: { type: "string" }, // absent: the server draws one and returns it
    out: { type: "string", default: "images.png" },
    "timeout-s": { type: "string", default: "30" },
  },
});

const { ImageService } = await load("muserve/v1/image.proto");
const client = connect(ImageService, flags.server);
const request = {
  model: flags.model,
  count: Number(flags.count),
  labels: flags.labels ? flags.labels.split(",") : [],
  layout: "IMAGE_LAYOUT_CONTACT_SHEET",
  ...seedOf(flags.seed),
};

client.GenerateImages(request, within(flags["timeout-s"]), async (error, response) => {
  client.close();
  if (error) return report(error);
  const { info, images: [sheet] } = response;
  await writeFile(flags.out, sheet.png);
  console.log(`${flags.out}: ${sheet.width}x${sheet.height}, ${info.model} version ${info.version}, seed ${info.seed ?? "0"}`);
});
