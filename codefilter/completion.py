"""The completion pipeline: retrieve, filter, build the prompt, generate.

In: a `CompletionRequest`. Out: a `Completion` that says what was retrieved, kept and dropped, what the model
read, and how long each stage took.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from codefilter.config import Settings
from codefilter.errors import FilterError
from codefilter.filters.base import FilterContext, Need, candidates_for
from codefilter.filters.table import get_filter
from codefilter.index import RepositoryIndex
from codefilter.likelihood import PromptReader, TargetReader
from codefilter.lm.base import Cancellation, GenerationOptions, LanguageModel
from codefilter.prompts.formats import get_format
from codefilter.prompts.in_file import InFileContext, cut_in_file
from codefilter.prompts.layouts import (
    PromptParts,
    build_prompt,
    chunk_cost_tokens,
    measuring_layout,
    writing_layout,
)
from codefilter.prompts.selection import select_chunks
from codefilter.retrieval.base import RetrievalQuery
from codefilter.retrieval.table import get_retriever
from codefilter.types import (
    Chunk,
    Completion,
    CompletionRequest,
    FilterDecision,
    Polarity,
    Prompt,
    RetrievedChunk,
)


@dataclass(frozen=True)
class PreparedPrompt:
    """A prompt, and the decisions that it came from."""

    in_file: InFileContext
    decisions: tuple[FilterDecision, ...]
    prompt: Prompt
    stage_seconds: dict[str, float]


class Completer:
    """Completes places of one repository with one model. Not for several threads at once."""

    def __init__(
        self,
        index: RepositoryIndex | None,
        model: LanguageModel,
        settings: Settings,
        *,
        truth_of: Callable[[CompletionRequest], str] | None = None,
    ) -> None:
        """Make a completer.

        Args:
            index: of the repository; without one (a file outside every repository) there is no cross-file
                context.
            model: the model that completes, and reads for the filter.
            settings: filter, layout, budgets.
            truth_of: the true completion of a request, where it is known: for the oracle.

        Raises:
            FilterError: the filter needs what is not there.
        """
        self._index = index
        self._model = model
        self._settings = settings
        self._format = get_format(model.identity.family, model.tokenizer)
        self._layout = writing_layout(settings.layout, self._format)
        self._retriever = get_retriever(settings.retriever, index) if index is not None else None
        self._filter = get_filter(settings.filter, settings)
        self._truth_of = truth_of
        met = {Need.READER, Need.INDEX} | ({Need.TRUTH} if truth_of is not None else set())
        unmet = self._filter.needs - met
        if unmet:
            raise FilterError(
                f"the filter {self._filter.name} needs {', '.join(sorted(unmet))}",
                hint="Choose another --filter.",
            )

    def complete(self, request: CompletionRequest, cancellation: Cancellation | None = None) -> Completion:
        """Complete one place; `CancelledError` soon after a cancellation."""
        return self.generate(request, self.prepare(request, cancellation), cancellation)[0]

    def generate(
        self,
        request: CompletionRequest,
        prepared: PreparedPrompt,
        cancellation: Cancellation | None = None,
        *,
        num_candidates: int = 1,
        temperature: float = 0.0,
    ) -> list[Completion]:
        """Let the model continue a prompt; greedy at temperature 0, then there is one candidate."""
        options = replace(
            generation_options(request, prepared.prompt),
            num_candidates=num_candidates,
            temperature=temperature,
        )
        return [
            Completion(
                text=generation.text,
                decisions=prepared.decisions,
                prompt=prepared.prompt,
                finish_reason=generation.finish_reason,
                log_likelihood=generation.log_likelihood,
                stage_seconds={
                    **prepared.stage_seconds,
                    "read": generation.prompt_seconds,
                    "write": generation.decode_seconds,
                },
                notices=tuple(self._notices(prepared.prompt)),
                num_reused_tokens=generation.num_reused_tokens,
            )
            for generation in self._model.generate(prepared.prompt.token_ids, options, cancellation)
        ]

    def prepare(
        self,
        request: CompletionRequest,
        cancellation: Cancellation | None = None,
        *,
        look_for: CompletionRequest | None = None,
    ) -> PreparedPrompt:
        """Everything up to the prompt: what the model is about to read, and why.

        Args:
            request: the place to complete.
            cancellation: is noticed between the stages and by a filter's reader.
            look_for: what retrieval looks for in the place of the request; for instance the request with a
                first completion put in.
        """
        clock = _StageClock(cancellation)
        with clock.stage("in-file"):
            in_file = self.cut_in_file(request)
        with clock.stage("retrieve"):
            candidates = self.retrieve(look_for or request, in_file)
        with clock.stage("filter"):
            context = self.filter_context(request, in_file, cancellation)
            decisions = self._filter.decide(request, candidates, context)
        with clock.stage("prompt"):
            prompt = self.build_prompt(request, in_file, decisions)
        return PreparedPrompt(in_file, tuple(decisions), prompt, clock.seconds)

    def prepare_alone(self, request: CompletionRequest) -> PreparedPrompt:
        """The prompt without chunks; nothing is retrieved."""
        clock = _StageClock(None)
        with clock.stage("in-file"):
            in_file = self.cut_in_file(request)
        with clock.stage("prompt"):
            prompt = self.build_prompt(request, in_file, [])
        return PreparedPrompt(in_file, (), prompt, clock.seconds)

    def cut_in_file(self, request: CompletionRequest) -> InFileContext:
        """The in-file context, which does not depend on what is retrieved."""
        settings = self._settings
        return cut_in_file(
            request,
            self._model.tokenizer,
            settings.prefix_tokens,
            settings.suffix_tokens,
            settings.hole_lines,
        )

    def retrieve(self, request: CompletionRequest, in_file: InFileContext) -> list[RetrievedChunk]:
        """Candidates for the place, best first."""
        k = candidates_for(self._filter, self._settings.num_candidates)
        if self._retriever is None or k == 0:
            return []
        return self._retriever.retrieve(RetrievalQuery(request, in_file.start_line), k)

    def build_prompt(
        self, request: CompletionRequest, in_file: InFileContext, decisions: Sequence[FilterDecision]
    ) -> Prompt:
        """What the model reads, with the kept chunks that fit the budget."""
        return self._arrange(request, in_file, decisions, self._layout)

    def measuring_prompt(
        self, request: CompletionRequest, in_file: InFileContext, chunks: Sequence[RetrievedChunk]
    ) -> Prompt:
        """What the model reads to measure the impact of chunks: see `measuring_layout`.

        The hole begins in the cursor's line. Begun above it, as in completions, chunks have nearly the same
        order (impacts correlate 0.96 within a task), and unrelated ones change more
        (`choose-label-settings.json`).
        """
        reason = "its impact is measured"
        decisions = [FilterDecision(chunk, True, Polarity.UNKNOWN, 1.0, reason) for chunk in chunks]
        at_line = replace(in_file, hole_lines=0)
        return self._arrange(request, at_line, decisions, measuring_layout(self._settings.layout))

    def _arrange(
        self,
        request: CompletionRequest,
        in_file: InFileContext,
        decisions: Sequence[FilterDecision],
        layout: str,
    ) -> Prompt:
        settings, parts = self._settings, self._parts(request, in_file)
        chunks, dropped = select_chunks(
            decisions, self._cost_tokens(parts, layout), settings.cross_file_tokens, settings.chunk_order
        )
        parts = replace(parts, chunks=tuple(chunks))
        return build_prompt(parts, layout, self._model.tokenizer, dropped=dropped)

    def _parts(self, request: CompletionRequest, in_file: InFileContext) -> PromptParts:
        """A prompt's parts, still without chunks."""
        return PromptParts(
            repository=self._index.root.name if self._index is not None else "",
            path=request.path,
            language=request.language,
            in_file=in_file,
            chunks=(),
            format=self._format,
        )

    def _cost_tokens(self, parts: PromptParts, layout: str) -> Callable[[Chunk], int]:
        """What a chunk takes of the budget."""
        return lambda chunk: chunk_cost_tokens(parts, layout, chunk, self._model.tokenizer)

    def filter_context(
        self, request: CompletionRequest, in_file: InFileContext, cancellation: Cancellation | None = None
    ) -> FilterContext:
        """What the filter may use at a place."""

        def prompt_with(chunks: Sequence[RetrievedChunk]) -> Prompt:
            return self.measuring_prompt(request, in_file, chunks)

        reader = PromptReader(self._model, prompt_with, cancellation)
        return FilterContext(
            in_file,
            budget_tokens=self._settings.cross_file_tokens,
            count_tokens=self._cost_tokens(self._parts(request, in_file), self._layout),
            reader=reader,
            index=self._index,
            truth=TargetReader(reader, self._truth_of(request)) if self._truth_of is not None else None,
            cancellation=cancellation,
        )

    def _notices(self, prompt: Prompt) -> Iterator[str]:
        if not self._format.fills_in_the_middle:
            yield (
                f"{self._model.identity.name} cannot fill in the middle: it read the text before the cursor, "
                "not the text after it"
            )
        if prompt.dropped_chunk_ids:
            yield (
                f"{len(prompt.dropped_chunk_ids)} kept chunks did not fit into "
                f"{self._settings.cross_file_tokens} cross-file tokens"
            )


def generation_options(request: CompletionRequest, prompt: Prompt) -> GenerationOptions:
    """How much a request asks for, and the text that the prompt took back for healing."""
    return GenerationOptions(
        max_new_tokens=request.max_new_tokens,
        max_lines=request.max_lines,
        required_text=prompt.healed_text,
    )


class _StageClock:
    """Seconds per stage; a cancellation is noticed between stages."""

    def __init__(self, cancellation: Cancellation | None) -> None:
        self.seconds: dict[str, float] = {}
        self._cancellation = cancellation

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        if self._cancellation is not None:
            self._cancellation.raise_if_cancelled()
        started = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - started
