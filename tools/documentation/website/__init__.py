"""What the documentation site needs beyond Sphinx: formulas, notebooks, navigation. `make docs` builds it."""
