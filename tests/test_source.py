"""Which files of a repository are read, why others are not, and how bytes become text."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codefilter.errors import UsageError
from codefilter.source import (
    DecodedSourceFile,
    ScanReport,
    Skipped,
    SkipReason,
    SourceLimits,
    decode,
    is_secret,
    read_source,
    scan,
    skip_reason,
)

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is the reference implementation")


def words(text: str) -> list[str]:
    return text.split()


def write(root: Path, files: dict[str, str | bytes]) -> Path:
    for path, content in files.items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def reasons(report: ScanReport) -> dict[str, int]:
    return {reason.name: count for reason, count in report.skipped.items()}


# --- what is found ---


def test_finds_source_and_text_sorted(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"b.py": "1", "a/z.go": "1", "a/README.md": "1", "Makefile": "1", "a.png": "1", "LICENSE": "1"},
    )
    report = scan(tmp_path)
    assert report.files == ("Makefile", "a/README.md", "a/z.go", "b.py")
    assert reasons(report) == {"UNKNOWN_TYPE": 2}
    assert report.examples[SkipReason.UNKNOWN_TYPE] == ("LICENSE", "a.png")


def test_stays_out_of_folders_of_tools(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "node_modules/x/index.js": "1",
            "sub/__pycache__/x.py": "1",
            "pkg.egg-info/x.txt": "1",
            "env/pyvenv.cfg": "",
            "env/lib/x.py": "1",
            "target/CACHEDIR.TAG": "Signature: 8a477f597d28d172789f06886806bc55",
            "target/x.rs": "1",
            "build/kept.py": "1",
        },
    )
    report = scan(tmp_path)
    assert report.files == ("build/kept.py",)
    assert reasons(report) == {"FOLDER": 5}


def test_counts_every_reason_that_the_name_or_size_tells(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "kept.py": "x = 1",
            "empty.py": "",
            "big.py": "x" * 2000,
            "big.json": "1" * 600,
            "package-lock.json": "{}",
            "app.min.js": "1",
            "x_pb2.py": "1",
            ".env": "KEY=1",
            "deploy.key": "1",
            "tab\tname.py": "1",
            "image.bin": "1",
        },
    )
    os.close(os.open(os.fsencode(tmp_path) + b"/odd\xff.py", os.O_CREAT))
    report = scan(tmp_path, limits=SourceLimits(max_bytes=1000, max_text_bytes=500))
    assert report.files == ("kept.py",)
    assert reasons(report) == {
        "EMPTY": 1,
        "TOO_LARGE": 2,
        "GENERATED": 3,
        "SECRET": 2,
        "ODD_NAME": 2,
        "UNKNOWN_TYPE": 1,
    }


@pytest.mark.parametrize(
    "name", ["a\u00a0b.py", "設計\u3000書.md", "👩\u200d💻.py", "na\u00adïve.py", "é e.py"]
)
def test_names_as_people_write_them_are_not_odd(tmp_path: Path, name: str) -> None:
    assert scan(write(tmp_path, {name: "x = 1"})).files == (name,)
    assert isinstance(read_source(tmp_path, name), DecodedSourceFile)


@pytest.mark.parametrize(
    "name", ["a\x1bb.py", "a\x85b.py", "a\u2028b.py", "a\u202eb.py", "a\u2066b.py", "\udcff.py"]
)
def test_names_that_cannot_be_shown_are_odd(tmp_path: Path, name: str) -> None:
    assert read_source(tmp_path, name) == Skipped(name, SkipReason.ODD_NAME)


def test_links_are_judged_and_never_followed(tmp_path: Path) -> None:
    root = write(tmp_path / "repo", {"real.py": "x = 1", "folder/inner.py": "y = 1"})
    write(tmp_path / "elsewhere", {"stolen.py": "z = 1"})
    (root / "again.py").symlink_to("real.py")
    (root / "folder" / "up").symlink_to("..")  # a loop, if it were followed
    (root / "self").symlink_to("self")
    (root / "gone.py").symlink_to("nothing.py")
    (root / "out").symlink_to(tmp_path / "elsewhere")
    (root / "out.py").symlink_to(tmp_path / "elsewhere" / "stolen.py")
    report = scan(root)
    assert report.files == ("folder/inner.py", "real.py")
    assert reasons(report) == {"LINK": 2, "LINK_BROKEN": 2, "LINK_OUTSIDE": 2}


def test_root_may_itself_be_a_link(tmp_path: Path) -> None:
    write(tmp_path / "repo", {"a.py": "1"})
    (tmp_path / "link").symlink_to("repo")
    assert scan(tmp_path / "link").files == ("a.py",)
    assert isinstance(read_source(tmp_path / "link", "a.py"), DecodedSourceFile)


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.py")
    assert reasons(scan(tmp_path)) == {"SPECIAL": 1}
    assert read_source(tmp_path, "pipe.py") == Skipped("pipe.py", SkipReason.SPECIAL)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_forbidden_places_are_counted(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": "1", "closed/b.py": "1"})
    (tmp_path / "a.py").chmod(0)
    (tmp_path / "closed").chmod(0)
    try:
        report = scan(tmp_path)
        assert report.files == ("a.py",)
        assert reasons(report) == {"UNREADABLE": 1}
        assert read_source(tmp_path, "a.py") == Skipped("a.py", SkipReason.UNREADABLE)
    finally:
        (tmp_path / "closed").chmod(0o700)


def test_what_cannot_be_opened_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"a.py": "1", "closed/b.py": "1"})
    scandir = os.scandir

    def refuse(place: Path) -> object:
        if Path(place).name == "closed":
            raise PermissionError(place)
        return scandir(place)

    def refuse_bytes(self: Path) -> bytes:
        raise PermissionError(self)

    monkeypatch.setattr(os, "scandir", refuse)
    monkeypatch.setattr(Path, "read_bytes", refuse_bytes)
    report = scan(tmp_path)
    assert (report.files, reasons(report)) == (("a.py",), {"UNREADABLE": 1})
    assert read_source(tmp_path, "a.py") == Skipped("a.py", SkipReason.UNREADABLE)


def test_scope_keeps_the_rules_above_it(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            ".gitignore": "*_test.py\n/out/\n",
            "a.py": "1",
            "pkg/b.py": "1",
            "pkg/deep/c.py": "1",
            "pkg/deep/c_test.py": "1",
            "out/d.py": "1",
        },
    )
    assert scan(tmp_path, scope="pkg").files == ("pkg/b.py", "pkg/deep/c.py")
    assert scan(tmp_path, scope=str(tmp_path / "pkg" / "deep")).files == ("pkg/deep/c.py",)
    assert scan(tmp_path, scope=".").files == scan(tmp_path).files
    assert scan(tmp_path, scope="out").files == ()


@pytest.mark.parametrize("scope", ["..", "/", "missing", "a.py", "link"])
def test_scope_must_be_a_folder_inside(tmp_path: Path, scope: str) -> None:
    write(tmp_path / "repo", {"a.py": "1"})
    (tmp_path / "repo" / "link").symlink_to(tmp_path)
    with pytest.raises(UsageError) as caught:
        scan(tmp_path / "repo", scope=scope)
    assert caught.value.hint


def test_root_must_be_a_folder(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": "1"})
    for root in (tmp_path / "missing", tmp_path / "a.py"):
        with pytest.raises(UsageError):
            scan(root)


def test_report_after_reading_moves_what_could_not_be_read() -> None:
    report = ScanReport.of(["b.py", "a.py"], [Skipped("x.png", SkipReason.UNKNOWN_TYPE)])
    after = report.after_reading([Skipped("b.py", SkipReason.BINARY)])
    assert after.files == ("a.py",)
    assert after.skipped == {SkipReason.UNKNOWN_TYPE: 1, SkipReason.BINARY: 1}
    assert after.examples[SkipReason.BINARY] == ("b.py",)
    assert report.files == ("a.py", "b.py")


# --- one path, judged as a scan would ---


def test_one_path_is_judged_as_in_a_scan(tmp_path: Path) -> None:
    files = {
        ".gitignore": "ignored.py\nlogs/\n",
        "kept.py": "1",
        "ignored.py": "1",
        "logs/x.py": "1",
        "pkg/.gitignore": "!ignored.py\n",
        "pkg/ignored.py": "1",
        "node_modules/x.js": "1",
        ".env": "1",
        "empty.py": "",
    }
    write(tmp_path, files)
    found = {path for path in files if skip_reason(tmp_path, path) is None}
    assert found == set(scan(tmp_path).files)
    assert skip_reason(tmp_path, "logs/x.py") is SkipReason.IGNORED
    assert skip_reason(tmp_path, "node_modules/x.js") is SkipReason.FOLDER
    assert skip_reason(tmp_path, "gone.py") is SkipReason.UNREADABLE
    assert skip_reason(tmp_path, "new/gone.py") is SkipReason.UNREADABLE
    assert skip_reason(tmp_path, "new/ignored.py") is SkipReason.IGNORED  # neither is there
    assert skip_reason(tmp_path, "new/logs/x.py") is SkipReason.IGNORED
    assert skip_reason(tmp_path, "new/.env") is SkipReason.SECRET
    assert skip_reason(tmp_path, "new/node_modules/x.js") is SkipReason.FOLDER
    assert skip_reason(tmp_path, "pkg") is SkipReason.SPECIAL
    assert skip_reason(tmp_path, "../kept.py") is SkipReason.LINK_OUTSIDE
    assert skip_reason(tmp_path, str(tmp_path / "kept.py")) is SkipReason.LINK_OUTSIDE


# --- ignore rules, with git as the reference ---


def git_keeps(root: Path) -> set[str]:
    """Files that git would add, by its own rules alone."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(root), "GIT_CONFIG_NOSYSTEM": "1"}
    command = [
        "git",
        "-C",
        str(root),
        "-c",
        "core.excludesFile=",
        "ls-files",
        "-z",
        "--others",
        "--exclude-standard",
    ]
    listed = subprocess.run(command, capture_output=True, check=True, env=environment, timeout=60).stdout
    return {name.decode() for name in listed.split(b"\0") if name}


