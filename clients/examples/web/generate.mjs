// Saves an image from Node: node generate.mjs [--server URL] [--seed N] [--out FILE]
import { readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { connect } from "./muserve.mjs";

const { values: flags } = parseArgs({
  options: {
    server: { type: "string", default: "http://localhost:8001" },
    seed: { type: "string", default: "42" },
    out: { type: "string", default: "image.png" },
  },
});
const images = connect(readFileSync(new URL("muserve.binpb", import.meta.url)), "muserve.v1.ImageService", flags.server);
try {
  // 64-bit numbers are BigInt.
  const { info, images: [image] } = await images.generateImages({ count: 1, seed: BigInt(flags.seed) }, { timeoutMs: 60_000 });
  writeFileSync(flags.out, image.png);
  console.log(`${flags.out}: ${image.width}x${image.height}, ${info.model} version ${info.version}, seed ${info.seed}`);
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
