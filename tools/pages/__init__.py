"""Pages of the documentation that are made from the code itself; `tools/make_docs.py` writes them."""