def git_init(root: Path) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    subprocess.run(["git", "init", "-q", str(root)], check=True, capture_output=True, timeout=60)
    return root


@needs_git
def test_ignore_rules_agree_with_git_on_written_cases(tmp_path: Path) -> None:
    root = write(
        git_init(tmp_path / "repo"),
        {
            ".gitignore": "\ufeff*.log.py\r\n/build/\n!/docs\ntemp\\ \n\\#x.py\n\\!y.py\n[\n\\\n"
            "a/**/z.py\nfoo*\n# comment\n\n!keep.log.py\n**/gen/*.py\nonly/*\n!only/me.py\n[a-c]1.py\n"
            "[[:digit:]]x.py\n",
            "a.log.py": "1",
            "keep.log.py": "1",
            "build/x.py": "1",
            "sub/build/x.py": "1",
            "temp /x.py": "1",
            "#x.py": "1",
            "!y.py": "1",
            "a/z.py": "1",
            "a/b/z.py": "1",
            "a/b/c/z.py": "1",
            "x/.gitignore": "!foobar\n/local.py\n",
            "x/foobar/foo.py": "1",
            "x/foobar/bar.py": "1",
            "x/local.py": "1",
            "x/y/local.py": "1",
            "q/gen/a.py": "1",
            "q/gen/r/a.py": "1",
            "only/me.py": "1",
            "only/you.py": "1",
            "b1.py": "1",
            "d1.py": "1",
            ".git/info/exclude": "excluded.py\nback.py\n",
            "excluded.py": "1",
            "deep/.gitignore": "!back.py\n",
            "deep/back.py": "1",
            "back.py": "1",
        },
    )
    ours = {path for path in scan(root).files if path.endswith(".py")}
    assert ours == {path for path in git_keeps(root) if path.endswith(".py")}
    assert {"keep.log.py", "deep/back.py", "x/foobar/bar.py", "d1.py", "sub/build/x.py"} <= ours
    assert ours.isdisjoint(
        {"a.log.py", "build/x.py", "x/foobar/foo.py", "x/local.py", "only/you.py", "back.py"}
    )


