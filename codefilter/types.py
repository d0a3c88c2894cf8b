"""Every value that crosses a stage, frozen.

Lines and columns are 0-based and half-open here (columns count code points); people see them 1-based, and
only the protocol boundary (`codefilter_lsp.positions`) knows UTF-16. Paths are relative to the repository's
root, with forward slashes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property


def content_hash(text: str) -> str:
    """Sha256 of a text's UTF-8 bytes, as hex (lone surrogates are kept apart, not lost)."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True)
class SourceFile:
    """One text file of a repository, decoded, with all line ends turned into line feeds."""

    path: str
    text: str
    language: str  # a name of `codefilter.languages`, or "text"
    content_hash: str  # sha256 of `text`


@dataclass(frozen=True)
class Chunk:
    """A run of whole lines of one file: what is retrieved, judged and shown to the model."""

    path: str
    text: str
    start_line: int
    end_line: int
    language: str
    symbol: str | None = None  # what it defines, qualified: "Client.send"; None where it defines nothing
    scope: str | None = None  # the definition that encloses it: "Client"; None at the top level

    @cached_property
    def chunk_id(self) -> str:
        """Sixteen hex digits that name the chunk by place and content."""
        return content_hash(f"{self.path}:{self.start_line}:{self.end_line}\n{self.text}")[:16]

    @property
    def place(self) -> str:
        """Where it stands, for people: ``path:first-last``."""
        return f"{self.path}:{self.start_line + 1}-{self.end_line}"


@dataclass(frozen=True)
class CompletionRequest:
    """A place in a file: all text before it, all text after it."""

    path: str
    prefix: str
    suffix: str
    language: str
    max_new_tokens: int = 64
    max_lines: int | None = 1  # with something in them; None: until the model ends by itself


@dataclass(frozen=True)
class RetrievedChunk:
    """A candidate: a chunk that a retriever found, not yet judged by a filter."""

    chunk: Chunk
    score: float  # the retriever's own scale, higher is nearer
    rank: int  # 0 is the best
    retriever: str


class Polarity(StrEnum):
    """What a chunk does to the likelihood of the true completion (CODEFILTER, section 3)."""

    POSITIVE = "positive"
    NEUTRAL = "neutral"
    NEGATIVE = "negative"
    UNKNOWN = "unknown"  # the filter did not judge (none, all, top-k)


@dataclass(frozen=True)
class PolarityProbabilities:
    """Of one chunk; they add up to 1."""

    positive: float
    neutral: float
    negative: float


@dataclass(frozen=True)
class FilterDecision:
    """What a filter says about one candidate.

    The confidence of a trained filter is a probability, of `polarity` where it judged. That of `perplexity`
    and `oracle` is 1 - exp(-x) for a kept chunk with a gain of x nats per token: no probability, but in the
    order of the gains. All else is 1.
    """

    candidate: RetrievedChunk
    keep: bool
    polarity: Polarity
    confidence: float  # 0 to 1
    reason: str  # one short sentence for people
    impact: float | None = None  # nats per token of the truth, where the filter measured it
    probabilities: PolarityProbabilities | None = None  # where a trained filter judged


@dataclass(frozen=True)
class LogLikelihood:
    """Log-probability of a run of target tokens given what stands before them."""

    total_nats: float
    per_token: tuple[float, ...]
    entropies: tuple[float, ...] = ()  # in nats, of the prediction of each token; empty where not measured

    @property
    def num_tokens(self) -> int:
        """Number of target tokens."""
        return len(self.per_token)

    @property
    def mean_nats(self) -> float:
        """Mean nats per target token: l(C) of the paper; 0 for an empty target."""
        return self.total_nats / len(self.per_token) if self.per_token else 0.0


class SegmentRole(StrEnum):
    """What a piece of a prompt is there for."""

    CONTROL = "control"  # a special token, encoded as its id
    CHUNK = "chunk"  # cross-file text with its header
    HEADER = "header"  # repository and file names
    PREFIX = "prefix"
    SUFFIX = "suffix"
    TYPED = "typed"  # what stands in the hole before the cursor, after the middle token


@dataclass(frozen=True)
class Segment:
    """One piece of a prompt. Text segments are tokenized with special tokens switched off."""

    role: SegmentRole
    text: str
    chunk_id: str | None = None


@dataclass(frozen=True)
class Prompt:
    """What the model reads: typed segments and their token ids."""

    segments: tuple[Segment, ...]
    token_ids: tuple[int, ...]
    format: str  # the model family's fill-in-the-middle format
    layout: str
    healed_text: str  # end of the typed text that was taken back: the completion must begin with it
    chunk_ids: tuple[str, ...]  # in prompt order
    dropped_chunk_ids: tuple[str, ...]  # kept by the filter, but over the budget
    num_cross_file_tokens: int

    @property
    def num_tokens(self) -> int:
        """Length in tokens."""
        return len(self.token_ids)

    @property
    def text(self) -> str:
        """The prompt as people read it, control tokens spelled out."""
        return "".join(segment.text for segment in self.segments)

    def reason(self, decision: FilterDecision) -> str:
        """Why a candidate is here, or is not."""
        is_over_budget = decision.candidate.chunk.chunk_id in self.dropped_chunk_ids
        return "kept, but over the token budget" if is_over_budget else decision.reason


class FinishReason(StrEnum):
    """Why a generation ended."""

    END = "end"  # the model ended it
    LINES = "lines"  # the wanted number of lines is there
    LENGTH = "length"  # max_new_tokens
    STOP = "stop"  # a server says so, for a reason of its own


@dataclass(frozen=True)
class Completion:
    """The answer to one `CompletionRequest`."""

    text: str
    decisions: tuple[FilterDecision, ...]
    prompt: Prompt
    finish_reason: FinishReason
    log_likelihood: LogLikelihood  # of the generated tokens, under the model that wrote them
    stage_seconds: dict[str, float]  # in the order the stages ran
    notices: tuple[str, ...] = ()  # what was replaced or left out, for people
    num_reused_tokens: int = 0  # of the prompt: computed for an earlier request, so they cost no time here


class TaskLevel(StrEnum):
    """What a task asks for (RepoEval's line, API and function; CrossCodeLongEval's chunk)."""

    LINE = "line"
    API = "api"  # a line that uses something defined in another file of the repository
    CHUNK = "chunk"  # 1 to 10 lines
    FUNCTION = "function"  # a body of 3 to 30 lines


@dataclass(frozen=True)
class Provenance:
    """Where a task's text comes from: enough to find it again and to check it."""

    package: str
    version: str
    path: str
    start_line: int  # lines that the target stands on
    end_line: int
    content_hash: str  # sha256 of the whole file's text


@dataclass(frozen=True)
class CompletionTask:
    """A request whose true completion is known: what labels are made from and benchmarks are made of."""

    task_id: str
    repository: str
    request: CompletionRequest
    target: str
    level: TaskLevel
    provenance: Provenance
    other_files: tuple[SourceFile, ...] = ()  # what a record shows of them, where its repository is not here
