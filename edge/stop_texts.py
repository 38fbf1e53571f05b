"""Texts that end a run: generation stops after the token that completes one of them."""

from collections.abc import Sequence

from models.errors import MisuseError
from models.tokenizer import TextStream, Tokenizer


class StopTexts:
    """Follows the generated text of one run, token by token."""

    def __init__(self, texts: Sequence[str], tokenizer: Tokenizer, prompt: Sequence[int]) -> None:
        self._texts, self._stream = tuple(texts), TextStream(tokenizer, prompt)
        self._kept = max(map(len, self._texts)) - 1  # of the text so far, the end that a stop text may begin with
        self._end = ""

    def ends(self, token: int) -> bool:
        """Whether the text has a stop text now that `token` is added."""
        text = self._end + self._stream.add(token)
        self._end = text[len(text) - self._kept :] if self._kept < len(text) else text
        return any(stop in text for stop in self._texts)


def check_stop_texts(texts: Sequence[object]) -> None:
    """Raises MisuseError unless these are texts, none of them empty."""
    if isinstance(texts, str):
        raise MisuseError(f"stop_texts is {texts!r}; it must be a list of texts, such as [{texts!r}]")
    for text in texts:
        if not isinstance(text, str) or not text:
            raise MisuseError(f"a stop text is {text!r}; it must be a text of at least one character")