_NAMES = st.sampled_from(["a", "b", "ab", "a.py", "b.py", "c.py"])
_PIECES = st.sampled_from(["a", "b", "ab", "a.py", "b.py", "*", "**", "?", "*.py", "a*", "[ab]", "[!a]*"])
_LINES = st.builds(
    lambda negated, rooted, pieces, folder: "!" * negated + "/" * rooted + "/".join(pieces) + "/" * folder,
    st.booleans(),
    st.booleans(),
    st.lists(_PIECES, min_size=1, max_size=3),
    st.booleans(),
)
_IGNORE_FILE = st.lists(_LINES, max_size=4).map("\n".join)


@needs_git
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    paths=st.sets(st.lists(_NAMES, min_size=1, max_size=3).map("/".join), min_size=1, max_size=10),
    ignore=st.dictionaries(st.sampled_from(["", "a/", "b/", "a/b/", "ab/"]), _IGNORE_FILE, max_size=3),
)
def test_ignore_rules_agree_with_git(tmp_path: Path, paths: set[str], ignore: dict[str, str]) -> None:
    root = tmp_path / "repo"
    shutil.rmtree(root, ignore_errors=True)
    (root / ".git").mkdir(parents=True)
    for folder in ("objects", "refs"):
        (root / ".git" / folder).mkdir()
    (root / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    for path in sorted(paths, key=len, reverse=True):
        with suppress(OSError):  # of two paths, one may need as a folder what is a file for the other
            write(root, {path if path.endswith(".py") else f"{path}.py": "1"})
    for folder, lines in ignore.items():
        if (root / folder).is_dir():
            (root / folder / ".gitignore").write_text(lines)
    kept = {path for path in git_keeps(root) if path.endswith(".py")}
    assert {path for path in scan(root).files if path.endswith(".py")} == kept


def python_files(paths: Iterable[str]) -> set[str]:
    return {path for path in paths if path.endswith(".py")}


def git(root: Path, *arguments: str) -> None:
    who = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    subprocess.run(["git", "-C", str(root), *who, *arguments], check=True, capture_output=True, timeout=60)


IGNORING = {
    ".gitignore": "/app/src/rooted.py\nsrc/kept.py\nanywhere.py\nback.py\n/here.py\n",
    "app/.gitignore": "!back.py\n/src/near.py\n",
    "app/package.json": "{}",
    **{
        f"app/src/{name}.py": "1"
        for name in ("kept", "rooted", "anywhere", "back", "here", "near", "excluded")
    },
}


def git_ignores(root: Path, paths: Iterable[str]) -> set[str]:
    command = ["git", "-C", str(root), "-c", "core.excludesFile=", "check-ignore", "--no-index", *paths]
    return set(subprocess.run(command, capture_output=True, text=True, timeout=60).stdout.splitlines())


@needs_git
@pytest.mark.parametrize("place", ["", "app", "app/src"])
def test_a_root_below_the_top_obeys_the_whole_repository(tmp_path: Path, place: str) -> None:
    top = write(git_init(tmp_path / "repo"), {**IGNORING, ".git/info/exclude": "excluded.py\n"})
    root = top / place
    all_paths = {path.relative_to(root).as_posix() for path in root.rglob("*.py")}
    ignored = git_ignores(root, all_paths)
    found = scan(root)
    assert python_files(found.files) == all_paths - ignored
    assert {Path(path).stem for path in ignored} == {"rooted", "anywhere", "near", "excluded"}
    assert {path for path in all_paths if skip_reason(root, path) is None} == all_paths - ignored


@needs_git
def test_linked_worktrees_and_submodules_have_the_excludes_of_their_repository(tmp_path: Path) -> None:
    top = write(git_init(tmp_path / "repo"), {**IGNORING, ".git/info/exclude": "excluded.py\n"})
    git(top, "add", "--force", ".")
    git(top, "commit", "-m", "all")
    git(top, "worktree", "add", str(tmp_path / "linked"))
    git(top, "-c", "protocol.file.allow=always", "submodule", "add", str(top), "sub")
    write(top, {".git/modules/sub/info/exclude": "kept.py\n"})
    for root, gone in ((tmp_path / "linked", "excluded"), (top / "sub", "kept")):
        assert (root / ".git").is_file()
        all_paths = {path.relative_to(root).as_posix() for path in root.rglob("*.py")}
        kept = all_paths - git_ignores(root, all_paths)
        assert python_files(scan(root).files) == kept
        assert f"app/src/{gone}.py" not in kept


@pytest.mark.parametrize("pointer", ["", "gitdir: nowhere", "gitdir: \0", "gitdir: " + "x" * 9_000, "\xff"])
def test_a_pointer_to_nothing_does_no_harm(tmp_path: Path, pointer: str) -> None:
    write(tmp_path, {".git": pointer.encode("latin-1"), ".gitignore": "a.py\n", "a.py": "1", "b.py": "1"})
    assert python_files(scan(tmp_path).files) == {"b.py"}


def test_only_the_nearest_repository_counts_and_not_one_that_ignores_the_root(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            ".git/HEAD": "",
            ".gitignore": "a.py\nbuild/\n",
            "inner/.git/HEAD": "",
            "inner/a.py": "1",
            "build/it/a.py": "1",
            "other/a.py": "1",
        },
    )
    assert python_files(scan(tmp_path / "inner").files) == {"a.py"}
    assert python_files(scan(tmp_path / "build" / "it").files) == {"a.py"}
    assert python_files(scan(tmp_path / "other").files) == set()


