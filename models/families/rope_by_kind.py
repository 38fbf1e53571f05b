"""Rotary positions of families that have one table for full and one for sliding layers."""

from models.families.attention_windows import FULL
from models.families.config import Config
from models.families.llama import head_dim_of
from models.families.rope import original_in, scaled
from models.spec import Rotary


def rotary_of_kind(config: Config, kind: str, base_key: str) -> Rotary:
    """The rotary positions of one kind of layer, from its table in `rope_parameters` and the older flat keys.

    `rope_scaling` applies to full layers. In it, `rope_type` names the scaling; the older key `type` is not read.

    Args:
        base_key: The older key for the rotary base of this kind.
    """
    both = config.table("rope_parameters")
    stated = dict(both.table(kind).keys)
    if kind == FULL and (scaling := config.table("rope_scaling").keys):
        stated = ({} if both.keys else {"rope_type": "default"}) | stated | dict(scaling)
    table = Config(config.path, stated | _truncate(both))
    base = table.number("rope_theta") if "rope_theta" in stated else config.number(base_key)
    share = table.number("partial_rotary_factor") if "partial_rotary_factor" in stated else 1.0
    original, head_dim = original_in(config, table), head_dim_of(config)
    return scaled(config, table, head_dim, base, share, partial=False, original=original)


def _truncate(both: Config) -> dict[str, object]:
    """The key `truncate` of YaRN, which transformers reads from the outer table of `rope_parameters`."""
    return {"truncate": both.keys.get("truncate", True)}
