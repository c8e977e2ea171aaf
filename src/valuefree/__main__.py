"""The command ``valuefree``, also as ``python -m valuefree``: signals are handled before anything else is imported."""

import os
import sys

if not sys.flags.safe_path and sys.path[:1] == [os.getcwd()]:  # noqa: PTH109  pathlib would import more modules
    del sys.path[0]  # `python -m` puts the working folder there, and its files would shadow modules

from valuefree.cli.stopping import ended_by_signal


def main() -> None:
    """Entry point of ``valuefree``."""
    with ended_by_signal():
        from valuefree.cli.main import main as command  # noqa: PLC0415  takes a tenth of a second to import

        command()


if __name__ == "__main__":
    main()