def test_gits_rules_begin_anew_in_a_repository_inside(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            ".git/HEAD": "",
            ".gitignore": "a.py\nbuild/\n",
            ".codefilterignore": "private.py\n",
            "a.py": "1",
            "inner/.git/info/exclude": "excluded.py\n",
            "inner/.gitignore": "b.py\n",
            **dict.fromkeys((f"inner/deep/{name}.py" for name in ("a", "b", "excluded", "private")), "1"),
            "build/inner/.git/HEAD": "",
            "build/inner/a.py": "1",
        },
    )
    assert python_files(scan(tmp_path).files) == {"inner/deep/a.py"}
    assert skip_reason(tmp_path, "inner/deep/a.py") is None
    assert skip_reason(tmp_path, "inner/deep/excluded.py") is SkipReason.IGNORED


def test_own_ignore_file_has_the_last_word(tmp_path: Path) -> None:
    write(
        tmp_path,
        {".gitignore": "a.py\n", ".codefilterignore": "!a.py\nb.py\n", "a.py": "1", "b.py": "1", "c.py": "1"},
    )
    assert scan(tmp_path).files == (".gitignore", "a.py", "c.py")


# --- secrets ---


@pytest.mark.parametrize(
    "path",
    words(
        """
        .env .env.local prod.env config/.env.production server.pem tls/server.KEY id_rsa id_ed25519.pub .netrc
        .npmrc .pypirc release.keystore kubeconfig kubeconfig.yaml x.tfstate x.tfstate.backup prod.tfvars
        secrets.yaml Secrets.JSON credentials credentials.json gcp-credentials.json client_secret_1.json
        .ssh/config .aws/config .kube/config .docker/config.json .git-credentials store.jks .htpasswd
        serviceAccountKey.json x-firebase-adminsdk-ab12.json local.settings.json secrets/db_password.txt
        deploy/Secrets/prod.yaml .secrets/token.txt prod-secrets.yaml app.secrets.yml appsettings.secrets.json
        my_secrets.toml secrets/.env .config/gh/hosts.yml home/.config/gh/hosts.yml
        db-secret.yaml my_secret.yml app.secret.json secrets-prod.yaml secret-db.yml secrets_prod.toml .env~
        .env-production.yml .env-prod.sh .env_local prod.env.sh app.env.local env.production deploy/env.local
        token.json token.txt github_token.txt api_token.yaml access_tokens.json openai_api_key.txt
        my_api_key.json token_cache.json oauth_token.json auth.json .composer/auth.json
        .vscode/sftp.json pip.conf android/key.properties keystore.properties passwords.txt db_password.txt
        passwords.json passwords-old.yaml api_keys.json api-key.txt apikeys.yaml private_key.txt
        my-private-key.json
        """
    ),
)
def test_secrets(path: str) -> None:
    assert is_secret(path)


