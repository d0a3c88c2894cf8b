"""What labels of a whole corpus would cost, by what those of a dataset took.

In: a dataset's figures and the machines that made it. Out: hours of such a machine, tokens to read.
Notable: only what was measured is told as measured. For a GPU, which none was, there are the tokens that it
has to read, and an example of a rate.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from codefilter.dataset.build import ROUND
from codefilter.dataset.figures import LabelFigures

CORPUS_REPOSITORIES = 290_000  # of Python, about as many as a large public corpus has
_GPU_TOKENS_PER_SECOND = 20_000  # for an example; no GPU was measured


@dataclass(frozen=True)
class CorpusCost:
    """What a corpus of `CORPUS_REPOSITORIES` would cost, a round of tasks of each."""

    tasks: int
    seconds_per_task: float  # of one machine: the median of the dataset's tasks
    machine: str  # "" where no run is written down yet
    machine_hours: float
    tokens_per_task: float  # prompts, target and draft behind each, as if each was read from its beginning
    tokens: float

    @property
    def sentence(self) -> str:
        """For people."""
        gpu_hours = self.tokens / _GPU_TOKENS_PER_SECOND / 3600
        machine = f" ({self.machine})" if self.machine else ""
        return (
            f"At this rate {CORPUS_REPOSITORIES:,} Python repositories, {sum(ROUND.values())} tasks of each, "
            f"take {self.machine_hours:,.0f} hours of one such machine{machine}, without a GPU: "
            f"{self.seconds_per_task:.1f} s and {self.tokens_per_task:,.0f} tokens to read per task, "
            f"{self.tokens / 1e9:.1f} billion tokens in all. No GPU was measured; one that "
            f"reads {_GPU_TOKENS_PER_SECOND:,} tokens per second, for an example, would take "
            f"{gpu_hours:,.0f} hours."
        )


def corpus_cost(whole: LabelFigures, machines: Iterable[str], single_prompts: int) -> CorpusCost:
    """The cost by what a dataset took.

    Args:
        whole: of the dataset.
        machines: that it was labelled on.
        single_prompts: of a task, with one chunk or control each.
    """
    seconds = whole.seconds_per_task
    prompts = (
        whole.prompt_tokens_none + whole.prompt_tokens_all + single_prompts * whole.prompt_tokens_one_chunk
    )
    tokens = prompts + (2 + single_prompts) * (whole.target_tokens + whole.draft_tokens)
    tasks = CORPUS_REPOSITORIES * sum(ROUND.values())
    machine = "; ".join(sorted(set(machines)))
    return CorpusCost(tasks, seconds, machine, tasks * seconds / 3600, tokens, tasks * tokens)
