"""fold: pushing an edit through a model's graph into parameters, exactly, and the proof of it.

affine                          what an edit asks of a value: scale and shift
upstream                        which parameters make a value come out as asked
upstream_shapes, upstream_values, upstream_weights
                                one rule per operation
downstream                      which parameters of its readers make it look so to them
parametrizations                spectral_norm and weight_norm, folded and written back
onnx_folding                    the same inside an ONNX graph
baking                          a patch as edited weights, with its proof
"""

from ganpatch.fold import upstream_shapes, upstream_values, upstream_weights

RULES = (upstream_weights, upstream_values, upstream_shapes)  # importing them registers their rules