@pytest.mark.parametrize(
    "path",
    words(
        """
        .env.example .env.template env.py secrets.py credentials.go keyboard.py key.ts tokenizer.json
        package.json ssh/config.md docs/secretsmanager.md secrets/manager.py .secrets/store.ts prod_secrets.go
        secrets/.env.example nosecrets/prod.yaml settings.json hosts.yml gh/hosts.yml secretary.json
        app.env.example environment.yml env.yml secretary.yaml env.development.ts .envoy.yaml
        tokenizer_config.json button.tokens.json token.py password_reset_email.txt password_form.html
        docs/passwords.md api_keys.py ApiKeyController.php ApiKeyService.kt api-keys.md private_key.rs
        author.json locales/en/auth.json design/tokens.json token-list.json docs/api_keys_howto.txt
        private_keys_explained.txt
        """
    ),
)
def test_no_secrets(path: str) -> None:
    assert not is_secret(path)


def test_a_secret_is_not_read_even_when_asked_for(tmp_path: Path) -> None:
    write(tmp_path, {"secrets.yaml": "password: 1"})
    assert read_source(tmp_path, "secrets.yaml") == Skipped("secrets.yaml", SkipReason.SECRET)


# --- reading ---


def test_the_text_of_a_header_tells_its_language(tmp_path: Path) -> None:
    write(tmp_path, {"a.h": "class A {\n};\n", "b.h": "struct B { int class; };\n"})
    found = [read_source(tmp_path, path) for path in ("a.h", "b.h")]
    assert [file.language for file in found if isinstance(file, DecodedSourceFile)] == ["cpp", "c"]


