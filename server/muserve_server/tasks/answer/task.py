"""Serves AnswerQuestion and GenerateQuestions: retrieves passages, reads them, decodes token by token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from muserve.bundle import Bundle, BundleFileError
from muserve.v1 import answer_pb2
from muserve_server.tasks.answer.decoder import Draft, TextDecoder
from muserve_server.tasks.answer.library import Library, ToRead, choose
from muserve_server.tasks.answer.limits import AnswerLimits
from muserve_server.tasks.answer.passage_reader import PassageReader
from muserve_server.tasks.answer.passages import Passage, cut_context
from muserve_server.tasks.answer.question_generation import QuestionGenerator, evidence_of
from muserve_server.tasks.answer.requests import AnswerPlan, plan_answer, plan_questions
from muserve_server.tasks.answer.span_reader import Reading, probability
from muserve_server.tasks.answer.text import TextCodec
from muserve_server.tasks.answer.validate import check_settings
from muserve_server.tasks.kind import Call, Handler

__all__ = ["AnswerTask"]


class AnswerTask:
    """The answer task of one bundle."""

    def __init__(self, bundle: Bundle, limits: AnswerLimits) -> None:
        """Checks that the manifest's answer settings fit its graphs, and reads tokenizer and corpora.

        Raises:
            ManifestError: They do not.
            BundleFileError: A file cannot be read.
        """
        check_settings(bundle, limits)
        self._bundle = bundle
        self._limits = limits
        self._settings = bundle.manifest.answer
        path = bundle.folder / self._settings.tokenizer_file
        try:
            self._codec = TextCodec(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BundleFileError(f"{bundle}: {self._settings.tokenizer_file}: {error}") from error
        self._reader = PassageReader(self._settings, self._codec, limits)
        self._library = Library(bundle, self._reader.fit)
        self._decoder = TextDecoder(self._settings)
        self._question_generator = QuestionGenerator(self._settings, self._codec, self._reader, self._decoder)

    def handlers(self) -> Mapping[str, Handler]:
        """Returns the handlers of both methods; see `Task`."""
        return {"AnswerQuestion": self._answer, "GenerateQuestions": self._generate_questions}

    async def _generate_questions(
        self, request: answer_pb2.GenerateQuestionsRequest, call: Call
    ) -> answer_pb2.GenerateQuestionsResponse:
        plan = plan_questions(request, self._limits, str(self._bundle), can_generate=bool(self._settings.kinds))
        return await self._question_generator.generate(request.context, plan, call)

    async def _answer(self, request: answer_pb2.AnswerQuestionRequest, call: Call) -> answer_pb2.AnswerQuestionResponse:
        plan = plan_answer(request, self._settings, self._limits, has_corpus=bool(self._library.entries))
        to_read = await call.offload(self._choose, request)
        response = answer_pb2.AnswerQuestionResponse(nearest=to_read.nearest, question_read=to_read.question)
        response.info.seed = plan.seed
        if not to_read.passages:
            return response
        best = self._best(await self._reader.read_question(to_read.question, to_read.passages, call), to_read)
        response.answerable = probability(self._settings, best.answerable)
        response.is_answerable = response.answerable >= self._settings.answerable_threshold
        self._name_source(response, best.passage)
        if response.is_answerable:
            drafts = [Draft(best, draw) for draw in self._decoder.draw(plan.seed, plan.first_sample, plan.count)]
            await self._decoder.decode(drafts, call, max_tokens=plan.max_tokens)
            await call.offload(self._add_answers, response, drafts, plan)
        return response

    def _choose(self, request: answer_pb2.AnswerQuestionRequest) -> ToRead:
        question = self._reader.cut_question(" ".join(request.question.split()))
        if request.HasField("context"):
            passages = self._reader.fit(cut_context(request.context, self._settings.passage_characters))
            return choose(question, passages, self._settings.passages_read)
        return self._library.find(question)

    def _best(self, readings: Sequence[Reading], to_read: ToRead) -> Reading:
        weight = self._settings.search_weight
        scores = [reading.answerable + weight * share for reading, share in zip(readings, to_read.points, strict=True)]
        return readings[max(range(len(readings)), key=scores.__getitem__)]

    def _name_source(self, response: answer_pb2.AnswerQuestionResponse, passage: Passage) -> None:
        if passage.entry < 0:
            response.source.SetInParent()
            return
        entry = self._library.entries[passage.entry]
        response.source.title = entry.title
        response.source.aliases.extend(entry.aliases)
        response.source.text = passage.text
        response.source.corpus = self._library.corpus_of(passage.entry).name

    def _add_answers(
        self, response: answer_pb2.AnswerQuestionResponse, drafts: Sequence[Draft], plan: AnswerPlan
    ) -> None:
        for sample, draft in enumerate(drafts, plan.first_sample):
            answer = response.answers.add(text=draft.text(self._codec), score=draft.score, sample=sample)
            if draft.reading.evidence:
                answer.evidence.CopyFrom(evidence_of(draft.reading.passage, draft.reading.evidence))
