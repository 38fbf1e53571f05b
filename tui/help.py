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
Width: the neurons that the scale reaches, the largest first; s shows all of them, the silent ones too.
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
        "last run: how fast its tokens came, and what each sublayer costs",
        """\
Columns: each interval between two tokens of the watched run, ms; ▲ is longer than the scale. While a run goes on:
tokens a second so far. The rate is (n - 1) / (t_last - t_first), ttft runs from the request to the first token.
Bars: one decode step after this text, timed apart, since a timed pass watches nothing. Medians, one scale for all bars,
the run beside included. Each sublayer includes its norm.
Total: whole passes without instruments. Cover: Σ clocks / total; above 100% the clocks slowed the pass, and parts are
scaled down to the total. Gap: time of the total that belongs to no part. Attention, FFN, embed, head, other and gap sum
to the total.
  up down layer   click choose""",
    ),
    "costs": Help(
        "engines: what the same passes cost on each",
        """\
m times the engines in turns, round by round, each in a process of its own. Nothing is watched, and the screen rests
meanwhile: redrawing would take the time that is measured. edge profile measures the same, with more rounds.
Token to token: every interval of all rounds, p50 and p90. One pass: medians, and the share of the whole pass.
Touched by a token: weights, keys and values that must come from memory. GB/s: those bytes by the time; its share is of
what a sweep over 512 MB reads here at best. GFLOP/s: products by the time. Above 100%, caches helped or noise did.
Rounds lie apart: (largest - smallest) / median of their medians; above 20% they are noisy, and so
is a machine on which over 1.5 programs computed at once, on average over the last minute.
Process peak: the most memory that the process held, pages of mapped files included.
  m time   a other engines   v decode or prompt   arrows scroll   escape stop""",
    ),
    "parts": Help(
        "part by part: where a sublayer's time goes",
        """\
qkv: the three projections, core: positions, scores, softmax and the weighted sum, out: the output projection; up: the
gate's product too, act: the activation, down: the projection back. Times, ms, and shares of the whole pass.
A sublayer's time is divided as finer clocks say, so its parts sum to it. –: the engine computes it inside another.
  arrows scroll   j k choose the layer, once a prompt ran""",
    ),
    "stacks": Help(
        "layer by layer: attention and FFN on each engine",
        """\
A bar is one layer, attention and then the FFN, told apart by pattern; all engines have one scale. A full bar is the
slowest layer. Rest: embed, head, other and the gap, without a bar, since they may be far longer than a layer.
  up down layer   left right engines   v decode or prompt   click choose""",
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
    "claims": Help(
        "lab: claims about attention and the FFN",
        """\
Each claim is an experiment on the model at hand. F: the FFN, A: attention, S: the stack of both.
● holds   ○ does not hold   – not applicable: the model or the text does not allow it   ◌ not tried   … under way
A verdict follows from the rule beside it, and is of this model on these texts. At the right: what trying it took; the
shared text is read by the first claim that needs it, and kept for the others until another model is loaded.
edge lab MODEL tries the same, with a text, a number of tokens and facts of your own.
  up down choose   ⏎ try it   a try all that were not tried, or all again   escape stop; what was found stays""",
    ),
    "about": Help(
        "about: what the chosen claim means",
        """\
The question, how it is measured with its formulas, when the verdict is `holds`, and where claim and method are from.
Cost: tokens fed to the model beyond the shared text, and the time it took.
  up down scroll   z x claim before, next claim""",
    ),
    "found": Help(
        "found: the verdict and its numbers",
        """\
What was found in words, then every number with its unit. Baseline: what chance, or the absence of what is claimed,
would give; numbers without one compare with nothing. A share is of 1, shown in percent. –: it could not be found.
  up down scroll   z x claim before, next claim""",
    ),
    "figure": Help(
        "figure: curves and grids of the chosen claim",
        """\
Curve: lines are told apart by marker, dashes and colour; ∗ where points of several lines share a cell; a gap where
there is no number. The y axis always has 0 on it. The legend has every line's value at the chosen point ▴.
Grid: a cell for each row and column, the first row at the bottom, coloured from the lowest number to the highest.
  left right choose a point   arrows choose a cell   click too   f b next figure, figure before   z x claim""",
    ),
    "contrast": Help(
        "attention beside FFN: the lab in one table",
        """\
Six aspects, attention and FFN side by side, each with what was measured on this model. A dash stands for a number of
a claim that was not tried, or that could not be found. F1 linear maps, F2 positions, A1 patterns, A3 distance,
A2 induction, F5 facts, A6 routes, S1 lens, F6 sparsity, S3 parameters and time, F4 memories, A5 heads, F3 width.
  a try all   up down scroll""",
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