def test_read_source_normalises_line_ends(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": b"x = 1\r\ny = 2\rz = '\x0c'\n"})
    file = read_source(tmp_path, "a.py")
    assert isinstance(file, DecodedSourceFile)
    assert file.text == "x = 1\ny = 2\nz = '\x0c'\n"
    assert (file.path, file.language, file.encoding) == ("a.py", "python", "utf-8")


@pytest.mark.parametrize(
    ("path", "data", "reason"),
    [
        ("a.py", b"\x7fELF\0\0", SkipReason.BINARY),
        ("a.py", bytes(range(1, 256)) * 4, SkipReason.BINARY),
        ("a.py", b"  \n\t\n", SkipReason.EMPTY),
        ("a.js", b"x=1;" * 2000, SkipReason.LONG_LINES),
        ("a.png", b"x", SkipReason.UNKNOWN_TYPE),
        ("a.txt", b"x\n" * 200_000, SkipReason.TOO_LARGE),
    ],
)
def test_read_source_says_why_not(tmp_path: Path, path: str, data: bytes, reason: SkipReason) -> None:
    write(tmp_path, {path: data})
    assert read_source(tmp_path, path) == Skipped(path, reason)


def test_read_source_stays_inside(tmp_path: Path) -> None:
    write(tmp_path, {"repo/a.py": "1", "b.py": "1"})
    root = tmp_path / "repo"
    (root / "l.py").symlink_to("a.py")
    assert read_source(root, "../b.py") == Skipped("../b.py", SkipReason.LINK_OUTSIDE)
    assert read_source(root, "l.py") == Skipped("l.py", SkipReason.LINK)
    assert read_source(root, "gone.py") == Skipped("gone.py", SkipReason.UNREADABLE)


@pytest.mark.parametrize(
    ("text", "encoding", "found"),
    [
        ("naïve = 1", "utf-8", "utf-8"),
        ("naïve = 1", "utf-8-sig", "utf-8"),
        ("naïve = 1", "utf-16", "utf-16-le"),
        ("naïve = 1", "utf-32", "utf-32-le"),
        ("# coding: latin-1\nnaïve = 1", "latin-1", "iso-8859-1"),
        ("# coding: shift_jis\nx = 'これは'", "shift_jis", "shift_jis"),
    ],
)
def test_declared_encodings(text: str, encoding: str, found: str) -> None:
    assert decode(text.encode(encoding), is_python=True) == (text, found, False)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("/* Größe prüfen, Übergabe ändern, ça va, año */ int x;\n" * 3, "cp1252"),
        ("// Это комментарий на русском языке, который объясняет функцию\nint f();\n" * 3, "cp1251"),
        ("// Это комментарий на русском языке, который объясняет функцию\nint f();\n" * 3, "koi8_r"),
        ("// これは日本語のコメントです。関数の説明。\nint f();\n" * 3, "shift_jis"),
        ("// これは日本語のコメントです。関数の説明。\nint f();\n" * 3, "euc_jp"),
        ("// 这是一个中文注释,解释函数的作用\nint f();\n" * 3, "gb18030"),
    ],
)
def test_guessed_encodings(text: str, encoding: str) -> None:
    decoded = decode(text.encode(encoding))
    assert decoded is not None
    assert (decoded.text, decoded.is_guess) == (text, True)


