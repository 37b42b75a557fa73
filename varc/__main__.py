"""python -m varc: the command."""

import sys

from varc.command import main

if __name__ == "__main__":
    sys.exit(main())
