"""generator: a generator as all rooms above see it. The only room that registers hooks.

generator             a module, how to draw its inputs from seeds, how to read its images
latents, input_files  latents and labels from seeds; inputs from files
backend               a module that runs outside torch
layers                find a layer by name, watch and edit its output
unit_axes             layers whose second dimension counts tokens, not units
fingerprints          identity of a model: structure and weights
random_state          torch's global random state, left as it was found
device                device, number format and compilation of forward passes
load_options          how to load a model: what the command line, load and ganpatch.toml are made of
configuration         ganpatch.toml: which model, and how to load it
"""
