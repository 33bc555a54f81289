"""`python -m girih`: the same commands as `girih`."""

import sys

from girih.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
