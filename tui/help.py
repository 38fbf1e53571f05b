"""What every pane shows: formula, unit, source. Shown by `?`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Help:
    """One section of the help."""

    title: str
    text: str


HELP = {
    "map": Help(
        "attention: where each token looks",
        """\
Row: the token that reads. Column: the key that is read. Colour: the weight, 0 to 1; a row sums to 1.
  softmax(query · keyᵀ · head_dim^-½) over the keys a token may read   (Vaswani et al. 2017, 3.2.1)
Recomputed from the queries and keys that the engine really computed; blank cells are keys out of reach.
One line of text holds two rows. × marks what is not a number.
First tokens often swallow most of the weight (Xiao et al. 2023): s shows it on a log scale, f leaves it out.
A weight says what a head reads, not what it does with it.
  arrows move   s log or linear   f first token   h l head   j k layer   click choose""",
    ),
    "heads": Help(
        "heads: one number for each",
        """\
Entropy, bits: mean over tokens of -Σ p·log2 p. 0 looks at one key; b bits are as wide as 2^b equal keys.
First-token share, 0 to 1: mean weight on token 0, the sink score of Gu et al. 2024.
Both leave out the first token's own row, which has nothing else to read. Deep layers are on top.
  arrows choose   g other score   click choose""",
    ),
    "reads": Help(
        "reads: the chosen row, sorted",
        """\
What the chosen token reads through the chosen head, strongest first: piece, place in the text, weight.
A full bar is 1.
  up down move through the keys""",
    ),
    "ffn": Help(
        "FFN: how many neurons stay silent",
        """\
A share of the FFN's hidden neurons, of what enters the down projection, for each layer and token.
Exact zero: mean(a = 0)   (Li et al. 2022). Says something of ReLU only.
Top-p 0.9: 1 - k/n, with k the fewest neurons that hold 90% of Σ|a|   (Szatkowski et al. 2025). Any activation.
The two do not compare. At the right: the chosen token, and the mean over all tokens.
  arrows move   d other definition   click choose""",
    ),
    "time": Help(
        "latency: what each sublayer costs",
        """\
One decode step after this text, timed apart: a timed pass watches nothing. Medians; every bar has one scale.
Total: the whole pass without instruments. Coverage: Σ parts measured / total.
Where coverage exceeds 100% the clocks slowed the pass, and parts are scaled down to the total.
Gap: time of the total that belongs to no part. Each part includes its norm.
The header's ttft and tok/s are of the watched run, which is a little slower than one that watches nothing.
  up down layer""",
    ),
    "keys": Help(
        "keys everywhere",
        """\
  p prompt   enter run   escape stop   tab, shift+tab other pane   e other engine   n tokens to generate
  r draw tokens, at temperature 0.8 among the likeliest 95% with seed 0, or always take the likeliest
  h l head   j k layer   [ ] token   c colours   t light or dark   ? this   ctrl+p all commands   ctrl+q quit""",
    ),
}
"""By pane; `keys` belongs to none."""

FIRST_STEPS = {
    "map": """\
type a prompt above and press enter;
then this shows where each token looks

? explains every picture, ctrl+p lists all commands""",
    "heads": "every head of every layer, scored",
    "reads": "what the chosen token reads,\nstrongest first",
    "ffn": "how many FFN neurons stay silent,\nfor every layer and token",
    "time": "what attention and FFN\nof every layer cost",
}
"""What an empty pane says before the first run."""
