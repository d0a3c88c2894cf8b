"""Names that a file imports or uses near the hole → the chunks that define them.

In: the place to complete. Out: chunks with definitions of those names. Every name has a vote, which its
definitions share, so that a name which many files define says little. Nearer uses count more than farther
ones, and definitions that the file's import statements lead to more than others of the same name. Members
count through their own names: `client.send` asks for definitions of `send`, and where `Client` is imported
from a module, that module's `Client.send` wins over other classes' `send`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from codefilter.index import Definition, RepositoryIndex
from codefilter.languages import family, identifiers, imports
from codefilter.retrieval.base import RetrievalQuery
from codefilter.retrieval.modules import ModuleReference, Nearness, module_reference
from codefilter.retrieval.query import DEFAULT_QUERY, QueryOptions
from codefilter.retrieval.ranking import ranked
from codefilter.types import CompletionRequest, RetrievedChunk

_HALF_VOTE_AFTER = 8  # nearer names
_ONLY_IMPORTED_VOTE = 0.1  # of a name that is imported, but not used near the hole
_MAX_DEFINITIONS = 100  # of one name that is not imported; more say nothing, and cost time
_IMPORTED_ELSEWHERE_WEIGHT = 0.3  # the name is imported, but from a module that is not this one
_WEIGHTS = {Nearness.NONE: 1.0, Nearness.RELATED: 2.0, Nearness.EXACT: 3.0}

_SUBMODULE_SEPARATORS = {"python": ".", "java": ".", "rust": "::"}


class DefinitionsRetriever:
    """Chunks that define what is imported or used near the hole."""

    name = "definitions"

    def __init__(self, index: RepositoryIndex, options: QueryOptions = DEFAULT_QUERY) -> None:
        self._index = index
        self._options = options

    def retrieve(self, query: RetrievalQuery, k: int) -> list[RetrievedChunk]:
        """See `Retriever`; the score is the sum of the votes."""
        request, snapshot = query.request, self._index.snapshot
        imported = _Imports(request, self._index.root)
        votes = dict.fromkeys(imported.originals.values(), _ONLY_IMPORTED_VOTE)
        for place, name in enumerate(_names_near_hole(request, self._options)):
            original = imported.originals.get(name, name)  # two names may have one
            votes[original] = max(votes.get(original, 0.0), _HALF_VOTE_AFTER / (_HALF_VOTE_AFTER + place))
        scores = np.zeros(snapshot.num_slots, np.float64)
        for name, vote in votes.items():
            if snapshot.num_definitions(name) <= _MAX_DEFINITIONS or imported.names(name):
                likely, weight = imported.most_likely(snapshot.definitions(name))
                for definition in likely:
                    scores[definition.slot] += vote * weight / len(likely)
        return ranked(snapshot, scores, scores > 0, query, k, self.name)


def _names_near_hole(request: CompletionRequest, options: QueryOptions) -> list[str]:
    """Distinct names in the lines around the hole: nearest before it first, then those after it."""
    text = request.prefix + request.suffix
    hole = request.prefix.count("\n")
    before = identifiers(text, request.language, max(0, hole - options.lines_before), hole + 1)
    after = identifiers(text, request.language, hole + 1, hole + 1 + options.lines_after)
    return list(dict.fromkeys([*reversed(before), *after]))


class _Imports:
    """What the import statements of one file tell about definitions elsewhere."""

    def __init__(self, request: CompletionRequest, root: Path) -> None:
        self.originals: dict[str, str] = {}  # name in this file → name where it is defined
        self._sources: dict[str, list[ModuleReference | None]] = {}  # by the name where it is defined
        self._modules: list[ModuleReference] = []  # what may be reached through a module's name, or all of it
        # Asked of the disk: empty files, as many an __init__.py is, are not in the index.
        self._is_package = cache(lambda folder: (root / folder / "__init__.py").is_file())
        self._nearness_of_module = cache(self._uncached_nearness_of_module)
        self._family = family(request.language)
        language, separator = request.language, _SUBMODULE_SEPARATORS.get(request.language)
        for imported in imports(request.prefix + request.suffix, language):
            module, original = imported.module, imported.original
            if original is not None:
                original = imported.name if original == "default" else original  # JavaScript's default export
                self.originals[imported.name] = original
                source = module_reference(module, request.path, language)
                self._sources.setdefault(original, []).append(source)
                if separator is None:
                    continue
                # The name may be a module itself: `from package import module`.
                module += original if module.endswith(separator) else separator + original
            reference = module_reference(module, request.path, language)
            if reference is not None:
                self._modules.append(reference)

    def names(self, original: str) -> bool:
        """Whether an import statement names what is defined under this name."""
        return original in self._sources

    def most_likely(self, definitions: Sequence[Definition]) -> tuple[list[Definition], float]:
        """Those definitions of one name that the imports lead to most surely, and how much they weigh.

        Definitions in languages that the file cannot use are left out.
        """
        weighed = [
            (self._weight(definition), definition)
            for definition in definitions
            if family(definition.language) == self._family
        ]
        best = max((weight for weight, _ in weighed), default=0.0)
        return [definition for weight, definition in weighed if weight == best], best

    def _weight(self, found: Definition) -> float:
        name = found.definition.name
        owner = found.definition.qualified_name.rpartition(".")[0].rpartition(".")[2]
        sources = [*self._sources.get(name, ()), *self._sources.get(owner, ())]
        nearness = max(
            [self._nearness_of_module(found.path)]
            + [source.nearness(found.path, self._is_package) for source in sources if source is not None]
        )
        if nearness is Nearness.NONE and name in self._sources:
            return _IMPORTED_ELSEWHERE_WEIGHT
        return _WEIGHTS[nearness]

    def _uncached_nearness_of_module(self, path: str) -> Nearness:
        return max(
            (module.nearness(path, self._is_package) for module in self._modules), default=Nearness.NONE
        )
