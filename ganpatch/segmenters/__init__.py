"""segmenters: concept masks, one file per kind of segmenter.

loading               a segmenter by its specification
segmenter             the interface: logits of each concept for images
bundled, unet         the segmenter of the bundled scenes
pretrained, onnx_segmenter, user_segmenter
                      networks of torchvision and transformers, ONNX files, the user's own code
strokes, strokes_file concepts from a few strokes: a linear probe on the generator's own features
kept_activations      activations of a batch, kept until its images are segmented
"""
