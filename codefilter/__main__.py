"""`python -m codefilter`: the command line."""

import sys

from codefilter.cli import main

sys.exit(main())
