"""Training rows as matrices: words by rarity, what they mean together, and forms in standard deviations.

Meaning is latent semantic analysis (Deerwester 1990): the directions in which the words of the rows vary most. Nothing
here looks at quality, so folds may share it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from crew_moe.learning.quality.part import CLIP, FAR, Inputs, farness
from crew_moe.learning.quality.sight import DIMENSIONS, Seen
from crew_moe.learning.quality.table import Table
from crew_moe.screening.lessons import library

Floats = NDArray[np.float64]

MEANINGS: Final = 150
ROWS_PER_MEANING: Final = 8
FEWEST_TEXTS: Final = 2  # that a word must stand in
LEAST_SCALE: Final = 0.05  # a form that hardly varies is not blown up
COVARIANCE_RIDGE: Final = 0.1
FARTHEST: Final = 99.5  # per cent of the training rows are familiar


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Material:
    """`vectors` is a sparse matrix (rows, grams), `meaning` (rows, m) is `vectors` @ `table`; `embedded`
    (rows, dimensions) is what an embedder made of the rows.
    """

    grams: NDArray[np.int64]
    rarity: NDArray[np.float32]
    vectors: Any
    table: Floats
    meaning: Floats
    form: Floats
    form_mean: Floats
    form_scale: Floats
    whitening: Floats
    far: Floats
    embedded: Floats | None = None

    @property
    def farthest(self) -> float:
        """The distance beyond which a text is unfamiliar."""
        return max(LEAST_SCALE, float(np.percentile(self.far, FARTHEST)))

    def inputs(self, rows: NDArray[np.int64], word_weights: Floats) -> Inputs:
        """These rows as a trained part would read them."""
        said = np.asarray(self.vectors[rows] @ word_weights)
        vectors = None if self.embedded is None else self.embedded[rows]
        return Inputs(meaning=self.meaning[rows], said=said, form=self.form[rows], far=self.far[rows], vectors=vectors)


def material_of(table: Table, seed: int, embedded: Floats | None = None) -> Material:
    """Read all rows. Raises MissingExtra without scikit-learn."""
    grams, rarity, vectors = _vectors(table.seen)
    meanings = min(MEANINGS, len(table) // ROWS_PER_MEANING, len(grams) - 1)
    if meanings > 0:
        svd = library("sklearn.decomposition").TruncatedSVD(meanings, n_iter=2, random_state=seed)
        svd.fit(vectors)
        words = np.asarray(svd.components_.T, dtype=np.float64)
    else:
        words = np.zeros((len(grams), 0))
    forms = np.array([one.form for one in table.seen])
    mean, scale = forms.mean(axis=0), np.maximum(forms.std(axis=0), LEAST_SCALE)
    raw = (forms - mean) / scale
    whitening = _whitening(raw)
    return Material(
        grams=grams,
        rarity=rarity,
        vectors=vectors,
        table=words,
        meaning=np.asarray(vectors @ words),
        form=np.clip(raw, -CLIP, CLIP),
        form_mean=mean,
        form_scale=scale,
        whitening=whitening,
        far=farness(raw, whitening),
        embedded=embedded,
    )


def _whitening(raw: Floats) -> Floats:
    """What makes the forms of these rows, in standard deviations, vary independently of each other: (f, f)."""
    spread = np.cov(np.clip(raw, -FAR, FAR), rowvar=False) + COVARIANCE_RIDGE * np.eye(raw.shape[1])
    whitening: Floats = np.linalg.inv(np.linalg.cholesky(spread)).T
    return whitening


def _vectors(seen: tuple[Seen, ...]) -> tuple[NDArray[np.int64], NDArray[np.float32], Any]:
    """The known hashes, their rarity, and the rows of length 1 (a text without a known word is a row of zeros)."""
    sparse = library("scipy.sparse")
    indices = np.concatenate([one.grams for one in seen])
    values = np.concatenate([one.weights for one in seen])
    ends = np.cumsum([0, *(len(one.grams) for one in seen)])
    texts = np.bincount(indices, minlength=DIMENSIONS)
    grams = np.flatnonzero(texts >= FEWEST_TEXTS).astype(np.int64)
    rarity = (np.log((1 + len(seen)) / (1 + texts[grams])) + 1).astype(np.float32)
    counted = sparse.csr_matrix((values, indices, ends), shape=(len(seen), DIMENSIONS))[:, grams]
    weighed = (counted @ sparse.diags(rarity)).tocsr()
    lengths = np.sqrt(np.asarray(weighed.multiply(weighed).sum(axis=1)).ravel())
    return grams, rarity, (sparse.diags(1.0 / np.where(lengths > 0, lengths, 1.0)) @ weighed).tocsr()
