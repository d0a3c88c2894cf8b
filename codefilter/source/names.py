"""What a path's name alone says: a folder to stay out of, a secret, generated, source text or not."""

from __future__ import annotations

import re
from fnmatch import translate
from pathlib import PurePosixPath

from codefilter.languages import TEXT, language_of
from codefilter.source.report import SkipReason


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _any_of(globs: str) -> re.Pattern[str]:
    return re.compile("|".join(translate(glob) for glob in globs.split()))


# All names are compared in lower case.
_SKIPPED_FOLDERS = _any_of(
    """
    .git .hg .svn .bzr .jj _darcs cvs
    node_modules bower_components jspm_packages site-packages __pypackages__ .eggs *.egg-info *.dist-info
    .yarn .pnpm-store .bundle .cargo .gradle .dart_tool .terraform
    .venv .tox .nox __pycache__ .mypy_cache .pytest_cache .ruff_cache .hypothesis .ipynb_checkpoints .cache
    .next .nuxt .svelte-kit .parcel-cache .idea .vs .vscode-test
    """
)

_SECRET_FOLDERS = _words(".ssh .aws .azure .gnupg .kube .docker .password-store")
_SECRETS = _any_of(
    """
    .env .env[.~_-]* *.env *.env.* .envrc env.local env.prod* env.stag* env.dev*
    *.tfvars *.tfvars.json *.tfstate *.tfstate.*
    *.pem *.key *.p8 *.p12 *.pfx *.ppk *.jks *.keystore *.kdb *.kdbx *.asc *.gpg *.pgp *.ovpn
    *.mobileprovision id_rsa* id_dsa* id_ecdsa* id_ed25519* authorized_keys known_hosts
    .netrc _netrc .npmrc .pypirc .yarnrc.yml .htpasswd .pgpass .my.cnf .git-credentials .dockercfg
    .dockerconfigjson .s3cfg .boto .vault-token .vault_pass* kubeconfig* *.kubeconfig
    secret.* secrets secrets.* credentials credentials.* credentials-*.json *-credentials.json
    *_credentials.json client_secret*.json *service-account*.json *service_account*.json *serviceaccount*.json
    *firebase-adminsdk*.json google-services.json local.settings.json
    sftp.json pip.conf key.properties keystore.properties
    *secrets.yaml *secrets.yml *secrets.json *secrets.toml *secrets.ini *secrets.txt *secrets.properties
    *[._-]secret.y*ml *[._-]secret.json *[._-]secret.toml
    secret[s_-]*.y*ml secret[s_-]*.json secret[s_-]*.toml secret[s_-]*.ini secret[s_-]*.properties
    """
)
# What holds secrets in a file of data only, not in documents, templates and code of any language:
_SECRET_DATA = _any_of(
    """
    token token_* *[._-]token *[_-]tokens *password *passwords passwords[._-]*
    *api[_-]key *api[_-]keys *apikey *apikeys *private[_-]key *private[_-]keys
    """
)  # stems
_DATA_SUFFIXES = _words(".txt .json .jsonc .json5 .yaml .yml .toml .ini .cfg .conf .properties .xml")
_SECRET_PLACES = _any_of(  # a slash before the path
    "*/secrets/* */.secrets/* */.config/gh/hosts.yml /auth.json */.composer/auth.json"
)
_NO_SECRETS = _any_of("*.env.example *.env.sample *.env.template *.env.dist *.env.defaults")

_GENERATED = _any_of(
    """
    *.lock *.lockb *.lock.json package-lock.json npm-shrinkwrap.json pnpm-lock.yaml go.sum
    *.min.js *.min.mjs *.min.css *.bundle.js *.chunk.js *.map
    *_pb2.py *_pb2.pyi *_pb2_grpc.py *.pb.go *.pb.h *.pb.cc *.pb.cpp
    *.g.cs *.g.i.cs *.designer.cs *.generated.* *.gen.go
    """
)

_TEXT_SUFFIXES = _words(
    """
    .md .markdown .rst .adoc .txt .toml .yaml .yml .json .jsonc .json5 .cfg .ini .conf .properties .xml
    .html .htm .css .scss .sass .less .vue .svelte .j2 .jinja .jinja2 .tmpl .tpl .erb
    .sh .bash .zsh .fish .ps1 .bat .cmd .sql .proto .thrift .graphql .gql .mk .cmake .bzl .dockerfile
    .tf .hcl .nix
    .php .rb .kt .kts .swift .scala .groovy .gradle .dart .lua .pl .pm .r .jl .hs .ml .mli .ex .exs .erl
    .clj .cljs .fs .fsx .vb .m .mm .cu .cuh .pyx .pxd .pxi .zig .nim .sol
    """
)
_TEXT_NAMES = _words(
    """
    readme changelog makefile gnumakefile dockerfile containerfile jenkinsfile vagrantfile rakefile gemfile
    procfile justfile build workspace .gitignore .dockerignore .editorconfig
    """
)
# Control characters (Cc), halves of characters (Cs), ends of lines, and what turns the direction of text.
_ODD_CHARACTER = re.compile(
    r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)


def is_skipped_folder(name: str) -> bool:
    """Whether a folder of that name never holds the repository's own source."""
    return _SKIPPED_FOLDERS.match(name.lower()) is not None


def is_secret(path: str) -> bool:
    """Whether a file may hold secrets, by its name or the folders it is in; case does not matter.

    Source code about secrets is no secret: ``credentials.py`` and ``secrets/store.py`` are read,
    ``credentials.json`` and ``secrets/store.yaml`` are not.
    """
    *folders, name = PurePosixPath(path.lower()).parts or ("",)
    if not _SECRET_FOLDERS.isdisjoint(folders):
        return True
    if language_of(path) != TEXT or _NO_SECRETS.match(name):
        return False
    place, file = "/".join(("", *folders, name)), PurePosixPath(name)
    return (
        _SECRETS.match(name) is not None
        or _SECRET_PLACES.match(place) is not None
        or (file.suffix in _DATA_SUFFIXES and _SECRET_DATA.match(file.stem) is not None)
    )


def skip_reason_by_name(path: str) -> SkipReason | None:
    """Why a file of that name is not source, or None where it is."""
    name = PurePosixPath(path).name.lower()
    if is_secret(path):
        return SkipReason.SECRET
    if _GENERATED.match(name):
        return SkipReason.GENERATED
    if language_of(path) != TEXT or PurePosixPath(name).suffix in _TEXT_SUFFIXES or name in _TEXT_NAMES:
        return None
    return SkipReason.UNKNOWN_TYPE


def is_odd_name(name: str) -> bool:
    """Whether a name cannot be shown or put into a prompt: bytes that are no UTF-8, control characters.

    Spaces that do not break, joined emoji and soft hyphens are as people write them.
    """
    return _ODD_CHARACTER.search(name) is not None
