"""``python -m valuefree`` is ``valuefree``; launchers such as accelerate start it this way."""

from valuefree.cli.main import main

if __name__ == "__main__":
    main()
