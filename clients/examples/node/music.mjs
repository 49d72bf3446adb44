// Asks a Muserve server for music, or to accompany a MIDI file, and saves it as MIDI. It reads proto/ when it runs: no
// code is generated.
//
//   node music.mjs [--style NAME] [--tempo BPM] [--bars N] [--tracks drums,bass] [--accompany FILE] [--seed N]
//       [--server HOST:PORT] [--model NAME] [--out FILE] [--piano-roll FILE]
import { readFile, writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { connect, load, refuse, report, seedOf, within } from "./muserve.mjs";

const { values: flags } = parseArgs({
  options: {
    server: { type: "string", default: "localhost:8001" },
    model: { type: "string", default: "" }, // empty: the server's default
    style: { type: "string", default: "" }, // empty: drawn by the seed
    tempo: { type: "string" }, // quarter notes a minute; absent: the style's
    bars: { type: "string" }, // absent: as many as one run of the model gives
    tracks: { type: "string", default: "" }, // empty: all
    accompany: { type: "string" }, // a file whose notes stay, with new tracks added
    seed: { type: "string" }, // absent: the server draws one and returns it
    out: { type: "string", default: "song.mid" },
    "piano-roll": { type: "string" },
    "timeout-s": { type: "string", default: "30" },
  },
});

const { MusicService } = await load("muserve/v1/music.proto");
const common = {
  model: flags.model,
  style: flags.style,
  tracks: flags.tracks ? flags.tracks.split(",") : [],
  pianoRoll: flags["piano-roll"] !== undefined,
  ...seedOf(flags.seed),
};

const compose = () => ({
  ...common,
  ...(flags.tempo !== undefined && { tempoBpm: Number(flags.tempo) }),
  ...(flags.bars !== undefined && { bars: Number(flags.bars) }),
});

async function accompany() {
  if (flags.tempo ?? flags.bars) refuse("--tempo and --bars are those of the file with --accompany");
  return { ...common, midi: await readFile(flags.accompany).catch(({ message }) => refuse(message)) };
}

const isNew = flags.accompany === undefined;
const request = isNew ? compose() : await accompany();
const client = connect(MusicService, flags.server);
client[isNew ? "GenerateMusic" : "Accompany"](request, within(flags["timeout-s"]), async (error, response) => {
  client.close();
  if (error) return report(error);
  const { info, pieces: [piece], roles } = response;
  await writeFile(flags.out, piece.midi);
  if (flags["piano-roll"]) await writeFile(flags["piano-roll"], piece.pianoRollPng);
  for (const { track, role } of roles ?? []) console.log(`track ${track} is heard as ${role || "nothing, and kept"}`);
  const tracks = piece.tracks.filter(({ given }) => !given).map(({ role }) => role);
  const tempo = Number(piece.tempoBpm.toPrecision(6)); // files hold whole microseconds
  console.log(`${flags.out}: ${tracks.join(", ")}; ${piece.bars} bars at ${tempo} quarter notes a minute`);
  console.log(`style ${piece.style || "none"}, ${info.model} version ${info.version}, seed ${info.seed ?? "0"}`);
});
