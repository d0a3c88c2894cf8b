"""The playground: a repository in a browser, with completions as one types and what they were made from."""
