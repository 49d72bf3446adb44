// Draws an image in a page: index.html?server=http://localhost:8001&seed=42
import descriptors from "./muserve.binpb";
import { connect } from "./muserve.mjs";

const query = new URLSearchParams(location.search);
const server = query.get("server") ?? "http://localhost:8001";
const text = document.querySelector("figcaption");
try {
  const images = connect(descriptors, "muserve.v1.ImageService", server);
  const answer = await images.generateImages({ count: 1, seed: BigInt(query.get("seed") ?? 42) }, { timeoutMs: 60_000 });
  const bytes = String.fromCharCode(...answer.images[0].png);
  document.querySelector("img").src = `data:image/png;base64,${btoa(bytes)}`;
  text.textContent = `${answer.info.model} version ${answer.info.version}, seed ${answer.info.seed}`;
} catch (error) {
  text.textContent = error.message;
}
