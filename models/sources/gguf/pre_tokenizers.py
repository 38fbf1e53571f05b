"""How byte-level tokenizers cut text into words before they merge, by the name that GGUF files give: `pre`.

The names and lists are those of llama.cpp (src/llama-vocab.cpp). Patterns that it only approximates, since C++ has no
case of letters beyond ASCII, are those of the models. A name that is missing here has a list that was not compared.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class PreTokenizer:
    """Cuts text into words, in which bytes are then merged.

    Attributes:
        patterns: Regular expressions, one after another. Each cuts the pieces of the previous one, and what is between
            two matches is a piece too. They are ASCII, since `tokenizers` fails to show long patterns that are not.
        ignores_merges: A word that is a token of the vocabulary becomes that token, whether merges lead to it or not.
        begins: Texts begin with the token `bos` if the file does not say.
    """

    patterns: tuple[str, ...]
    ignores_merges: bool = False
    begins: bool = False


_ENDINGS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_DIGIT, _UP_TO_3_DIGITS = r"\p{N}", r"\p{N}{1,3}"

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def _cl100k(digits: str) -> str:
    return rf"{_ENDINGS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_SPACES}"


def _by_case(endings: str, digits: str) -> str:
    """Lowercase words, words with a capital, and words of capitals."""
    upper, lower = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
    before = r"[^\r\n\p{L}\p{N}]?"
    words = f"{before}{upper}*{lower}+{endings}|{before}{upper}+{lower}*{endings}"
    return rf"{words}|{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_SPACES}"


_WITH_MARKS = (
    rf"{_ENDINGS}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|{_SPACES}"
)
_SEED_CODER = rf"{_ENDINGS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}| ?[^\s\p{{L}}\p{{N}}\r\n]+|{_SPACES}"

_CASED_LETTERS = (
    r"A-Za-z\x{b5}\x{c0}-\x{d6}\x{d8}-\x{f6}\x{f8}-\x{1ba}\x{1bc}-\x{1bf}\x{1c4}-\x{293}\x{295}-\x{2af}\x{370}-\x{373}"
    r"\x{376}\x{377}\x{37b}-\x{37d}\x{37f}\x{386}\x{388}-\x{38a}\x{38c}\x{38e}-\x{3a1}\x{3a3}-\x{3f5}\x{3f7}-\x{481}"
    r"\x{48a}-\x{52f}\x{531}-\x{556}\x{10a0}-\x{10c5}\x{13a0}-\x{13f5}\x{13f8}-\x{13fd}\x{1c90}-\x{1cba}"
    r"\x{1cbd}-\x{1cbf}\x{1d00}-\x{1d2b}\x{1d6b}-\x{1d77}\x{1d79}-\x{1d9a}\x{1e00}-\x{1f15}\x{1f18}-\x{1f1d}"
    r"\x{1f20}-\x{1f45}\x{1f48}-\x{1f4d}\x{1f50}-\x{1f57}\x{1f59}\x{1f5b}\x{1f5d}\x{1f5f}-\x{1f7d}\x{1f80}-\x{1fb4}"
    r"\x{1fb6}-\x{1fbc}\x{1fbe}\x{1fc2}-\x{1fc4}\x{1fc6}-\x{1fcc}\x{1fd0}-\x{1fd3}\x{1fd6}-\x{1fdb}\x{1fe0}-\x{1fec}"
    r"\x{1ff2}-\x{1ff4}\x{1ff6}-\x{1ffc}\x{2102}\x{2107}\x{210a}-\x{2113}\x{2115}\x{2119}-\x{211d}\x{2124}\x{2126}"
    r"\x{2128}\x{212a}-\x{212d}\x{212f}-\x{2134}\x{2139}\x{213c}-\x{213f}\x{2145}-\x{2149}\x{214e}\x{2183}\x{2184}"
    r"\x{2c00}-\x{2c7b}\x{2c7e}-\x{2ce4}\x{2ceb}-\x{2cee}\x{2cf2}\x{2cf3}\x{a640}-\x{a66d}\x{a680}-\x{a69b}"
    r"\x{a722}-\x{a76f}\x{a771}-\x{a787}\x{a78b}-\x{a78e}\x{ab70}-\x{abbf}\x{fb00}-\x{fb06}\x{fb13}-\x{fb17}"
    r"\x{ff21}-\x{ff3a}\x{ff41}-\x{ff5a}\x{10400}-\x{1044f}\x{104b0}-\x{104d3}\x{104d8}-\x{104fb}\x{10c80}-\x{10cb2}"
    r"\x{10cc0}-\x{10cf2}\x{118a0}-\x{118df}\x{1e900}-\x{1e943}"
)
"""Letters with a case, as DeepSeek's first models list them."""

