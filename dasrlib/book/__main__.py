"""`python -m dasrlib.book`: see dasrlib.book.build."""

import sys

from dasrlib.book.build import main

if __name__ == "__main__":
    sys.exit(main())
