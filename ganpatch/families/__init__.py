"""families: one file per generator family, and everything that loads a generator.

loading              a generator from a bundled name, weights, a hub folder, a package or the user's own code
registry, family      which family recognises a state dict, and what a family answers
user_code, trusted_pickles, hub_folders, adapter, output_checks, memory_budget, shared_layers
                      parts of loading
onnx_graph           an ONNX graph: what its inputs are fed with
choosing, origins     which model is meant when none is named; which model a run was made with
probing, class_guesses, image_ranges, settings_text
                      what a model takes and returns, found by trying; ganpatch.toml written from it
churches/             the bundled generator and its scenes
everything else       one family per file: detect(state) and build(state, wish)
"""
