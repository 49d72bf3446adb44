"""Starts a server on the bundled models, calls every endpoint through the SDK, and writes what comes back under out/.

This is `make demo`. It needs muserve[server] and nothing else: no torch, no network.
"""

from __future__ import annotations

import base64
import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path

from muserve_client import Client, Model

OUT = Path("out")
SATELLITE = Path(__file__).parents[1] / "satellite.jpg"
EXIT_WITHIN_S = 30
QUESTIONS = (
    "What is deep learning?",
    "what is pyton",
    "What does LSTM stand for?",
    "Who developed gRPC?",
    "When is tea time?",
)
TEXT = "A lantern is a portable lamp with a case of glass. It was invented by Ann Lee in 1820."
# Thousands of passengers on international airlines by month, 1949 to 1960 (Box and Jenkins, "Time Series Analysis").
PASSENGERS = (
    112, 118, 132, 129, 121, 135, 148, 148, 136, 119, 104, 118,
    115, 126, 141, 135, 125, 149, 170, 170, 158, 133, 114, 140,
    145, 150, 178, 163, 172, 178, 199, 199, 184, 162, 146, 166,
    171, 180, 193, 181, 183, 218, 230, 242, 209, 191, 172, 194,
    196, 196, 236, 235, 229, 243, 264, 272, 237, 211, 180, 201,
    204, 188, 235, 227, 234, 264, 302, 293, 259, 229, 203, 229,
    242, 233, 267, 269, 270, 315, 364, 347, 312, 274, 237, 278,
    284, 277, 317, 313, 318, 374, 413, 405, 355, 306, 271, 306,
    315, 301, 356, 348, 355, 422, 465, 467, 404, 347, 305, 336,
    340, 318, 362, 348, 363, 435, 491, 505, 404, 359, 310, 337,
    360, 342, 406, 396, 420, 472, 548, 559, 463, 407, 362, 405,
    417, 391, 419, 461, 472, 535, 622, 606, 508, 461, 390, 432,
)  # fmt: skip
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@contextmanager
def running_server() -> Iterator[str]:
    """Runs `muserve-server` on free ports; yields its gRPC address."""
    command = [sys.executable, "-m", "muserve_server", "--grpc-port", "0", "--http-port", "0", "--drain-delay-s", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            yield f"localhost:{read_port(server)}"
        finally:
            server.send_signal(signal.SIGTERM)
            errors = server.communicate(timeout=EXIT_WITHIN_S)[1]
    if server.returncode != 0:
        sys.exit(f"the server ended with {server.returncode}:\n{errors}")


def read_port(server: subprocess.Popen[str]) -> int:
    """Waits for the log line that says on which port the server serves."""
    lines = []
    for line in server.stderr or ():
        lines.append(line)
        if '"serving"' in line:
            return int(json.loads(line)["grpc_port"])
    sys.exit("the server did not start:\n" + "".join(lines))


def show_models(client: Client) -> None:
    """Lists what the server has, and what one bundle says of itself."""
    models = client.models()
    for model in models:
        print(f"  {model.name}/{model.version}  {model.task}  {model.state}  {model.description}")
    for model in models:
        manifest = client.model(model.name, model.version).manifest
        for data in manifest.training_data if manifest else ():
            print(f"  {model.name}/{model.version} was trained on {data.name}: {data.split}")


def draw_images(client: Client) -> None:
    """Draws a sheet, single images, one of them again, and sevens."""
    sheet = client.images(count=100, seed=0, sheet=True)
    sheet.save(OUT / "digits.png")
    images = client.images(count=4, seed=42)
    images.save(OUT / "digits")
    again = client.images(count=1, seed=42, first_sample=2)
    if again[0].png != images[2].png:
        sys.exit("the same seed and sample gave other bytes")
    print(f"  {OUT}/digits.png, {OUT}/digits/: {images.info.model}/{images.info.version}, seed {images.info.seed}")
    client.images(count=10, labels="7", seed=1, sheet=True).save(OUT / "sevens.png")
    print(f"  {OUT}/sevens.png: ten sevens")


def draw_over_json(address: str, client: Client) -> None:
    """Draws over HTTP and JSON what the SDK draws over gRPC: on the same port, the same bytes."""
    url = f"http://{address}/muserve.v1.ImageService/GenerateImages"
    body = json.dumps({"count": 1, "seed": "42"}).encode()  # 64-bit numbers are strings in JSON
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, {"content-type": "application/json"})) as answer:
            png = base64.b64decode(json.load(answer)["images"][0]["png"])
    except (HTTPException, OSError) as error:
        print(f"  not here: Envoy cannot run on this machine, and grpcio's front speaks no JSON ({error!r})")
        return
    if png != client.images(count=1, seed=42)[0].png:
        sys.exit("JSON gave other bytes than gRPC")
    (OUT / "json.png").write_bytes(png)
    print(f"  {OUT}/json.png: the same bytes as over gRPC")


