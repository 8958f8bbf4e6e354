"""The review room: the page on which units are flagged, and what was flagged turned into a patch.

write_page(Path("run"))                                 # run/index.html, works from disk
patch_from_flags(read_manifest(folder), flags, "fix")   # verdicts -> Patch
"""
