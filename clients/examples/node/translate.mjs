// Asks a Muserve server to show an image as another domain would, and saves it as PNG. It reads proto/ when it runs: no
// code is generated.
//
//   node translate.mjs --image FILE [--to DOMAIN] [--server HOST:PORT] [--model NAME] [--out FILE] [--cycle FILE]
//       [--side-by-side FILE]
import { readFile, writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { connect, load, refuse, report, within } from "./muserve.mjs";

const { values: flags } = parseArgs({
  options: {
    server: { type: "string", default: "localhost:8001" },
    model: { type: "string", default: "" }, // empty: the server's default
    image: { type: "string" }, // PNG, JPEG or WebP
    to: { type: "string", default: "" }, // empty: for a model with one direction
    out: { type: "string", default: "translated.png" },
    cycle: { type: "string" }, // the result translated back
    "side-by-side": { type: "string" }, // image, result and way back in a row
    "timeout-s": { type: "string", default: "60" },
  },
});
if (flags.image === undefined) refuse("--image is not set; it must be the path of a PNG, JPEG or WebP file");

const { ImageTranslationService } = await load("muserve/v1/translation.proto");
const request = {
  model: flags.model,
  image: await readFile(flags.image).catch(({ message }) => refuse(message)),
  target: flags.to,
  cycle: flags.cycle !== undefined,
  sideBySide: flags["side-by-side"] !== undefined,
};

const client = connect(ImageTranslationService, flags.server);
client.TranslateImage(request, within(flags["timeout-s"]), async (error, response) => {
  client.close();
  if (error) return report(error);
  const { info, png, width, height, source, target, cycle, sideBySidePng } = response;
  await writeFile(flags.out, png);
  if (cycle) await writeFile(flags.cycle, cycle.png);
  if (sideBySidePng) await writeFile(flags["side-by-side"], sideBySidePng);
  console.log(`${flags.out}: ${source} to ${target}, ${width}x${height}, ${info.model} version ${info.version}`);
  if (cycle) console.log(`${flags.cycle}: and back, ${cycle.meanAbsoluteError.toPrecision(3)} of 255 off on average`);
});
