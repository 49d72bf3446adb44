// What every example needs: a service's client, made of proto/ when the program runs, and an error told in full.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";

const protos = fileURLToPath(new URL("../../../proto", import.meta.url));

// Seeds are unsigned 64-bit: as a JavaScript number they would lose digits above 2^53, so longs are strings here.
const reading = { includeDirs: [protos], longs: String, enums: String };

export async function load(file) {
  return grpc.loadPackageDefinition(await protoLoader.load(file, reading)).muserve.v1;
}

// Calls the replicas behind a name in turn, and tries UNAVAILABLE again on the next one.
const serviceConfig = readFileSync(`${protos}/muserve/v1/muserve_grpc_service_config.json`, "utf8");

export function connect(Service, server) {
  return new Service(server, grpc.credentials.createInsecure(), {
    "grpc.service_config": serviceConfig,
    "grpc.max_receive_message_length": 32 * 2 ** 20, // the server's own limit; grpc-js would stop at 4 MiB
  });
}

export function within(seconds) {
  return { deadline: new Date(Date.now() + Number(seconds) * 1000) };
}

// The seed as a request has it; nothing if there is none.
export function seedOf(text) {
  if (text === undefined) return {};
  if (!/^\d{1,20}$/.test(text)) refuse(`--seed is '${text}'; it must be a whole number from 0 to 2^64 - 1`);
  return { seed: text };
}

export function report(error) {
  console.error(`${grpc.status[error.code]}: ${error.details}`);
  for (const { field, description } of fieldViolations(error)) console.error(`  ${field}: ${description}`);
  process.exitCode = 1;
}

export function refuse(message) {
  console.error(message);
  process.exit(2);
}

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
