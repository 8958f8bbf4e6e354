"""export: files. Repaired weights, patched graphs, their proof, and the way back.

repairing             the user's file with the patch in it
onnx_export, onnx_patching
                      an ONNX graph from torch, with the patch inside; a patch in an existing graph
onnx_editing, onnx_insertion
                      the edits of a patch in a graph; one edit as operations
patched_models        a model with a patch in it, whatever kind of file it is and becomes
file_runners, verifying
                      any file run on the same inputs; do hooks, weights and files agree?
patch_record, reverting
                      what was done, kept in the file itself; the original bit for bit
listing               the layers of a model or a graph, for people
report_rows           decisions and proofs as rows for people
"""
