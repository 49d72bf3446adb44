"""Learns the subword vocabulary: byte-pair encoding (Sennrich et al., 2016) of lower-case text."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from muserve_server.tasks.answer.text import CONTINUES, SPECIAL

__all__ = ["learn_vocabulary"]

_MAX_ALPHABET = 200
"""Size of the alphabet. Rarer characters become the unknown token, which can still be copied."""


def learn_vocabulary(texts: Iterable[str], size: int) -> str:
    """Trains a tokenizer. The same texts give the same vocabulary.

    Args:
        texts: Passages and questions.
        size: Maximum number of tokens.

    Returns:
        The tokenizer as JSON of the library `tokenizers`, as `TextCodec` reads it.
    """
    tokenizer = _empty(models.BPE(unk_token=SPECIAL[1], continuing_subword_prefix=CONTINUES))
    known = [tokenizer.normalizer.normalize_str(text) for text in texts]
    counts = Counter(character for text in known for character in text if not character.isspace())
    alphabet = sorted(character for character, _ in sorted(counts.items(), key=_by_count)[:_MAX_ALPHABET])
    rare = {ord(character): " " for character in counts.keys() - set(alphabet)}
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        # Named here, characters inside of words get their numbers in this order; the trainer would draw it.
        special_tokens=[*SPECIAL, *(CONTINUES + character for character in alphabet)],
        continuing_subword_prefix=CONTINUES,
        show_progress=False,
    )
    tokenizer.train_from_iterator((text.translate(rare) for text in known), trainer)
    learnt = json.loads(tokenizer.to_str())["model"]
    merges = [(first, second) for first, second in learnt["merges"]]
    plain = _empty(
        models.BPE(learnt["vocab"], merges, unk_token=SPECIAL[1], continuing_subword_prefix=CONTINUES)
    )  # without the characters among its special tokens
    plain.add_special_tokens(list(SPECIAL))
    return str(plain.to_str())


def _by_count(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]


def _empty(model: models.Model) -> Tokenizer:
    """Returns a tokenizer that lower-cases and splits at white space, punctuation and numbers."""
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Lowercase(), normalizers.Replace(Regex(r"\s"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Punctuation("isolated"),
            pre_tokenizers.Digits(individual_digits=False),
        ]
    )
    return tokenizer
