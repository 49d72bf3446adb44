// Continues a series and saves the forecast as CSV. It reads proto/ when it runs: no code is generated.
//
//   node forecast.mjs --values 112,118,,129 --frequency monthly [--horizon N] [--quantiles 0.1,0.9]
//       [--server HOST:PORT] [--model NAME] [--out FILE]
import { writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { connect, load, refuse, report, within } from "./muserve.mjs";

const { values: flags } = parseArgs({
  options: {
    server: { type: "string", default: "localhost:8001" },
    model: { type: "string", default: "" }, // empty: the server's default
    values: { type: "string", default: "" }, // oldest first; nothing between two commas: missing
    frequency: { type: "string", default: "" }, // empty: only for a model that knows a single one
    horizon: { type: "string", default: "12" },
    quantiles: { type: "string", default: "0.1,0.9" },
    out: { type: "string", default: "forecast.csv" },
    "timeout-s": { type: "string", default: "30" },
  },
});

const { Frequency, ForecastService } = await load("muserve/v1/forecast.proto");
const frequencies = Frequency.type.value.map(({ name }) => name); // grpc-js would send an unknown name as none
const frequency = `FREQUENCY_${(flags.frequency || "unspecified").toUpperCase()}`;
if (!frequencies.includes(frequency)) {
  const allowed = frequencies.slice(1).map((name) => name.replace("FREQUENCY_", "").toLowerCase());
  refuse(`--frequency is '${flags.frequency}'; allowed: ${allowed.join(", ")}`);
}

function numbers(flag) {
  if (!flags[flag]) return [];
  return flags[flag].split(",").map((item) => {
    if (item.trim() && Number.isNaN(Number(item))) refuse(`--${flag} has '${item}', which is no number`);
    return item.trim() ? Number(item) : NaN;
  });
}

const client = connect(ForecastService, flags.server);
const request = {
  model: flags.model,
  series: [{ values: numbers("values"), frequency }],
  horizon: Number(flags.horizon),
  quantiles: numbers("quantiles"),
};

client.Forecast(request, within(flags["timeout-s"]), async (error, response) => {
  client.close();
  if (error) return report(error);
  const { info, forecasts: [forecast] } = response;
  const columns = [forecast.point, ...(forecast.quantiles ?? []).map(({ values }) => values)];
  const rows = forecast.point.map((_, step) => [step + 1, ...columns.map((column) => column[step])]);
  const names = ["step", "point", ...(forecast.quantiles ?? []).map(({ level }) => `q${level}`)];
  await writeFile(flags.out, [names, ...rows].map((row) => `${row.join(",")}\n`).join(""));
  console.log(`${flags.out}: ${rows.length} steps, ${info.model} version ${info.version}`);
  if (forecast.directSteps < rows.length) {
    console.log(`steps after ${forecast.directSteps} were rolled out: their quantiles are less certain`);
  }
});
