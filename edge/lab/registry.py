"""All experiments of the lab, in reading order."""

from edge.lab.claim import Experiment
from edge.lab.experiments import (
    context,
    cost,
    distance,
    experts,
    key_value_memory,
    lens,
    nonlinear,
    position_wise,
    recall,
    relations,
    routing,
    sparsity,
    specialization,
    sublayer_ablation,
    weighted_sum,
    width,
)

EXPERIMENTS: tuple[Experiment, ...] = (
    nonlinear.EXPERIMENT,  # F1
    position_wise.EXPERIMENT,  # F2
    width.EXPERIMENT,  # F3
    key_value_memory.EXPERIMENT,  # F4
    recall.EXPERIMENT,  # F5
    sparsity.EXPERIMENT,  # F6
    weighted_sum.EXPERIMENT,  # A1
    relations.EXPERIMENT,  # A2
    distance.EXPERIMENT,  # A3
    context.EXPERIMENT,  # A4
    specialization.EXPERIMENT,  # A5
    routing.EXPERIMENT,  # A6
    experts.EXPERIMENT,  # R1
    lens.EXPERIMENT,  # S1
    sublayer_ablation.EXPERIMENT,  # S2
    cost.EXPERIMENT,  # S3
)
