"""CodeFilter: code completion that knows the repository and tells helpful context from harmful.

Importing the package imports neither torch nor transformers; they come in with the first model.
"""

__version__ = "0.1.0"
