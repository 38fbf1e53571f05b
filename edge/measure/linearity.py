"""Linear predictability of a sublayer (R² of linear maps), and effective dimensions of its activations."""

import numpy as np
from jaxtyping import Float, Float64

_RIDGE = 1e-9
_FLOOR = 1e-12
_ROUNDING = 1e-13


def _standard(
    x: Float[np.ndarray, "token feature"],
) -> tuple[Float[np.ndarray, " feature"], Float[np.ndarray, " feature"]]:
    """Mean and standard deviation of each feature; 1 for a feature that varies only by rounding."""
    mean, spread = x.mean(axis=0), x.std(axis=0)
    return mean, np.where(spread > _ROUNDING * np.abs(mean), spread, 1.0)


def squared_errors(
    predicted: Float[np.ndarray, "token *features"], truth: Float[np.ndarray, "token *features"]
) -> Float64[np.ndarray, "token 2"]:
    """`‖y - ŷ‖²` and `‖y - ȳ‖²` of each token, ȳ the mean row: the terms of `r2`."""
    wide = truth.astype(np.float64)
    parts = (wide - predicted, wide - wide.mean(axis=0))
    return np.stack([(part.reshape(len(part), -1) ** 2).sum(axis=1) for part in parts], axis=1)


def r2_of(parts: Float[np.ndarray, "token 2"]) -> float:
    """`R² = 1 - Σ‖y - ŷ‖² / Σ‖y - ȳ‖²` from `squared_errors`; NaN if `y` is constant."""
    left, varied = parts.sum(axis=0).tolist()
    return 1.0 - left / varied if varied > 0 else float("nan")


def r2(predicted: Float[np.ndarray, "token *features"], truth: Float[np.ndarray, "token *features"]) -> float:
    """The coefficient of determination, `R² = 1 - Σ‖y - ŷ‖² / Σ‖y - ȳ‖²`, ȳ the mean row; NaN if `y` is constant.

    1 for a perfect prediction, 0 for the mean, below 0 worse.
    """
    return r2_of(squared_errors(predicted, truth))


def linear_fit_r2(
    x: Float[np.ndarray, "token feature"], y: Float[np.ndarray, "token out"], fit_share: float = 0.75
) -> float:
    """Held-out R² of the best linear map with intercept from `x` to `y`.

    `R² = 1 - Σ‖y - ŷ‖² / Σ‖y - ȳ‖²` over the held-out rows, the last ones, with ȳ their mean: 1 is exactly linear,
    0 no better than the mean, below 0 worse. NaN if the held-out `y` is constant. The fit is `linear_prediction`.
    """
    predicted = linear_prediction(x, y, fit_share)
    return r2(predicted, y[-len(predicted) :])


def linear_prediction(
    x: Float[np.ndarray, "token feature"], y: Float[np.ndarray, "token out"], fit_share: float
) -> Float64[np.ndarray, "held_out out"]:
    """The prediction of the held-out last rows of `y` by the best linear map with intercept.

    The first `fit_share` of the rows is fitted by least squares on standardized features; a ridge of 1e-9 of their
    variance makes collinear features solvable. With few rows per feature the fit overfits; use several times as many
    rows.
    """
    fitted = int(fit_share * len(x))
    features = x.shape[1]
    if not features + 1 <= fitted < len(x):
        raise ValueError(
            f"{fitted} of {len(x)} rows to fit {features} features and an intercept: give at least {features + 1} "
            "to fit and one that is held out"
        )
    mean, spread = _standard(x[:fitted].astype(np.float64))
    known, held_out = ((rows.astype(np.float64) - mean) / spread for rows in (x[:fitted], x[fitted:]))
    target = y[:fitted].astype(np.float64)
    middle = target.mean(axis=0)
    gram = known.T @ known + _RIDGE * fitted * np.eye(features)
    return np.asarray(held_out @ np.linalg.solve(gram, known.T @ (target - middle)) + middle)


def _spectrum(x: Float[np.ndarray, "token feature"]) -> Float[np.ndarray, " rank"]:
    """Eigenvalues of the covariance up to a factor, above rounding."""
    if len(x) < 2:
        raise ValueError(f"a spectrum needs at least 2 rows, got {len(x)}")
    centered = x.astype(np.float64)
    centered -= centered.mean(axis=0)
    peak = np.abs(centered).max(initial=0.0)
    if peak <= _ROUNDING * np.abs(x).max(initial=0.0):
        return np.zeros(0)
    centered /= peak
    # The smaller of the two products has the same eigenvalues but for zeros.
    product = centered.T @ centered if x.shape[1] <= len(x) else centered @ centered.T
    values = np.linalg.eigvalsh(product)
    return np.asarray(values[values > _FLOOR * values.max(initial=0.0)])


def effective_rank(x: Float[np.ndarray, "token feature"]) -> float:
    """Effective rank of the rows: `exp(-Σ p_i ln p_i)`, `p = σ / Σσ`, 1 to min(token - 1, feature).

    σ are the singular values of the rows less their mean (Roy & Vetterli 2007, The Effective Rank, section 2); those
    below 1e-6 of the largest count as 0. Unchanged when rows are scaled, shifted or turned together. 0 if all rows
    are equal.
    """
    return _effective_rank(_spectrum(x))


def _effective_rank(spectrum: Float[np.ndarray, " rank"]) -> float:
    values = np.sqrt(spectrum)
    if not len(values):
        return 0.0
    p = values / values.sum()
    return float(np.exp(-(p * np.log(p)).sum()))


def participation_ratio_of_spectrum(x: Float[np.ndarray, "token feature"]) -> float:
    """Participation ratio of the rows' variances: `(Σλ)² / Σλ²`, 1 to min(token - 1, feature).

    λ are the eigenvalues of the covariance of the rows, their mean taken off. At most the effective rank, and often
    far below: variances weigh more than their roots. Unchanged when rows are scaled, shifted or turned together.
    0 if all rows are equal.
    """
    return _participation_ratio(_spectrum(x))


def _participation_ratio(spectrum: Float[np.ndarray, " rank"]) -> float:
    return float(spectrum.sum() ** 2 / (spectrum**2).sum()) if len(spectrum) else 0.0


def dimensions(x: Float[np.ndarray, "token feature"]) -> tuple[float, float]:
    """`effective_rank` and `participation_ratio_of_spectrum`, from one spectrum."""
    spectrum = _spectrum(x)
    return _effective_rank(spectrum), _participation_ratio(spectrum)
