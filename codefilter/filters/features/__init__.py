"""What a place and a candidate have to do with each other, as numbers; no model is asked.

In: a request with its candidates and the repository's index. Out: `ChunkFeatures`. To add a feature: a field,
with what it means, in the dataclass of its group, and its value in that group's function.
"""

from codefilter.filters.features.copying import CopyEvidence
from codefilter.filters.features.names import NameEvidence
from codefilter.filters.features.table import (
    COMPARED_CANDIDATES,
    FEATURE_NAMES,
    ChunkFeatures,
    FeatureExtractor,
    Matrix,
    group_columns,
    network_inputs,
)

__all__ = [
    "COMPARED_CANDIDATES",
    "FEATURE_NAMES",
    "ChunkFeatures",
    "CopyEvidence",
    "FeatureExtractor",
    "Matrix",
    "NameEvidence",
    "group_columns",
    "network_inputs",
]
