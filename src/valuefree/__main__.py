"""``python -m valuefree`` is ``valuefree``; launchers such as accelerate start it this way."""

import os
import sys

if not sys.flags.safe_path and sys.path[:1] == [os.getcwd()]:  # noqa: PTH109  pathlib would import more modules
    del sys.path[0]  # `python -m` puts the working folder there, and its files would shadow modules

from valuefree.cli.main import main

if __name__ == "__main__":
    main()
