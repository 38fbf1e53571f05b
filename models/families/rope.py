"""Rotary positions of both generations of `config.json`."""

from models.errors import SpecError
from models.families.config import Config
from models.spec import Rotary


def rotary_of(
    config: Config, head_dim: int, *, base_key: str = "rope_theta", share_key: str = "", share: float = 1.0
) -> Rotary:
    """Reads `rope_parameters` (transformers 5) or the older flat keys beside `rope_scaling`.

    `share_key` names the older key for the share of each head that turns, `share` its default.
    """
    parameters = config.table("rope_parameters")
    scaling = parameters if parameters.keys else config.table("rope_scaling")
    kind = scaling.keys.get("rope_type") or scaling.keys.get("type") or "default"
    if kind != "default":
        raise SpecError(f"{config.path} asks for rope scaling '{kind}', which Edge does not run")
    share = config.number(share_key, share) if share_key else share
    base = parameters.number("rope_theta", config.number(base_key, 10_000.0))
    share = parameters.number("partial_rotary_factor", share)
    return Rotary(base=base, features=int(head_dim * share))
