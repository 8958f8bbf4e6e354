"""The fold room: pushing an edit through a model's graph until parameters do what it asks, exactly.

graph, affine                   the graph of a model; what an edit asks of a value in it
upstream, up_*                  which parameters make a value come out as asked; one rule per operation
downstream                      which parameters of its readers make it look so to them
parametrized                    spectral_norm and weight_norm, folded and written back
"""

from ganpatch.fold import up_shapes, up_values, up_weights

RULES = (up_weights, up_values, up_shapes)  # importing them registers their rules
