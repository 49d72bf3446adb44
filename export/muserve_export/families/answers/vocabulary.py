"""Learns the vocabulary: pieces of words by byte-pair encoding (Sennrich et al., 2016), in small letters."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from muserve_server.tasks.answer.text import CONTINUES, SPECIAL

__all__ = ["learn_vocabulary"]

_MOST_CHARACTERS = 200
"""Characters that are told apart; rarer ones are all one unknown token, which can still be copied."""


def learn_vocabulary(texts: Iterable[str], size: int) -> str:
    """Learns from texts.

    Args:
        texts: What there is to read and to ask.
        size: Most tokens.

    Returns:
        JSON of the library `tokenizers`, as `TextCodec` reads it.
    """
    tokenizer = Tokenizer(models.BPE(unk_token=SPECIAL[1], continuing_subword_prefix=CONTINUES))
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
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(SPECIAL),
        continuing_subword_prefix=CONTINUES,
        limit_alphabet=_MOST_CHARACTERS,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return str(tokenizer.to_str())
