from pathlib import Path

import pytest

from codefilter.conversion import convert_gguf
from codefilter.errors import ModelError


def test_a_file_that_is_no_gguf_is_one_line_with_a_hint(tmp_path: Path) -> None:
    broken, folder = tmp_path / "broken.gguf", tmp_path / "out"
    folder.mkdir()
    broken.write_bytes(b"not a model")
    with pytest.raises(ModelError, match=r"^converting broken\.gguf failed: ") as caught:
        convert_gguf(broken, folder)
    assert "\n" not in caught.value.message
    assert "doctor" in caught.value.hint
