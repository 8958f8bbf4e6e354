"""fold: pushing an edit through a model's graph into parameters, exactly, and the proof of it.

affine                          what an edit asks of a value: scale and shift
upstream                        which parameters make a value come out as asked
upstream_shapes, upstream_values, upstream_weights
                                one rule per kind of operation
downstream                      which parameters of its readers make it look so to them
planning                        a patch, edit by edit: folded into which parameters, or inserted and why
parametrizations                spectral_norm and weight_norm, folded and written back
baking                          a patch as edited weights of a torch module, with its proof

The rules know `ganpatch.graph.operations` alone, so they are the same for torch modules and for ONNX graphs.
"""

from ganpatch.fold import upstream_shapes, upstream_values, upstream_weights

RULES = (upstream_weights, upstream_values, upstream_shapes)  # importing them registers their rules
