"""How a passage becomes token sequences for reading on: windows of one document, never of two.

Each window is a sequence of its own in the token tree, so nothing leaks from one document into the
next however they are packed together.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from metier.model.encode import Encoder, Ints

Window = tuple[Ints, npt.NDArray[np.bool_]]
"""Token ids and which of them are predicted, shape (L,) each."""


def passage_sequences(encoder: Encoder, text: str) -> list[Window]:
    """The windows of one passage, each at most `max_length` tokens.

    The document stands between the token that begins a text (else the one that ends it) and the one that
    ends it. A window after the first begins with the last token of the one before, which is read and not
    predicted again, so every token of the text is predicted exactly once.

    Args:
        encoder: Tokenizer and length.
        text: The passage.

    Raises:
        DataError: The tokenizer has no token that ends a text.
    """
    ids = encoder.passage(text)
    size = encoder.max_length - 1
    windows: list[Window] = []
    for start in range(0, max(1, len(ids) - 1), size):
        window = ids[start : start + size + 1]
        if len(window) < 2:
            break
        targets = np.ones(len(window), dtype=np.bool_)
        targets[0] = False
        windows.append((window, targets))
    return windows