def test_a_bad_byte_after_the_mark_of_utf8_is_read_as_without_the_mark() -> None:
    for data in (b"x = 1  # \xff\n", b"# 20 \xb0C\r\n"):
        assert decode(b"\xef\xbb\xbf" + data) == decode(data)
        assert decode(data) is not None
    assert decode(b"\xef\xbb\xbfx = '\xff\0'\n") is None


def test_little_evidence_is_no_reason_for_a_far_guess() -> None:
    assert decode("# 20 °C\n".encode("latin-1")) == ("# 20 °C\n", "latin-1", True)


@pytest.mark.parametrize("cookie", ["hex", "no-such-codec", "rot13", "utf-7", "undefined"])
def test_a_useless_cookie_does_no_harm(cookie: str) -> None:
    data = f"# coding: {cookie}\nx = 1\n".encode()
    decoded = decode(data, is_python=True)
    assert decoded is not None
    assert decoded.text == data.decode()


@settings(max_examples=300)
@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_decode_to_text_or_to_nothing(data: bytes, is_python: bool) -> None:
    decoded = decode(data, is_python=is_python)
    if decoded is not None:
        assert "\r" not in decoded.text
        decoded.text.encode()  # no lone surrogates


@settings(max_examples=200)
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\ufeff"), max_size=200))
def test_utf8_is_read_as_it_is(text: str) -> None:
    assert decode(text.encode()) == (text, "utf-8", False)
