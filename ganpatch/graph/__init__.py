"""graph: a model as operations, and running a part of it.

traced_graph          a torch module as a graph, and where in it a layer's output stands
onnx_layers           torch layers in an ONNX graph
remainder             run only the layers after an edited one; chooses one of two ways:
split, replay         the traced graph in two parts; modules that ran before return their earlier output
prefix                what was computed before the layer
grouped_convolutions  convolutions with one group per image, for any batch size
"""