_CJK = r"[\x{4e00}-\x{9fa5}\x{800}-\x{4e00}\x{ac00}-\x{d7ff}]+"
_DEEPSEEK_LLM = (
    r"[\r\n]",
    rf"\s?[{_CASED_LETTERS}]+",
    r"\s?[!-/:-~\x{ff01}-\x{ff0f}\x{ff1a}-\x{ff5e}\x{2018}-\x{201f}\x{3000}-\x{3002}]+",
    r"\s+$",
    _CJK,
    r"\p{N}+",
)
_DEEPSEEK_V3 = (
    _UP_TO_3_DIGITS,
    r"[\x{4e00}-\x{9fa5}\x{3040}-\x{309f}\x{30a0}-\x{30ff}]+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    rf"| ?[\p{{P}}\p{{S}}]+[\r\n]*|{_SPACES}",
)
_MARKS = r"\p{P}\$\+<=>\^~\|"

_ROWS = {
    "gpt-2 phi-2 olmo mpt jais exaone4 trillion granite-docling gigachat a.x-4.0 mellum": PreTokenizer((GPT2,)),
    "smollm starcoder refact command-r codeshell exaone minerva-7b mellum2": PreTokenizer((_DIGIT, GPT2)),
    "llama-bpe llama3 llama-v3 falcon3 falcon-h1 lfm2 pixtral midm-2.0": PreTokenizer(
        (_cl100k(_UP_TO_3_DIGITS),), ignores_merges=True, begins=True
    ),
    "dbrx smaug-bpe chatglm-bpe": PreTokenizer((_cl100k(_UP_TO_3_DIGITS),)),
    "glm4": PreTokenizer((_cl100k(_UP_TO_3_DIGITS),), ignores_merges=True),
    "minicpm5": PreTokenizer((_UP_TO_3_DIGITS, _cl100k(r"\p{N}+")), ignores_merges=True),
    "qwen2 deepseek-r1-qwen stablelm2 megrez hunyuan kormo solar-open grok-2": PreTokenizer((_cl100k(_DIGIT),)),
    "qwen35": PreTokenizer((_WITH_MARKS,)),
    "seed-coder": PreTokenizer((_SEED_CODER,)),
    "tekken": PreTokenizer((_by_case("", _DIGIT),), ignores_merges=True, begins=True),
    "gpt-4o llama4 kanana2 talkie minimax-m2": PreTokenizer((_by_case(f"{_ENDINGS}?", _UP_TO_3_DIGITS),)),
    "falcon": PreTokenizer((f"[{_MARKS}`]+", GPT2, "[0-9]{3}")),
    "deepseek-llm": PreTokenizer(_DEEPSEEK_LLM),
    "deepseek-coder": PreTokenizer((r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", _CJK, _DIGIT)),
    "deepseek-v3 hunyuan-dense joyai-llm": PreTokenizer(_DEEPSEEK_V3),
    "default": PreTokenizer((f"[{_MARKS}]+", GPT2, r"\p{N}+", "[0-9]{3}")),
}

PRE_TOKENIZERS: Mapping[str, PreTokenizer] = {name: each for names, each in _ROWS.items() for name in names.split()}
