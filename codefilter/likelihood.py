"""How likely the true completion is after a prompt: the measure behind labels and evaluation.

In: a `Prompt` and the true text. Out: a `Continuation` to score (`LanguageModel.log_likelihoods`).
"""

from __future__ import annotations

import numpy as np

from codefilter.lm.base import Continuation
from codefilter.tokenizer import Tokenizer
from codefilter.types import Prompt


def target_continuation(prompt: Prompt, target: str, tokenizer: Tokenizer) -> Continuation:
    """What follows ``prompt.token_ids`` when the target is written; every token with a part of it is scored.

    The healed end of the typed part and the target are tokenized as one text, as the model learned it; a
    token that holds the end of one and the beginning of the other counts as the target's.
    """
    token_ids = tokenizer.encode(prompt.healed_text + target)
    ends = np.cumsum([len(tokenizer.token_bytes[i]) for i in token_ids])
    not_target = int(np.searchsorted(ends, len(prompt.healed_text.encode()), side="right"))
    return Continuation(tuple(token_ids), len(token_ids) - not_target)