def forecast_passengers(client: Client) -> None:
    """Forecasts the last year of a series from the years before, and shows it beside what came."""
    known, came = PASSENGERS[:-12], PASSENGERS[-12:]
    forecasts = client.forecast(known, horizon=12, frequency="monthly", quantiles=(0.1, 0.9))
    forecasts.save(OUT / "forecast.csv")
    print(f"  {OUT}/forecast.csv: {forecasts.info.model}/{forecasts.info.version}, air passengers of 1960 in thousands")
    year = forecasts[0]
    print("         median   80 % interval   came")
    for month, point, low, high, real in zip(
        MONTHS, year.point, year.quantiles[0.1], year.quantiles[0.9], came, strict=True
    ):
        print(f"    {month}     {point:4.0f}       {low:4.0f} – {high:4.0f}    {real:4d}")
    print(
        f"  off by {mean_error(year.point, came):.1%}; the year before would be by {mean_error(known[-12:], came):.1%}"
    )
    again = client.forecast({"one": known, "two": known[60:]}, horizon=12, frequency="monthly", quantiles=(0.1, 0.9))
    if (again["one"].point, again["one"].quantiles) != (year.point, year.quantiles):
        sys.exit("the same series gave another forecast in company")


def write_music(client: Client, model: Model) -> None:
    """Writes a piece in each of two styles, and has the bass of the first accompanied in the other."""
    manifest = client.model(model.name, model.version).manifest
    styles = [style.name for style in manifest.music.styles][:2] if manifest else []
    for style in styles:
        music = client.music(style, seed=7, piano_roll=True)
        (path,), (picture,) = music.save(OUT / "{style}.mid"), music.save(OUT / "{style}.png")
        if client.music(style, seed=7)[0].midi != music[0].midi:
            sys.exit("the same seed gave other notes")
        piece = music[0]
        tracks = ", ".join(track.name for track in piece.tracks)
        print(f"  {path}, {picture}: {piece.bars} bars at {piece.tempo_bpm:g} quarter notes a minute; {tracks}")
    bass = client.music(styles[0], seed=7, tracks="bass")
    accompaniment = client.accompany(bass, style=styles[1], seed=8, piano_roll=True)
    accompaniment.save(OUT / "accompanied.mid")
    accompaniment.save(OUT / "accompanied.png")
    added = ", ".join(track.name for track in accompaniment[0].tracks if not track.given)
    print(f"  {OUT}/accompanied.mid, {OUT}/accompanied.png: the bass of the first with {added} in {styles[1]}")


def translate_image(client: Client, model: Model) -> None:
    """Translates a satellite picture, or what the bundle carries if it is for others, there and back."""
    manifest = client.model(model.name, model.version).manifest
    if manifest is None:
        return
    directions = manifest.translation.directions
    image: Path | bytes = SATELLITE
    if directions[0].source != "satellite":
        image = next((golden.translate_image.image for golden in manifest.goldens), OUT / "digits.png")
    found = client.translate(image, target=directions[0].target, cycle=len(directions) > 1, side_by_side=True)
    if client.translate(image, target=directions[0].target).png != found.png:
        sys.exit("the same image gave another translation")
    found.save(OUT / "translated.png")
    print(f"  {OUT}/translated.png: {found.source} to {found.target}, {found.width} × {found.height}")
    if found.cycle:
        print(f"  back to {found.source} it is {found.cycle.mean_absolute_error:.1f} of 255 off on average")
    if found.side_by_side:
        print(f"  {found.side_by_side.save(OUT / 'side-by-side.png')}: image, translation and way back")


def answer_questions(client: Client, model: Model) -> None:
    """Answers questions out of the model's corpus, one that has no answer, one from a text; and asks about the text."""
    manifest = client.model(model.name, model.version).manifest
    with (OUT / "answers.txt").open("w", encoding="utf-8") as file:
        for question in QUESTIONS if manifest and manifest.answer.corpora else ():
            found = client.ask(question, seed=1)
            message = found.text or f"(not answerable; nearest: {', '.join(found.nearest)})"
            print(f"{question}\n  {message}", file=file)
            print(f"  {question} {message}")
        found = client.ask("Who invented the lantern?", TEXT, seed=1)
        if client.ask("Who invented the lantern?", TEXT, seed=1).answers != found.answers:
            sys.exit("the same question gave another answer")
        print(f"{TEXT}\nWho invented the lantern?\n  {found.text}", file=file)
        for pair in client.questions(TEXT, count=3, seed=1) if manifest and manifest.answer.kinds else ():
            print(f"{pair.question}\n  {pair.answer}", file=file)
            print(f"  asked of a text: {pair.question} {pair.answer}")
    print(f"  {OUT}/answers.txt: {found.info.model}/{found.info.version}")


def mean_error(forecast: Sequence[float], came: Sequence[float]) -> float:
    """Returns the mean distance of forecasts from what came, as a share of it."""
    return sum(abs(point - real) / real for point, real in zip(forecast, came, strict=True)) / len(came)


def main() -> None:
    """Runs the demo."""
    OUT.mkdir(exist_ok=True)
    started = time.monotonic()
    with running_server() as address, Client(address) as client:
        client.wait_until_ready(timeout_s=60)
        print(f"muserve-server {client.images().info.server_version} at {address}")
        print("models:")
        show_models(client)
        print("images:")
        draw_images(client)
        print("JSON:")
        draw_over_json(address, client)
        print("forecasts:")
        forecast_passengers(client)
        for model in client.models("music"):
            if model.default:
                print("music:")
                write_music(client, model)
        for model in client.models("translation"):
            if model.default:
                print("translation:")
                translate_image(client, model)
        for model in client.models("answer"):
            if model.default:
                print("answers:")
                answer_questions(client, model)
    print(f"done in {time.monotonic() - started:.1f} s; the server has stopped")


if __name__ == "__main__":
    main()
