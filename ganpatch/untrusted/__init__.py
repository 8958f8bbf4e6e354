"""untrusted: reading what others wrote; no code in a file is executed, and no file takes more memory than it should.

pickle_reader, zip_archives, torch_files, plain_content
                      pickles and archives of torch and NVlabs, read as inert objects, and reduced to plain values
weight_files          any file of weights, recognised by its content, and written back in the same shape
state_dicts           which of the networks in a checkpoint is meant
program_checks, exported_programs
                      .pt2 and TorchScript, inspected before torch loads them
onnx_files            ONNX graphs, with their external data
strict_yaml           YAML with one meaning; a writer with stable bytes
picture_files         pictures of a few known formats and bounded size
"""
