"""graph: a model as operations, and running a part of it.

operations            what a model computes: one description for torch and ONNX
traced_graph, torch_operations
                      a torch module as a graph, its layers marked; the same as operations
onnx_layers, onnx_descriptions, onnx_operations
                      torch layers in an ONNX graph; its nodes, and the graph, as operations
remainder             run only the layers after an edited one; chooses one of two ways:
split, replay         the traced graph in two parts; modules that ran before return their earlier output
prefix                what was computed before the layer
grouped_convolutions  convolutions with one group per image, for any batch size
"""
