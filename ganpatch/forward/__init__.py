"""forward: passes over many seeds.

activations           seeds to activations and images, in batches
layer_facts, default_layer
                      what each layer returns; the layer that is looked at where none is named
interrupts            Ctrl-C and SIGTERM wait for the end of a batch
saved_state           what is done of a long run, kept in one file per process
resumable_pass        one streaming pass over seeds that can be interrupted and resumed
processes             several processes at one job, started by torchrun
"""
