"""CodeFilter: code completion that knows the repository, and shows the model what is likely to help.

Importing the package imports neither torch nor transformers; they come in with the first model.
"""

__version__ = "0.1.0"
