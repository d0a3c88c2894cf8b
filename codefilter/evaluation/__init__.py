"""Arms × tasks → predictions with their figures, in a folder that can be resumed, compared and reported.

In: groups of tasks, arms, a model or workers that have one. Out: a run's folder (`storage` names its files)
and summaries. Notable: what depends on a prompt is computed once per prompt and task, so that arms whose
prompts are the same cannot differ, not even in the last digit.
"""

from codefilter.evaluation.arms import Arm, parse_arm, parse_arms
from codefilter.evaluation.execution import Executor, LocalExecutor
from codefilter.evaluation.results import ChunkUse, TaskContext, TaskError, TaskResult
from codefilter.evaluation.running import Outcome, evaluate
from codefilter.evaluation.selection import (
    TaskGroup,
    group_tasks,
    limit_tasks,
    only_repositories,
    parse_shard,
    shard_tasks,
)
from codefilter.evaluation.summary import ArmSummary, summarise

__all__ = [
    "Arm",
    "ArmSummary",
    "ChunkUse",
    "Executor",
    "LocalExecutor",
    "Outcome",
    "TaskContext",
    "TaskError",
    "TaskGroup",
    "TaskResult",
    "evaluate",
    "group_tasks",
    "limit_tasks",
    "only_repositories",
    "parse_arm",
    "parse_arms",
    "parse_shard",
    "shard_tasks",
    "summarise",
]
