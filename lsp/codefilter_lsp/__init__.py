"""The language server: codefilter at work in an editor."""
