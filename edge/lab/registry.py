"""Every claim of the lab, in the order in which a reader meets them."""

from edge.lab.claim import Experiment
from edge.lab.experiments import (
    carrying,
    context,
    copying,
    cost,
    distance,
    heads,
    knockout,
    lens,
    memories,
    nonlinear,
    positions,
    recall,
    sparsity,
    weighted_sum,
    width,
)

EXPERIMENTS: tuple[Experiment, ...] = (
    nonlinear.EXPERIMENT,  # F1
    positions.EXPERIMENT,  # F2
    width.EXPERIMENT,  # F3
    memories.EXPERIMENT,  # F4
    recall.EXPERIMENT,  # F5
    sparsity.EXPERIMENT,  # F6
    weighted_sum.EXPERIMENT,  # A1
    heads.EXPERIMENT,  # A2
    distance.EXPERIMENT,  # A3
    context.EXPERIMENT,  # A4
    copying.EXPERIMENT,  # A5
    carrying.EXPERIMENT,  # A6
    lens.EXPERIMENT,  # S1
    knockout.EXPERIMENT,  # S2
    cost.EXPERIMENT,  # S3
)
