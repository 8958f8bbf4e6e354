"""`python -m ganpatch`, which is what torchrun starts."""

from ganpatch.cli import main

if __name__ == "__main__":
    main()
