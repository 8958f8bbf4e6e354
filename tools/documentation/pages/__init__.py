"""Pages of the documentation that are made from the code itself; `tools/documentation/make_docs.py` writes them."""
