"""The synchronous client: a thin skin over the core."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc

from muserve.errors import CancelledCallError
from muserve_client.asking import answer_request, answer_rpc, questions_request, questions_rpc
from muserve_client.composing import accompany_request, accompany_rpc, music_request, music_rpc
from muserve_client.core import CLOSED, Attempts, Method, Rpc
from muserve_client.forecasting import forecast_job
from muserve_client.forecasts import Forecasts
from muserve_client.health import NOT_READY, health_rpc, never_ready, waits
from muserve_client.images import Images, image_request, images_rpc
from muserve_client.models import Model, get_model_rpc, list_models_rpc
from muserve_client.music import Accompaniment, Music
from muserve_client.options import DEFAULT_TARGET, ClientOptions, Retries
from muserve_client.questions import Answers, Questions
from muserve_client.series import Columns
from muserve_client.translating import translate_request, translate_rpc
from muserve_client.translation import Translation

__all__ = ["Client"]

Answer = TypeVar("Answer")


class Client:
    """Calls a Muserve server. Safe to share between threads; connects at the first call.

    with Client("localhost:8001") as client:
        client.images(count=16, seed=7).save("digits/")
    """

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        timeout_s: float = 60.0,
        retries: Retries = Retries(),  # noqa: B008 - frozen
        tls: bool = False,
        credentials: grpc.ChannelCredentials | None = None,
        metadata: Mapping[str, str | bytes] | Iterable[tuple[str, str | bytes]] = (),
        max_message_mib: int = 32,
        channel_options: Iterable[tuple[str, Any]] = (),
    ) -> None:
        """Checks and stores what it is given; opens nothing.

        Args:
            target: "host:port", balanced over all addresses of the name; or a gRPC target:
                "ipv4:10.0.0.1:8001,10.0.0.2:8001", "unix:/run/muserve.sock".
            timeout_s: Seconds that a call may take in all, unless the call says otherwise.
            retries: When to try again.
            tls: Encrypt, trusting the certificates that gRPC trusts.
            credentials: Encrypt with these instead, for own or mutual certificates: `grpc.ssl_channel_credentials`.
            metadata: Sent with every call: {"authorization": "Bearer …"}.
            max_message_mib: Largest message both ways, in MiB; the server has its own limit.
            channel_options: gRPC channel arguments, for what is not named here. They win.

        Raises:
            ConfigurationError: Something cannot be used.
        """
        self._options = ClientOptions.of(
            target,
            timeout_s=timeout_s,
            retries=retries,
            tls=tls,
            credentials=credentials,
            metadata=metadata,
            max_message_mib=max_message_mib,
            channel_options=channel_options,
        )
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._channel: grpc.Channel | None = None
        self._callables: dict[str, grpc.UnaryUnaryMultiCallable] = {}

    def images(
        self,
        count: int | None = None,
        *,
        labels: str | Sequence[str] = (),
        seed: int | None = None,
        first_sample: int = 0,
        truncation: float | None = None,
        sheet: bool = False,
        model: str = "",
        version: int | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> Images:
        """Draws images.

        Args:
            count: How many; None takes as many as labels, or 1.
            labels: What to show: one label for all, or one an image. A model with labels draws them if there are none.
            seed: From 0 up to 2^64 - 1; None lets the server draw one, which the answer names.
            first_sample: Index in the seed's endless series to begin at: sample 7 of a set again is
                first_sample=7, count=1.
            truncation: Above 0 up to 1: less is more typical and less varied. Not every model takes it.
            sheet: One contact sheet instead of separate images.
            model: Its name; "" takes the server's default.
            version: Its version; None takes the newest.
            timeout_s: Seconds for this call, retries included; None takes the client's.
            request_id: The call's name in the server's log; None draws one.

        Returns:
            The images with model, digest and seed.

        Raises:
            MuserveError: As `muserve.errors` lists them.
        """
        request = image_request(
            count=count,
            labels=labels,
            seed=seed,
            first_sample=first_sample,
            truncation=truncation,
            sheet=sheet,
            model=model,
            version=version,
        )
        return self._call(images_rpc(request), timeout_s, request_id)

    def forecast(
        self,
        series: Any,
        horizon: int,
        *,
        frequency: str | None = None,
        quantiles: Sequence[float] = (0.1, 0.9),
        non_negative: bool = False,
        point: str = "median",
        id_column: str = "unique_id",
        time_column: str = "ds",
        value_column: str = "y",
        model: str = "",
        version: int | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> Forecasts:
        """Continues series, each by itself, with quantiles.

        Args:
            series: One of
                a list, tuple or NumPy array of numbers: one series, oldest value first;
                several of them: a list, a dict by id, or a 2-D array with a series a row;
                a pandas Series, whose index is time;
                a pandas DataFrame in long form, with the columns `unique_id`, `ds` and `y` (others are left alone;
                without `unique_id` it is one series);
                a pandas DataFrame in wide form, with a column a series, and time as its index.
                None and NaN stand for missing values. Times may be timestamps, dates as text, or periods; those without
                a time zone are taken as UTC, and steps that are left out count as missing. They may also be whole
                numbers, which count steps without a calendar: gaps become missing values. pandas data need not be
                sorted by time, but a time may not stand twice in a series. Of longer series only the newest 10,000
                values are sent, as no model looks further back; plots may show all.
            horizon: Steps to forecast; at most the manifest's `max_horizon`.
            frequency: "yearly", "quarterly", "monthly", "weekly", "daily", "hourly" or "other", or an alias of pandas
                such as "ME" or "W-SUN". None takes that of the index, or what the server makes of the timestamps.
                Needed where there are no timestamps, unless the model knows only one. Daily means every day of the
                week. For business days ("B") give their dates as daily, so that weekends count as missing and are
                forecast too, or the values without dates as "other".
            quantiles: Levels to return, above 0 and below 1. Empty: the point forecast alone.
            non_negative: Whether values cannot be negative, such as sales: forecasts below 0 become 0.
            point: What the point forecast is: "median" or "mean".
            id_column: The long form's column of ids.
            time_column: Its column of times.
            value_column: Its column of values.
            model: Its name; "" takes the server's default.
            version: Its version; None takes the newest.
            timeout_s: Seconds for each call to the server, retries included; None takes the client's. A call takes up
                to 500 series; more of them are sent in several calls, one after the other, all to one version.
            request_id: The calls' name in the server's log; None draws one a call.

        Returns:
            A forecast a series, in the order of the series (of the long form: of their first rows), with model and
            digest. Timestamps come back in the time zone in which they came.

        Raises:
            InvalidRequestError: The data cannot be read, or the server refuses it; says what is wrong where.
            MuserveError: As `muserve.errors` lists them.
        """
        job = forecast_job(
            series,
            horizon,
            frequency=frequency,
            quantiles=quantiles,
            non_negative=non_negative,
            point=point,
            columns=Columns(id_column, time_column, value_column),
            model=model,
            version=version,
            max_message_mib=self._options.max_message_mib,
        )
        for rpc in job.calls():
            job.take(self._call(rpc, timeout_s, request_id))
        return job.result()

    def music(
        self,
        style: str = "",
        *,
        tempo_bpm: float | None = None,
        bars: int | None = None,
        tracks: str | Sequence[str] = (),
        density: float | None = None,
        count: int | None = None,
        seed: int | None = None,
        first_sample: int = 0,
        piano_roll: bool = False,
        model: str = "",
        version: int | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> Music:
        """Writes music, as MIDI files.

        Args:
            style: Such as "bossanova"; the model's manifest has them all. "" lets the seed draw one for each piece.
            tempo_bpm: Quarter notes a minute, 40 up to 240; None takes the style's typical tempo.
            bars: Length, up to the manifest's `max_bars`; None takes as many as one run of the model gives. A longer
                piece begins with the same bars as a shorter one of the same seed.
            tracks: Roles of the tracks to keep, as in ["drums", "bass"]; none: all.
            density: How busy: 0, as the sparsest of the style's training pieces, up to 1, as the busiest; None leaves
                it open. Not every model takes it.
            count: How many pieces; None takes 1.
            seed: From 0 up to 2^64 - 1; None lets the server draw one, which the answer names.
            first_sample: Index in the seed's endless series to begin at: sample 7 of a set again is
                first_sample=7, count=1.
            piano_roll: Whether each piece comes with a picture of its notes, which notebooks show.
            model: Its name; "" takes the server's default.
            version: Its version; None takes the newest.
            timeout_s: Seconds for this call, retries included; None takes the client's.
            request_id: The call's name in the server's log; None draws one.

        Returns:
            The pieces with model, digest and seed.

        Raises:
            MuserveError: As `muserve.errors` lists them.
        """
        request = music_request(
            style=style,
            tempo_bpm=tempo_bpm,
            bars=bars,
            tracks=tracks,
            density=density,
            count=count,
            seed=seed,
            first_sample=first_sample,
            piano_roll=piano_roll,
            model=model,
            version=version,
        )
        return self._call(music_rpc(request), timeout_s, request_id)

    def accompany(
        self,
        midi: Any,
        *,
        roles: Mapping[int, str | None] | None = None,
        tracks: str | Sequence[str] = (),
        style: str = "",
        density: float | None = None,
        count: int | None = None,
        seed: int | None = None,
        first_sample: int = 0,
        piano_roll: bool = False,
        model: str = "",
        version: int | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> Accompaniment:
        """Adds tracks to a piece of one's own, whose notes come back unchanged.

        Args:
            midi: A MIDI file of type 0 or 1 in the metre of the model: its path, its bytes, a binary file object, a
                mido.MidiFile, or a piece from this client.
            roles: What tracks of the file play, by their index in it, as in {1: "bass"}; None for a track that is not
                listened to, only kept. The server guesses what is not named here; the answer says how.
            tracks: Roles of the tracks to add, as in ["drums", "bass"]; none: all that the file does not play.
            style: See `music`.
            density: How busy the new tracks are; see `music`.
            count: How many accompaniments; None takes 1.
            seed: See `music`.
            first_sample: See `music`.
            piano_roll: See `music`.
            model: See `music`. Not every model can accompany.
            version: See `music`.
            timeout_s: See `music`.
            request_id: See `music`.

        Returns:
            The pieces with model, digest and seed; how the file was read, and how well it fits the model's grid.

        Raises:
            OSError: The file cannot be read.
            MuserveError: As `muserve.errors` lists them.
        """
        request = accompany_request(
            midi,
            roles=roles,
            tracks=tracks,
            style=style,
            density=density,
            count=count,
            seed=seed,
            first_sample=first_sample,
            piano_roll=piano_roll,
            model=model,
            version=version,
        )
        return self._call(accompany_rpc(request), timeout_s, request_id)

    def translate(
        self,
        image: Any,
        target: str = "",
        *,
        cycle: bool = False,
        side_by_side: bool = False,
        model: str = "",
        version: int | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> Translation:
        """Shows an image as another domain would: a photo as a map.

        Args:
            image: A PNG, JPEG or WebP file with one frame: its path, its bytes, a binary file object, or a picture from
                this client; it is turned upright as it says. Or a Pillow image, or a NumPy array of uint8, [height,
                width], [height, width, 3] or [height, width, 4], which are taken as they are.
            target: Domain to translate into, as in "map"; the model's manifest has them. "" does for a model with one
                direction.
            cycle: Whether to translate the answer back as well, and say how far that is from the image. Not every model
                can.
            side_by_side: Whether to draw image, translation and way back in a row as well.
            model: Its name; "" takes the server's default.
            version: Its version; None takes the newest.
            timeout_s: Seconds for this call, retries included; None takes the client's. Large images take long.
            request_id: The call's name in the server's log; None draws one.

        Returns:
            A PNG of the image's size, with the image's own transparency, and model and digest.

        Raises:
            OSError: The file cannot be read.
            MuserveError: As `muserve.errors` lists them.
        """
        request = translate_request(image, target, cycle=cycle, side_by_side=side_by_side, model=model, version=version)
        return self._call(translate_rpc(request), timeout_s, request_id)

    def ask(
        self,
        question: str,
        context: str | None = None,
        *,
        count: int | None = None,
        seed: int | None = None,
        first_sample: int = 0,
        max_tokens: int | None = None,
        model: str = "",
        version: int | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> Answers:
        """Answers a question, from a text or from the model's own corpus.

        Args:
            question: As a person asks: "What is a GAN?".
            context: The text to answer from; entries or paragraphs are set apart by empty lines. None searches the
                model's corpus, whatever the question's spelling.
            count: How many answers; None takes 1. The first of a seed is the likeliest, all others are drawn.
            seed: From 0 up to 2^64 - 1; None lets the server draw one, which the answer names.
            first_sample: Index in the seed's endless series to begin at.
            max_tokens: Most tokens of an answer, words or pieces of words; None takes the model's own limit.
            model: Its name; "" takes the server's default.
            version: Its version; None takes the newest.
            timeout_s: Seconds for this call, retries included; None takes the client's.
            request_id: The call's name in the server's log; None draws one.

        Returns:
            The answers with their evidence and where they were read. There are none if the question cannot be answered
            from what was read: that is no error.

        Raises:
            MuserveError: As `muserve.errors` lists them.
        """
        request = answer_request(
            question,
            context,
            count=count,
            seed=seed,
            first_sample=first_sample,
            max_tokens=max_tokens,
            model=model,
            version=version,
        )
        return self._call(answer_rpc(request), timeout_s, request_id)

    def questions(
        self,
        context: str,
        *,
        count: int | None = None,
        seed: int | None = None,
        model: str = "",
        version: int | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> Questions:
        """Asks questions that a text answers, each with its answer.

        Args:
            context: The text; entries or paragraphs are set apart by empty lines.
            count: Most questions; None takes 5. Fewer come where the text does not give more.
            seed: See `ask`.
            model: See `ask`. Not every model can ask.
            version: See `ask`.
            timeout_s: See `ask`. Long texts take long.
            request_id: See `ask`.

        Returns:
            Questions and answers in the order of the text, with model, digest and seed.

        Raises:
            MuserveError: As `muserve.errors` lists them.
        """
        request = questions_request(context, count=count, seed=seed, model=model, version=version)
        return self._call(questions_rpc(request), timeout_s, request_id)

    def models(
        self, task: str | None = None, *, timeout_s: float | None = None, request_id: str | None = None
    ) -> list[Model]:
        """Lists every model version of the server, the refused ones too, by name and version.

        Args:
            task: Only those of one task: "image"; None for all.
            timeout_s: See `images`.
            request_id: See `images`.

        Raises:
            MuserveError: As `muserve.errors` lists them.
        """
        return self._call(list_models_rpc(task), timeout_s, request_id)

    def model(
        self,
        name: str,
        version: int | None = None,
        *,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> Model:
        """Gets one model version with its manifest.

        Args:
            name: Its name.
            version: Its version; None takes the newest that is ready.
            timeout_s: See `images`.
            request_id: See `images`.

        Raises:
            MuserveError: As `muserve.errors` lists them.
        """
        return self._call(get_model_rpc(name, version), timeout_s, request_id)

    def is_ready(self, model: str = "", *, timeout_s: float = 5.0) -> bool:
        """Asks once whether the server takes calls. Of several replicas, one is asked.

        Args:
            model: Ask for this model instead of the server as a whole.
            timeout_s: Seconds to wait; no answer is a no.

        Raises:
            MuserveError: The answer is neither yes nor no: a proxy refuses, or it is no Muserve server.
        """
        try:
            return self._call(health_rpc(model), timeout_s, None, attempts=1)
        except NOT_READY:
            return False

    def wait_until_ready(self, timeout_s: float = 60.0, *, model: str = "") -> None:
        """Waits until the server takes calls.

        Args:
            timeout_s: Most seconds to wait.
            model: Wait for this model instead of the server as a whole.

        Raises:
            DeadlineExceededError: It was not ready in time.
            MuserveError: See `is_ready`.
        """
        for check_s, pause_s in waits(timeout_s):
            if self.is_ready(model, timeout_s=check_s):
                return
            self._pause(pause_s)
        raise never_ready(self._options.address, model, timeout_s)

    def close(self) -> None:
        """Ends the connection and the calls on it. Closing again does nothing."""
        with self._lock:
            self._closed.set()
            if self._channel is not None:
                self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _call(
        self, rpc: Rpc[Answer], timeout_s: float | None, request_id: str | None, *, attempts: int | None = None
    ) -> Answer:
        """Sends a call, again where that is safe, and reads its answer."""
        call = Attempts(self._options, timeout_s=timeout_s, request_id=request_id, most=attempts)
        send = self._callable(rpc.method)
        while True:
            try:
                return rpc.answer(send(rpc.request, timeout=call.remaining_s(), metadata=call.metadata))
            except grpc.RpcError as error:
                if self._closed.is_set():
                    raise CancelledCallError(CLOSED) from error
                failure = call.translate(error)
                pause = call.pause_s(failure)
                if pause is None:
                    raise rpc.explain(failure) from error
            except ValueError as error:  # gRPC's answer when the channel was closed just now
                if self._closed.is_set():
                    raise CancelledCallError(CLOSED) from error
                raise
            self._pause(pause)

    def _callable(self, method: Method) -> grpc.UnaryUnaryMultiCallable:
        with self._lock:
            if self._closed.is_set():
                raise RuntimeError(CLOSED)
            if self._channel is None:
                self._channel = self._open()
            if method.path not in self._callables:
                self._callables[method.path] = self._channel.unary_unary(method.path, method.serialize)
            return self._callables[method.path]

    def _open(self) -> grpc.Channel:
        credentials, arguments = self._options.channel_credentials(), self._options.channel_arguments()
        if credentials is None:
            return grpc.insecure_channel(self._options.target, arguments)
        return grpc.secure_channel(self._options.target, credentials, arguments)

    def _pause(self, seconds: float) -> None:
        if self._closed.wait(seconds):
            raise CancelledCallError(CLOSED)
