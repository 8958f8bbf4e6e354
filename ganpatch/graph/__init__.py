"""graph: a model as operations, and running a part of it.

operations            what a model computes: one description for torch and ONNX
traced_graph, torch_operations
                      a torch module as a graph, its layers marked; the same as operations
onnx_graphs           ONNX graphs as files
onnx_layers, onnx_scopes, onnx_addresses, onnx_axes
                      the layers of an ONNX graph: by torch modules, else by nodes; which axis holds the units
onnx_descriptions, onnx_operations
                      nodes of an ONNX graph, and the graph, as operations
onnx_module, onnx_parts, onnx_values
                      an ONNX graph as a module with layers: cut into parts that run in onnxruntime
remainder             run only the layers after an edited one; chooses one of three ways:
split, replay, onnx_remainder
                      the traced graph in two parts; modules that ran before return their earlier output; an ONNX graph
prefix                what was computed before the layer
grouped_convolutions  convolutions with one group per image, for any batch size
"""
