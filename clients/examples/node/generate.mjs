// Asks a Muserve server for images and saves them as one PNG. It reads proto/ when it runs: no code is generated.
//
//   node generate.mjs [--server HOST:PORT] [--model NAME] [--count N] [--labels 7,3] [--seed N] [--out FILE]
import { writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";

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

// Seeds are unsigned 64-bit: as a JavaScript number they would lose digits above 2^53, so longs are strings here.
const protos = fileURLToPath(new URL("../../../proto", import.meta.url));
const reading = { includeDirs: [protos], longs: String, enums: String };
const { muserve } = grpc.loadPackageDefinition(await protoLoader.load("muserve/v1/image.proto", reading));

// A failed call carries a google.rpc.Status; of its details this reads BadRequest, which names the wrong fields.
const field = (id, type, rule) => ({ id, type, ...(rule && { rule }) });
const details = protoLoader.fromJSON({
  nested: {
    Detail: { fields: { typeUrl: field(1, "string"), value: field(2, "bytes") } },
    Status: { fields: { details: field(3, "Detail", "repeated") } },
    Violation: { fields: { field: field(1, "string"), description: field(2, "string") } },
    BadRequest: { fields: { violations: field(1, "Violation", "repeated") } },
  },
});

function fieldViolations(error) {
  const [status] = error.metadata?.get("grpc-status-details-bin") ?? [];
  if (!status) return [];
  return (details.Status.deserialize(status).details ?? [])
    .filter((detail) => detail.typeUrl.endsWith("/google.rpc.BadRequest"))
    .flatMap((detail) => details.BadRequest.deserialize(detail.value).violations ?? []);
}

if (flags.seed !== undefined && !/^\d{1,20}$/.test(flags.seed)) {
  console.error(`--seed is '${flags.seed}'; it must be a whole number from 0 to 2^64 - 1`);
  process.exit(2);
}

const client = new muserve.v1.ImageService(flags.server, grpc.credentials.createInsecure(), {
  "grpc.max_receive_message_length": 32 * 2 ** 20, // the server's own limit; grpc-js would stop at 4 MiB
});
const request = {
  model: flags.model,
  count: Number(flags.count),
  labels: flags.labels ? flags.labels.split(",") : [],
  layout: "IMAGE_LAYOUT_CONTACT_SHEET",
  ...(flags.seed !== undefined && { seed: flags.seed }),
};
const deadline = new Date(Date.now() + Number(flags["timeout-s"]) * 1000);

client.GenerateImages(request, { deadline }, async (error, response) => {
  client.close();
  if (error) {
    console.error(`${grpc.status[error.code]}: ${error.details}`);
    for (const { field, description } of fieldViolations(error)) console.error(`  ${field}: ${description}`);
    process.exitCode = 1;
    return;
  }
  const { info, images: [sheet] } = response;
  await writeFile(flags.out, sheet.png);
  console.log(`${flags.out}: ${sheet.width}x${sheet.height}, ${info.model} version ${info.version}, seed ${info.seed}`);
});
