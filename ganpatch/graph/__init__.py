"""graph: a model as operations, and running a part of it.

traced_graph          a torch module as a graph, and where in it a layer's output stands
onnx_layers           torch layers in an ONNX graph
split, replay         run only the layers after an edited one: as a graph, or by skipping modules that have run
grouped_convolutions  convolutions with one group per image, for any batch size
"""
