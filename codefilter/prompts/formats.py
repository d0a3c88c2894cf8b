"""One fill-in-the-middle format per model family.

In: a tokenizer (which control tokens it has). Out: the `FimFormat` that `layouts` builds prompts with.
Sources are the models' own cards and example scripts; a row marked [?] follows the model's text format, but
was not checked against its training code. To add a family, add a row to `FORMATS`.
"""

from __future__ import annotations

from dataclasses import dataclass

from codefilter.errors import ModelError
from codefilter.model_folder import ModelFolder
from codefilter.tokenizer import Tokenizer


@dataclass(frozen=True)
class FimFormat:
    """Control tokens of a family. An empty `middle_token` with no suffix token means left to right only."""

    family: str
    begin_token: str = ""  # starts every prompt
    prefix_token: str = ""
    suffix_token: str = ""
    middle_token: str = ""
    suffix_first: bool = False  # suffix, then prefix; the prefix token stands before what is completed
    repository_token: str = ""  # followed by the repository's name
    file_token: str = ""  # followed by a file's path, a line break, and its text
    file_header: str = ""  # where there is no file token: text before the path, as the model was trained
    path_inside_prefix: bool = False  # the current file's path stands after the prefix token

    @property
    def fills_in_the_middle(self) -> bool:
        """Whether the model can read a suffix."""
        return bool(self.suffix_token)

    @property
    def control_tokens(self) -> tuple[str, ...]:
        """Every control token that the family must have."""
        names = (
            self.begin_token,
            self.prefix_token,
            self.suffix_token,
            self.middle_token,
            self.repository_token,
            self.file_token,
        )
        return tuple(name for name in names if name)


FORMATS: dict[str, FimFormat] = {
    row.family: row
    for row in (
        FimFormat(
            "qwen2.5-coder",
            prefix_token="<|fim_prefix|>",
            suffix_token="<|fim_suffix|>",
            middle_token="<|fim_middle|>",
            repository_token="<|repo_name|>",
            file_token="<|file_sep|>",
        ),
        FimFormat(
            "starcoder2",
            prefix_token="<fim_prefix>",
            suffix_token="<fim_suffix>",
            middle_token="<fim_middle>",
            repository_token="<repo_name>",
            file_token="<file_sep>",
            path_inside_prefix=True,
        ),
        FimFormat(
            "starcoder",
            prefix_token="<fim_prefix>",
            suffix_token="<fim_suffix>",
            middle_token="<fim_middle>",
            repository_token="<reponame>",
            file_token="<filename>",
        ),
        FimFormat(
            "deepseek-coder",
            begin_token="<｜begin▁of▁sentence｜>",
            prefix_token="<｜fim▁begin｜>",
            suffix_token="<｜fim▁hole｜>",
            middle_token="<｜fim▁end｜>",
            file_header="#",  # [?] "#path" lines
            path_inside_prefix=True,
        ),
        FimFormat(
            "codellama",
            begin_token="<s>",
            prefix_token="▁<PRE>",
            suffix_token="▁<SUF>",
            middle_token="▁<MID>",
        ),
        FimFormat(
            "codestral",
            begin_token="<s>",
            prefix_token="[PREFIX]",
            suffix_token="[SUFFIX]",
            suffix_first=True,
            file_header="+++++ ",
            path_inside_prefix=True,
        ),
        FimFormat("smollm2", repository_token="<repo_name>", file_token="<file_sep>"),
        FimFormat("plain"),
    )
}


def detect_family(tokenizer: Tokenizer) -> str:
    """The first family all of whose control tokens the tokenizer has; "plain" (left to right) otherwise."""
    return next(
        family
        for family, row in FORMATS.items()
        if all(tokenizer.control_id(name) is not None for name in row.control_tokens)
    )


def tokenizer_and_family(found: ModelFolder) -> tuple[Tokenizer, str]:
    """The tokenizer and the family of a model of this machine; of some only the tokenizer can tell it."""
    tokenizer = Tokenizer.from_folder(found.folder)
    return tokenizer, found.family or detect_family(tokenizer)


def get_format(family: str, tokenizer: Tokenizer) -> FimFormat:
    """The format of a family; `ModelError` where the tokenizer lacks one of its control tokens."""
    row = FORMATS.get(family)
    if row is None:
        raise ModelError(f"unknown model family {family!r}", hint=f"Known families: {', '.join(FORMATS)}.")
    missing = [name for name in row.control_tokens if tokenizer.control_id(name) is None]
    if missing:
        raise ModelError(
            f"the model's tokenizer has no {', '.join(missing)}, which the {family} format needs",
            hint="Check that tokenizer.json belongs to the weights; pull the model again.",
        )
    return row
