"""The reader and the writer: what they are given becomes rows, and padding, batches and steps change nothing."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch.nn.functional import cross_entropy, pad

from muserve_export.families.answers.config import AnswersConfig
from muserve_export.families.answers.corpus.vocabulary import learn_vocabulary
from muserve_export.families.answers.data import load_data
from muserve_export.families.answers.examples.rows import Batch, Row, make_row, pad_rows
from muserve_export.families.answers.model import Reader, Writer
from muserve_export.families.answers.networks.critic import Critic
from muserve_export.families.answers.networks.decoding import decode_greedily, find_candidates, sample_soft
from muserve_export.families.answers.train import AnswersLearner
from muserve_server.tasks.answer.text import BEGIN, END, NOTHING, PADDING, TextCodec, Written

TEXTS = [
    (
        f"{first} {second}",
        f"A tool for {second}, written by Ada {first.title()} at {second.title()} College in {1900 + index}."
        if index % 2
        else f"A tool for {second}.",
    )
    for index, (first, second) in enumerate(
        product(("amber", "birch", "cedar", "delta", "ember"), ("fjord", "grove", "heath", "inlet", "jetty", "knoll"))
    )
]
CONFIG = AnswersConfig(embedding_size=16, hidden_size=16, latent_size=4, dropout=0.0)
PASSAGE = "Plain Engine for Letters (PEL): A small language, written by Ada Smith in 1983."


@pytest.fixture(scope="module")
def codec() -> TextCodec:
    return TextCodec(learn_vocabulary([PASSAGE, "Who wrote pel? It was written by is a stands for"] * 10, 200))


@pytest.fixture
def networks(codec: TextCodec) -> tuple[Reader, Writer]:
    torch.manual_seed(0)
    return Reader(CONFIG, codec.size).eval(), Writer(CONFIG, codec.size).eval()


def row(codec: TextCodec, question: str, passage: str, answer: str, evidence: str = "") -> Row:
    start = passage.find(evidence) if evidence else -1
    span = (start, start + len(evidence)) if evidence else None
    return make_row(codec, codec.encode(question), codec.encode(passage), answer, span, max_tokens=40)


def said(codec: TextCodec, question: str, passage: str, one: Row) -> str:
    sources = [codec.encode(question), codec.encode(passage)]
    written = [Written(token, *place) for token, place in zip(one.answer, one.copied, strict=True)]
    return codec.decode(written, sources)


def test_an_answer_is_copied_where_it_can_be(codec: TextCodec) -> None:
    answer = "PEL was written by Ada Smith."
    one = row(codec, "Who wrote pel?", PASSAGE, answer, "Ada Smith")
    assert one.answer == (*codec.encode(answer).ids, END)
    assert said(codec, "Who wrote pel?", PASSAGE, one) == answer
    tokens = codec.encode(PASSAGE)
    evidence = tokens.covering(PASSAGE.index("Ada"), PASSAGE.index("Ada") + 9)
    assert evidence is not None
    assert one.evidence == (evidence[0], evidence[1] - 1)
    ada = one.copied[one.answer.index(codec.encode("by ada").ids[-1])]
    assert ada[1] >= evidence[0]
    was = codec.encode("it was").ids[-1]
    assert one.copied[one.answer.index(was)] == (NOTHING, NOTHING)


def test_unknown_words_are_copied_from_where_they_stand(codec: TextCodec) -> None:
    passage = "It is 山 and 文 and 漢."
    one = row(codec, "what?", passage, "It is 文 and 漢.", "文 and 漢")
    assert said(codec, "what?", passage, one) == "It is 文 and 漢."


def test_rows_without_an_answer_have_none(codec: TextCodec) -> None:
    batch = pad_rows(
        [row(codec, "who?", PASSAGE, ""), row(codec, "Who wrote pel?", PASSAGE, "Ada Smith.", "Ada Smith")]
    )
    assert batch.answerable.tolist() == [0.0, 1.0]
    assert batch.wanted[0].tolist() == [PADDING] * batch.wanted.shape[1]
    assert (int(batch.start[0]), int(batch.end[0])) == (NOTHING, NOTHING)
    assert batch.written[1, 0] == BEGIN


def test_places_point_into_question_and_passage_one_behind_the_other(codec: TextCodec) -> None:
    batch = pad_rows(
        [
            row(codec, "Who wrote pel, and who was it written by?", PASSAGE, "Smith", "Smith"),
            row(codec, "who?", PASSAGE, "Ada Smith in 1983.", "Ada Smith"),
        ]
    )
    source = torch.cat([batch.question, batch.passage], dim=1)
    for index in range(2):
        for step in range(batch.written.shape[1]):
            place = int(batch.places[index, step])
            if place != NOTHING:
                assert source[index, place] == batch.written[index, step]
    assert (batch.places >= 0).any()


def batch_of(codec: TextCodec) -> Batch:
    return pad_rows(
        [
            row(codec, "Who wrote pel?", PASSAGE, "PEL was written by Ada Smith.", "Ada Smith"),
            row(codec, "pel", "PEL: A tool.", "PEL is a tool.", "A tool."),
        ]
    )


def test_padding_and_neighbours_change_nothing(codec: TextCodec, networks: tuple[Reader, Writer]) -> None:
    reader, _ = networks
    batch = batch_of(codec)
    with torch.no_grad():
        together = reader(batch.question, batch.passage)
        question, passage = batch.question[1:], batch.passage[1:]
        alone = reader(question[:, : int((question > 0).sum())], passage[:, : int((passage > 0).sum())])
    assert torch.allclose(together.answerable[1:], alone.answerable, atol=1e-5)
    # The longer row too is as it is beside more padding.
    with torch.no_grad():
        wide = reader(pad(batch.question, (0, 3)), pad(batch.passage, (0, 5)))
    assert torch.allclose(wide.answerable, together.answerable, atol=1e-5)
    assert torch.allclose(together.hidden[1:], alone.hidden, atol=1e-5)
    length = alone.start.shape[1]
    assert torch.allclose(together.start[1:, :length], alone.start, atol=1e-5)
    assert (together.start[1, length:] < -1000).all()


def test_all_words_and_copies_together_are_one(codec: TextCodec, networks: tuple[Reader, Writer]) -> None:
    words, copies = write(networks, batch_of(codec))[:2]
    total = words.exp().sum(2) + copies.exp().sum(2)
    assert torch.allclose(total, torch.ones_like(total), atol=1e-4)


def test_step_by_step_is_as_all_at_once(codec: TextCodec, networks: tuple[Reader, Writer]) -> None:
    reader, writer = networks
    batch = batch_of(codec)
    words, copies, *_ = write(networks, batch)
    source = torch.cat([batch.question, batch.passage], dim=1)
    noise = torch.zeros(2, CONFIG.latent_size)
    with torch.no_grad():
        read = reader(batch.question, batch.passage)
        hidden, cell = read.hidden, read.cell
        for step in range(batch.written.shape[1]):
            at = slice(step, step + 1)
            word, copy, hidden, cell = writer(
                batch.written[:, at], batch.places[:, at], noise, (read.memory, hidden, cell), source
            )
            assert torch.allclose(word, words[:, at], atol=1e-4)
            assert torch.allclose(copy, copies[:, at], atol=1e-4)


def test_together_they_learn_to_find_and_to_copy(codec: TextCodec) -> None:
    """Names that stand in no training row are found and copied."""
    torch.manual_seed(1)
    reader, writer = Reader(CONFIG, codec.size), Writer(CONFIG, codec.size)
    optimizer = torch.optim.Adam([*reader.parameters(), *writer.parameters()], lr=0.01)
    letters = "abdefgilmnprstw"
    names = [f"{one}{other}{third}" for one in letters[:6] for other in letters[5:11] for third in letters[9:13]]

    def rows(chosen: list[str]) -> Batch:
        made = []
        for index, name in enumerate(chosen):
            wrong = chosen[index - 1]
            passage = f"It was written by {name} in 1983. A language by {wrong}."
            asked, answer = ("who wrote", name) if index % 2 else ("language by", wrong)
            made.append(row(codec, asked, passage, f"by {answer}.", answer))
        return pad_rows(made)

    for step in range(110):
        batch = rows(names[(step * 16) % 112 :][:16])
        loss, _ = likelihood(reader, writer, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        _, right = likelihood(reader.eval(), writer.eval(), rows(names[-24:]))
    assert right > 0.8


def test_drawn_rows_teach_to_answer_and_to_ask(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(
        "".join(json.dumps({"title": title, "text": text}) + "\n" for title, text in TEXTS)
    )
    config = AnswersConfig(
        data=str(tmp_path), vocabulary_size=200, embedding_size=8, hidden_size=8, latent_size=2, rows_per_epoch=40,
        passage_tokens=40, question_tokens=12, learning_rate=0.01,
    )  # fmt: skip
    data = load_data(config)
    torch.manual_seed(0)
    batches = [data.training.batch(torch.arange(100)) for _ in range(12)]
    lengths = [(each.passage > 0).sum(1) for each in batches]
    spread = sum(int(each.max() - each.min()) for each in lengths) / len(lengths)
    assert spread < 0.7 * int(torch.cat(lengths).max() - torch.cat(lengths).min())  # short passages with short ones
    batch = max(batches, key=lambda each: each.passage.shape[1])
    assert len(data.training) == 40
    assert batch.question.shape[1] <= 12 + 1  # and END
    assert batch.passage.shape[1] <= 40
    asks = batch.question[:, 0] == BEGIN
    assert 0.08 < asks.float().mean() < 0.3
    assert 0.1 < batch.answerable.mean() < 0.8  # short passages lose many answers here
    has_evidence = batch.start != NOTHING
    assert torch.equal(has_evidence.float(), batch.answerable)
    # What is asked for a kind is a question: no question word stands in an entry.
    words = torch.tensor([data.codec.encode(word).ids[0] for word in ("who", "when", "where", "what")])
    assert torch.isin(batch.wanted[asks], words).any()
    torch.manual_seed(0)
    assert all(torch.equal(*pair) for pair in zip(batches[0], data.training.batch(torch.arange(100)), strict=True))
    subject = AnswersLearner(Fabric(accelerator="cpu", devices=1), config, data.vocabulary)
    losses = [
        sum(value.item() for value in subject.step(tuple(data.training.batch(torch.arange(32))), step, 30).values())
        for step in range(1, 31)
    ]
    assert losses[-1] < 0.9 * losses[0]


def likelihood(reader: Reader, writer: Writer, batch: Batch) -> tuple[torch.Tensor, float]:
    """Loss, and the share of evidence that was found."""
    words, copies, *_, read = write((reader, writer), batch)
    source = torch.cat([batch.question, batch.passage], dim=1)
    is_it = source[:, None] == batch.wanted[..., None]
    each = torch.cat([words.gather(2, batch.wanted[..., None]), copies.masked_fill(~is_it, -1e4)], dim=2)
    loss = -(each.logsumexp(2) * (batch.wanted != PADDING)).sum() / (batch.wanted != PADDING).sum()
    loss = loss + cross_entropy(read.start, batch.start) + cross_entropy(read.end, batch.end)
    return loss, float((read.start.argmax(1) == batch.start).float().mean())


def write(networks: tuple[Reader, Writer], batch: Batch) -> tuple[Any, ...]:
    reader, writer = networks
    read = reader(batch.question, batch.passage)
    source = torch.cat([batch.question, batch.passage], dim=1)
    noise = torch.zeros(len(batch.question), CONFIG.latent_size)
    return *writer(batch.written, batch.places, noise, (read.memory, read.hidden, read.cell), source), read


def test_what_is_worded_and_what_is_copied_are_added_up() -> None:
    words = torch.full((1, 8), 1e-6)
    words[0, [1, 4, 5]] = torch.tensor([0.2, 0.1, 0.2])
    copies = torch.tensor([[0.05, 0.15, 0.3, 1e-6]])
    source = torch.tensor([[5, 5, 6, 0]])
    found = find_candidates(words.log(), copies.log(), source, 4)
    assert found.tokens[0, :3].tolist() == [5, 6, 4]
    assert torch.allclose(found.logarithms[0, :3].exp(), torch.tensor([0.4, 0.3, 0.1]), atol=1e-4)
    assert found.places[0, :3].tolist() == [NOTHING, 2, NOTHING]  # 5 is rather worded, 6 can only be copied
    copied = find_candidates((words * 0.1).log(), copies.log(), source, 1)
    assert (copied.tokens.item(), copied.places.item()) == (6, 2)


def test_drawn_answers_are_what_gradients_go_through(codec: TextCodec, networks: tuple[Reader, Writer]) -> None:
    reader, writer = networks
    batch = batch_of(codec)
    source = torch.cat([batch.question, batch.passage], dim=1)
    torch.manual_seed(3)
    drawn = sample_soft(writer, reader(batch.question, batch.passage), source, torch.randn(2, 4), 7, 1.0)
    chosen = torch.cat([drawn.worded, drawn.picked], dim=2)
    assert torch.allclose(chosen.max(2).values, torch.ones(chosen.shape[:2]), atol=1e-5)  # one each
    assert torch.allclose(chosen.sum(2), torch.ones(chosen.shape[:2]), atol=1e-4)
    assert drawn.is_there[:, 0].all()
    critic = Critic(CONFIG, codec.size)
    made = drawn.worded @ critic.embed.weight + drawn.picked @ critic.embed(source)
    critic(made, drawn.is_there, source).sum().backward()
    for weight in (writer.query.weight, reader.get_parameter("passage.onward.weight_ih_l0")):
        assert weight.grad is not None
        assert weight.grad.abs().sum() > 0


def test_what_is_drawn_word_by_word_is_what_the_writer_would_say(
    codec: TextCodec, networks: tuple[Reader, Writer]
) -> None:
    """Given the tokens that were drawn, the writer sees the same state as while it drew them."""
    reader, writer = networks
    batch = batch_of(codec)
    source = torch.cat([batch.question, batch.passage], dim=1)
    noise = torch.zeros(2, CONFIG.latent_size)
    with torch.no_grad():
        read = reader(batch.question, batch.passage)
        given = writer.embed(batch.written)
        known = (batch.places >= 0)[..., None].float()
        picked = torch.nn.functional.one_hot(batch.places.clamp(min=0), source.shape[1]).float() * known
        follows = pad(picked[..., :-1], (1, 0))
        softly = writer.go_on(
            given, picked @ read.memory, follows, noise, (read.memory, read.hidden, read.cell), source
        )
        hard = writer(batch.written, batch.places, noise, (read.memory, read.hidden, read.cell), source)
    for one, other in zip(softly, hard, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_the_critic_sees_nothing_behind_the_end(codec: TextCodec) -> None:
    torch.manual_seed(0)
    critic = Critic(CONFIG, codec.size)
    answer, source = torch.randn(1, 6, 16), torch.randint(4, 20, (1, 9))
    is_there = torch.tensor([[True, True, True, False, False, False]])
    changed = answer.clone()
    changed[:, 3:] += 1
    assert torch.allclose(critic(answer, is_there, source), critic(changed, is_there, source), atol=1e-6)
    assert not torch.allclose(critic(answer, is_there, source), critic(answer + 1, is_there, source), atol=1e-3)


def test_greedy_answers_stop_at_their_end(codec: TextCodec, networks: tuple[Reader, Writer]) -> None:
    reader, writer = networks
    batch = batch_of(codec)
    source = torch.cat([batch.question, batch.passage], dim=1)
    with torch.no_grad():
        writer.get_parameter("bias")[END] = 50.0
        written = decode_greedily(writer, reader(batch.question, batch.passage), source, torch.zeros(2, 4), 5)
    assert written[:, 1].tolist() == [END, END]  # no text is empty
    assert END not in written[:, 0]
    assert written.shape == (2, 2)
