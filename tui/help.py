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
        "silence: how few neurons of each FFN fire",
        """\
For each layer and token, of what enters the down projection; at the right the chosen token, and the mean.
  exactly zero   mean(a = 0), share of neurons   (Li et al. 2022). Says something of ReLU only.
  top-p 0.9      1 - k/n, k the fewest neurons that hold 90% of Σ|a|, a share   (Szatkowski et al. 2025)
  Hoyer          (√n - ‖a‖₁/‖a‖₂) / (√n - 1), 0 to 1, no unit   (Hoyer 2004)
  Gini           1 - 2 Σ (c/‖a‖₁)·(n - k + ½)/n, c being |a| in rising order, 0 to 1   (Hurley & Rickard 2009)
They differ, and do not compare with each other. Where something runs beside, v maps that run or the difference.
  arrows move   g other definition   v this run, the other, the difference   click choose""",
    ),
    "definitions": Help(
        "definitions: one FFN at one token, five ways",
        """\
The four of the map; full bars are 1. Mean: over all tokens of this run, in this layer.
CETT 0.2: the share of neurons that can go while the mean over tokens of ‖what they write‖ / ‖what all write‖ stays at
0.2, with one threshold for the layer   (Zhang et al. 2024, ReLU² Wins). Needs the weights: Σ aᵢ·vᵢ, vᵢ = W_down[:, i].
  up down choose what colours the map   click choose""",
    ),
    "curve": Help(
        "curve: the neurons of one FFN at one token, sorted",
        """\
Height: |a| on a log scale, from the largest down to a ten-thousandth of it. What is smaller, and 0, is blank.
Width: all neurons, the largest first; s shows only those that the scale reaches.
▾ the fewest neurons that hold 90% of Σ|a| end here (top-p 0.9). ▴ the chosen neuron, and its place in this order.
  left right the neuron before or after   s zoom   click choose""",
    ),
    "memories": Help(
        "memories: what the FFN recalls at one token",
        """\
A neuron is a memory: its key decides the coefficient sᵢ, its value vᵢ = W_down[:, i] is what it then writes.
  coefficient   sᵢ, what enters the down projection, in the activation's own unit; full bars are the largest shown
  adds          |sᵢ|·‖vᵢ‖₂, in the unit of the residual stream; the list is sorted by it
  promotes      the words highest in W_U·vᵢ, the lowest where sᵢ is negative; the final norm is left out
(Geva et al. 2021, 2022). Where a layer norms what its FFN adds, vᵢ is what that norm makes of it here.
x switches the neuron off at every token and runs the same tokens again: beside it, the answer without it.
This says what the neuron does in this text, not what it stores.
  up down choose   x or space on or off   z the whole FFN   click choose, or switch""",
    ),
    "shift": Help(
        "prediction: before and after this FFN, and without what is off",
        """\
Above: softmax(norm(x)·W_U), the logit lens (nostalgebraist 2020), on the residual stream at the chosen token, before
the FFN of the chosen layer has added to it, and after. The five likeliest of either, and ▸ the token that came next.
Below: what the model answers there, in this run and in the one beside it, with what is switched off.
Bits apart: Σ after·log2(after / before). Early layers write in other directions than the head reads (Belrose et al.
2023), so their guesses mislead. A layer that norms the stream after the sum has no before.
  x neuron on or off   z FFN on or off""",
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
    "sites": Help(
        "sites: where an engine leaves the reference",
        """\
Relative error of a site: max |a - b| / max |b| over all tokens, b being the reference's: torch in fp32, or onnx where
torch is not installed. The same tokens are fed to all, each engine in a process of its own; first computed on top.
Band: what the coarser of the two precisions explains: fp32 5e-5, fp16 1e-2, bf16 4e-2, int8 5e-2, int4 3e-1.
● is within the band, ◐ up to ten bands, ○ beyond, or NaN. ◀ is the first site beyond, where a difference begins:
all that follow are computed from it. A line for a layer shows its worst site.
edge compare measures the same, with more rounds, on any text.
  up down choose, and with it the layer   left right columns   v sites or layers   m compare   a other engines""",
    ),
    "sums": Help(
        "in sum: what the differences come to",
        """\
Same next token: positions of the text whose likeliest token is the reference's. Others, near ties: how many are not,
and of them those where the reference's own lead is below 0.1 nats.
KL: Σ p·(ln p - ln q) of each position's next token, p the reference's; mean, and what 99 of 100 positions stay below.
max |Δ logit|: of any logit anywhere. Perplexity: exp(mean cost of the token that follows); the difference is paired.
Greedy: each goes on from the first tokens of the text with its likeliest token; # is the first that differs.""",
    ),
    "laws": Help(
        "laws: what holds for every engine and precision",
        """\
Each is checked on the model at hand with the tokens that show, 128 at most; on Edge's own text before the first run.
Worst: the largest relative difference, max |a - b| / max |b|. Band: what rounding in this engine explains; of sums of
nanoseconds, 1e-6. A broken law names the first place that differs, one that holds the place of its worst number.
1 A map recomputed from queries and keys is the engine's own. 3 Parts of a layer sum to it. 4 Parts of the whole sum to
a difference of logits (Elhage et al. 2021). 5 Is of the comparison beside. 6 Has attention silenced (Vaswani et al.
2017, 3.3). 8 An edit by a factor of one, or that puts back what was there, changes nothing.
  up down choose   enter check   b check all   escape stop""",
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
